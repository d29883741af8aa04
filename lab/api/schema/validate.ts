/**
 * The metadata of an object: its shape (a wrong type is a 400, as a decoding failure of the real server) and its
 * rules (a 422 that lists every problem). Null values of labels and annotations become empty strings, as Go
 * decodes them.
 */
import { badRequest, conflict, invalid, MODIFIED } from "../errors.ts";
import { labelProblem, labelValueProblem, qualifiedNameProblem, subdomainProblem } from "../names.ts";
import {
  apiVersionOf,
  type FieldProblem,
  isObject,
  type Json,
  type JsonObject,
  type KubeObject,
  type Metadata,
  type ResourceType,
} from "../types.ts";

/** All annotations of an object together, keys and values (apimachinery's TotalAnnotationSizeLimitB). */
const ANNOTATIONS_LIMIT_BYTES = 256 * 1024;

const TEXT_FIELDS = ["name", "namespace", "generateName", "uid", "resourceVersion"] as const;

/**
 * Takes a decoded body for an object of a type. Throws 400 for another kind or apiVersion and for metadata of a
 * wrong type.
 */
export function decodeObject(type: ResourceType, body: Json): KubeObject {
  if (!isObject(body)) throw badRequest(`couldn't get version/kind; json parse error: body is not an object`);
  const apiVersion = body.apiVersion ?? apiVersionOf(type);
  const kind = body.kind ?? type.kind;
  if (apiVersion !== apiVersionOf(type) || kind !== type.kind) {
    throw badRequest(
      `${typeof kind === "string" ? kind : JSON.stringify(kind)} in version ${JSON.stringify(apiVersion)} cannot be handled as a ${type.kind}: ` +
        `expected ${type.kind} in version ${JSON.stringify(apiVersionOf(type))}`,
    );
  }
  const metadata = decodeMetadata(type, body.metadata ?? {});
  const { kind: _kind, apiVersion: _apiVersion, metadata: _metadata, ...rest } = body;
  return { kind: type.kind, apiVersion: apiVersionOf(type), metadata, ...rest };
}

function decodeMetadata(type: ResourceType, value: Json): Metadata {
  if (!isObject(value)) throw undecodable(type, "ObjectMeta", value, "v1.ObjectMeta");
  const metadata: JsonObject = { ...value };
  for (const field of TEXT_FIELDS) {
    const text = metadata[field];
    if (text === undefined) continue;
    if (text === null || text === "") delete metadata[field];
    else if (typeof text !== "string") throw undecodable(type, `ObjectMeta.metadata.${field}`, text, "string");
  }
  for (const field of ["labels", "annotations"] as const) {
    const map = metadata[field];
    if (map === undefined) continue;
    if (map === null) delete metadata[field];
    else if (!isObject(map)) throw undecodable(type, `ObjectMeta.metadata.${field}`, map, "map[string]string");
    else metadata[field] = decodeMap(type, field, map);
  }
  for (const field of ["finalizers", "ownerReferences", "managedFields"] as const) {
    const list = metadata[field];
    if (list === undefined) continue;
    if (list === null || (Array.isArray(list) && list.length === 0)) delete metadata[field];
    else if (!Array.isArray(list)) throw undecodable(type, `ObjectMeta.metadata.${field}`, list, "[]string");
  }
  for (const item of Array.isArray(metadata.finalizers) ? metadata.finalizers : []) {
    if (typeof item !== "string") throw undecodable(type, "ObjectMeta.metadata.finalizers", item, "string");
  }
  return { ...metadata, name: typeof metadata.name === "string" ? metadata.name : "" };
}

function decodeMap(type: ResourceType, field: string, map: JsonObject): JsonObject | undefined {
  const entries = Object.entries(map).map(([key, value]): [string, string] => {
    if (value === null || value === undefined) return [key, ""];
    if (typeof value !== "string") throw undecodable(type, `ObjectMeta.metadata.${field}`, value, "string");
    return [key, value];
  });
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function undecodable(type: ResourceType, field: string, value: Json, wanted: string): Error {
  const got = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
  return badRequest(
    `${type.kind} in version ${JSON.stringify(apiVersionOf(type))} cannot be handled as a ${type.kind}: ` +
      `json: cannot unmarshal ${got} into Go struct field ${field} of type ${wanted}`,
  );
}

/** Throws 422 with every rule that the object breaks. `before` is the object that it replaces. */
export function validateObject(type: ResourceType, object: KubeObject, before?: KubeObject): void {
  const problems = [...metadataProblems(type, object.metadata), ...(type.validate?.(object, before) ?? [])];
  if (problems.length > 0) throw invalid(type, object.metadata.name, problems);
}

function metadataProblems(type: ResourceType, metadata: Metadata): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const bad = (field: string, value: string, problem: string | undefined): void => {
    if (problem === undefined) return;
    const message = `Invalid value: ${JSON.stringify(value)}: ${problem}`;
    problems.push({ field: `metadata.${field}`, reason: "FieldValueInvalid", message });
  };
  const { name, labels = {}, annotations = {}, finalizers = [] } = metadata;
  if (name === "") {
    const message = "Required value: name or generateName is required";
    problems.push({ field: "metadata.name", reason: "FieldValueRequired", message });
  } else {
    bad("name", name, type.labelName ? labelProblem(name) : subdomainProblem(name));
  }
  for (const [key, value] of Object.entries(labels)) {
    bad("labels", key, qualifiedNameProblem(key));
    bad("labels", value, labelValueProblem(value));
  }
  let size = 0;
  for (const [key, value] of Object.entries(annotations)) {
    bad("annotations", key, qualifiedNameProblem(key.toLowerCase()));
    size += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (size > ANNOTATIONS_LIMIT_BYTES) {
    const message = `Too long: may not be more than ${ANNOTATIONS_LIMIT_BYTES} bytes`;
    problems.push({ field: "metadata.annotations", reason: "FieldValueTooLong", message });
  }
  for (const finalizer of finalizers) bad("finalizers", finalizer, qualifiedNameProblem(finalizer));
  return problems;
}

/**
 * What an update may not change, and whether it is based on the current version. Throws 409 for another
 * resourceVersion or uid, 422 for an update without resourceVersion of a resource that demands one.
 */
export function checkAgainst(type: ResourceType, given: Metadata, current: KubeObject): void {
  const { name } = current.metadata;
  if (given.uid !== undefined && given.uid !== current.metadata.uid) {
    const problem = `Precondition failed: UID in precondition: ${given.uid}, UID in object meta: ${current.metadata.uid}`;
    throw conflict(type, name, problem);
  }
  if (given.resourceVersion !== undefined && given.resourceVersion !== "0") {
    if (given.resourceVersion !== current.metadata.resourceVersion) throw conflict(type, name, MODIFIED);
  } else if (type.versionedUpdate) {
    const message = `Invalid value: ${given.resourceVersion ?? "0x0"}: must be specified for an update`;
    throw invalid(type, name, [{ field: "metadata.resourceVersion", reason: "FieldValueInvalid", message }]);
  }
}
