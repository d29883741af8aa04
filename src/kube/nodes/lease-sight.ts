/**
 * What one machine sees of another one's Lease, read from time to time. Clocks of nodes, API server and this machine may differ, so a
 * renewal is a change of `renewTime`, and its age follows from our own monotonic clock: between two renewals the time is the difference
 * of what the kubelet wrote, which is of one clock. Pure.
 */

/** How a kubelet stands by its lease. */
export type LeaseState =
  /** Seen to be renewed, and since then for less time than the lease lasts. */
  | "renewed"
  /** Read for the first time not long ago; it may have been renewed just before. */
  | "fresh"
  /** The same, but by this machine's clock it ran out before that: an old one, or a clock that is wrong. */
  | "doubtful"
  /** Unchanged for as long as it lasts. */
  | "over"
  /** The node has none. */
  | "none";

/** A lease as it was read. */
export interface ReadLease {
  /** Milliseconds since the epoch by the kubelet's clock, whichever that is. */
  renewTime: number;
  /** How long it lasts, in milliseconds. */
  lastsMs: number;
}

/** What is remembered of a lease. */
export interface LeaseSight extends ReadLease {
  state: Exclude<LeaseState, "none">;
  /** The latest time at which it can have been renewed, on our clock. */
  heardAt: number;
  /** When it was last read, on our clock. */
  readAt: number;
}

/** What `spec.leaseDurationSeconds` may be, in seconds; by default as kubelet's own (nodeLeaseDurationSeconds). */
const LASTS = { least: 10, most: 600, default: 40 } as const;

/** Reads the spec of a Lease; undefined where it was never renewed, or says nothing that makes sense. @param secondMs for tests: a second of leases */
export function readLease(object: unknown, secondMs = 1_000): ReadLease | undefined {
  const { spec } = (object ?? {}) as { spec?: { renewTime?: unknown; leaseDurationSeconds?: unknown } | null };
  const renewTime = typeof spec?.renewTime === "string" ? Date.parse(spec.renewTime) : Number.NaN;
  if (Number.isNaN(renewTime)) return undefined;
  const seconds = typeof spec?.leaseDurationSeconds === "number" ? spec.leaseDurationSeconds : LASTS.default;
  return { renewTime, lastsMs: Math.min(Math.max(seconds, LASTS.least), LASTS.most) * secondMs };
}

/**
 * What follows from reading a lease.
 * @param now on our monotonic clock. @param wallNow in milliseconds since the epoch, which decides nothing but how a first sight counts
 */
export function seeLease(before: LeaseSight | undefined, lease: ReadLease, now: number, wallNow: number): LeaseSight {
  if (!before) {
    const state = wallNow - lease.renewTime > lease.lastsMs ? "doubtful" : "fresh";
    return { ...lease, state, heardAt: now, readAt: now };
  }
  if (lease.renewTime === before.renewTime) {
    const state = now - before.heardAt > lease.lastsMs ? "over" : before.state;
    return { ...before, ...lease, state, readAt: now };
  }
  // Not before we read it last; a clock that was set meanwhile makes it later than it was, or as late as can be.
  const heardAt = Math.min(Math.max(before.heardAt + lease.renewTime - before.renewTime, before.readAt), now);
  return { ...lease, state: now - heardAt > lease.lastsMs ? "over" : "renewed", heardAt, readAt: now };
}

/** When to read it again, in milliseconds from `now`: when it would run out; one that is in doubt when a kubelet should have renewed it. */
export function nextLook({ state, heardAt, lastsMs }: LeaseSight, now: number): number {
  if (state === "renewed" || state === "fresh") return heardAt + lastsMs - now;
  return lastsMs / 4;
}
