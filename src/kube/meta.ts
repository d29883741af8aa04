/** Metadata of any object: who it is, and what labels and annotations say of it. */
import type { KubeClient } from "./client/client.ts";
import { METADATA_ONLY } from "./nodes/nodes.ts";
import { getObject } from "./objects.ts";
import { metadataOf, transformIdentity } from "./informer/transform.ts";
import { isObject } from "../json/index.ts";

/** What an object says of itself. */
export interface ObjectMeta {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly creationTimestamp: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Path of the Namespaces. */
export const NAMESPACES = "/api/v1/namespaces";
/** Path of a namespace's Pods. */
export const podsOf = (namespace: string): string => `${NAMESPACES}/${encodeURIComponent(namespace)}/pods`;

/** Metadata of an object that is read as metadata alone or whole. @throws TypeError naming what is not as it must be */
export function metaOf(object: unknown): ObjectMeta {
  const metadata = metadataOf(object);
  return {
    ...transformIdentity(metadata),
    labels: texts(metadata["labels"]),
    annotations: texts(metadata["annotations"]),
  };
}

const texts = (value: unknown): Record<string, string> =>
  Object.fromEntries(
    Object.entries(isObject(value) ? value : {}).filter(
      (pair): pair is [string, string] => typeof pair[1] === "string",
    ),
  );

/**
 * Metadata of an object, and nothing else of it over the wire; undefined when there is none of that name.
 * @param collection for a Pod: `podsOf(namespace)`
 * @throws ApiError; TypeError when the answer makes no sense
 */
export async function getMeta(client: KubeClient, collection: string, name: string): Promise<ObjectMeta | undefined> {
  const object = await getObject(client, collection, name, METADATA_ONLY);
  return object === undefined ? undefined : metaOf(object);
}
