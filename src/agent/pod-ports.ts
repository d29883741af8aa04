/** Pods of a network on this node, by the records of what was attached. */
import { type AttachmentRecord, realHost } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { PortFacts } from "../endpoints/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { hostIfname, listPodLinks, podMacOf } from "../pod/index.ts";

/** A claim, as NAMESPACE/NAME/UID, and the pod that has its addresses by it. */
export type ClaimUse = NonNullable<AttachmentRecord["claim"]>;

/** A pod's port. */
export interface PodPort extends PortFacts {
  claim?: ClaimUse;
  /** The MAC address was asked for by name. */
  named?: boolean;
}

/**
 * The ports that there are in the network's namespace, by name. @param which those with a claim alone, or all
 * @throws NetlinkError, IpamStorageError
 */
export function portsOf(config: AgentConfig, rtnl: Rtnl, which: "claimed" | "all"): Map<string, PodPort> {
  const records = realHost
    .attachments(config)
    .list()
    .filter(({ claim }) => which === "all" || claim !== undefined);
  if (records.length === 0) return new Map();
  const there = new Set(listPodLinks(rtnl).map(({ name }) => name));
  const ips = new Map<string, string[]>();
  for (const { ip, owner } of realHost.ipam(config).list()) {
    const name = hostIfname(owner.containerId, owner.ifname);
    ips.set(name, [...(ips.get(name) ?? []), ip]);
  }
  const ports = new Map<string, PodPort>();
  for (const { owner, mac, claim } of records) {
    const { containerId, ifname } = owner;
    const name = hostIfname(containerId, ifname);
    if (!there.has(name)) continue;
    const addresses = { mac: mac ?? podMacOf(containerId, ifname), ips: (ips.get(name) ?? []).sort() };
    ports.set(name, {
      ifname: name,
      ...addresses,
      claimed: claim !== undefined,
      ...(claim && { claim }),
      ...(mac !== undefined && { named: true }),
    });
  }
  return ports;
}
