/** What a reflector is told about the objects that it keeps, and how it may behave. */
import type { Kept } from "./changes.ts";
import type { KubeLog } from "./store.ts";
import type { ReadItem } from "../wire/list-wire.ts";
import type { ReflectorTimings } from "../client/timings.ts";

/** What is watched and how it is read. */
export interface Source<T> {
  /** For messages: "nodes". */
  what: string;
  path: string;
  /** Where an older version of the resource is, for servers that do not know the path. Same names, same objects. */
  olderPath?: string;
  query: Readonly<Record<string, string>>;
  /** What to ask for instead where the server cannot select by a field of `query`. */
  olderQuery?: Readonly<Record<string, string>>;
  /** Content types to ask for. */
  accept: { object: string; list: string; watch: string };
  /**
   * The first set may be what the server had in memory a moment ago, as the watch from there brings the rest. Later ones
   * may not: another server may be behind what was heard already.
   */
  firstFromMemory?: boolean;
  /** Cuts an object down. @throws TypeError when it makes no sense */
  transform: (object: unknown) => T;
  same: (a: T, b: T) => boolean;
  /** What the objects are in protobuf; their metadata alone by default. */
  read?: ReadItem;
  /** Whether an object belongs to the set: one that does not, or not any more, is as good as gone. All do by default. */
  belongs?: (object: T) => boolean;
  /** Where objects are kept of which there are very many; in a map by default. */
  kept?: () => Kept<T>;
  /** More missing objects than so many are not all asked for: see confirm.ts. */
  mostAsked?: number;
  /** What follows where the server does not let us read the objects: then that is an error, and not only a warning. */
  consequence?: string;
  /** The server need not know the resource at all: then there are none, and it is looked for from time to time. */
  optional?: boolean;
  /** How long until it is looked for again, in milliseconds, up to twice that at random; `absentMs` of the timings by default. */
  absentMs?: () => number | undefined;
}

export interface ReflectorOptions {
  log?: KubeLog;
  timings?: Partial<ReflectorTimings>;
}

/** Path of one object, by its key (changes.ts), of a collection that may span namespaces. */
export function objectPath(collection: string, key: string): string {
  const [name = "", namespace] = key.split("/").toReversed();
  if (namespace === undefined) return `${collection}/${encodeURIComponent(name)}`;
  const at = collection.lastIndexOf("/");
  const inside = `${collection.slice(0, at)}/namespaces/${encodeURIComponent(namespace)}${collection.slice(at)}`;
  return `${inside}/${encodeURIComponent(name)}`;
}
