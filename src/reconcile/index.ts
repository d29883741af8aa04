/** What every control loop is made of: the one reconciler of entries, tasks that are run again, pauses after failures, what changed meanwhile, one thing at a time, and bounds. */
export { type RetryPause, Task } from "./task.ts";
export { Backoff, type BackoffOptions } from "./backoff.ts";
export { within } from "./deadline.ts";
export { KeyedMutex } from "./keyed-mutex.ts";
export { LONGEST_REST_MS, RepairRest, SETTLE_MS } from "./repair-rest.ts";
export { byKind, type Changed, DeltaTracker, type Entry, entryKey, kindOf, sameEntry } from "./delta-tracker.ts";
export { type EntryOperations, doubtAbout, type Plan, planAll, planChanges } from "./plan.ts";
export {
  type Ensured,
  type Ground,
  type PassReport,
  type ReconcileOptions,
  Reconciler,
  type Refused,
  WHOLE,
} from "./reconciler.ts";
export { TokenBucket } from "./token-bucket.ts";
