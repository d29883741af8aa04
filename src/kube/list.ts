/**
 * The whole set of objects at one moment, in one of two ways. A streaming list (WatchList) costs the API server least and
 * goes over into the watch without a gap; servers that do not know it give pages.
 */
import { ApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { metadataOf } from "./slim.ts";

const PAGE = "500";
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
  signal: AbortSignal;
  onItem: (item: unknown) => void;
}

/**
 * Lists page by page.
 * @returns the resourceVersion to watch from.
 * @throws ApiError; `isExpired` when a continue token has become too old, and the whole list must be begun anew.
 */
export async function listPages(client: KubeClient, options: ListOptions): Promise<string> {
  const { path, accept, signal, onItem } = options;
  let token: string | undefined;
  let version = "";
  for (let page = 0; page < MAX_PAGES; page++) {
    const query = { ...options.query, limit: PAGE, continue: token };
    const answer = (await client.json({ path, query, accept, signal })) as Record<string, unknown> | null;
    const items = answer?.["items"];
    const metadata = (answer?.["metadata"] ?? {}) as Record<string, unknown>;
    // Go writes an empty list as null; an answer without the key is no list.
    if (items !== null && !Array.isArray(items))
      throw new ApiError(`listing ${path}`, 0, { message: "the answer is no list" });
    for (const item of items ?? []) onItem(item);
    version = typeof metadata["resourceVersion"] === "string" ? metadata["resourceVersion"] : "";
    if (version === "") throw new ApiError(`listing ${path}`, 0, { message: "the list has no resourceVersion" });
    const next = metadata["continue"];
    if (typeof next !== "string" || next === "") return version;
    token = next;
  }
  throw new ApiError(`listing ${path}`, 0, { message: `the list has more than ${MAX_PAGES} pages` });
}
