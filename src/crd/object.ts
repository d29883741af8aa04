/** Reading objects of the API server strictly: whoever may write them can write anything, on servers that check less than others. */
import { printable } from "../addr/index.ts";
import { isObject, type Json } from "../json/index.ts";

/** A value that an object may not have. The message names object and key. */
export class ObjectError extends TypeError {
  override readonly name = "ObjectError";
}

/** A value as text for an error: short, on one line, nothing that a terminal would obey. */
export function shown(value: unknown): string {
  const text = typeof value === "string" ? `"${printable(value)}"` : printable(JSON.stringify(value) ?? "nothing");
  return (typeof value === "string" ? text : text.replaceAll('\\"', '"')).slice(0, 100);
}

/** @throws ObjectError */
export function refuseKey(what: string, key: string, value: unknown, wanted: string): never {
  throw new ObjectError(`${what}: ${key} is ${shown(value)}; it must be ${wanted}`);
}

/** What every object of ours has. */
export interface Meta {
  name: string;
  uid: string;
  resourceVersion: string;
  /** RFC 3339. */
  creationTimestamp: string;
}

/** @param kind for messages. @throws ObjectError */
export function metaOf(object: unknown, kind: string): Meta {
  const metadata = isObject(object) ? object["metadata"] : undefined;
  if (!isObject(metadata)) throw new ObjectError(`${kind}: an object without metadata`);
  const creationTimestamp = textOf(kind, metadata, "metadata", "creationTimestamp");
  if (Number.isNaN(Date.parse(creationTimestamp)))
    refuseKey(kind, "metadata.creationTimestamp", creationTimestamp, "a time");
  return {
    name: textOf(kind, metadata, "metadata", "name"),
    uid: textOf(kind, metadata, "metadata", "uid"),
    resourceVersion: textOf(kind, metadata, "metadata", "resourceVersion"),
    creationTimestamp,
  };
}

/** What an object defines, or why it defines nothing: that is to be said in its status. @param parse throws ObjectError where it makes no sense */
export function infoOrFault<T>(parse: (object: unknown) => T, object: unknown): { info: T } | { fault: string } {
  try {
    return { info: parse(object) };
  } catch (error) {
    if (error instanceof ObjectError) return { fault: error.message };
    throw error;
  }
}

/** Whether `a` was made before `b`; by name where the API server's whole seconds do not tell. */
export function isOlder(a: Meta, b: Meta): boolean {
  const [x, y] = [Date.parse(a.creationTimestamp), Date.parse(b.creationTimestamp)];
  return x === y ? a.name < b.name : x < y;
}

/** Whether nothing changed but what the API server counts. */
export const sameObject = <T extends Meta>(a: T, b: T): boolean =>
  JSON.stringify({ ...a, resourceVersion: "" }) === JSON.stringify({ ...b, resourceVersion: "" });

/** `spec` of an object. @throws ObjectError */
export function specOf(object: unknown, what: string): Json {
  const spec = isObject(object) ? object["spec"] : undefined;
  return isObject(spec) ? spec : refuseKey(what, "spec", spec, "an object");
}

/** `status` of an object, empty where there is none yet. @throws ObjectError */
export function statusOf(object: unknown, what: string): Json {
  const status = isObject(object) ? (object["status"] ?? {}) : {};
  return isObject(status) ? status : refuseKey(what, "status", status, "an object");
}

/** A text that must be there. @param section where the key stands: "spec". @throws ObjectError */
export function textOf(what: string, from: Json, section: string, key: string): string {
  const value = from[key];
  return typeof value === "string" && value !== "" ? value : refuseKey(what, `${section}.${key}`, value, "a text");
}

/** A text that may be missing; empty is missing, as Go writes it. @throws ObjectError */
export function optionalTextOf(what: string, from: Json, section: string, key: string): string | undefined {
  const value = from[key];
  return value === undefined || value === null || value === "" ? undefined : textOf(what, from, section, key);
}

/** A list that may be missing. @throws ObjectError */
export function listOf(what: string, from: Json, section: string, key: string): unknown[] {
  const value = from[key] ?? [];
  return Array.isArray(value) ? (value as unknown[]) : refuseKey(what, `${section}.${key}`, value, "a list");
}

/** A whole number in a range, undefined where there is none. @param key with its section. @throws ObjectError */
export function wholeOf(what: string, value: unknown, key: string, min: number, max: number): number | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
    ? value
    : refuseKey(what, key, value, `a whole number from ${min} to ${max}`);
}

/** One of some words, the first by default. @throws ObjectError */
export function wordOf<T extends string>(what: string, spec: Json, key: string, words: readonly [T, ...T[]]): T {
  const value = spec[key] ?? words[0];
  return words.find((one) => one === value) ?? refuseKey(what, `spec.${key}`, value, words.join(" or "));
}

/** A value read by a parser of addresses, in canonical form. @throws ObjectError */
export function parsedOf(
  what: string,
  key: string,
  value: unknown,
  wanted: string,
  parse: (text: string) => string,
): string {
  if (typeof value !== "string") return refuseKey(what, key, value, wanted);
  try {
    return parse(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return refuseKey(what, key, value, `${wanted} (${error.message})`);
  }
}
