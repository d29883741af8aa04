/** Peers as entries of the fast path's maps: those that the tunnel leads to just as this node's settings have it. All others are on the ordinary path, and why. */
import { FAMILIES, type Family, familyOf, hostPrefix } from "../../addr/index.ts";
import type { Peer } from "../../peers/index.ts";
import { type Entry, prefixEntry } from "./programs/maps.ts";
import type { TunnelSettings } from "./programs/settings.ts";

/** What programs look for while they know of no prefixes. */
const USUAL: Readonly<Record<Family, number>> = { 4: 24, 6: 64 };
/** For so many lengths of prefixes a family programs look; peers with others are on the ordinary path. */
const MOST_LENGTHS = 4;

/** A peer's prefix as an entry. */
interface Prefix {
  family: Family;
  length: number;
  entry: Entry;
}

/** Why a peer's prefix is left to the ordinary path; undefined where it is not. */
function ordinaryBy(peer: Peer, prefix: string): string | undefined {
  if (peer.vni !== undefined || peer.port !== undefined) return "it has another VNI or VXLAN port than this node";
  if (peer.direct?.some(({ gateway }) => familyOf(gateway) === familyOf(prefix.split("/")[0] ?? "")))
    return "it is reached without the tunnel";
  return undefined;
}

/** See the header. */
export class TunnelPeers {
  readonly #prefixes = new Map<string, readonly Prefix[]>();
  readonly #ordinary = new Map<string, string>();

  /** Takes peers as they are now; undefined for those that left. */
  change(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    for (const [node, peer] of changes) {
      this.#prefixes.delete(node);
      this.#ordinary.delete(node);
      if (peer) this.#take(node, peer);
    }
  }

  /** Replaces all. */
  replace(peers: Iterable<Peer>): void {
    this.#prefixes.clear();
    this.#ordinary.clear();
    for (const peer of peers) this.#take(peer.node, peer);
  }

  /** What programs are to know: entries, of which lengths their prefixes are, and who is on the ordinary path. */
  get now(): { entries: Entry[]; lengths: TunnelSettings["lengths"]; ordinary: { what: string; why: string }[] } {
    const lengths = this.#lengths();
    const ordinary = new Map(this.#ordinary);
    const entries: Entry[] = [];
    for (const [node, prefixes] of this.#prefixes)
      for (const { family, length, entry } of prefixes)
        if (lengths[family].includes(length)) entries.push(entry);
        else
          ordinary.set(
            node,
            `its prefix is of /${length}, and more than ${MOST_LENGTHS - 1} other lengths are commoner`,
          );
    return { entries, lengths, ordinary: [...ordinary].map(([node, why]) => ({ what: `node ${node}`, why })) };
  }

  /** The commonest lengths of prefixes, longest first. */
  #lengths(): TunnelSettings["lengths"] {
    const counts: Record<Family, Map<number, number>> = { 4: new Map(), 6: new Map() };
    for (const { family, length } of [...this.#prefixes.values()].flat())
      counts[family].set(length, (counts[family].get(length) ?? 0) + 1);
    const lengths: Record<Family, number[]> = { 4: [], 6: [] };
    for (const family of FAMILIES) {
      const commonest = [...counts[family]].sort(([a, of], [b, than]) => than - of || b - a).slice(0, MOST_LENGTHS);
      lengths[family] = commonest.map(([length]) => length).sort((a, b) => b - a);
      if (lengths[family].length === 0) lengths[family] = [USUAL[family]];
    }
    return lengths;
  }

  #take(node: string, peer: Peer): void {
    const prefixes: Prefix[] = [];
    // Addresses that move with their pods are prefixes of their own, longer than any that they are in, as among the kernel's routes.
    for (const prefix of [...peer.podCidrs, ...(peer.hosts ?? []).map(hostPrefix)]) {
      const why = ordinaryBy(peer, prefix);
      if (why !== undefined) {
        this.#ordinary.set(node, why);
        continue;
      }
      const [ip = "", length] = prefix.split("/");
      const entry = prefixEntry({ prefix, underlayIp: peer.underlayIp, mac: peer.mac });
      prefixes.push({ family: familyOf(ip), length: Number(length), entry });
    }
    if (prefixes.length > 0) this.#prefixes.set(node, prefixes);
  }
}
