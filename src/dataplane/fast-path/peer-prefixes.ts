/**
 * Peers as entries of the fast path's maps: those that the tunnel leads to just as this node's settings have it, and those that are reached without it over the
 * underlay device. All others are on the ordinary path, and why.
 */
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
  /** Device over which it is reached without the tunnel. */
  over?: number;
}

/** What programs are to know of peers. */
export interface KnownPeers {
  entries: Entry[];
  /** Of which lengths their prefixes are. */
  lengths: TunnelSettings["lengths"];
  /** Whether any is reached without the tunnel. */
  direct: boolean;
  /** Who is on the ordinary path. */
  ordinary: { what: string; why: string }[];
}

/** See the header. */
export class PeerPrefixes {
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

  /** What programs are to know. @param uplink index of the underlay device */
  known(uplink: number): KnownPeers {
    const lengths = this.#lengths();
    const ordinary = new Map(this.#ordinary);
    const entries: Entry[] = [];
    let direct = false;
    for (const [node, prefixes] of this.#prefixes)
      for (const { family, length, entry, over } of prefixes)
        if (!lengths[family].includes(length))
          ordinary.set(
            node,
            `its prefix is of /${length}, and more than ${MOST_LENGTHS - 1} other lengths are commoner`,
          );
        else if (over !== undefined && over !== uplink)
          ordinary.set(node, "it is reached without the tunnel over another device than the underlay's");
        else {
          entries.push(entry);
          direct ||= over !== undefined;
        }
    return { entries, lengths, direct, ordinary: [...ordinary].map(([node, why]) => ({ what: `node ${node}`, why })) };
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
      const [ip = "", length] = prefix.split("/");
      const family = familyOf(ip);
      const hop = peer.direct?.find(({ gateway }) => familyOf(gateway) === family);
      if (!hop && (peer.vni !== undefined || peer.port !== undefined)) {
        this.#ordinary.set(node, "it has another VNI or VXLAN port than this node");
        continue;
      }
      const { underlayIp, mac } = peer;
      const way = hop ? { underlayIp: hop.gateway, direct: true } : { underlayIp };
      const entry = prefixEntry({ prefix, mac, ...way, mtu: peer.pathMtu?.[family] });
      prefixes.push({ family, length: Number(length), entry, ...(hop && { over: hop.ifindex }) });
    }
    if (prefixes.length > 0) this.#prefixes.set(node, prefixes);
  }
}
