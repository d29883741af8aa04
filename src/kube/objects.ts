/**
 * Single objects of the API server, of whatever kind: the requests that everything which writes objects is made of. Each is
 * one request and never repeats itself: whether to try again is for those who know what the object is for.
 */
import { ApiError } from "./client/api-error.ts";
import type { KubeClient } from "./client/client.ts";
import { METADATA_ONLY } from "./nodes/nodes.ts";
import type { Json } from "../json/index.ts";

/** How long one answer may take, in milliseconds. */
const TIMEOUT_MS = 10_000;
/** Objects a page. */
const PAGE = "500";
/** More pages than there can be objects: a server that never stops giving a continue token. */
const MAX_PAGES = 1000;

/** An object as it is written: it has its name inside. */
export type Writable = Json & { readonly metadata?: unknown };

const MERGE_PATCH = "application/merge-patch+json";
const pathOf = (collection: string, name: string): string => `${collection}/${encodeURIComponent(name)}`;

/** An object; undefined when there is none of that name. @param accept content type. @throws ApiError */
export async function getObject(
  client: KubeClient,
  collection: string,
  name: string,
  accept = "application/json",
): Promise<unknown> {
  try {
    return await client.json({ path: pathOf(collection, name), accept, timeoutMs: TIMEOUT_MS });
  } catch (error) {
    if (error instanceof ApiError && error.isGone(name)) return undefined;
    throw error;
  }
}

/**
 * All objects with a label, as they are now: from the API server's storage and not from a cache of it.
 * @throws ApiError; `isExpired` when it took so long that the list must be begun anew
 */
export const listObjects = (client: KubeClient, collection: string, labelSelector?: string): Promise<unknown[]> =>
  listPaged(client, collection, { labelSelector, limit: PAGE });

/** All objects with a label as the API server's cache has them, which costs its storage nothing and may be behind. @throws ApiError */
export const listRemembered = (client: KubeClient, collection: string, labelSelector: string): Promise<unknown[]> =>
  listPaged(client, collection, { labelSelector, resourceVersion: "0" });

async function listPaged(
  client: KubeClient,
  collection: string,
  wanted: Readonly<Record<string, string | undefined>>,
): Promise<unknown[]> {
  const items: unknown[] = [];
  let token: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    // Where the list goes on, the token says of which version it is.
    const query = token === undefined ? wanted : { ...wanted, resourceVersion: undefined, continue: token };
    const list = (await client.json({ path: collection, query, timeoutMs: TIMEOUT_MS })) as Json | null;
    const found = list?.["items"];
    // Go writes an empty list as null; an answer without the key is no list.
    if (found !== null && !Array.isArray(found))
      throw new ApiError(`listing ${collection}`, 0, { message: "the answer is no list" });
    items.push(...((found ?? []) as unknown[]));
    const next = (list?.["metadata"] as Json | undefined)?.["continue"];
    if (typeof next !== "string" || next === "") return items;
    token = next;
  }
  throw new ApiError(`listing ${collection}`, 0, { message: `the list has more than ${MAX_PAGES} pages` });
}

/**
 * Creates an object and returns it as it is now.
 * @throws ApiError; `reason` "AlreadyExists" when there is one of its name; status 0 when nobody knows what came of it
 */
export const createObject = (client: KubeClient, collection: string, object: Writable): Promise<unknown> =>
  client.json({ method: "POST", path: collection, body: object, timeoutMs: TIMEOUT_MS });

/**
 * Replaces an object that was read before and returns it as it is now. Its `metadata` must have the resourceVersion that was
 * read: without one the API server would let it overwrite what others have written meanwhile.
 * @throws ApiError; `reason` "Conflict" when it has been changed since. RangeError when name or resourceVersion are missing
 */
export function replaceObject(client: KubeClient, collection: string, object: Writable): Promise<unknown> {
  const { name, resourceVersion } = (object.metadata ?? {}) as Json;
  if (typeof name !== "string" || typeof resourceVersion !== "string" || resourceVersion === "")
    throw new RangeError(`an object of ${collection} is replaced by name and resourceVersion`);
  return client.json({ method: "PUT", path: pathOf(collection, name), body: object, timeoutMs: TIMEOUT_MS });
}

/**
 * Deletes the very object that has this uid.
 * @param resourceVersion where given, only the version of the object that was read is deleted
 * @returns whether it was there: false where it is gone, has been changed since, or another one has its name
 * @throws ApiError
 */
export async function deleteObject(
  client: KubeClient,
  collection: string,
  name: string,
  uid: string,
  resourceVersion?: string,
): Promise<boolean> {
  try {
    await client.json({
      method: "DELETE",
      path: pathOf(collection, name),
      body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid, resourceVersion } },
      timeoutMs: TIMEOUT_MS,
    });
    return true;
  } catch (error) {
    if (error instanceof ApiError && (error.isGone(name) || error.status === 409)) return false;
    throw error;
  }
}

/**
 * Changes the keys of an object's status that are named; null removes one, a list is replaced whole.
 * @param resourceVersion where given, only the version of the object that was read is changed
 * @throws ApiError; `reason` "Conflict" when it has been changed since
 */
export const patchStatus = (
  client: KubeClient,
  collection: string,
  name: string,
  status: Json,
  resourceVersion?: string,
): Promise<unknown> =>
  client.json({
    method: "PATCH",
    path: `${pathOf(collection, name)}/status`,
    contentType: MERGE_PATCH,
    body: { ...(resourceVersion !== undefined && { metadata: { resourceVersion } }), status },
    timeoutMs: TIMEOUT_MS,
  });

/** Sets annotations of an object, or with null removes them. @throws ApiError (status 404 when there is none) */
export const patchAnnotations = (
  client: KubeClient,
  collection: string,
  name: string,
  annotations: Readonly<Record<string, string | null>>,
): Promise<unknown> =>
  client.json({
    method: "PATCH",
    path: pathOf(collection, name),
    contentType: MERGE_PATCH,
    accept: METADATA_ONLY,
    body: { metadata: { annotations } },
    timeoutMs: TIMEOUT_MS,
  });

/**
 * Replaces the finalizers of the version of an object that was read.
 * @throws ApiError; 409 when it has been changed since, or is another one by now
 */
export const patchFinalizers = (
  client: KubeClient,
  collection: string,
  name: string,
  metadata: { uid: string; resourceVersion: string; finalizers: readonly string[] },
): Promise<unknown> =>
  client.json({
    method: "PATCH",
    path: pathOf(collection, name),
    contentType: MERGE_PATCH,
    accept: METADATA_ONLY,
    body: { metadata },
    timeoutMs: TIMEOUT_MS,
  });
