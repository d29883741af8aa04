/**
 * An error and everything that caused it as one readable sentence. The causes are where the answer is
 * ("cannot apply peer worker-2: EEXIST adding route …: File exists"), and most loggers lose them.
 */

const MAX_DEPTH = 8;
const MAX_SIBLINGS = 5;
/** Names that add nothing to a message written for a reader. */
const PLAIN_NAMES = new Set(["Error", "AggregateError"]);
/** Errors that mean a mistake in the program: their name says more than their message. */
const BUGS = new Set(["TypeError", "ReferenceError", "SyntaxError", "AssertionError", "EvalError"]);

/** Whether an error means a mistake in the program rather than a condition of the world: print its stack. */
export const isBug = (error: Error): boolean => BUGS.has(error.name);

/** The error's own `code` ("ENOENT"), where it has one. */
export function errorCode(error: Error): string | undefined {
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" ? code : undefined;
}

/**
 * `error: its cause: the cause of that`, with codes that the messages do not already contain. What is thrown
 * need not be an Error. The text may hold anything from outside: escape it before it reaches a terminal.
 */
export function errorText(error: unknown, depth = 0): string {
  if (!(error instanceof Error)) return typeof error === "string" ? error : String(error);
  const code = errorCode(error);
  let text = error.message || (PLAIN_NAMES.has(error.name) ? "" : error.name);
  if (isBug(error)) text = `${error.name}: ${error.message}`;
  if (code !== undefined && !text.includes(code)) text = text === "" ? code : `${text} (${code})`;
  if (depth >= MAX_DEPTH) return text || "error";
  if (error instanceof AggregateError && error.errors.length > 0) {
    const parts = error.errors.slice(0, MAX_SIBLINGS).map((one: unknown) => errorText(one, depth + 1));
    const more = error.errors.length - parts.length;
    const list = parts.join("; ") + (more > 0 ? `; and ${more} more` : "");
    text = text === "" ? list : `${text}: ${list}`;
  }
  if (error.cause !== undefined && error.cause !== null) {
    const cause = errorText(error.cause, depth + 1);
    if (!text.includes(cause)) text = text === "" ? cause : `${text}: ${cause}`;
  }
  return text || "error";
}
