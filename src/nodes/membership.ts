/** How many nodes take part in each network, by what they say of themselves; a changed Node costs what it says. */
import { networksNamed } from "../peers/index.ts";
import type { NodeChanges, NodeFacts } from "./inputs.ts";

/** Counts nodes by network. */
export class Membership {
  readonly #networks = new Map<string, readonly string[]>();
  readonly #counts = new Map<string, number>();

  /** @param nodes all of them */
  constructor(nodes: Iterable<NodeFacts>) {
    for (const node of nodes) this.#set(node.name, node);
  }

  /** Nodes that have changed. */
  update(changes: NodeChanges): void {
    for (const [name, node] of changes) this.#set(name, node);
  }

  /** Nodes that take part in a network. */
  of(network: string): number {
    return this.#counts.get(network) ?? 0;
  }

  #set(name: string, node: NodeFacts | undefined): void {
    for (const network of this.#networks.get(name) ?? []) this.#counts.set(network, this.of(network) - 1);
    const networks = node?.vtepAnnotation === undefined ? [] : networksNamed(node.vtepAnnotation);
    for (const network of networks) this.#counts.set(network, this.of(network) + 1);
    if (networks.length > 0) this.#networks.set(name, networks);
    else this.#networks.delete(name);
  }
}
