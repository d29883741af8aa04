/**
 * The blocks of all nodes in the networks that this node takes part in. One watch has the blocks of several networks, by a
 * set of labels, so hundreds of networks are a few dozen watches; a network that comes has that of its group begin anew, which is a
 * list of the few networks of the group. The watch before goes on until the new one is in step, so nothing is ever unknown in between.
 */
import { type KubeClient, ObjectReflector, type ReflectorOptions } from "../../kube/index.ts";
import { NETWORK_BLOCKS, NETWORK_LABEL, sameObject } from "../../crd/index.ts";
import { NetworkView, type PlacedBlock, readPlaced, type ViewChange } from "./network-view.ts";

/** Networks that one watch has. */
const PER_WATCH = 16;

export interface NetworkBlocksOptions {
  client: KubeClient;
  log?: ReflectorOptions["log"];
  /** For tests. */
  perWatch?: number;
  lingerMs?: number;
}

/** A network whose blocks are followed. */
export interface Followed {
  view: NetworkView;
  /** Resolves when all blocks have been seen. */
  whenSynced: Promise<void>;
  /** Ends it. */
  close: () => void;
}

/** See the header. */
export class NetworkBlocks {
  readonly #o: NetworkBlocksOptions;
  readonly #groups = new Set<Group>();

  constructor(options: NetworkBlocksOptions) {
    this.#o = options;
  }

  /**
   * Follows the blocks of a network until that is closed. @param cidrs of the network
   * @param onChange told of nodes whose blocks are others now, and once when all are known
   */
  follow(network: string, cidrs: readonly string[], onChange: (nodes: ViewChange) => void): Followed {
    const synced = Promise.withResolvers<void>();
    const view = new NetworkView(
      cidrs,
      (nodes) => {
        synced.resolve();
        onChange(nodes);
      },
      this.#o.lingerMs,
    );
    const most = this.#o.perWatch ?? PER_WATCH;
    let group = [...this.#groups].find(({ size, has }) => size < most && !has(network));
    if (!group) this.#groups.add((group = new Group(this.#o)));
    const its = group;
    its.add(network, view);
    const close = (): void => {
      view.close();
      its.remove(network, view);
      if (its.size > 0 || !this.#groups.delete(its)) return;
      void its.stop();
    };
    return { view, whenSynced: synced.promise, close };
  }

  async stop(): Promise<void> {
    await Promise.all(Array.from(this.#groups, (group) => group.stop()));
    this.#groups.clear();
  }
}

type Blocks = ObjectReflector<PlacedBlock>;

/** Some networks that have one watch. */
class Group {
  readonly #o: NetworkBlocksOptions;
  readonly #views = new Map<string, NetworkView>();
  #current: { blocks: Blocks; networks: ReadonlySet<string> } | undefined;
  #next: Blocks | undefined;
  #soon: NodeJS.Immediate | undefined;
  readonly #stopping = Promise.withResolvers<void>();
  #stopped = false;

  constructor(options: NetworkBlocksOptions) {
    this.#o = options;
  }

  get size(): number {
    return this.#views.size;
  }

  readonly has = (network: string): boolean => this.#views.has(network);

  add(network: string, view: NetworkView): void {
    this.#views.set(network, view);
    this.#want();
  }

  /** What is watched for nothing goes with the next network that comes, or with the last one. */
  remove(network: string, view: NetworkView): void {
    if (this.#views.get(network) === view) this.#views.delete(network);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopping.resolve();
    clearImmediate(this.#soon);
    await Promise.all([this.#current?.blocks.stop(), this.#next?.stop()]);
  }

  /** Networks that come in one turn are one new watch. */
  #want(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      if (!this.#stopped && !this.#next) void this.#renew();
    });
  }

  async #renew(): Promise<void> {
    const networks = new Set(this.#views.keys());
    if (networks.size === 0) return;
    const blocks = this.#watch([...networks].sort());
    this.#next = blocks;
    blocks.start();
    await Promise.race([blocks.whenSynced(), this.#stopping.promise]);
    this.#next = undefined;
    if (this.#stopped) return;
    const before = this.#current;
    this.#current = { blocks, networks };
    for (const network of networks) this.#replace(network, blocks);
    void before?.blocks.stop();
    // Some came meanwhile.
    if ([...this.#views.keys()].some((network) => !networks.has(network))) this.#want();
  }

  #watch(networks: readonly string[]): Blocks {
    const { client, log } = this.#o;
    const blocks: Blocks = new ObjectReflector(
      client,
      {
        what: "blocks of pod networks",
        path: NETWORK_BLOCKS,
        labelSelector: `${NETWORK_LABEL} in (${networks.join(",")})`,
        parse: readPlaced,
        same: sameObject,
      },
      { ...(log && { log }) },
    );
    blocks.onChange(({ added, changed, removed }) => {
      if (this.#current?.blocks !== blocks) return;
      const put = Map.groupBy([...added, ...changed.map(({ after }) => after)], ({ network }) => network);
      const gone = Map.groupBy(removed, ({ network }) => network);
      for (const network of new Set([...put.keys(), ...gone.keys()]))
        this.#views.get(network)?.change(
          put.get(network) ?? [],
          (gone.get(network) ?? []).map(({ name }) => name),
        );
    });
    return blocks;
  }

  #replace(network: string, { objects }: Blocks): void {
    this.#views.get(network)?.replace(objects.values().filter((block) => block.network === network));
  }
}
