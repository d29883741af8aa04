/**
 * What other nodes' published endpoints count for in a network: each is held against blocks and claims, and what a node may not publish is
 * passed over. That is told when it stays so: blocks, claims and endpoints come by watches of their own, in any order.
 */
import { type NetworkView } from "../ipam/blocks/index.ts";
import { type ClaimPlaces, entryOfMac } from "../ipam/claims/index.ts";
import {
  type Endpoint,
  type EndpointAddresses,
  type EndpointLists,
  type Present,
  STANDING,
  type Standing,
  StandingJudge,
} from "../endpoints/index.ts";

/** How long an endpoint may wait for what proves it before that is told, in milliseconds. */
const GRACE_MS = 10_000;

export interface EndpointStandingOptions {
  network: string;
  /** This node. */
  node: string;
  view: Pick<NetworkView, "blockWith">;
  places: Pick<ClaimPlaces, "start" | "whenSynced" | "follow" | "of" | "doubtful">;
  /** Something may be judged otherwise now. */
  onChange: () => void;
  /** A node publishes what it may not, which has been so for a while. */
  onRefused: (node: string, message: string) => void;
  /** For tests. */
  graceMs?: number;
}

/** See the header. */
export class EndpointStandings {
  readonly #o: EndpointStandingOptions;
  readonly #judge: StandingJudge;
  /** Endpoints with their standing, by what was published. */
  readonly #judged = new WeakMap<Endpoint, Endpoint>();
  /** Since when nodes publish what they may not, on the clock of `performance`. */
  readonly #since = new Map<string, number>();
  #unfollow: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: EndpointStandingOptions) {
    const { network, view, places } = options;
    this.#o = options;
    this.#judge = new StandingJudge(network, {
      blockWith: (ip) => view.blockWith(ip),
      entryOfMac,
      claim: (holder) => places.of(holder),
    });
  }

  /** Blocks have changed. */
  blocksChanged(): void {
    this.#judge.blocksChanged();
    this.#o.onChange();
  }

  /** Resolves when all is known that these lists are held against. @param own MACs and addresses of pods here that have claims */
  async known(lists: EndpointLists, own: Iterable<EndpointAddresses>): Promise<void> {
    const { node } = this.#o;
    const claimed =
      [...own].length > 0 ||
      [...lists].some(
        ([name, list]) => name !== node && list.some((one) => this.#judge.claimOf(name, one) !== undefined),
      );
    if (!claimed) return;
    this.#follow();
    await this.#o.places.whenSynced();
  }

  /**
   * All nodes' endpoints without what they may not publish, and with their standing; ours as they are.
   * @param since when a node's object was made
   */
  judged(lists: EndpointLists, present: Present, since: (node: string) => string): EndpointLists {
    const judged = new Map<string, readonly Endpoint[]>();
    this.#judge.keep(lists);
    for (const name of this.#since.keys()) if (!lists.has(name)) this.#since.delete(name);
    for (const [name, list] of lists) {
      if (name === this.#o.node) judged.set(name, list);
      else judged.set(name, this.#ofNode(name, list, present, since(name)));
    }
    return judged;
  }

  /** The standing of an endpoint of ours. @param claimed it has the addresses by a claim */
  own(endpoint: EndpointAddresses, claimed: boolean): Standing {
    const { node } = this.#o;
    if (!claimed) return this.isOwnMac(endpoint.mac) ? STANDING.node : STANDING.word;
    this.#follow();
    const holder = this.#judge.claimOf(node, endpoint);
    if (holder === undefined || this.#o.places.of(holder) === "unknown") return STANDING.claim;
    const judged = this.#judge.judge(node, endpoint, node);
    return "standing" in judged ? judged.standing : STANDING.word;
  }

  /** Whether a claim's status names another node than the one that is believed to have it. */
  doubtful(endpoint: EndpointAddresses): boolean {
    const holder = this.#judge.claimOf(this.#o.node, endpoint);
    return holder !== undefined && this.#o.places.doubtful(holder);
  }

  /** Whether a MAC address is one that this node alone gives its pods. */
  isOwnMac(mac: string): boolean {
    return this.#judge.isOwnMac(this.#o.node, mac);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#unfollow?.();
  }

  /** Claims are watched from the first one that matters. */
  #follow(): void {
    if (this.#stopped || this.#unfollow) return;
    const { network, places, onChange } = this.#o;
    this.#unfollow = places.follow(network, onChange);
    places.start();
  }

  #ofNode(name: string, list: readonly Endpoint[], present: Present, since: string): Endpoint[] {
    const accepted: Endpoint[] = [];
    let fault = "";
    for (const one of list) {
      if (this.#judge.claimOf(name, one) !== undefined) this.#follow();
      const judged = this.#judge.judge(name, one, present.get(one.mac)?.node);
      if ("standing" in judged) accepted.push(this.#with(one, judged.standing, since));
      else fault ||= `${[...one.ips, one.mac].join(", ")}, ${judged.refused}`;
    }
    this.#tell(name, fault);
    return accepted;
  }

  #with(one: Endpoint, standing: Standing, since: string): Endpoint {
    const known = this.#judged.get(one);
    if (known?.standing === standing && known.since === since) return known;
    const judged = { ...one, standing, since };
    this.#judged.set(one, judged);
    return judged;
  }

  #tell(name: string, fault: string): void {
    if (fault === "") {
      this.#since.delete(name);
      return;
    }
    const { graceMs = GRACE_MS, onRefused, onChange } = this.#o;
    const since = this.#since.get(name) ?? performance.now();
    this.#since.set(name, since);
    if (performance.now() - since >= graceMs) return onRefused(name, `it publishes ${fault}`);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      onChange();
    }, graceMs);
    this.#timer.unref();
  }
}
