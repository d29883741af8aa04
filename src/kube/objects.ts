/** Single objects of the API server, of whatever kind: the requests that everything which writes objects is made of. */
import { ApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";

/** How long one answer may take, in milliseconds. */
const TIMEOUT_MS = 10_000;
/** No more than this many are expected of a list of single pieces of work. */
const PAGE = 500;

type Json = Readonly<Record<string, unknown>>;

const pathOf = (collection: string, name: string): string => `${collection}/${encodeURIComponent(name)}`;

/** An object; undefined when there is none of that name. @throws ApiError */
export async function getObject(client: KubeClient, collection: string, name: string): Promise<unknown> {
  try {
    return await client.json({ path: pathOf(collection, name), timeoutMs: TIMEOUT_MS });
  } catch (error) {
    if (error instanceof ApiError && error.isGone(name)) return undefined;
    throw error;
  }
}

/** All objects with a label, as they are now: from the API server's storage and not from a cache of it. @throws ApiError */
export async function listObjects(client: KubeClient, collection: string, labelSelector: string): Promise<unknown[]> {
  const items: unknown[] = [];
  let token: string | undefined;
  do {
    const query = { labelSelector, limit: String(PAGE), ...(token && { continue: token }) };
    const list = (await client.json({ path: collection, query, timeoutMs: TIMEOUT_MS })) as Json;
    if (Array.isArray(list["items"])) items.push(...(list["items"] as unknown[]));
    const next = (list["metadata"] as Json | undefined)?.["continue"];
    token = typeof next === "string" && next !== "" ? next : undefined;
  } while (token !== undefined);
  return items;
}

/** Creates an object and returns it as it is now. @throws ApiError; status 409 when there is one of its name */
export const createObject = (client: KubeClient, collection: string, object: unknown): Promise<unknown> =>
  client.json({ method: "POST", path: collection, body: object, timeoutMs: TIMEOUT_MS });

/** Deletes the very object that has this uid; that it is gone already is fine. @throws ApiError */
export async function deleteObject(client: KubeClient, collection: string, name: string, uid: string): Promise<void> {
  try {
    await client.json({
      method: "DELETE",
      path: pathOf(collection, name),
      body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid } },
      timeoutMs: TIMEOUT_MS,
    });
  } catch (error) {
    // 409: another object has the name by now
    if (!(error instanceof ApiError && (error.isGone(name) || error.status === 409))) throw error;
  }
}

/** Changes a part of an object's status. @throws ApiError */
export async function patchStatus(client: KubeClient, collection: string, name: string, status: Json): Promise<void> {
  await client.json({
    method: "PATCH",
    path: `${pathOf(collection, name)}/status`,
    contentType: "application/merge-patch+json",
    body: { status },
    timeoutMs: TIMEOUT_MS,
  });
}

/** What an object says of itself. */
export interface ObjectMeta {
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
}

/** Labels and annotations of an object; undefined when there is none of that name. @throws ApiError */
export async function getMeta(client: KubeClient, collection: string, name: string): Promise<ObjectMeta | undefined> {
  const object = (await getObject(client, collection, name)) as { metadata?: Json } | undefined;
  if (object === undefined) return undefined;
  const texts = (value: unknown): Record<string, string> =>
    Object.fromEntries(
      Object.entries((value ?? {}) as Json).filter((pair): pair is [string, string] => typeof pair[1] === "string"),
    );
  return { labels: texts(object.metadata?.["labels"]), annotations: texts(object.metadata?.["annotations"]) };
}
