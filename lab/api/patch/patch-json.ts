/** JSON patch, RFC 6902, with JSON pointers of RFC 6901. All operations hold or none does. */
import { badRequest, patchFailed, requestTooLarge } from "../errors.ts";
import { isObject, type Json, type JsonObject, sameJson } from "../types.ts";

/** Operations in one patch (apiserver's maxJSONPatchOperations). */
const OPERATION_LIMIT = 10_000;

type Operation =
  | { op: "add" | "replace" | "test"; path: string[]; value: Json }
  | { op: "remove"; path: string[] }
  | { op: "move" | "copy"; path: string[]; from: string[] };

/**
 * The target after the patch; the target itself stays as it is. Throws 400 for a body that is no JSON patch, 413
 * for too many operations, 422 for an operation that does not fit the target (a missing path, a failed test).
 */
export function jsonPatch(target: Json, patch: Json): Json {
  if (!Array.isArray(patch)) throw badRequest("json patch must be a list of operations");
  if (patch.length > OPERATION_LIMIT) {
    throw requestTooLarge(`The allowed maximum operations in a JSON patch is ${OPERATION_LIMIT}, got ${patch.length}`);
  }
  return patch.map(parseOperation).reduce(applyOperation, target);
}

function parseOperation(value: Json): Operation {
  if (!isObject(value)) throw badRequest("json patch operation is not an object");
  const { op } = value;
  const path = pointer(value.path);
  switch (op) {
    case "add":
    case "replace":
    case "test":
      if (value.value === undefined) throw badRequest(`json patch ${op} operation has no value`);
      return { op, path, value: value.value };
    case "remove":
      return { op, path };
    case "move":
    case "copy":
      return { op, path, from: pointer(value.from) };
    default:
      throw badRequest(`Unexpected kind: ${JSON.stringify(op)}`);
  }
}

function pointer(text: Json | undefined): string[] {
  if (typeof text !== "string" || (text !== "" && !text.startsWith("/"))) {
    throw badRequest(`json patch pointer ${JSON.stringify(text)} is not a JSON pointer`);
  }
  const tokens = text.split("/").slice(1);
  return tokens.map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function applyOperation(target: Json, operation: Operation): Json {
  const { op, path } = operation;
  switch (op) {
    case "add":
      return add(target, path, operation.value);
    case "remove":
      return remove(target, path);
    case "replace":
      read(target, path, op);
      return path.length === 0 ? operation.value : edit(target, path, op, (at, key) => set(at, key, operation.value));
    case "test":
      if (!sameJson(lookUp(target, path), operation.value)) throw failed(`testing path ${show(path)} failed`);
      return target;
    case "copy":
      return add(target, path, read(target, operation.from, op));
    default:
      if (path.length > operation.from.length && operation.from.every((token, i) => path[i] === token)) {
        throw failed(`cannot move ${show(operation.from)} into itself`);
      }
      return add(remove(target, operation.from), path, read(target, operation.from, op));
  }
}

function add(target: Json, path: string[], value: Json): Json {
  if (path.length === 0) return value;
  return edit(target, path, "add", (at, key) => {
    if (!Array.isArray(at)) return set(at, key, value);
    const index = key === "-" ? at.length : indexOf(key, at.length + 1, path, "add");
    return at.toSpliced(index, 0, value);
  });
}

function remove(target: Json, path: string[]): Json {
  read(target, path, "remove");
  if (path.length === 0) return null;
  return edit(target, path, "remove", (at, key) => {
    if (Array.isArray(at)) return at.toSpliced(Number(key), 1);
    const { [key]: _removed, ...rest } = at;
    return rest;
  });
}

function set(at: JsonObject | Json[], key: string, value: Json): Json {
  return Array.isArray(at) ? at.with(Number(key), value) : { ...at, [key]: value };
}

/** Rebuilds the target along the path and lets `change` make the new innermost container. */
function edit(
  target: Json,
  path: string[],
  op: string,
  change: (at: JsonObject | Json[], key: string) => Json,
  depth = 0,
): Json {
  const key = path[depth] ?? "";
  if (!isObject(target) && !Array.isArray(target)) throw missing(op, path);
  if (depth === path.length - 1) return change(target, key);
  const inner = Array.isArray(target) ? target[indexOf(key, target.length, path, op)] : target[key];
  if (inner === undefined) throw missing(op, path);
  return set(target, key, edit(inner, path, op, change, depth + 1));
}

/** The value at a path, undefined when there is none. */
function lookUp(target: Json, path: string[]): Json | undefined {
  let value: Json | undefined = target;
  for (const key of path) {
    if (Array.isArray(value)) value = /^(0|[1-9]\d*)$/.test(key) ? value[Number(key)] : undefined;
    else value = isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  }
  return value;
}

function read(target: Json, path: string[], op: string): Json {
  const value = lookUp(target, path);
  if (value === undefined) throw missing(op, path);
  return value;
}

function indexOf(key: string, length: number, path: string[], op: string): number {
  if (!/^(0|[1-9]\d*)$/.test(key) || Number(key) >= length) throw missing(op, path);
  return Number(key);
}

function show(path: string[]): string {
  return path.map((token) => `/${token.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function missing(op: string, path: string[]): Error {
  return failed(`${op} operation does not apply: doc is missing path: ${JSON.stringify(show(path))}: missing value`);
}

function failed(message: string): Error {
  return patchFailed(message);
}
