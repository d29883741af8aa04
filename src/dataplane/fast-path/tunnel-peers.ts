/** Peers as entries of the fast path's maps: those that the tunnel leads to just as this node's settings have it. All others are on the ordinary path, and why. */
import { familyOf } from "../../addr/index.ts";
import type { Peer } from "../../peers/index.ts";
import { type Entry, prefixEntry } from "./programs/maps.ts";

/** Why a peer's prefix is left to the ordinary path; undefined where it is not. */
function ordinaryBy(peer: Peer, prefix: string): string | undefined {
  if (peer.vni !== undefined || peer.port !== undefined) return "it has another VNI or VXLAN port than this node";
  // One of its pods' addresses may be elsewhere.
  if (peer.claims || (peer.hosts?.length ?? 0) > 0) return "it has addresses that move with their pods";
  if (peer.direct?.some(({ gateway }) => familyOf(gateway) === familyOf(prefix.split("/")[0] ?? "")))
    return "it is reached without the tunnel";
  return undefined;
}

/** See the header. */
export class TunnelPeers {
  readonly #entries = new Map<string, readonly Entry[]>();
  readonly #ordinary = new Map<string, string>();

  /** Takes peers as they are now; undefined for those that left. */
  change(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    for (const [node, peer] of changes) {
      this.#entries.delete(node);
      this.#ordinary.delete(node);
      if (peer) this.#take(node, peer);
    }
  }

  /** Replaces all. */
  replace(peers: Iterable<Peer>): void {
    this.#entries.clear();
    this.#ordinary.clear();
    for (const peer of peers) this.#take(peer.node, peer);
  }

  /** Entries of all. */
  get entries(): Entry[] {
    return [...this.#entries.values()].flat();
  }

  /** Those on the ordinary path. */
  get ordinary(): { what: string; why: string }[] {
    return [...this.#ordinary].map(([node, why]) => ({ what: `node ${node}`, why }));
  }

  #take(node: string, peer: Peer): void {
    const entries: Entry[] = [];
    for (const prefix of peer.podCidrs) {
      const why = ordinaryBy(peer, prefix);
      if (why === undefined) entries.push(prefixEntry({ prefix, underlayIp: peer.underlayIp, mac: peer.mac }));
      else this.#ordinary.set(node, why);
    }
    if (entries.length > 0) this.#entries.set(node, entries);
  }
}
