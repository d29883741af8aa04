/**
 * One function a verb: from a routed request to an answer. Everything that knows both HTTP and objects is here; the
 * functions below it know only one of the two.
 */
import type { IncomingMessage } from "node:http";
import { decodeBody, decodeJson, decodeYaml, mediaType, readBody } from "./body.ts";
import { ApiError, badRequest, invalidKind, unsupportedMediaType } from "../errors.ts";
import { inScope, listPage, parseListOptions } from "../store/list.ts";
import { listBytes, jsonBytes, negotiate, objectBytes, typeOf } from "./negotiate.ts";
import { jsonPatch } from "../patch/patch-json.ts";
import { mergePatch } from "../patch/patch-merge.ts";
import { strategicMergePatch } from "../patch/patch-strategic.ts";
import { objectKey, type Registry, type WriteOptions } from "../registry.ts";
import type { RequestInfo } from "./router.ts";
import type { Store } from "../store/store.ts";
import { apiVersionOf, isObject, type Json, type JsonObject, type KubeObject, type ResourceType } from "../types.ts";
import type { Preconditions } from "../store/update-rules.ts";
import { decodeObject } from "../schema/validate.ts";
import type { Version } from "../store/version.ts";

/** A request on a resource with everything it needs. */
export interface Call {
  request: IncomingMessage;
  info: RequestInfo & { type: ResourceType };
  query: URLSearchParams;
  store: Store;
  registry: Registry;
  watchList: boolean;
  freshnessTimeoutMs: number;
  narrow: (items: Version[]) => Version[];
}

/** A finished answer. */
export interface Answer {
  code: number;
  body: Buffer;
  /** Its Content-Type; JSON when absent. */
  type?: string;
}

/** The verbs but watch. */
export const HANDLERS: Record<string, (call: Call) => Promise<Answer>> = {
  get,
  list,
  create,
  update,
  patch,
  delete: remove,
  deletecollection: removeAll,
};

async function get(call: Call): Promise<Answer> {
  const { info, query, store, registry } = call;
  const projection = negotiate(call.request.headers.accept, "object", info.type.kind);
  await store.waitFor(Number(query.get("resourceVersion") ?? "0") || 0, call.freshnessTimeoutMs);
  return { code: 200, body: objectBytes(registry.get(info.type, keyOf(info)), projection), type: typeOf(projection) };
}

async function list(call: Call): Promise<Answer> {
  const { info, query, store } = call;
  const projection = negotiate(call.request.headers.accept, "list", info.type.kind);
  const options = parseListOptions(info.type, query, call, info);
  const page = await listPage(store, info.type, info, options, call.freshnessTimeoutMs, call.narrow);
  return { code: 200, body: listBytes(info.type, page, projection), type: typeOf(projection) };
}

async function create(call: Call): Promise<Answer> {
  const { type } = call.info;
  const object = await bodyObject(call);
  return written(call, call.registry.create(type, object, writeOptions(call)), true);
}

async function update(call: Call): Promise<Answer> {
  const { info, registry } = call;
  const object = await bodyObject(call);
  checkName(object, info.name ?? "");
  const { version, created } = registry.update(info.type, keyOf(info), object, writeOptions(call));
  return written(call, version, created);
}

async function patch(call: Call): Promise<Answer> {
  const { info, registry, query } = call;
  const { type } = info;
  const kind = mediaType(call.request);
  const bytes = await readBody(call.request);
  if (kind === "application/apply-patch+yaml") return apply(call, decodeYaml(bytes));
  const change = patchFunction(type, kind);
  if (query.has("force")) {
    throw patchOptions("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch");
  }
  const body = decodeJson(bytes);
  const version = registry.modify(
    type,
    keyOf(info),
    (before) => {
      const after = decodePatched(type, change(before, body));
      checkName(after, info.name ?? "");
      return after;
    },
    writeOptions(call),
  );
  return written(call, version, false);
}

function apply(call: Call, body: Json): Answer {
  const { info, registry, query } = call;
  if (isObject(body) && isObject(body.metadata) && body.metadata.managedFields !== undefined) {
    throw badRequest("metadata.managedFields must be nil");
  }
  if (isObject(body) && (body.apiVersion === undefined || body.kind === undefined)) {
    throw badRequest("invalid object type: an apply patch needs apiVersion and kind");
  }
  const config = decodeObject(info.type, body);
  if (config.metadata.name === "") config.metadata.name = info.name ?? "";
  if (info.namespace !== undefined) config.metadata.namespace ??= info.namespace;
  checkName(config, info.name ?? "");
  checkNamespace(config, info.namespace);
  const manager = query.get("fieldManager") ?? "";
  if (manager === "") {
    throw patchOptions("fieldManager", "FieldValueRequired", "Required value: is required for apply patch");
  }
  const options = { ...writeOptions(call), force: query.get("force") === "true" };
  const { version, created } = registry.apply(info.type, keyOf(info), config, options);
  return written(call, version, created);
}

async function remove(call: Call): Promise<Answer> {
  const { info, registry } = call;
  const options = await deleteOptions(call);
  const { version, removed } = registry.delete(info.type, keyOf(info), options.preconditions, options.dryRun);
  const { type } = info;
  if (!removed || type.returnsDeleted) return written(call, version, false);
  const { name, uid } = version.object.metadata;
  const details: JsonObject = { name, ...(type.group === "" ? {} : { group: type.group }), kind: type.plural, uid };
  return { code: 200, body: jsonBytes({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details }) };
}

