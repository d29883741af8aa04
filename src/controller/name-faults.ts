/** Nodes that cannot keep domain names of policies, by what they say of themselves; a changed Node costs what it says. */
import { readNamesFault } from "../policy/index.ts";
import type { NodeChanges, NodeFacts } from "../nodes/index.ts";

/** See the header. */
export class NameFaults {
  readonly #causes = new Map<string, string>();

  /** @param nodes all of them */
  constructor(nodes: Iterable<NodeFacts>) {
    for (const node of nodes) this.#set(node.name, node);
  }

  /** Why, by node. */
  get causes(): ReadonlyMap<string, string> {
    return this.#causes;
  }

  /** Nodes that have changed. @returns whether another node, or another cause, is among them */
  update(changes: NodeChanges): boolean {
    let other = false;
    for (const [name, node] of changes) other = this.#set(name, node) || other;
    return other;
  }

  #set(name: string, node: NodeFacts | undefined): boolean {
    const cause = readNamesFault(node?.policyFaults);
    if (cause === this.#causes.get(name)) return false;
    if (cause === undefined) this.#causes.delete(name);
    else this.#causes.set(name, cause);
    return true;
  }
}
