/** What the API server gives nodes for their pods, for who judges pods' addresses by it. */
import type { Inputs, NodeChanges, NodeFacts } from "../nodes/index.ts";

/** See the header. */
export class Grants {
  readonly #podCidrs = new Map<string, readonly string[]>();
  #own: { name: string; podCidrs: readonly string[] } | undefined;

  /** Takes in what has changed. @returns nodes that have others now; undefined where it may be any */
  update({ own, nodes }: Inputs, changes: NodeChanges): readonly string[] | undefined {
    const first = this.#own === undefined;
    this.#own = own;
    if (first) {
      for (const node of nodes) this.#take(node.name, node);
      return undefined;
    }
    const changed = [...changes].flatMap(([name, node]) => (this.#take(name, node) ? [name] : []));
    return [...changed, own.name];
  }

  /** Prefixes of a node's pods; undefined while nobody knows. */
  of(node: string): readonly string[] | undefined {
    return node === this.#own?.name ? this.#own.podCidrs : this.#podCidrs.get(node);
  }

  #take(name: string, node: NodeFacts | undefined): boolean {
    const before = this.#podCidrs.get(name);
    const now = node?.granted?.podCidrs;
    if (now) this.#podCidrs.set(name, now);
    else this.#podCidrs.delete(name);
    return before?.join() !== now?.join();
  }
}
