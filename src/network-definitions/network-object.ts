/** A PodNetwork as whoever writes its status reads it: with what cannot be understood of it, since that is to be said there. */
import { metaOf } from "../kube/index.ts";
import { infoOrFault, parsePodNetwork, type PodNetworkInfo } from "../crd/index.ts";
import type { Json } from "../json/index.ts";

/** One object, and what it defines or why it defines nothing. */
export interface NetworkObject {
  name: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  info?: PodNetworkInfo;
  fault?: string;
  status: Json;
  /** As it was read. */
  object: Json;
}

/** Reads one. @throws TypeError where it is no object of the API */
export function readNetworkObject(object: unknown): NetworkObject {
  const { name, uid, resourceVersion } = metaOf(object);
  const { metadata, status } = object as { metadata: Json; status?: unknown };
  const { generation } = metadata;
  return {
    name,
    uid,
    resourceVersion,
    ...(typeof generation === "number" && { generation }),
    ...infoOrFault(parsePodNetwork, object),
    status: typeof status === "object" && status !== null ? (status as Json) : {},
    object: object as Json,
  };
}
