/** The packet filter as networks see it: one table for all networks of a node, and what each peer may send. */
export { type HostFirewall, InstanceFirewall, type InstanceFirewallOptions } from "./instance-firewall.ts";
export { NodeFirewall, rulesOf } from "./node-firewall.ts";
export { SendingHosts } from "./sending-hosts.ts";
