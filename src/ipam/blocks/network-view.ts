/**
 * The blocks of one network as all nodes see them: which ones a node has, and whose an address is. This is what other nodes believe
 * of a node in a pod network, since a node may make blocks for itself alone; what it says of itself counts only as far as it has
 * them. Two blocks that overlap are told apart as those tell who make them: the one that the API server's store took first is
 * valid, and a younger one gives its node nothing.
 *
 * A block that is gone counts for a while longer unless another one takes its place: one that somebody deleted by hand is made
 * again at once, and no packet is to be lost meanwhile.
 */
import { cidrCovers, cidrsOverlap } from "../../addr/index.ts";
import { NETWORK_LABEL, type NetworkBlock, ObjectError, readNetworkBlock } from "../../crd/index.ts";
import { PrefixIndex, prefixOf } from "../../peers/index.ts";
import { type ApiObject, byCreation, CREATED_ANNOTATION, createdOf } from "./objects.ts";

/** A block with its place in the order of creation. */
export interface PlacedBlock extends NetworkBlock {
  created: string;
}

/** Reads one. @throws ObjectError naming block and key */
export function readPlaced(object: unknown): PlacedBlock {
  const block = readNetworkBlock(object);
  const { annotations, labels } = (object as ApiObject).metadata;
  // By the label it is found: under another network's it would be there for some nodes, and for others not.
  if (labels?.[NETWORK_LABEL] !== block.network)
    throw new ObjectError(
      `NetworkBlock ${block.name}: its label ${NETWORK_LABEL} is not its network's, ${block.network}`,
    );
  return { ...block, created: createdOf(annotations?.[CREATED_ANNOTATION]) ?? block.resourceVersion };
}

/** How long a block counts after it is gone, in milliseconds. */
const LINGER_MS = 30_000;
/** Where MAC addresses of claims are entered (src/ipam/claims/macs.ts). No network has it: link-local addresses are nobody's to give. */
export const MAC_CIDR = "fe80::/64";

interface Seen {
  block: PlacedBlock;
  /** When it is forgotten, on the clock of `performance`; undefined while it is there. */
  until?: number;
}

/** Nodes whose blocks are others now; "" where those of claims are. */
export type ViewChange = ReadonlySet<string>;

/** See the header. */
export class NetworkView {
  readonly #cidrs: readonly string[];
  readonly #onChange: (nodes: ViewChange) => void;
  readonly #lingerMs: number;
  readonly #blocks = new Map<string, Seen>();
  readonly #byNode = new Map<string, Set<Seen>>();
  readonly #index = new PrefixIndex<Seen>();
  #timer: NodeJS.Timeout | undefined;
  #synced = false;

  /** @param cidrs of the network, canonical. @param onChange told at once */
  constructor(cidrs: readonly string[], onChange: (nodes: ViewChange) => void, lingerMs = LINGER_MS) {
    this.#cidrs = cidrs;
    this.#onChange = onChange;
    this.#lingerMs = lingerMs;
  }

  /** All blocks have been seen once. */
  get synced(): boolean {
    return this.#synced;
  }

