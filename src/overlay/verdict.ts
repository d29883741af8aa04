/** What a Node's annotation makes of it by itself, whatever the other Nodes say: a peer, a refusal, or nothing. */
import { cidrContains, cidrCovers, familyOf } from "../addr/index.ts";
import { readVtepAnnotation } from "./annotation.ts";
import { AnnotationError } from "./errors.ts";
import type { LocalNetwork, NodeVtep, Peer, Refusal, RefusalReason, VtepAnnotation } from "./types.ts";

/** Judges a Node; undefined when it has published nothing for the network. Never throws for what it says. */
export function judgeAlone(local: LocalNetwork, node: NodeVtep): Peer | Refusal | undefined {
  if (node.vtepAnnotation === undefined) return undefined;
  try {
    const entry = readVtepAnnotation(node.vtepAnnotation, local.network);
    return entry && judgeEntry(local, node.name, entry);
  } catch (error) {
    if (!(error instanceof AnnotationError)) throw error;
    const message = `its skylane.dev/vtep annotation cannot be used: ${error.message}`;
    return { node: node.name, reason: "BadAnnotation", message };
  }
}

function judgeEntry(local: LocalNetwork, node: string, entry: VtepAnnotation): Peer | Refusal {
  const refuse = (reason: RefusalReason, message: string): Refusal => ({ node, reason, message });
  const family = familyOf(local.underlayIp);
  const underlayIp = entry.ips.find((ip) => familyOf(ip) === family);
  if (underlayIp === undefined) {
    return refuse(
      "NoUnderlayAddress",
      `it publishes ${entry.ips.join(", ")}, and this node's VXLAN device uses IPv${family} (${local.underlayIp})`,
    );
  }
  if (!commonFamily(local.podCidrs, entry.podCidrs)) {
    const inWords = (cidrs: readonly string[]): string => cidrs.join(", ") || "none";
    const message = `its pod CIDRs are ${inWords(entry.podCidrs)}, this node's ${inWords(local.podCidrs)}`;
    return refuse("NoCommonFamily", message);
  }
  const foreign = entry.podCidrs.find((cidr) => !isClusterCidr(local.clusterCidrs, cidr));
  if (foreign) {
    return refuse(
      "ForeignPodCidr",
      `its pod CIDR ${foreign} is outside the cluster CIDRs ${local.clusterCidrs.join(", ")}`,
    );
  }
  const inOwn = local.isolated ? undefined : entry.podCidrs.find((cidr) => cidrContains(cidr, underlayIp));
  if (inOwn) return refuse("UnderlayInPodCidr", `its underlay address ${underlayIp} lies in its own pod CIDR ${inOwn}`);
  return {
    node,
    mac: entry.mac,
    underlayIp,
    podCidrs: entry.podCidrs,
    ...(entry.vni !== local.vni && { vni: entry.vni }),
    ...(entry.port !== local.port && { port: entry.port }),
    ...(entry.claims && { claims: true }),
    ...(local.directRouting === "auto" && entry.direct && { receivesAt: entry.ips }),
  };
}

/** Whether two nodes' pods can have to do with each other; on a network that routes nothing none has pod CIDRs. */
function commonFamily(ours: readonly string[], theirs: readonly string[]): boolean {
  const families = new Set(ours.map(familyOf));
  return families.size === 0 ? theirs.length === 0 : theirs.some((cidr) => families.has(familyOf(cidr)));
}

/** Whether a pod CIDR may be one of the cluster's; a family for which no cluster CIDR is configured is not restricted. */
export function isClusterCidr(clusterCidrs: readonly string[], podCidr: string): boolean {
  const configured = clusterCidrs.filter((cluster) => familyOf(cluster) === familyOf(podCidr));
  return configured.length === 0 || configured.some((cluster) => cidrCovers(cluster, podCidr));
}
