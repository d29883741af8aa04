/**
 * Interfaces chosen by a regular expression from the configuration. A JavaScript expression can take exponential
 * time even on 15 characters (`(a|a|a)*b`), and nothing interrupts it on the main thread but V8's own watchdog, so
 * matching runs under that with a hard limit. The watchdog goes by the clock on the wall: on a busy machine it also ends what had hardly begun,
 * and that is tried again.
 */
import vm from "node:vm";

/** Longest accepted expression, in characters. */
export const MAX_PATTERN_LENGTH = 128;
/** Longest interface name that Linux has (IFNAMSIZ less the terminating zero). */
const MAX_INTERFACE_NAME = 15;
const MATCH_LIMIT_MS = 100;
/** How often the watchdog may end what had no processor; each time it waits twice as long as the time before. */
const MOST_ATTEMPTS = 6;

/** Whether text is an expression that may be used at all. @throws RangeError saying why not. */
export function checkPattern(pattern: string): string {
  matchInterfaces(pattern, []);
  return pattern;
}

/**
 * The names that the whole expression matches (it is anchored at both ends), in the given order.
 * @throws RangeError when it is no expression, is too long, or takes more than 100 ms of a processor for all names together.
 */
export function matchInterfaces(pattern: string, names: readonly string[]): string[] {
  if (pattern === "" || pattern.length > MAX_PATTERN_LENGTH) {
    throw new RangeError(`an interface expression has 1 to ${MAX_PATTERN_LENGTH} characters, not ${pattern.length}`);
  }
  const candidates = names.filter((name) => name.length <= MAX_INTERFACE_NAME);
  try {
    // Alone first: ")|(" is an expression only together with what stands around it.
    const expression = new RegExp(`^(?:${new RegExp(pattern, "u").source})$`, "u");
    return withinProcessorTime((timeout) => {
      const sandbox = { matches: (name: string) => expression.test(name), candidates, found: [] as string[] };
      vm.runInNewContext("for (const name of candidates) if (matches(name)) found.push(name)", sandbox, { timeout });
      return sandbox.found;
    });
  } catch (error) {
    const tooLong = error instanceof TookTooLong || isTimeout(error);
    const why = tooLong ? `takes more than ${MATCH_LIMIT_MS} ms to match` : (error as Error).message;
    throw new RangeError(`interface expression ${JSON.stringify(pattern)}: ${why}`, { cause: error });
  }
}

const isTimeout = (error: unknown): boolean => (error as { code?: unknown }).code === "ERR_SCRIPT_EXECUTION_TIMEOUT";

/** It came to its end, under a watchdog that waited longer, and had more of the processor than it may. */
class TookTooLong extends Error {}

/**
 * Runs something that may take 100 ms of this thread's processor time, and what it takes on the wall.
 * @param run under a watchdog of so many milliseconds @param used processor time of this thread until now, in milliseconds
 * @throws what `run` throws; its timeout when it had the processor for as long, or never got it; an error when it came to its end and had it for longer
 */
export function withinProcessorTime<T>(run: (timeoutMs: number) => T, used: () => number = threadTime): T {
  for (let attempt = 1, timeout = MATCH_LIMIT_MS; ; attempt++, timeout *= 2) {
    const before = used();
    try {
      const result = run(timeout);
      if (used() - before > MATCH_LIMIT_MS) throw new TookTooLong(`took more than ${MATCH_LIMIT_MS} ms of a processor`);
      return result;
    } catch (error) {
      if (!isTimeout(error) || attempt === MOST_ATTEMPTS || used() - before >= MATCH_LIMIT_MS / 2) throw error;
    }
  }
}

function threadTime(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
