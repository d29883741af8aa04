/** Reading objects of the API server strictly: whoever may write them can write anything. */
import { printable } from "../addr/index.ts";

/** Group and version of Skylane's own objects. */
export const GROUP = "skylane.dev";
export const API_VERSION = `${GROUP}/v1alpha1`;
/** Path of their collections that are not in namespaces. */
export const BASE_PATH = `/apis/${API_VERSION}`;

export type Json = Readonly<Record<string, unknown>>;

/** A value that an object may not have. The message names object and key. */
export class ObjectError extends TypeError {
  override readonly name = "ObjectError";
}

export const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A key's value as text, for an error. */
const shown = (value: unknown): string => printable(JSON.stringify(value) ?? "nothing").slice(0, 100);

/** @throws ObjectError */
export function refuseKey(what: string, key: string, value: unknown, wanted: string): never {
  throw new ObjectError(`${what}: ${key} is ${shown(value)}; it must be ${wanted}`);
}

/** What every object has. @throws ObjectError */
export interface Meta {
  name: string;
  uid: string;
  resourceVersion: string;
  /** RFC 3339. */
  creationTimestamp: string;
  labels: Readonly<Record<string, string>>;
}

/** @param kind for messages. @throws ObjectError */
export function metaOf(object: unknown, kind: string): Meta {
  const metadata = isObject(object) ? object["metadata"] : undefined;
  if (!isObject(metadata)) throw new ObjectError(`${kind}: an object without metadata`);
  const text = (key: string): string => {
    const value = metadata[key];
    return typeof value === "string" && value !== "" ? value : refuseKey(kind, `metadata.${key}`, value, "a text");
  };
  const labels = isObject(metadata["labels"]) ? metadata["labels"] : {};
  return {
    name: text("name"),
    uid: text("uid"),
    resourceVersion: text("resourceVersion"),
    creationTimestamp: text("creationTimestamp"),
    labels: Object.fromEntries(
      Object.entries(labels).filter((pair): pair is [string, string] => typeof pair[1] === "string"),
    ),
  };
}

/** `spec` of an object. @throws ObjectError */
export function specOf(object: unknown, what: string): Json {
  const spec = isObject(object) ? object["spec"] : undefined;
  return isObject(spec) ? spec : refuseKey(what, "spec", spec, "an object");
}

/** A whole number in a range, or `otherwise` where there is none. @throws ObjectError */
export function wholeOf(
  what: string,
  spec: Json,
  key: string,
  range: { min: number; max: number },
): number | undefined {
  const value = spec[key];
  if (value === undefined) return undefined;
  const { min, max } = range;
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
    ? value
    : refuseKey(what, `spec.${key}`, value, `a whole number from ${min} to ${max}`);
}

/** One of some words, the first by default. @throws ObjectError */
export function wordOf<T extends string>(what: string, spec: Json, key: string, words: readonly [T, ...T[]]): T {
  const value = spec[key] ?? words[0];
  const word = words.find((one) => one === value);
  return word ?? refuseKey(what, `spec.${key}`, value, words.join(" or "));
}
