/** What every control loop is made of: tasks that are run again, pauses after failures, what changed meanwhile, one thing at a time. */
export { type RetryPause, Task } from "./task.ts";
export { Backoff, type BackoffOptions } from "./backoff.ts";
export { within } from "./deadline.ts";
export { Turns } from "./keyed-mutex.ts";
export { type Changed, Ledger } from "./ledger.ts";
export { Pacer, type PassEnd } from "./pacer.ts";
