/**
 * Whether kubelets are heard, by the Leases that they renew (`kube-node-lease/NODE`, every quarter of the time that one lasts). Asked of the few
 * Nodes of which somebody wants to know, each again when its lease would run out; of all others nothing is read.
 */
import { ApiError } from "../client/api-error.ts";
import type { KubeClient } from "../client/client.ts";
import { type LeaseSight, type LeaseState, nextLook, readLease, seeLease } from "./lease-sight.ts";
import type { KubeLog } from "../informer/store.ts";
import { growingPause } from "./growing-pause.ts";
import { getObject } from "../objects.ts";

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/** Questions at a time. */
const CONCURRENCY = 4;

/** Times in milliseconds. */
interface LeaseTimings {
  /** Between two questions about a Node, at least. */
  leastMs: number;
  /** Until one that has no lease, or whose lease cannot be read, is asked about again. */
  againMs: number;
  /** Added to a wait, as a part of it, at random: all agents of a cluster see the same two Nodes at the same time. */
  spread: number;
  /** A second of leases. */
  secondMs: number;
}
const TIMINGS: LeaseTimings = { leastMs: 2_000, againMs: 10_000, spread: 0.05, secondMs: 1_000 };

export interface NodeLeasesOptions {
  log?: KubeLog;
  /** The state of this Node's lease is another one now. */
  onNews: (name: string) => void;
  /** The longest time between two questions about a Node of which nothing changes, unless its lease lasts longer, in milliseconds. */
  mostMs?: () => number;
  /** For tests. */
  timings?: Partial<LeaseTimings>;
}

/** A Node that is asked about. */
interface Followed {
  sight: LeaseSight | undefined;
  state: LeaseState | undefined;
  /** Questions in a row that changed nothing. */
  same: number;
  timer: NodeJS.Timeout | undefined;
}

/** See the header. */
export class NodeLeases {
  readonly #client: KubeClient;
  readonly #options: NodeLeasesOptions;
  readonly #timings: LeaseTimings;
  readonly #followed = new Map<string, Followed>();
  readonly #queue = new Set<string>();
  readonly #underWay = new Set<Promise<void>>();
  #complaint = "";
  #stopped = false;

  constructor(client: KubeClient, options: NodeLeasesOptions) {
    this.#client = client;
    this.#options = options;
    this.#timings = { ...TIMINGS, ...options.timings };
  }

  /** Follows the leases of these Nodes and of no others. */
  follow(names: Iterable<string>): void {
    if (this.#stopped) return;
    const wanted = new Set(names);
    for (const [name, { timer }] of this.#followed) {
      if (wanted.has(name)) continue;
      clearTimeout(timer);
      this.#followed.delete(name);
      this.#queue.delete(name);
    }
    for (const name of wanted) {
      if (this.#followed.has(name)) continue;
      this.#followed.set(name, { sight: undefined, state: undefined, same: 0, timer: undefined });
      this.#queue.add(name);
    }
    this.#pump();
  }

  /** How a Node's lease stands; undefined while nobody follows it or it could not be read. */
  of(name: string): LeaseState | undefined {
    return this.#followed.get(name)?.state;
  }

  /** Asks no more, and calls nobody back. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { timer } of this.#followed.values()) clearTimeout(timer);
    this.#queue.clear();
    await Promise.all(this.#underWay);
  }

  #pump(): void {
    for (const name of this.#queue) {
      if (this.#underWay.size >= CONCURRENCY) return;
      this.#queue.delete(name);
      const followed = this.#followed.get(name);
      if (!followed) continue;
      const ended = this.#read(name, followed).finally(() => {
        this.#underWay.delete(ended);
        this.#pump();
      });
      this.#underWay.add(ended);
    }
  }

  async #read(name: string, followed: Followed): Promise<void> {
    const { leastMs, againMs, spread, secondMs } = this.#timings;
    let wait = againMs;
    try {
      const lease = readLease(await getObject(this.#client, LEASES, name), secondMs);
      if (this.#stopped || this.#followed.get(name) !== followed) return;
      const now = performance.now();
      const { state } = followed;
      followed.sight = lease && seeLease(followed.sight, lease, now, Date.now());
      followed.state = followed.sight?.state ?? "none";
      if (followed.sight) wait = nextLook(followed.sight, now);
      this.#complaint = "";
      followed.same = followed.state === state ? followed.same + 1 : 0;
      if (followed.state !== state) this.#options.onNews(name);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.#stopped || this.#followed.get(name) !== followed) return;
      followed.same++;
      wait = Math.max(wait, error.retryAfterMs ?? 0);
      this.#complain(name, error);
    }
    followed.timer = setTimeout(
      () => {
        this.#queue.add(name);
        this.#pump();
      },
      Math.max(wait, growingPause(leastMs, followed.same, this.#options.mostMs?.())) * (1 + Math.random() * spread),
    );
  }

  /** Once for as long as the same is wrong. What was known counts on: that nobody answers is no sign that a kubelet is dead. */
  #complain(name: string, error: ApiError): void {
    const what = String(error.status);
    if (this.#complaint === what) return;
    this.#complaint = what;
    this.#options.log?.warn(
      "cannot read the Leases of Nodes that claim the same address; which of them is alive is told by their conditions alone, which takes longer",
      { name, error },
    );
  }
}
