/** What every control loop is made of: tasks that are run again, pauses after failures, what changed meanwhile, one thing at a time, and bounds. */
export { type RetryPause, Task } from "./task.ts";
export { Backoff, type BackoffOptions } from "./backoff.ts";
export { within } from "./deadline.ts";
export { KeyedMutex } from "./keyed-mutex.ts";
export { LONGEST_REST_MS, RepairRest, SETTLE_MS } from "./repair-rest.ts";
export { type Changed, DeltaTracker } from "./delta-tracker.ts";
export { TokenBucket } from "./token-bucket.ts";
export { Scheduler, type PassEnd } from "./scheduler.ts";
