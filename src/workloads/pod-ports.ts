/** Pods of a network on this node, by the records of what was attached. */
import { type AttachmentRecord, realHost } from "../cni/index.ts";
import type { NetworkRecords } from "../config/index.ts";
import type { PortFacts } from "../endpoints/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { hostIfname, isHostEnd, listPodLinks, podMacOf } from "../dataplane/pod-link/index.ts";

/** A claim, as NAMESPACE/NAME/UID, and the pod that has its addresses by it. */
export type ClaimUse = NonNullable<AttachmentRecord["claim"]>;

/** A pod's port. */
export interface PodPort extends PortFacts {
  /** Of its host end. */
  ifindex: number;
  claim?: ClaimUse;
  /** The MAC address was asked for by name. */
  named?: boolean;
}

/**
 * The ports that there are in the network's namespace, by name. @param which those with a claim alone, or all
 * @throws NetlinkError, IpamStorageError
 */
export function portsOf(config: NetworkRecords, rtnl: Rtnl, which: "claimed" | "all"): Map<string, PodPort> {
  const records = realHost
    .attachments(config)
    .list()
    .filter(({ claim }) => which === "all" || claim !== undefined);
  if (records.length === 0) return new Map();
  const there = new Map(listPodLinks(rtnl).map(({ name, index }) => [name, index]));
  const ips = new Map<string, string[]>();
  for (const { ip, owner } of realHost.ipam(config).list()) {
    const name = hostIfname(owner.containerId, owner.ifname);
    ips.set(name, [...(ips.get(name) ?? []), ip]);
  }
  const ports = new Map<string, PodPort>();
  for (const { owner, mac, claim } of records) {
    const { containerId, ifname } = owner;
    const name = hostIfname(containerId, ifname);
    const ifindex = there.get(name);
    if (ifindex === undefined) continue;
    const addresses = { mac: mac ?? podMacOf(containerId, ifname), ips: (ips.get(name) ?? []).sort() };
    ports.set(name, {
      ifname: name,
      ifindex,
      ...addresses,
      claimed: claim !== undefined,
      ...(claim && { claim }),
      ...(mac !== undefined && { named: true }),
    });
  }
  return ports;
}

/** Addresses of a pod as they were last known. */
export type KnownEndpoint = Pick<PodPort, "mac" | "ips">;

/**
 * Ports of pods that run though the node's records of them are lost, as after `rm -rf /var/lib/cni`: what this agent knew of a port whose
 * link is there still; for an agent that has started since, what the node publishes for the MAC that the bridge has at that port.
 * @param recorded by the records. @param before as they were last known. @param published this node's endpoints by MAC
 * @throws NetlinkError
 */
export function withUnrecorded(
  recorded: ReadonlyMap<string, PodPort>,
  before: ReadonlyMap<string, PodPort>,
  published: ReadonlyMap<string, KnownEndpoint>,
  rtnl: Pick<Rtnl, "links" | "bridgeFdb">,
): ReadonlyMap<string, PodPort> {
  const macs = new Set(Array.from(recorded.values(), ({ mac }) => mac));
  const candidates = [...before.values()].some(({ ifname }) => !recorded.has(ifname));
  const unaccounted = [...published.keys()].some((mac) => !macs.has(mac));
  if (!candidates && !unaccounted) return recorded;
  const all = new Map(recorded);
  const links = rtnl.links().filter((link) => isHostEnd(link) && !recorded.has(link.name));
  for (const { name, index, master } of links) {
    const known = before.get(name);
    if (known && !macs.has(known.mac)) all.set(name, known);
    if (known || master === undefined || !unaccounted) continue;
    const at = rtnl.bridgeFdb({ master }).filter((entry) => entry.ifindex === index);
    const endpoint = at.map(({ mac }) => published.get(mac)).find((one) => one !== undefined && !macs.has(one.mac));
    const port = { ifname: name, ifindex: index, claimed: false };
    if (endpoint) all.set(name, { ...port, mac: endpoint.mac, ips: [...endpoint.ips].sort() });
  }
  return all;
}
