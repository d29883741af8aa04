/**
 * Kubernetes objects as the API server sees them: JSON with typed metadata. Everything below the metadata stays
 * plain JSON, because the server serves any resource of its table and knows the insides of none.
 * Objects are immutable once stored: a change makes a new object that shares what did not change.
 */

/** Any JSON value. */
export type Json = string | number | boolean | null | Json[] | JsonObject;

/** A JSON object; absent keys read as undefined. */
export interface JsonObject {
  [key: string]: Json | undefined;
}

/** One field manager's entry in `metadata.managedFields` (server-side apply). */
export type ManagedFields = {
  manager: string;
  operation: "Apply" | "Update";
  apiVersion: string;
  time: string;
  fieldsType: "FieldsV1";
  fieldsV1: JsonObject;
  subresource?: string;
};

/** `metadata` of an object, as in meta/v1 ObjectMeta. */
export type Metadata = JsonObject & {
  name: string;
  namespace?: string;
  generateName?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: { [key: string]: string };
  annotations?: { [key: string]: string };
  finalizers?: string[];
  managedFields?: ManagedFields[];
};

/** A Kubernetes object. */
export type KubeObject = JsonObject & { apiVersion: string; kind: string; metadata: Metadata };

/** What an object is to a new one of the same name: for rules of one resource that the generic code cannot know. */
export interface FieldProblem {
  field: string;
  reason:
    | "FieldValueRequired"
    | "FieldValueInvalid"
    | "FieldValueForbidden"
    | "FieldValueTooLong"
    | "FieldValueTypeInvalid"
    | "FieldValueNotSupported";
  message: string;
}

/** A row of the resource table: everything the server knows of one kind of object. */
export interface ResourceType {
  /** API group; "" is the core group. */
  group: string;
  version: string;
  plural: string;
  singular: string;
  kind: string;
  namespaced: boolean;
  shortNames?: string[];
  /** Serves `/status`: updates of the main resource leave `status` alone, and the other way round. */
  status?: boolean;
  /** What a create does to a `status` in the body: nodes keep it (kubelet registers with it), most resources drop it. */
  statusOnCreate?: "keep" | "drop";
  /** Whether a write through `/status` may also change labels and annotations (true for core types, false for CRDs). */
  statusKeepsMetadata?: boolean;
  /** Keeps `metadata.generation`, raised when anything but metadata and status changes. */
  generation?: boolean;
  /** PUT of a missing object creates it (leases, events). */
  createOnUpdate?: boolean;
  /** PUT without resourceVersion is refused (leases, CRDs). */
  versionedUpdate?: boolean;
  /** DELETE answers with the object instead of a Status (pods, namespaces). */
  returnsDeleted?: boolean;
  /** Objects are removed this long after their creation (events). */
  lifetimeSeconds?: number;
  /** Names are labels (no dots) rather than subdomains. */
  labelName?: boolean;
  /** A custom resource: list items carry kind and apiVersion, and strategic merge patches are refused. */
  custom?: boolean;
  /** Paths that a fieldSelector may use beside metadata.name and metadata.namespace. */
  selectableFields?: string[];
  /** Fills in what the real server defaults, on a create (before is absent) or an update. Returns a new object. */
  defaults?(object: KubeObject, before?: KubeObject): KubeObject;
  /** Rules of this kind alone. */
  validate?(object: KubeObject, before?: KubeObject): FieldProblem[];
}

/** Whether a value is a JSON object (not null, not a list). */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value at a dotted path of field names, or undefined. */
export function valueAt(object: JsonObject, path: string): Json | undefined {
  let value: Json | undefined = object;
  for (const key of path.split(".")) {
    if (!isObject(value)) return undefined;
    value = value[key];
  }
  return value;
}

/** `<group>/<plural>`, the table's key; the core group has an empty name. */
export function resourceKey(type: Pick<ResourceType, "group" | "plural">): string {
  return `${type.group}/${type.plural}`;
}

/** `apiVersion` of objects of a type. */
export function apiVersionOf(type: Pick<ResourceType, "group" | "version">): string {
  return type.group === "" ? type.version : `${type.group}/${type.version}`;
}

/** Whether two JSON values are equal; the order of an object's keys does not count, absent and undefined are one. */
export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((value, index) => sameJson(value, b[index]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  for (const key in a) if (!sameJson(a[key], b[key])) return false;
  for (const key in b) if (b[key] !== undefined && a[key] === undefined) return false;
  return true;
}
