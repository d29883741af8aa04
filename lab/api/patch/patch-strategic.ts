/**
 * Strategic merge patch, which kubectl sends for built-in kinds: a merge patch whose lists merge by element where
 * list-schema.ts says so. Directives: `$patch: replace | delete | merge`, `$deleteFromPrimitiveList/<list>`,
 * `$retainKeys`. `$setElementOrder/<list>` only orders elements and is not followed.
 */
import { badRequest } from "../errors.ts";
import { type ListRule, listRule } from "../schema/list-schema.ts";
import { isObject, type Json, type JsonObject, type ResourceType, sameJson } from "../types.ts";

const DELETE_PREFIX = "$deleteFromPrimitiveList/";

/** The target after the patch. Throws 400 for a directive that is not known. */
export function strategicMergePatch(type: ResourceType, target: JsonObject, patch: Json): Json {
  if (!isObject(patch)) throw badRequest("strategic merge patch must be an object");
  return mergeObject(type, target, patch, []);
}

function mergeObject(type: ResourceType, target: Json | undefined, patch: JsonObject, path: string[]): JsonObject {
  const directive = patch.$patch;
  if (directive === "replace") return withoutDirectives(patch);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge")
    throw badRequest(`unknown $patch directive ${JSON.stringify(directive)}`);
  let result: JsonObject = isObject(target) ? { ...target } : {};
  if (Array.isArray(patch.$retainKeys)) {
    const keep = patch.$retainKeys;
    result = Object.fromEntries(Object.entries(result).filter(([key]) => keep.includes(key)));
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(DELETE_PREFIX)) {
      const list = key.slice(DELETE_PREFIX.length);
      const kept = result[list];
      if (Array.isArray(kept) && Array.isArray(value)) result[list] = kept.filter((item) => !value.includes(item));
      continue;
    }
    if (value === undefined || key.startsWith("$")) continue;
    if (value === null) delete result[key];
    else result[key] = mergeValue(type, result[key], value, [...path, key]);
  }
  return result;
}

function mergeValue(type: ResourceType, target: Json | undefined, patch: Json, path: string[]): Json {
  if (isObject(patch)) return mergeObject(type, target, patch, path);
  const rule = Array.isArray(patch) ? listRule(type, path) : undefined;
  if (!Array.isArray(patch) || rule === undefined) return patch;
  const list = Array.isArray(target) ? target : [];
  if (rule === "set") return [...list, ...patch.filter((item) => !list.some((old) => sameJson(old, item)))];
  return mergeList(type, list, patch, rule, path);
}

function mergeList(
  type: ResourceType,
  target: Json[],
  patch: Json[],
  rule: Exclude<ListRule, "set">,
  path: string[],
): Json[] {
  const replace = patch.some((item) => isObject(item) && item.$patch === "replace");
  const result = replace ? [] : [...target];
  for (const item of patch) {
    if (!isObject(item)) throw badRequest(`${path.join(".")}: a list of objects is patched with a plain value`);
    if (item.$patch === "replace" && item[rule.patchKey] === undefined) continue;
    const key = item[rule.patchKey];
    if (key === undefined) throw badRequest(`map: does not contain declared merge key: ${rule.patchKey}`);
    const index = result.findIndex((old) => isObject(old) && sameJson(old[rule.patchKey], key));
    if (item.$patch === "delete") {
      if (index >= 0) result.splice(index, 1);
    } else if (index < 0) result.push(mergeObject(type, {}, item, path));
    else result[index] = mergeObject(type, result[index], item, path);
  }
  return result;
}

function withoutDirectives(patch: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(patch).filter(([key]) => !key.startsWith("$")));
}
