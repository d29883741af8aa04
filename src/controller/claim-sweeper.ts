/**
 * Frees the addresses of IPClaims that are deleted, for the whole cluster: the work of one agent, the one that keeps the status
 * of networks. A deletion is seen in a watch of all claims; what was missed, as between two agents that had the lease, is found
 * at the begin and once an hour. An address that a pod still has stays; but that a node publishes it is no proof, since any may: whose pod had the claim
 * is known by the claim, of which the watch has seen the end. Nothing depends on it: where there is no room, a new claim frees what it needs by itself.
 */
import { blockObjects } from "../ipam/blocks/index.ts";
import {
  claimObjects,
  holderText,
  networksWithClaims,
  readClaim,
  sweepClaims,
  UnusableClaim,
} from "../ipam/claims/index.ts";
import { type KubeClient, ObjectReflector } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { IP_CLAIMS } from "../crd/index.ts";
import { Task, type RetryPause } from "../reconcile/index.ts";
import { ClaimFaults } from "./claim-faults.ts";
import { ClaimUses, type ClaimUse, sameUse, useOf } from "./claim-uses.ts";

/**
 * From a deletion to the look, in milliseconds: a pod that was about to get the claim's addresses meanwhile has published its
 * endpoint by then, and keeps them. A namespace's worth of deletions is one look.
 */
const SOON_MS = 10_000;
/** Between two looks at all networks, in milliseconds. */
const EVERY_MS = 3_600_000;
/** Attempts in a row; after the last one it is left to the next deletion or the next look. Together some two minutes. */
const ATTEMPTS = 7;
const PAUSE: RetryPause = { baseMs: 2_000, maxMs: 60_000 };

/** A claim as far as its end matters. */
interface SeenClaim {
  namespace: string;
  name: string;
  uid: string;
  resourceVersion: string;
  network: string;
  /** Whose pod had it in use, or had it last. */
  use: ClaimUse;
  /** Why nobody can have it; its network is "" then. */
  fault?: UnusableClaim;
}

export interface ClaimSweeperOptions {
  client: KubeClient;
  log: Logger;
  /** For tests, in milliseconds. */
  timings?: { soonMs?: number; everyMs?: number; pause?: RetryPause };
}

/** Sweeps from {@link start} to {@link stop}; one of each a life. */
export class ClaimSweeper {
  readonly #o: ClaimSweeperOptions;
  readonly #claims: ObjectReflector<SeenClaim>;
  readonly #task: Task;
  readonly #faults: ClaimFaults;
  readonly #uses: ClaimUses;
  /** Networks that lost a claim. */
  readonly #due = new Set<string>();
  /** All networks are to be looked at. */
  #all = true;
  #interval: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ClaimSweeperOptions) {
    this.#o = options;
    const { client, log, timings } = options;
    this.#faults = new ClaimFaults(client, log);
    this.#uses = new ClaimUses({ client, log, current: (key) => this.#claims.objects.get(key) });
    const same = (a: SeenClaim, b: SeenClaim): boolean =>
      isSameClaim(a, b) && sameUse(a.use, b.use) && (!b.fault || a.resourceVersion === b.resourceVersion);
    this.#claims = new ObjectReflector(client, { what: "claims", path: IP_CLAIMS, parse: seen, same }, { log });
    this.#task = new Task(
      () => this.#attempt(),
      timings?.pause ?? PAUSE,
      (error, attempt) => {
        if (attempt === 1) log.warn("addresses of deleted IPClaims cannot be freed; trying again", { error });
      },
    );
  }

  start(): void {
    const { soonMs = SOON_MS, everyMs = EVERY_MS } = this.#o.timings ?? {};
    this.#claims.onChange(({ added, changed, removed, ended }) => {
      for (const one of ended) this.#uses.remember(holderText(one), one.use);
      for (const { fault } of [...added, ...changed.map(({ after }) => after)]) if (fault) this.#faults.tell(fault);
      // One that was made anew has another uid: the one before is gone.
      const others = changed.flatMap(({ before, after }) => (isSameClaim(before, after) ? [] : [before]));
      for (const { network } of [...removed, ...others]) if (network !== "") this.#due.add(network);
      if (this.#due.size > 0) this.#task.want(soonMs);
    });
    this.#claims.start();
    this.#interval = setInterval(() => {
      this.#all = true;
      this.#task.want();
    }, everyMs);
    this.#task.want(soonMs);
  }

  /** Ends with the network that it is at. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#interval);
    await Promise.all([this.#task.stop(), this.#faults.stop(), this.#claims.stop()]);
  }

  async #attempt(): Promise<void> {
    try {
      await this.#sweep();
    } catch (error) {
      if (this.#task.failures + 1 < ATTEMPTS) throw error;
      this.#o.log.error(
        `addresses of deleted IPClaims are not freed after ${ATTEMPTS} attempts; that is tried again when the next one is deleted, or` +
          " within an hour",
        { networks: [...this.#due].join(", "), error },
      );
      this.#due.clear();
      this.#all = false;
    }
  }

  /** @throws BlockError, the first one, when all networks were tried */
  async #sweep(): Promise<void> {
    const { client, log } = this.#o;
    const blocks = blockObjects(client);
    const claims = claimObjects(client);
    if (this.#all) for (const network of await networksWithClaims(blocks)) this.#due.add(network);
    this.#all = false;
    // As they are now: one that fails is due again.
    const networks = [...this.#due];
    let failure: unknown;
    for (const network of networks) {
      if (this.#stopped) return;
      // Before: one that is deleted meanwhile is due again.
      this.#due.delete(network);
      try {
        const freed = await sweepClaims({ network, blocks, claims, inUse: () => this.#uses.inUse(network) });
        if (freed.length > 0)
          log.info("freed the addresses of deleted IPClaims", { network, addresses: freed.join(", ") });
      } catch (error) {
        this.#due.add(network);
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }
}

const isSameClaim = (a: SeenClaim, b: SeenClaim): boolean => a.uid === b.uid && a.network === b.network;

function seen(object: unknown): SeenClaim {
  try {
    const { namespace, name, uid, resourceVersion, network, status } = readClaim(object);
    return { namespace, name, uid, resourceVersion, network, use: useOf(status) };
  } catch (error) {
    if (!(error instanceof UnusableClaim) || error.claim.namespace === "") throw error;
    const { uid } = (object as { metadata: { uid: string } }).metadata;
    const { namespace, name, resourceVersion } = error.claim;
    return { namespace, name, uid, resourceVersion, network: "", use: {}, fault: error };
  }
}
