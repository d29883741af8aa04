/**
 * Interfaces chosen by a regular expression from the configuration. A JavaScript expression can take exponential
 * time even on 15 characters (`(a|a|a)*b`), and nothing interrupts it on the main thread but V8's own watchdog, so
 * matching runs under that with a hard limit.
 */
import vm from "node:vm";

/** Longest accepted expression, in characters. */
export const MAX_PATTERN_LENGTH = 128;
/** Longest interface name that Linux has (IFNAMSIZ less the terminating zero). */
const MAX_INTERFACE_NAME = 15;
const MATCH_LIMIT_MS = 100;

/** Whether text is an expression that may be used at all. @throws RangeError saying why not. */
export function checkPattern(pattern: string): string {
  matchInterfaces(pattern, []);
  return pattern;
}

/**
 * The names that the whole expression matches (it is anchored at both ends), in the given order.
 * @throws RangeError when it is no expression, is too long, or takes more than 100 ms for all names together.
 */
export function matchInterfaces(pattern: string, names: readonly string[]): string[] {
  if (pattern === "" || pattern.length > MAX_PATTERN_LENGTH) {
    throw new RangeError(`an interface expression has 1 to ${MAX_PATTERN_LENGTH} characters, not ${pattern.length}`);
  }
  const candidates = names.filter((name) => name.length <= MAX_INTERFACE_NAME);
  try {
    // Alone first: ")|(" is an expression only together with what stands around it.
    const expression = new RegExp(`^(?:${new RegExp(pattern, "u").source})$`, "u");
    const sandbox = { matches: (name: string) => expression.test(name), candidates, found: [] as string[] };
    vm.runInNewContext("for (const name of candidates) if (matches(name)) found.push(name)", sandbox, {
      timeout: MATCH_LIMIT_MS,
    });
    return sandbox.found;
  } catch (error) {
    const slow = (error as { code?: unknown }).code === "ERR_SCRIPT_EXECUTION_TIMEOUT";
    const why = slow ? `takes more than ${MATCH_LIMIT_MS} ms to match` : (error as Error).message;
    throw new RangeError(`interface expression ${JSON.stringify(pattern)}: ${why}`, { cause: error });
  }
}