async function removeAll(call: Call): Promise<Answer> {
  const { info, registry, store } = call;
  const projection = negotiate(call.request.headers.accept, "list", info.type.kind);
  const { preconditions, dryRun } = await deleteOptions(call);
  const options = parseListOptions(info.type, call.query, call, info);
  const chosen = store.list(info.type).filter((version) => inScope(version, info) && options.selects(version.object));
  const items = chosen.map(({ key }) => registry.delete(info.type, key, preconditions, dryRun).version);
  const page = { items, resourceVersion: store.resourceVersion, continue: "", remaining: undefined };
  return { code: 200, body: listBytes(info.type, page, projection), type: typeOf(projection) };
}

function written(call: Call, version: Version, created: boolean): Answer {
  const projection = negotiate(call.request.headers.accept, "object", call.info.type.kind);
  return { code: created ? 201 : 200, body: objectBytes(version, projection), type: typeOf(projection) };
}

async function bodyObject(call: Call): Promise<KubeObject> {
  const { info, request } = call;
  // An answer that cannot be given must not be found out after the write.
  negotiate(request.headers.accept, "object", info.type.kind);
  const object = decodeObject(info.type, decodeBody(await readBody(request), mediaType(request)));
  if (info.namespace !== undefined) object.metadata.namespace ??= info.namespace;
  checkNamespace(object, info.namespace);
  // Who manages what is found out here; a body's own account of it is not believed.
  delete object.metadata.managedFields;
  return object;
}

function patchFunction(type: ResourceType, kind: string): (before: KubeObject, body: Json) => Json {
  const accepted = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
  if (kind === "application/json-patch+json") return jsonPatch;
  if (kind === "application/merge-patch+json") return mergePatch;
  if (kind === "application/strategic-merge-patch+json" && !type.custom) {
    return (before, body) => strategicMergePatch(type, before, body);
  }
  throw unsupportedMediaType(type.custom ? accepted : [...accepted, "application/strategic-merge-patch+json"]);
}

/** A patch that makes nonsense of the object is a 422 on the patch, not a malformed request. */
function decodePatched(type: ResourceType, patched: Json): KubeObject {
  try {
    return decodeObject(type, patched);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const message = `Invalid value: ${JSON.stringify(JSON.stringify(patched).slice(0, 1000))}: ${error.message}`;
    throw invalidKind("", "", "", [{ field: "patch", reason: "FieldValueInvalid", message }]);
  }
}

function checkName(object: KubeObject, name: string): void {
  const given = object.metadata.name;
  if (given === name) return;
  if (given === "") {
    throw badRequest(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
  }
  throw badRequest(`the name of the object (${given}) does not match the name on the URL (${name})`);
}

function checkNamespace(object: KubeObject, namespace: string | undefined): void {
  if ((object.metadata.namespace ?? "") === (namespace ?? "")) return;
  throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
}

function keyOf(info: RequestInfo): string {
  return objectKey(info.namespace, info.name ?? "");
}

function writeOptions({ request, query, info }: Call): WriteOptions {
  // Without a fieldManager the real server takes the User-Agent up to its first slash.
  const manager =
    query.get("fieldManager") || (request.headers["user-agent"] ?? "unknown").split("/", 1)[0] || "unknown";
  if (manager.length > 128) {
    throw patchOptions("fieldManager", "FieldValueTooLong", "Too long: may not be more than 128 bytes");
  }
  const options: WriteOptions = { manager, dryRun: isDryRun(query.getAll("dryRun")) };
  return info.subresource === undefined ? options : { ...options, subresource: info.subresource };
}

function isDryRun(values: readonly Json[]): boolean {
  if (values.some((value) => value !== "All")) {
    throw patchOptions(
      "dryRun",
      "FieldValueInvalid",
      `Unsupported value: ${JSON.stringify(values)}: supported values: "All"`,
    );
  }
  return values.length > 0;
}

async function deleteOptions(call: Call): Promise<{ preconditions: Preconditions; dryRun: boolean }> {
  const bytes = await readBody(call.request);
  const body = bytes.length === 0 ? {} : decodeBody(bytes, mediaType(call.request));
  if (!isObject(body)) throw badRequest(`DeleteOptions must be an object (${apiVersionOf(call.info.type)})`);
  const given = isObject(body.preconditions) ? body.preconditions : {};
  const preconditions: Preconditions = {};
  if (typeof given.uid === "string") preconditions.uid = given.uid;
  if (typeof given.resourceVersion === "string") preconditions.resourceVersion = given.resourceVersion;
  const dryRun = isDryRun([...call.query.getAll("dryRun"), ...(Array.isArray(body.dryRun) ? body.dryRun : [])]);
  return { preconditions, dryRun };
}

function patchOptions(
  field: string,
  reason: "FieldValueForbidden" | "FieldValueRequired" | "FieldValueInvalid" | "FieldValueTooLong",
  message: string,
): ApiError {
  return invalidKind("PatchOptions", "meta.k8s.io", "", [{ field, reason, message }]);
}
