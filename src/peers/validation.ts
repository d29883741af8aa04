/** What a Node's annotation makes of it by itself, whatever the other Nodes say: a peer, a refusal, or nothing. */
import { cidrContains, cidrCovers, cidrOf, familyOf } from "../addr/index.ts";
import { readVtepAnnotation } from "./annotation.ts";
import { AnnotationError } from "./errors.ts";
import { proven } from "./proof.ts";
import { misplacedVtep, NOTHING_RESERVED, reservedWithin } from "./reserved.ts";
import type { LocalNetwork, NodeVtep, Peer, Refusal, RefusalReason, VtepAnnotation } from "./types.ts";

/** Judges a Node; undefined when it has published nothing for the network. Never throws for what it says. */
export function judgeAlone(local: LocalNetwork, node: NodeVtep): Peer | Refusal | undefined {
  if (node.vtepAnnotation === undefined) return undefined;
  try {
    const entry = readVtepAnnotation(node.vtepAnnotation, local.network);
    const shown = entry && local.isolated ? proven(local.network, node, entry) : entry;
    return shown && ("reason" in shown ? shown : judgeEntry(local, node, shown));
  } catch (error) {
    if (!(error instanceof AnnotationError)) throw error;
    const message = `its skylane.dev/vtep annotation cannot be used: ${error.message}`;
    return { node: node.name, reason: "BadAnnotation", message };
  }
}

function judgeEntry(local: LocalNetwork, from: NodeVtep, entry: VtepAnnotation): Peer | Refusal | undefined {
  const { name: node, granted, unknown } = from;
  const refuse = (reason: RefusalReason, message: string): Refusal => ({ node, reason, message });
  const family = familyOf(local.underlayIp);
  const underlayIp = entry.ips.find((ip) => familyOf(ip) === family);
  if (underlayIp === undefined) {
    return refuse(
      "NoUnderlayAddress",
      `it publishes ${entry.ips.join(", ")}, and this node's VXLAN device uses IPv${family} (${local.underlayIp})`,
    );
  }
  // The first one is that of its device (types.ts), which hears nothing over the other family.
  if (entry.ips[0] !== underlayIp) {
    const [own, ours] = [familyOf(entry.ips[0] ?? ""), `this node's over IPv${family} (${local.underlayIp})`];
    return refuse("NoUnderlayAddress", `it receives over IPv${own} (${entry.ips[0]}), ${ours}`);
  }
  if (entry.port !== local.port && isServicePort(entry.port))
    return refuse("ServicePort", `it wants VXLAN on UDP port ${entry.port}, which is another service's`);
  // The other family's as well: packets may go there unencapsulated.
  for (const ip of local.reserved ? entry.ips : []) {
    const misplaced = misplacedVtep(ip, local.reserved ?? NOTHING_RESERVED, granted?.addresses ?? [], local.underlayIp);
    if (misplaced !== undefined) return refuse("ReservedVtepIp", `its underlay address ${ip} is ${misplaced}`);
  }
  if (!commonFamily(local.podCidrs, entry.podCidrs)) {
    const inWords = (cidrs: readonly string[]): string => cidrs.join(", ") || "none";
    const message = `its pod CIDRs are ${inWords(entry.podCidrs)}, this node's ${inWords(local.podCidrs)}`;
    return refuse("NoCommonFamily", message);
  }
  if (!local.isolated) {
    if (!granted) return unknown === undefined ? undefined : refuse("NoPodCidr", `its Node cannot be read: ${unknown}`);
    const fault = prefixFault(local, entry.podCidrs, granted.podCidrs);
    if (fault) return refuse(...fault);
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
    ...(local.encryption && entry.wireguard && { wireguard: entry.wireguard }),
    ...(local.directRouting === "auto" && entry.direct && { receivesAt: entry.ips }),
  };
}

/**
 * Ports above the system's (RFC 6335, section 6) at which nodes and clouds have services over UDP. A peer may have one only where this
 * node is configured so as well, as then an administrator has chosen it for VXLAN.
 */
const SERVICE_PORTS: ReadonlySet<number> = new Set([
  1194, 1645, 1646, 1701, 1812, 1813, 1900, 2049, 2123, 2152, 3389, 3478, 3784, 3785, 4500, 5060, 5353, 5355, 6081,
  6343, 11211, 51820, 51821,
]);
const isServicePort = (port: number): boolean => port < 1024 || SERVICE_PORTS.has(port);

/** Longest prefixes that a node's pods can be in, beside its VTEP's address. */
const LONGEST_PREFIX = { 4: 30, 6: 126 } as const;

/**
 * What is wrong with the prefixes that a node announces for the default network, where each must be one that the API server
 * has given it: its own word alone would let it draw any traffic.
 */
function prefixFault(
  local: LocalNetwork,
  announced: readonly string[],
  granted: readonly string[],
): [reason: RefusalReason, message: string] | undefined {
  const covers = (cidr: string): string | undefined => {
    const what = local.reserved && reservedWithin(cidr, local.reserved);
    return what && `covers ${what}`;
  };
  const own = granted.length === 0 ? "it has none" : `it has ${granted.join(", ")}`;
  for (const cidr of announced) {
    const covered = covers(cidr);
    if (!granted.includes(cidr)) {
      const also = covered === undefined ? "" : ` and ${covered}`;
      const message = `it announces ${cidr}, which the API server has not given it (spec.podCIDRs: ${own})${also}`;
      return [granted.length === 0 ? "NoPodCidr" : "ForeignPodCidr", message];
    }
    if (covered !== undefined) {
      const message = `its pod CIDR ${cidr} ${covered}; no route may lead there: the cluster's pod CIDRs (--cluster-cidr) must be apart from it`;
      return ["ReservedPrefix", message];
    }
    const family = familyOf(cidr);
    if (cidrOf(cidr).prefix > LONGEST_PREFIX[family]) {
      const longest = LONGEST_PREFIX[family];
      return ["ReservedPrefix", `its pod CIDR ${cidr} is longer than /${longest} and has no room for pods`];
    }
  }
  return undefined;
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
