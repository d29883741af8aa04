/**
 * Waiting in tests for something that another process or the kernel brings about: a condition is looked at
 * again and again until it holds, for a bounded time. Where an event exists, wait for the event instead.
 */
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";

/** How many times slower than others this machine is said to be, at least 1. */
export const PATIENCE = Number(process.env["SKYLANE_TEST_PATIENCE"] ?? 1);

export interface EventuallyOptions {
  /** How long to go on looking, in milliseconds; 20,000 by default, which no machine that works needs: a test never ends by it unless it fails. */
  timeoutMs?: number;
  /** Pause between two looks, in milliseconds; 20 by default. */
  intervalMs?: number;
  /** What is being waited for, for the error. */
  message?: string;
}

/** Everything that a condition may give back; `void` is not among them, so that a forgotten `return` fails to compile. */
type Looked = string | number | bigint | boolean | symbol | object | null | undefined;

/**
 * Calls `look` until it returns something other than `false`, `undefined` or `null`, and returns that. A throw counts as
 * "not yet" and is the error's cause in the end.
 * @throws Error when the time is over, with the last thrown error or returned value.
 */
export async function eventually<T extends Looked>(
  look: () => T | Promise<T>,
  options: EventuallyOptions = {},
): Promise<Exclude<T, false | null | undefined>> {
  const { intervalMs = 20 } = options;
  const timeoutMs = (options.timeoutMs ?? 20_000) * PATIENCE;
  const end = performance.now() + timeoutMs;
  for (;;) {
    let last: { value: T } | { error: unknown };
    try {
      last = { value: await look() };
    } catch (error) {
      last = { error };
    }
    if ("value" in last && last.value !== false && last.value !== null && last.value !== undefined) {
      return last.value as Exclude<T, false | null | undefined>;
    }
    if (performance.now() >= end) {
      const what = options.message ?? "the condition did not come true";
      if ("error" in last) {
        const reason = last.error instanceof Error ? last.error.message : String(last.error);
        throw new Error(`${what} within ${timeoutMs} ms: ${reason}`, { cause: last.error });
      }
      throw new Error(`${what} within ${timeoutMs} ms (it was ${inspect(last.value)})`);
    }
    await delay(intervalMs);
  }
}

/** Calls `assertions` until it no longer throws. @throws Error with the last failure as its cause when the time is over. */
export async function eventuallyHolds(
  assertions: () => void | Promise<void>,
  options: EventuallyOptions = {},
): Promise<void> {
  await eventually(
    async () => {
      await assertions();
      return true;
    },
    { message: "the assertions did not hold", ...options },
  );
}
