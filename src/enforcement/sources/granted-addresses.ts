/**
 * What is believed of pods' addresses. A pod's status is written by its node's kubelet, and with a kubelet's credentials anybody may be anybody: an
 * address counts where the API server has given it to that node. A pod whose addresses all are others has none for policies: a peer
 * of its name is nobody.
 */
import { cidrContains } from "../../addr/index.ts";
import type { PodEntry } from "../../kube/index.ts";

const NOTHING: readonly string[] = [];

/** Judges pods by what nodes are given, and remembers by what. */
export class GrantedAddresses {
  readonly #granted: (node: string) => readonly string[] | undefined;
  /** Node → what it had been given when its pods were judged last; of nodes that have pods. */
  readonly #judgedBy = new Map<string, string>();

  constructor(granted: (node: string) => readonly string[] | undefined) {
    this.#granted = granted;
  }

  /** A pod's addresses, as far as they are believed. */
  of({ ips, node }: PodEntry): readonly string[] {
    if (ips.length === 0) return ips;
    const granted = this.#granted(node) ?? NOTHING;
    this.#judgedBy.set(node, granted.join());
    const believed = (ip: string): boolean => granted.some((cidr) => cidrContains(cidr, ip));
    return ips.every(believed) ? ips : ips.filter(believed);
  }

  /** Which nodes are given other things than when their pods were judged. @param nodes those in question; all by default */
  changed(nodes: Iterable<string> = this.#judgedBy.keys()): Set<string> {
    const changed = new Set<string>();
    for (const node of nodes) {
      const before = this.#judgedBy.get(node);
      if (before !== undefined && before !== (this.#granted(node) ?? NOTHING).join()) changed.add(node);
    }
    return changed;
  }

  /** Forgets nodes other than these. */
  keep(nodes: ReadonlySet<string>): void {
    for (const node of this.#judgedBy.keys()) if (!nodes.has(node)) this.#judgedBy.delete(node);
  }
}
