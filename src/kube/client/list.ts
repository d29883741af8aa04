/**
 * The whole set of objects at one moment, in one of two ways. A streaming list (WatchList) costs the API server least and
 * goes over into the watch without a gap; servers that do not know it give pages.
 */
import { ApiError } from "./api-error.ts";
import { type Answer, jsonOf, type KubeClient } from "./client.ts";
import { type ReadItem, readWireList } from "../wire/list-wire.ts";
import { metadataOf } from "../informer/transform.ts";

const PAGE = "500";
/** A server that answers from memory gives no pages: 60,000 Nodes at once are 150 MB. */
const PAGE_MS = 60_000;
/** More pages than any cluster has nodes: a server that never stops giving a continue token. */
const MAX_PAGES = 1000;

/** Annotation of the bookmark that ends the initial events of a streaming list. */
const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

/** Query of a watch that begins with the whole set. */
export const WATCH_LIST_QUERY: Readonly<Record<string, string>> = {
  sendInitialEvents: "true",
  resourceVersionMatch: "NotOlderThan",
};

/** The server took the request for a streaming list as a plain watch. */
export class NoWatchList extends Error {
  constructor(options?: ErrorOptions) {
    super("the initial events had no end", options);
    this.name = "NoWatchList";
  }

  /** Whether a failure means that the server does not know, or does not want, streaming lists. */
  static isMeantBy(error: unknown): boolean {
    if (error instanceof ApiError) return [400, 405, 406, 415, 422, 501].includes(error.status);
    return error instanceof NoWatchList;
  }
}

/** Whether a bookmark says that the initial events are complete. */
export function endsInitialEvents(bookmark: unknown): boolean {
  const annotations = metadataOf(bookmark)["annotations"];
  return (annotations as Record<string, unknown> | undefined)?.[INITIAL_EVENTS_END] === "true";
}

/** The resourceVersion of an object, a bookmark or a list; "" when it has none. */
export function versionOf(object: unknown): string {
  const version = metadataOf(object)["resourceVersion"];
  return typeof version === "string" ? version : "";
}

/** Whether a resourceVersion is older than another; false where they are no numbers, for then they only compare as equal. */
export const goesBack = (known: string, next: string): boolean =>
  /^\d+$/.test(known) && /^\d+$/.test(next) && (next.length - known.length || (next < known ? -1 : 0)) < 0;

/** What to list. */
export interface ListOptions {
  path: string;
  query: Readonly<Record<string, string>>;
  accept: string;
  /** The server may answer from memory with what it had a moment ago, which costs it least (`resourceVersion=0`). */
  fromMemory?: boolean;
  signal: AbortSignal;
  onItem: (item: unknown) => void;
  /** What the objects are in protobuf; their metadata alone by default. */
  read?: ReadItem | undefined;
}

/**
 * Lists page by page.
 * @returns the resourceVersion to watch from.
 * @throws ApiError; `isExpired` when a continue token has become too old, and the whole list must be begun anew.
 */
export async function listPages(client: KubeClient, options: ListOptions): Promise<string> {
  const { path, accept, signal, onItem } = options;
  let token = "";
  for (let page = 0; page < MAX_PAGES; page++) {
    const next = token === "" ? (options.fromMemory ? { resourceVersion: "0" } : {}) : { continue: token };
    const query = { ...options.query, limit: PAGE, ...next };
    const list = await client.read({ path, query, accept, signal, timeoutMs: PAGE_MS }, (answer) =>
      answer.wire ? readWireList(answer.body, onItem, options.read) : readList(answer, path, onItem),
    );
    if (list.resourceVersion === "") throw noList(path, "the list has no resourceVersion");
    if (list.continue === "") return list.resourceVersion;
    token = list.continue;
  }
  throw noList(path, `the list has more than ${MAX_PAGES} pages`);
}

const noList = (path: string, message: string): ApiError => new ApiError(`listing ${path}`, 0, { message });
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

async function readList(
  { body }: Answer,
  path: string,
  onItem: (item: unknown) => void,
): Promise<{ resourceVersion: string; continue: string }> {
  const answer = (await jsonOf(body)) as Record<string, unknown> | null;
  const items = answer?.["items"];
  // Go writes an empty list as null; an answer without the key is no list.
  if (items !== null && !Array.isArray(items)) throw noList(path, "the answer is no list");
  for (const item of items ?? []) onItem(item);
  const metadata = (answer?.["metadata"] ?? {}) as Record<string, unknown>;
  return { resourceVersion: textOf(metadata["resourceVersion"]), continue: textOf(metadata["continue"]) };
}
