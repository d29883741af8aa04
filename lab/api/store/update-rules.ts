/**
 * What an update or a delete may touch: the system's own fields stay, status and the rest are written apart, the
 * generation follows the spec, preconditions hold.
 */
import { conflict, invalid } from "../errors.ts";
import { type KubeObject, type ResourceType, sameJson } from "../types.ts";

/** What a DELETE may demand of the object. */
export interface Preconditions {
  uid?: string;
  resourceVersion?: string;
}

/** An update's body with what a client cannot change put back. */
export function keepSystemFields(
  type: ResourceType,
  given: KubeObject,
  old: KubeObject,
  subresource?: string,
): KubeObject {
  const { uid, resourceVersion, creationTimestamp, deletionTimestamp, deletionGracePeriodSeconds } = old.metadata;
  const system = { uid, resourceVersion, creationTimestamp, deletionTimestamp, deletionGracePeriodSeconds };
  const names = { name: old.metadata.name, namespace: old.metadata.namespace, generation: old.metadata.generation };
  const metadata = { ...given.metadata, ...names, ...system };
  if (subresource === "status") {
    return { ...old, metadata: type.statusKeepsMetadata ? metadata : old.metadata, status: given.status };
  }
  return type.status ? { ...given, metadata, status: old.status } : { ...given, metadata };
}

/** What of a configuration an apply can reach: the status through its subresource, the rest without. */
export function reachable(type: ResourceType, config: KubeObject, subresource?: string): KubeObject {
  if (!type.status) return config;
  const { status, ...rest } = config;
  if (subresource !== "status") return { ...rest };
  const { name, namespace, uid, resourceVersion } = config.metadata;
  const metadata = type.statusKeepsMetadata ? config.metadata : { name, namespace, uid, resourceVersion };
  return { kind: config.kind, apiVersion: config.apiVersion, metadata, status };
}

/** The object with its generation raised, where more than metadata and status changed. */
export function raiseGeneration(type: ResourceType, old: KubeObject, after: KubeObject): KubeObject {
  if (!type.generation) return after;
  const { metadata: _oldMetadata, status: _oldStatus, ...oldSpec } = old;
  const { metadata, status: _status, ...spec } = after;
  if (sameJson(oldSpec, spec)) return after;
  return { ...after, metadata: { ...metadata, generation: (old.metadata.generation ?? 0) + 1 } };
}

/** Throws 422 for a finalizer added to an object that is being deleted. */
export function checkNewFinalizers(type: ResourceType, old: KubeObject, after: KubeObject): void {
  if (old.metadata.deletionTimestamp === undefined) return;
  const added = (after.metadata.finalizers ?? []).filter((name) => !(old.metadata.finalizers ?? []).includes(name));
  if (added.length === 0) return;
  const message = `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`;
  throw invalid(type, old.metadata.name, [{ field: "metadata.finalizers", reason: "FieldValueForbidden", message }]);
}

/** Throws 409 when the object is not the one that a DELETE means. */
export function checkPreconditions(type: ResourceType, object: KubeObject, wanted: Preconditions): void {
  const { name, uid, resourceVersion } = object.metadata;
  if (wanted.uid !== undefined && wanted.uid !== uid) {
    const problem = `the UID in the precondition (${wanted.uid}) does not match the UID in record (${uid}). The object might have been deleted and then recreated`;
    throw conflict(type, name, problem);
  }
  if (wanted.resourceVersion !== undefined && wanted.resourceVersion !== resourceVersion) {
    const problem = `the ResourceVersion in the precondition (${wanted.resourceVersion}) does not match the ResourceVersion in record (${resourceVersion}). The object might have been modified`;
    throw conflict(type, name, problem);
  }
}