  /** All that are there, valid or not. */
  get all(): PlacedBlock[] {
    return [...this.#blocks.values()].flatMap(({ block, until }) => (until === undefined ? [block] : []));
  }

  /** CIDRs of a node's valid blocks. */
  blocksOf(node: string): string[] {
    return [...(this.#byNode.get(node) ?? [])].flatMap((seen) => (this.#valid(seen) ? [seen.block.cidr] : []));
  }

  /** Nodes that have blocks, valid or not. */
  nodes(): string[] {
    return [...this.#byNode.keys()].filter((node) => node !== "");
  }

  /** Pods of a node by what it says on its valid blocks: addresses by NAMESPACE/NAME. */
  podsOf(node: string): Map<string, string[]> {
    const found = new Map<string, string[]>();
    for (const seen of this.#byNode.get(node) ?? []) {
      if (!seen.block.pods || !this.#valid(seen)) continue;
      for (const [ip, pod] of Object.entries(seen.block.pods)) found.set(pod, [...(found.get(pod) ?? []), ip]);
    }
    return found;
  }

  /** The block that an address is in; undefined when it is in none. @param ip canonical */
  blockWith(ip: string): PlacedBlock | undefined {
    let found: Seen | undefined;
    this.#index.overlapping(prefixOf(ip), (seen) => {
      if (!found || isOlder(seen.block, found.block)) found = seen;
    });
    return found && this.#valid(found) ? found.block : undefined;
  }

  /** Takes all blocks as they are now. */
  replace(blocks: Iterable<PlacedBlock>): void {
    const now = new Map(Array.from(blocks, (block) => [block.name, block]));
    const gone = [...this.#blocks].filter(([name, { until }]) => until === undefined && !now.has(name));
    const first = !this.#synced;
    this.#synced = true;
    this.change(
      now.values(),
      gone.map(([name]) => name),
      first,
    );
  }

  /** Takes blocks that are new or otherwise, and those that are gone, by name. @param tell even when nothing changed */
  change(put: Iterable<PlacedBlock>, gone: Iterable<string>, tell = false): void {
    const nodes = new Set<string>();
    for (const block of put) this.#put(block, nodes);
    const until = performance.now() + this.#lingerMs;
    for (const name of gone) {
      const seen = this.#blocks.get(name);
      if (!seen || seen.until !== undefined) continue;
      seen.until = until;
      if (this.#others(seen).some((other) => other.until === undefined)) this.#drop(seen, nodes);
    }
    this.#schedule();
    if (nodes.size > 0 || tell) this.#onChange(nodes);
  }

  /** Tells nobody of anything any more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #put(block: PlacedBlock, nodes: Set<string>): void {
    const before = this.#blocks.get(block.name);
    if (before && before.until === undefined && before.block === block) return;
    if (before) this.#drop(before, nodes);
    const seen: Seen = { block };
    this.#blocks.set(block.name, seen);
    const same = this.#byNode.get(block.node);
    if (same) same.add(seen);
    else this.#byNode.set(block.node, new Set([seen]));
    this.#index.add(prefixOf(block.cidr), seen);
    nodes.add(block.node);
    for (const other of this.#others(seen)) {
      nodes.add(other.block.node);
      if (other.until !== undefined) this.#drop(other, nodes);
    }
  }

  #drop(seen: Seen, nodes: Set<string>): void {
    const { name, node, cidr } = seen.block;
    nodes.add(node);
    for (const other of this.#others(seen)) nodes.add(other.block.node);
    this.#blocks.delete(name);
    const same = this.#byNode.get(node);
    same?.delete(seen);
    if (same?.size === 0) this.#byNode.delete(node);
    this.#index.remove(prefixOf(cidr), seen);
  }

  /** Others that overlap with one. */
  #others(seen: Seen): Seen[] {
    const others: Seen[] = [];
    this.#index.overlapping(prefixOf(seen.block.cidr), (other) => {
      if (other !== seen) others.push(other);
    });
    return others;
  }

  #valid(seen: Seen): boolean {
    const { cidr, node } = seen.block;
    const inside = this.#cidrs.some((one) => cidrCovers(one, cidr)) || (node === "" && cidrsOverlap(cidr, MAC_CIDR));
    return inside && !this.#others(seen).some((other) => isOlder(other.block, seen.block));
  }

  #schedule(): void {
    if (this.#timer) return;
    let next = Number.POSITIVE_INFINITY;
    for (const { until = next } of this.#blocks.values()) next = Math.min(next, until);
    if (next === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        const nodes = new Set<string>();
        const now = performance.now();
        for (const seen of this.#blocks.values())
          if (seen.until !== undefined && seen.until <= now) this.#drop(seen, nodes);
        this.#schedule();
        if (nodes.size > 0) this.#onChange(nodes);
      },
      Math.max(1, next - performance.now()),
    );
    this.#timer.unref();
  }
}

/** Whether a block was made before another one. */
const isOlder = (a: PlacedBlock, b: PlacedBlock): boolean => byCreation(a, b) < 0;
