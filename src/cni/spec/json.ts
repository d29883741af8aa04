/**
 * Reading values out of decoded JSON without trusting it: every reader names the key that it refuses, by its
 * full path ("runtimeConfig.ips[1]"), since that is what an operator can search for. Only own properties are
 * read, so that keys such as `__proto__` mean nothing. Hand-written rather than a schema library: the
 * plugin starts for every pod, and its start is most of its time.
 */
import { printable } from "../../addr/index.ts";
import { CniError, CODE } from "./errors.ts";
import { isObject, type Json } from "../../json/index.ts";

/** Deepest nesting of brackets that a request may have; a real one has about eight. */
const MAX_DEPTH = 64;

/** Refused value: code 7, or 2 where we understand the value but do not support it. */
export function refuse(path: string, value: unknown, expected: string, code: number = CODE.invalidConfig): CniError {
  let shown: string;
  try {
    shown = value === undefined ? "nothing" : JSON.stringify(value);
  } catch {
    shown = typeof value;
  }
  return new CniError(
    code,
    `network configuration key "${path}" is refused: ${printable(shown).replaceAll('\\"', '"')}`,
    `"${path}" must be ${expected}. Correct it in the network configuration (the conflist) or in what the runtime passes.`,
  );
}

/**
 * The own property of an object, as Go's decoder would find it, since runtimes and other plugins are written for
 * that: null counts as absent, and where no key is spelled exactly so, one in other case will do (containerd
 * sends `runtimeConfig.dns` as "Servers", "Searches", "Options").
 */
export function get(object: Json, key: string): unknown {
  let found = Object.hasOwn(object, key) ? key : undefined;
  if (found === undefined) {
    const lower = key.toLowerCase();
    found = Object.keys(object).findLast((other) => other.length === key.length && other.toLowerCase() === lower);
  }
  return found === undefined ? undefined : (object[found] ?? undefined);
}

/** An optional text. @throws CniError 7 */
export function optionalString(object: Json, key: string, path = key): string | undefined {
  const value = get(object, key);
  if (value !== undefined && typeof value !== "string") throw refuse(path, value, "a text");
  return value;
}

/** An optional object. @throws CniError 7 */
export function optionalObject(object: Json, key: string, path = key): Json | undefined {
  const value = get(object, key);
  if (value !== undefined && !isObject(value)) throw refuse(path, value, "an object");
  return value;
}

/** An optional list. @throws CniError 7 */
export function optionalList(object: Json, key: string, path = key): readonly unknown[] | undefined {
  const value = get(object, key);
  if (value !== undefined && !Array.isArray(value)) throw refuse(path, value, "a list");
  return value;
}

/** An optional list of texts. @throws CniError 7 */
export function optionalStrings(object: Json, key: string, path = key): string[] | undefined {
  return optionalList(object, key, path)?.map((item, i) => {
    if (typeof item !== "string") throw refuse(`${path}[${i}]`, item, "a text");
    return item;
  });
}

/** An optional whole number in a range. @throws CniError 7 */
export function optionalInteger(
  object: Json,
  key: string,
  { path = key, min, max }: { path?: string; min: number; max: number },
): number | undefined {
  const value = get(object, key);
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw refuse(path, value, `a whole number from ${min} to ${max}`);
  }
  return value;
}

/** What a parser makes of a value; its RangeError becomes a refusal that names the key. @throws CniError 7 */
export function parsed<T>(path: string, value: string, parse: (text: string) => T): T {
  try {
    return parse(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refuse(path, value, `valid: ${error.message}`);
  }
}

/** Whether brackets nest deeper than we ever walk; decided on the text, before anything recurses over it. */
function tooDeep(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (inString) {
      if (c === 0x5c) i++;
      else if (c === 0x22) inString = false;
    } else if (c === 0x22) inString = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > MAX_DEPTH) return true;
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
  return false;
}

/**
 * Decodes a request or a result.
 * @throws CniError 6 when it is not JSON, not an object, or nests deeper than any real one.
 */
export function decodeObject(text: string, what: string): Json {
  if (text.trim() === "") throw new CniError(CODE.decode, `${what} is empty`, "A JSON object is expected.");
  if (tooDeep(text)) throw new CniError(CODE.decode, `${what} nests more than ${MAX_DEPTH} levels deep`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CniError(CODE.decode, `${what} is not JSON`, error instanceof Error ? printable(error.message) : "");
  }
  if (!isObject(value)) throw new CniError(CODE.decode, `${what} is not a JSON object`, "A JSON object is expected.");
  return value;
}
