/**
 * What of this machine network instances work on: namespaces, devices and rules. It is all that is between them and the kernel, so that
 * a test can bring a machine of its own.
 */
import { type InstancePath, instancePath } from "../data-path/index.ts";
import { ensureNetworkNetns, listNetworkNetns, openNetworkNetns, type NetworkNetns } from "../dataplane/netns/index.ts";
import { Uplink, type UplinkOptions } from "../dataplane/uplink/index.ts";
import { InstanceFirewall, type InstanceFirewallOptions } from "../firewall/index.ts";
import { NetnsLinks } from "../host-ends/index.ts";
import { Rtnl } from "../netlink/index.ts";

/** Pods' links of a network. */
export type InstanceLinks = Pick<NetnsLinks, "rtnl" | "watch" | "queue" | "attach" | "look" | "hostEndOf" | "stop">;
/** The packet filter of a network. */
export type InstanceRules = Pick<
  InstanceFirewall,
  "set" | "changePeers" | "changeHosts" | "hold" | "secure" | "refresh" | "verdict" | "stop" | "remove"
>;

/** See the header. */
export interface InstanceMachine {
  /** Networks whose namespaces have names here. @throws Error of readdir(3) */
  listNetworkNetns(): string[];
  /** The namespace of a network, where there is one. @throws SysError, RangeError, NetlinkError */
  openNetworkNetns(network: string): NetworkNetns | undefined;
  /** The same, or else a new one. @throws SysError, RangeError, NetlinkError */
  ensureNetworkNetns(network: string): NetworkNetns;
  /** A conversation with a namespace, to be closed by who asked for it. @throws SysError */
  rtnl(netns: NetworkNetns): Rtnl;
  /** @throws SysError when no socket can be opened */
  links(options: ConstructorParameters<typeof NetnsLinks>[0]): InstanceLinks;
  rules(options: InstanceFirewallOptions): InstanceRules;
  uplink(options: UplinkOptions): Pick<Uplink, "ensure" | "remove" | "hostIndex">;
  dataPath(...args: Parameters<typeof instancePath>): InstancePath;
}

/** The one that this process runs on. */
export const THIS_MACHINE: InstanceMachine = {
  listNetworkNetns,
  openNetworkNetns,
  ensureNetworkNetns,
  rtnl: (netns) => Rtnl.open({ netns: netns.fd }),
  links: (options) => new NetnsLinks(options),
  rules: (options) => new InstanceFirewall(options),
  uplink: (options) => new Uplink(options),
  dataPath: instancePath,
};
