/**
 * Who of many does what one has to do: whoever holds a Lease (coordination.k8s.io/v1). It works as client-go's leader election
 * does, and alongside it. The API server decides: a lease is written over the version of it that was read and no other. Clocks
 * may differ, so a lease counts as expired once we have seen it unchanged for as long as it lasts, by our own clock; and
 * whoever holds it stops well before others can see it so.
 *
 * Thousands may stand for it, so those who do not have it look seldom: the more there are, the less often each.
 */
import { ApiError } from "./client/api-error.ts";
import { pause } from "./client/backoff.ts";
import type { KubeClient } from "./client/client.ts";
import type { KubeLog } from "./informer/store.ts";
import { createObject, getObject, replaceObject } from "./objects.ts";
import type { Json } from "../json/index.ts";

/** How long a lease lasts, and how much of that its holder relies on; the rest is for requests that take their time. */
const LEASE_SECONDS = 60;
const RELIED_ON = 2 / 3;
/** How often its holder writes it, in milliseconds. */
const RENEW_MS = 15_000;
/** How often the others look: all of them together some five times a second, in milliseconds. */
const LOOK = { eachMs: 200, leastMs: 10_000, mostMs: 300_000 } as const;

/** How long letting go may take, in milliseconds. */
const LEAVE_MS = 2_000;

/** A Lease as far as it is looked at. */
interface Lease {
  metadata: Json & { resourceVersion?: string };
  spec?: Json & {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    leaseTransitions?: number;
    acquireTime?: string;
  };
}

export interface LeaderElectorOptions {
  client: KubeClient;
  namespace: string;
  name: string;
  /** Ours and nobody else's, also of no former process. */
  identity: string;
  log: KubeLog;
  /** Whether there is anything to lead at present; while not, nobody is asked. */
  wanted: () => boolean;
  /** How many may stand for it. */
  candidates: () => number;
  onLead: () => void;
  /** It is another's, or nobody's; what is under way must write nothing more. */
  onLost: () => void;
  /** Times in milliseconds and seconds, for tests. */
  timings?: { leaseSeconds?: number; renewMs?: number; leastMs?: number };
}

/** Stands for a lease until it is stopped. One `start()` and one `stop()` a life. */
export class LeaderElector {
  readonly #o: LeaderElectorOptions;
  readonly #path: string;
  readonly #leaseSeconds: number;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  /** Until when it is surely ours, on the clock of `performance`; undefined while it is not. */
  #until: number | undefined;
  #expiry: NodeJS.Timeout | undefined;
  /** The lease as it was last seen to be new. */
  #seen: { version: string; at: number } | undefined;
  #complaint = "";

  constructor(options: LeaderElectorOptions) {
    this.#o = options;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(options.namespace)}/leases`;
    this.#leaseSeconds = options.timings?.leaseSeconds ?? LEASE_SECONDS;
  }

  /** Whether it is surely ours at this moment. */
  get leads(): boolean {
    return this.#until !== undefined && performance.now() < this.#until;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Stands for it no more, and lets go of it so that another need not wait; a server that does not answer is not waited for. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const enough = new AbortController();
    await Promise.race([this.#leave(), pause(LEAVE_MS, enough.signal)]);
    enough.abort();
    this.#lose();
  }

  async #leave(): Promise<void> {
    await this.#running;
    if (!this.leads) return;
    this.#lose();
    try {
      const lease = await this.#read();
      if (lease?.spec?.holderIdentity === this.#o.identity) await this.#write(lease, "");
    } catch (error) {
      this.#o.log.debug("a lease is left to run out", { lease: this.#o.name, error });
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      if (this.#o.wanted()) await this.#attempt();
      await pause(this.#wait(), signal);
    }
  }

  /** Until the next look, in milliseconds. */
  #wait(): number {
    const { renewMs = RENEW_MS, leastMs = LOOK.leastMs } = this.#o.timings ?? {};
    if (this.leads) return renewMs;
    const often = Math.min(Math.max(this.#o.candidates() * LOOK.eachMs, leastMs), LOOK.mostMs);
    return often * (0.5 + Math.random());
  }

  async #attempt(): Promise<void> {
    const before = performance.now();
    try {
      const lease = await this.#read();
      if (!this.#mayTake(lease, before)) return this.#lose();
      if (this.#stopping.signal.aborted) return;
      await this.#write(lease, this.#o.identity);
      if (this.#stopping.signal.aborted && !this.leads) return;
      this.#hold(before + this.#leaseSeconds * 1_000 * RELIED_ON);
      this.#complaint = "";
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // Another was quicker, which says all; otherwise it stays ours for as long as we may rely on it.
      if (error.status === 409) return this.#lose();
      if (this.#complaint === error.message) return;
      this.#complaint = error.message;
      this.#o.log.warn(`lease ${this.#o.namespace}/${this.#o.name} cannot be had; it is tried again`, { error });
    }
  }

  async #read(): Promise<Lease | undefined> {
    return (await getObject(this.#o.client, this.#path, this.#o.name)) as Lease | undefined;
  }

  #mayTake(lease: Lease | undefined, now: number): boolean {
    const { holderIdentity = "", leaseDurationSeconds = LEASE_SECONDS } = lease?.spec ?? {};
    if (holderIdentity === "" || holderIdentity === this.#o.identity) return true;
    const version = lease?.metadata.resourceVersion ?? "";
    if (this.#seen?.version !== version) this.#seen = { version, at: now };
    return now - this.#seen.at > leaseDurationSeconds * 1_000;
  }

  /** @param holder "" lets go of it */
  async #write(lease: Lease | undefined, holder: string): Promise<void> {
    const { name, namespace, client } = this.#o;
    const now = new Date().toISOString().replace("Z", "000Z");
    const { holderIdentity, leaseTransitions = 0, acquireTime = now } = lease?.spec ?? {};
    const same = holderIdentity === holder;
    const spec = {
      ...lease?.spec,
      holderIdentity: holder,
      leaseDurationSeconds: this.#leaseSeconds,
      acquireTime: same ? acquireTime : now,
      renewTime: now,
      leaseTransitions: same || !lease ? leaseTransitions : leaseTransitions + 1,
    };
    const object = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", spec };
    if (lease) await replaceObject(client, this.#path, { ...object, metadata: lease.metadata });
    else await createObject(client, this.#path, { ...object, metadata: { name, namespace } });
  }

  #hold(until: number): void {
    // It had run out, and the timer that says so is late: whoever hears of a new beginning has heard of the end.
    if (!this.leads) this.#lose();
    // Nor is there one when the answer has taken longer than it may be relied on.
    if (performance.now() >= until) return;
    const led = this.leads;
    this.#until = until;
    clearTimeout(this.#expiry);
    this.#expiry = setTimeout(() => this.#lose(), until - performance.now());
    if (!led) this.#o.onLead();
  }

  #lose(): void {
    clearTimeout(this.#expiry);
    if (this.#until === undefined) return;
    this.#until = undefined;
    this.#o.onLost();
  }
}
