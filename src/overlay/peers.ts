/**
 * Which nodes become peers. Every node is judged by itself and against those that are older: Nodes are taken in
 * order of age, and whoever claims an address that is taken already is refused alone. A refused node claims
 * nothing, so it stands in nobody's way. What is ours is taken before all others.
 *
 * All nodes come to the same verdict about a pair of others, since age and name are the same everywhere. Cost
 * is a sort and one walk through a prefix tree a prefix, for clusters of thousands of nodes.
 */
import { addressBits, cidrCovers, cidrContains, familyOf } from "../addr/index.ts";
import { readVtepAnnotation } from "./annotation.ts";
import { AnnotationError } from "./errors.ts";
import { PrefixTree } from "./prefix-tree.ts";
import type { LocalNetwork, NodeVtep, Peer, Refusal, RefusalReason, VtepAnnotation } from "./types.ts";

/** The outcome: nodes that have published nothing for the network are in neither list. */
export interface PeerSelection {
  /** In order of age. */
  peers: Peer[];
  refused: Refusal[];
}

/** Chooses the peers of a network among all Nodes; our own Node is skipped by its name. Never throws for what a Node says. */
export function selectPeers(local: LocalNetwork, nodes: readonly NodeVtep[]): PeerSelection {
  const claims = new Claims(local);
  const selection: PeerSelection = { peers: [], refused: [] };
  for (const node of [...nodes].sort(byAge)) {
    if (node.name === local.node || node.vtepAnnotation === undefined) continue;
    const { entry, error } = remembered(node.vtepAnnotation, local.network);
    if (error) selection.refused.push(badAnnotation(node.name, error));
    else if (entry) {
      const verdict = judge(local, node.name, entry, claims);
      if ("reason" in verdict) selection.refused.push(verdict);
      else {
        claims.take(verdict);
        selection.peers.push(verdict);
      }
    }
  }
  return selection;
}

/** Older first; the API server writes RFC 3339 in UTC, which sorts as text. */
function byAge(a: NodeVtep, b: NodeVtep): number {
  if (a.creationTimestamp !== b.creationTimestamp) return a.creationTimestamp < b.creationTimestamp ? -1 : 1;
  return a.name < b.name ? -1 : Number(a.name > b.name);
}

function badAnnotation(node: string, error: AnnotationError): Refusal {
  const message = `its skylane.dev/vtep annotation cannot be used: ${error.message}`;
  return { node, reason: "BadAnnotation", message };
}

function judge(local: LocalNetwork, node: string, entry: VtepAnnotation, claims: Claims): Peer | Refusal {
  const refuse = (reason: RefusalReason, message: string): Refusal => ({ node, reason, message });
  const family = familyOf(local.underlayIp);
  const underlayIp = entry.ips.find((ip) => familyOf(ip) === family);
  if (underlayIp === undefined) {
    return refuse(
      "NoUnderlayAddress",
      `it publishes ${entry.ips.join(", ")}, and this node's VXLAN device uses IPv${family} (${local.underlayIp})`,
    );
  }
  const families = new Set(local.podCidrs.map(familyOf));
  if (!entry.podCidrs.some((cidr) => families.has(familyOf(cidr)))) {
    const ours = local.podCidrs.join(", ") || "none";
    return refuse("NoCommonFamily", `its pod CIDRs are ${entry.podCidrs.join(", ")}, this node's ${ours}`);
  }
  const foreign = entry.podCidrs.find((cidr) => !isClusterCidr(local.clusterCidrs, cidr));
  if (foreign) {
    return refuse(
      "ForeignPodCidr",
      `its pod CIDR ${foreign} is outside the cluster CIDRs ${local.clusterCidrs.join(", ")}`,
    );
  }
  const inOwn = entry.podCidrs.find((cidr) => cidrContains(cidr, underlayIp));
  if (inOwn) return refuse("UnderlayInPodCidr", `its underlay address ${underlayIp} lies in its own pod CIDR ${inOwn}`);
  const peer: Peer = {
    node,
    mac: entry.mac,
    underlayIp,
    podCidrs: entry.podCidrs,
    ...(entry.vni !== local.vni && { vni: entry.vni }),
    ...(entry.port !== local.port && { port: entry.port }),
  };
  return claims.conflict(peer) ?? peer;
}

/** Whether a pod CIDR may be one of the cluster's; a family for which no cluster CIDR is configured is not restricted. */
export function isClusterCidr(clusterCidrs: readonly string[], podCidr: string): boolean {
  const configured = clusterCidrs.filter((cluster) => familyOf(cluster) === familyOf(podCidr));
  return configured.length === 0 || configured.some((cluster) => cidrCovers(cluster, podCidr));
}

/** What is taken, and by whom. */
class Claims {
  readonly #self: string;
  readonly #ips = new Map<string, string>();
  readonly #macs = new Map<string, string>();
  readonly #cidrs = new PrefixTree();
  readonly #underlay = new PrefixTree();

  constructor(local: LocalNetwork) {
    this.#self = local.node;
    this.take(local);
  }

  take({ node, underlayIp, mac, podCidrs }: Omit<Peer, "vni" | "port">): void {
    this.#ips.set(underlayIp, node);
    this.#macs.set(mac, node);
    this.#underlay.add(host(underlayIp), node);
    for (const cidr of podCidrs) this.#cidrs.add(cidr, node);
  }

  /** The first thing that this peer and an older one, or we, both claim. */
  conflict({ node, underlayIp, mac, podCidrs }: Peer): Refusal | undefined {
    const refuse = (reason: RefusalReason, other: string, what: string): Refusal =>
      other === this.#self
        ? { node, reason: "CollidesWithSelf", message: `${what} of this node itself` }
        : { node, reason, message: `${what} of the older node ${other}` };
    const ip = this.#ips.get(underlayIp);
    if (ip !== undefined) return refuse("DuplicateVtepIp", ip, `its underlay address ${underlayIp} is that`);
    const sameMac = this.#macs.get(mac);
    if (sameMac !== undefined) return refuse("DuplicateVtepMac", sameMac, `its VTEP MAC ${mac} is that`);
    for (const cidr of podCidrs) {
      const overlapped = this.#cidrs.overlapping(cidr);
      if (overlapped !== undefined)
        return refuse("OverlappingPodCidr", overlapped, `its pod CIDR ${cidr} overlaps that`);
      const covered = this.#underlay.overlapping(cidr);
      if (covered !== undefined) {
        return refuse("UnderlayInPodCidr", covered, `its pod CIDR ${cidr} covers the underlay address`);
      }
    }
    const inside = this.#cidrs.overlapping(host(underlayIp));
    if (inside !== undefined) {
      return refuse("UnderlayInPodCidr", inside, `its underlay address ${underlayIp} lies in a pod CIDR`);
    }
    return undefined;
  }
}

const host = (ip: string): string => `${ip}/${addressBits(familyOf(ip))}`;

type Reading = { entry?: VtepAnnotation; error?: AnnotationError };
const readings = new Map<string, Reading>();
const REMEMBERED = 16_384;

/** What an annotation says; remembered by its text, since of thousands of Nodes only one changes at a time. */
function remembered(text: string, network: string): Reading {
  const key = `${network}\n${text}`;
  let reading = readings.get(key);
  if (!reading) {
    reading = read(text, network);
    if (readings.size >= REMEMBERED) readings.clear();
    readings.set(key, reading);
  }
  return reading;
}

function read(text: string, network: string): Reading {
  try {
    const entry = readVtepAnnotation(text, network);
    return entry ? { entry } : {};
  } catch (error) {
    if (error instanceof AnnotationError) return { error };
    throw error;
  }
}
