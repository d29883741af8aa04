/**
 * Server-side apply. The applied configuration is merged into the live object; fields that the manager applied
 * before and no longer names go, unless somebody else manages them too; a field that another manager set to
 * another value is a conflict (409), unless the apply is forced, which takes it over.
 */
import { applyConflict } from "../errors.ts";
import {
  compareFields,
  difference,
  type Fields,
  fieldsOf,
  intersection,
  isElement,
  isEmpty,
  memberPaths,
  stepsOf,
  union,
} from "../schema/fields.ts";
import { elementKey, listRule } from "../schema/list-schema.ts";
import { encodeOwners, isEntryOf, type Manager, newEntry, ownersOf } from "./managed-fields.ts";
import { isObject, type Json, type JsonObject, type KubeObject, type ResourceType, sameJson } from "../types.ts";

/** What an apply is given. */
export interface ApplyRequest {
  type: ResourceType;
  /** The live object; absent when the apply creates it. */
  live: KubeObject | undefined;
  /** What the manager wants. */
  config: KubeObject;
  manager: Manager;
  force: boolean;
  /** RFC 3339 time for entries that change. */
  now: string;
}

/** The object after the apply, with its managedFields. Throws 409 with every conflicting field. */
export function applyConfiguration({ type, live, config, manager, force, now }: ApplyRequest): KubeObject {
  const wanted = fieldsOf(type, config);
  const owners = ownersOf(live);
  const own = owners.find(({ entry }) => isEntryOf(entry, manager));
  const others = owners.filter((owner) => owner !== own);
  const elsewhere = others.reduce<Fields>((all, { fields }) => union(all, fields), {
    self: false,
    children: new Map(),
  });
  const dropped = own === undefined ? undefined : difference(difference(own.fields, wanted), elsewhere);

  let merged = mergeApplied(type, live, config, []);
  if (dropped !== undefined && !isEmpty(dropped)) merged = removeFields(type, merged, dropped, []) ?? {};
  const { changed } = compareFields(type, live ?? {}, merged);

  const conflicts = others
    .map((owner) => ({ owner, fields: intersection(intersection(changed, wanted), owner.fields) }))
    .filter(({ fields }) => !isEmpty(fields));
  if (conflicts.length > 0 && !force) {
    throw applyConflict(
      conflicts.flatMap(({ owner, fields }) =>
        memberPaths(fields).map((field) => ({ manager: owner.entry.manager, type, field })),
      ),
    );
  }
  const kept = others.map(({ entry, fields }) => ({ entry, fields: difference(fields, changed) }));
  const mine = { entry: own?.entry ?? newEntry(type, manager, now), fields: wanted };
  const result = merged as KubeObject;
  return { ...result, metadata: { ...result.metadata, managedFields: encodeOwners([...kept, mine], now) } };
}

/** Merges what is applied into what is there: objects by field, lists by their rule, all else replaced. */
function mergeApplied(type: ResourceType, live: Json | undefined, config: Json, path: readonly string[]): Json {
  if (isObject(config)) {
    const result: JsonObject = isObject(live) ? { ...live } : {};
    for (const [key, value] of Object.entries(config)) {
      if (value !== undefined) result[key] = mergeApplied(type, result[key], value, [...path, key]);
    }
    return result;
  }
  const rule = Array.isArray(config) ? listRule(type, path) : undefined;
  if (!Array.isArray(config) || !Array.isArray(live) || rule === undefined) return config;
  if (rule === "set") return [...live, ...config.filter((item) => !live.some((old) => sameJson(old, item)))];
  const result = [...live];
  for (const item of config) {
    const key = elementKey(rule, item);
    const index = result.findIndex((old) => elementKey(rule, old) === key);
    if (index < 0) result.push(item);
    else result[index] = mergeApplied(type, result[index], item, path);
  }
  return result;
}

/** The value without the fields; undefined when it is one of them itself. */
function removeFields(type: ResourceType, value: Json, fields: Fields, path: readonly string[]): Json | undefined {
  const steps = stepsOf(type, value, path);
  if (steps === undefined || fields.children.size === 0) return fields.self ? undefined : value;
  const left = new Map<string, Json | undefined>();
  for (const { step, value, path } of steps) {
    const inner = fields.children.get(step);
    if (inner === undefined) continue;
    left.set(step, isElement(step) && inner.self ? undefined : removeFields(type, value, inner, path));
  }
  if (Array.isArray(value)) {
    const items = steps.map(({ step, value }) => (left.has(step) ? left.get(step) : value));
    return items.filter((item) => item !== undefined);
  }
  const result: JsonObject = isObject(value) ? { ...value } : {};
  for (const [step, inner] of left) {
    const key = step.slice(2);
    if (inner === undefined || isEmptyContainer(inner)) delete result[key];
    else result[key] = inner;
  }
  return result;
}

/** A map that lost its last field goes with it, as an omitted empty map of a Go struct does. */
function isEmptyContainer(value: Json): boolean {
  return isObject(value) ? Object.keys(value).length === 0 : Array.isArray(value) && value.length === 0;
}
