/**
 * The other nodes as a pod network sees them: what each announces, and the blocks that it has there. The two come by two watches, in
 * any order, so one that announces itself is not there before its block is, and is refused only when that does not come.
 */
import type { Followed } from "../ipam/blocks/index.ts";
import type { Logger } from "../log/index.ts";
import { readVtepAnnotation, unproven } from "../peers/index.ts";
import type { Inputs, NodeChanges, NodeFacts } from "../nodes/index.ts";

/** How much later than the annotation a block may come to be known, in milliseconds. */
const GRACE_MS = 10_000;

export interface InstanceNodesOptions {
  network: string;
  view: Pick<Followed["view"], "blocksOf">;
  log: Logger;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
  /** Some nodes are to be looked at again. */
  onDue: () => void;
  /** For tests. */
  graceMs?: number;
}

/** See the header. */
export class InstanceNodes {
  readonly #o: InstanceNodesOptions;
  /** When nodes were first seen without a block for what they announce, on the clock of `performance`. */
  readonly #since = new Map<string, number>();
  readonly #told = new Set<string>();
  readonly #due = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: InstanceNodesOptions) {
    this.#o = options;
  }

  /** All nodes, each as it is when this is gone through. */
  all(nodes: Inputs["nodes"]): Inputs["nodes"] {
    const facts = (node: NodeFacts) => this.#facts(node);
    return { [Symbol.iterator]: () => Iterator.from(nodes).map(facts) };
  }

  /** Nodes that have changed. */
  changed(changes: NodeChanges): NodeChanges {
    for (const [name, node] of changes) if (!node) this.#forget(name);
    return new Map([...changes].map(([name, node]) => [name, node && this.#facts(node)]));
  }

  /** Those that are to be looked at again, with others. */
  due(nodes: Inputs["nodes"], others: ReadonlySet<string>): NodeChanges {
    const names = others.union(this.#due);
    this.#due.clear();
    const changes = new Map<string, NodeFacts>();
    if (names.size === 0) return changes;
    for (const node of nodes) if (names.has(node.name)) changes.set(node.name, this.#facts(node));
    return changes;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #forget(name: string): void {
    this.#since.delete(name);
    this.#told.delete(name);
  }

  #facts(node: NodeFacts): NodeFacts {
    const { network, view, graceMs = GRACE_MS } = this.#o;
    const { name } = node;
    const blocks = view.blocksOf(name);
    const facts = { ...node, blocks };
    const missing = missingOf(network, facts);
    if (missing === undefined) {
      this.#forget(name);
      return facts;
    }
    const since = this.#since.get(name) ?? performance.now();
    this.#since.set(name, since);
    if (performance.now() - since < graceMs) {
      this.#schedule();
      if (blocks.length > 0) return facts;
      const { vtepAnnotation: _later, ...quiet } = facts;
      return quiet;
    }
    // Without any block it is refused as a peer, which is told there.
    if (blocks.length > 0) this.#tell(name, missing);
    return facts;
  }

  #tell(name: string, missing: readonly string[]): void {
    if (this.#told.has(name)) return;
    this.#told.add(name);
    const { network, log, event } = this.#o;
    const message = `node ${name} announces ${missing.join(", ")} in network ${network} without a NetworkBlock; no packets are sent there`;
    log.warn(message);
    event("Warning", "SkylanePrefixRefused", message);
  }

  #schedule(): void {
    const { graceMs = GRACE_MS } = this.#o;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const name of this.#since.keys()) if (!this.#told.has(name)) this.#due.add(name);
      this.#o.onDue();
    }, graceMs);
    this.#timer.unref();
  }
}

/** What a node announces in a network without a block; undefined when there is nothing, empty when it only says that it takes part. */
function missingOf(network: string, node: NodeFacts): string[] | undefined {
  if (node.vtepAnnotation === undefined) return undefined;
  try {
    const entry = readVtepAnnotation(node.vtepAnnotation, network);
    if (!entry) return undefined;
    const missing = unproven(node, entry);
    return missing.length > 0 || (node.blocks ?? []).length === 0 ? missing : undefined;
  } catch {
    return undefined; // it is refused for that, in words
  }
}
