/** The two syntaxes of annotations that ask for interfaces: `blue, green@eth5` and a JSON list. Both give the same items. */
import { printable } from "../../addr/index.ts";
import { shown } from "../object.ts";
import { isObject, type Json } from "../../json/index.ts";

/** An annotation that cannot be meant. The message names it and what is wrong. */
export class SelectionError extends Error {
  override readonly name = "SelectionError";
}

/** An annotation and what may stand in it. */
export interface Syntax {
  /** The annotation's key, for messages. */
  key: string;
  /** Whether an item may name a namespace. */
  namespaces: boolean;
}

/** Longest text, in characters. */
const MAX_LENGTH = 16_384;

/** Its items; the short form is read as the JSON that says the same. @throws SelectionError */
export function readItems(syntax: Syntax, text: string): Json[] {
  const { key } = syntax;
  if (text.length > MAX_LENGTH) throw new SelectionError(`annotation ${key} is longer than ${MAX_LENGTH} characters`);
  if (text.trim() === "") return [];
  return text.trimStart().startsWith("[") ? readList(key, text) : text.split(",").map((one) => readShort(syntax, one));
}

function readShort({ key, namespaces }: Syntax, text: string): Json {
  const match = /^\s*(?:([^/@\s]+)\/)?([^/@\s]+)(?:@([^@\s]+))?\s*$/.exec(text);
  const [, namespace, name, ifname] = match ?? [];
  if (!match || (namespace !== undefined && !namespaces)) {
    const wanted = namespaces ? "[NAMESPACE/]NETWORK[@INTERFACE]" : "NETWORK or NETWORK@INTERFACE";
    throw new SelectionError(`annotation ${key}: ${shown(text)} is not ${wanted}`);
  }
  return {
    name,
    ...(namespace !== undefined && { namespace }),
    ...(ifname !== undefined && { interface: ifname }),
  };
}

function readList(key: string, text: string): Json[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SelectionError(`annotation ${key} is no JSON: ${printable((error as Error).message)}`, { cause: error });
  }
  return (value as unknown[]).map((one) => {
    if (!isObject(one)) throw new SelectionError(`annotation ${key}: ${shown(one)} is not an object with a name`);
    return one;
  });
}
