/**
 * What there is to say for an endpoint that a node publishes. The node's own word is the least: whoever holds its token can publish any
 * address with any number of moves. What the node cannot write is worth more: its blocks say which addresses are its own, a claim's status says
 * on which node its pod is, and a MAC address that is derived from a node's name is no other node's. An endpoint that has an address of somebody
 * else's is passed over; of two with one MAC address, that with the better standing has it.
 */
import { derivedMac } from "../addr/index.ts";
import type { EndpointAddresses } from "./owners.ts";

/** From the least to the best. */
export const STANDING = {
  /** Addresses of its own, and a MAC that somebody chose. */
  word: 1,
  /** A claim's, which another node has by now and does not publish yet. */
  former: 2,
  /** A claim's, and the claim says that it is there. */
  claim: 3,
  /** Addresses of its own, and a MAC that is derived from its name. */
  node: 4,
} as const;
export type Standing = (typeof STANDING)[keyof typeof STANDING];

/** A claim as far as it says where its addresses are. */
export interface ClaimPlace {
  ips: readonly string[];
  mac?: string;
  /** The node whose pod has it in use. */
  node?: string;
}

/** A claim that was deleted. */
export interface FormerClaim {
  /** The nodes whose pods had it then, by its status and by whom it was believed to be had by; none when no pod ever had it. */
  last: readonly string[];
}

/** What is known beside what nodes publish. */
export interface Authority {
  /** The block that an address is in; `node` is "" for one of claims, which has their holders (NAMESPACE/NAME/UID) by address. */
  blockWith(ip: string): { node: string; addresses: Readonly<Record<string, string>> } | undefined;
  /** Where a MAC address that a claim asked for is entered as an address. */
  entryOfMac(mac: string): string;
  /**
   * A claim by its holder's name; "unknown" while nobody has said yet. Of one that was deleted the nodes whose pods had it, or "gone" where
   * nobody has seen that.
   */
  claim(holder: string): ClaimPlace | FormerClaim | "gone" | "unknown";
}

/** Outcome: how good it is, or why it is passed over, in words that go on with "it publishes …, ". */
export type Judged = { standing: Standing } | { refused: string };

/** The first half of MAC addresses of a node's pods in a network: 22 bits that follow from both names. */
const prefixOf = (network: string, node: string): string => derivedMac(`node ${network}/${node}`).slice(0, 8);

/** A MAC address of a node's for a pod without a claim. @param seed what tells it from the node's others */
export const nodeMac = (network: string, node: string, seed: string): string =>
  `${prefixOf(network, node)}${derivedMac(seed).slice(8)}`;

/** Whose addresses an endpoint has, as the blocks say. */
type Place = { kind: "own" } | { kind: "none" } | { kind: "claim"; holder: string };

/** Judges endpoints of one network. What follows from blocks alone is kept until they change. */
export class StandingJudge {
  readonly #network: string;
  readonly #authority: Authority;
  #places = new WeakMap<EndpointAddresses, Place>();
  readonly #prefixes = new Map<string, string>();

  constructor(network: string, authority: Authority) {
    this.#network = network;
    this.#authority = authority;
  }

  /** Blocks have changed. */
  blocksChanged(): void {
    this.#places = new WeakMap();
  }

  /** Nodes that are gone are forgotten. */
  keep(nodes: { has(node: string): boolean }): void {
    for (const node of this.#prefixes.keys()) if (!nodes.has(node)) this.#prefixes.delete(node);
  }

  /** The claim that has an endpoint's addresses, as the blocks say; undefined when they are no claim's. */
  claimOf(node: string, endpoint: EndpointAddresses): string | undefined {
    const place = this.#place(node, endpoint);
    return place.kind === "claim" ? place.holder : undefined;
  }

  /** @param present the node that has its MAC address so far */
  judge(node: string, endpoint: EndpointAddresses, present: string | undefined): Judged {
    const place = this.#place(node, endpoint);
    if (place.kind === "own") return { standing: this.isOwnMac(node, endpoint.mac) ? STANDING.node : STANDING.word };
    if (place.kind === "none") return { refused: "which is in no block of its, nor a claim's" };
    return this.#judgeClaimed(node, endpoint, place.holder, present);
  }

  /** Whether a MAC is one that this node alone gives its pods. */
  isOwnMac(node: string, mac: string): boolean {
    let prefix = this.#prefixes.get(node);
    if (prefix === undefined) this.#prefixes.set(node, (prefix = prefixOf(this.#network, node)));
    return mac.startsWith(prefix);
  }

  #judgeClaimed(node: string, { ips, mac }: EndpointAddresses, holder: string, present: string | undefined): Judged {
    const claim = this.#authority.claim(holder);
    const named = holder.slice(0, holder.lastIndexOf("/"));
    const whose = `which IPClaim ${named} has`;
    if (claim === "unknown") return { refused: `${whose}, of which the API server has not told yet` };
    // Deleted under its pod, which keeps the addresses as long as it runs.
    if (claim === "gone") return { standing: STANDING.word };
    if ("last" in claim) {
      if (claim.last.includes(node) || present === node) return { standing: STANDING.word };
      return { refused: `which IPClaim ${named} had until it was deleted, and no pod of that node` };
    }
    if (claim.mac !== mac || !ips.every((ip) => claim.ips.includes(ip)))
      return { refused: `${whose} with ${[...claim.ips, claim.mac ?? "no MAC address"].join(", ")}` };
    if (!this.#hasMac(holder, mac)) return { refused: `${whose}, but not MAC address ${mac}` };
    if (claim.node === node) return { standing: STANDING.claim };
    if (present === node) return { standing: STANDING.former };
    return { refused: `${whose}, and ${claim.node === undefined ? "no node" : `node ${claim.node}`} uses it` };
  }

  /** Whether a claim's MAC address is one that it was given, or that it has a lock on. */
  #hasMac(holder: string, mac: string): boolean {
    if (mac === derivedMac(`${this.#network}/${holder}`)) return true;
    const entry = this.#authority.entryOfMac(mac);
    return this.#authority.blockWith(entry)?.addresses[entry] === holder;
  }

  #place(node: string, endpoint: EndpointAddresses): Place {
    const known = this.#places.get(endpoint);
    if (known) return known;
    const place = this.#find(node, endpoint.ips);
    this.#places.set(endpoint, place);
    return place;
  }

  #find(node: string, ips: readonly string[]): Place {
    let holder: string | undefined;
    let own = 0;
    for (const ip of ips) {
      const block = this.#authority.blockWith(ip);
      if (!block) return { kind: "none" };
      if (block.node === node && node !== "") own++;
      else if (block.node !== "") return { kind: "none" };
      else {
        const one = Object.hasOwn(block.addresses, ip) ? block.addresses[ip] : undefined;
        if (one === undefined || (holder ??= one) !== one) return { kind: "none" };
      }
    }
    if (own === ips.length) return { kind: "own" };
    return own === 0 && holder !== undefined ? { kind: "claim", holder } : { kind: "none" };
  }
}
