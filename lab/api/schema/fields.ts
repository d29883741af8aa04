/**
 * Sets of fields of an object: who manages what, for server-side apply. A set is a tree whose steps are written as
 * in FieldsV1 (k8s.io/structured-merge-diff): `f:name` a field, `k:{"type":"Ready"}` an element of a keyed list,
 * `v:"x"` a value of a set. Lists that list-schema.ts does not name are one field.
 */
import { elementKeys, listRule } from "./list-schema.ts";
import { isObject, type Json, type JsonObject, type ResourceType, sameJson } from "../types.ts";

/** A set of fields: whether this node belongs to it, and what of its children does. */
export interface Fields {
  self: boolean;
  children: Map<string, Fields>;
}

/** Fields that belong to the system and to no manager. */
const UNMANAGED = new Set([
  "name",
  "namespace",
  "generateName",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "managedFields",
  "selfLink",
]);

const leaf = (): Fields => ({ self: true, children: new Map() });
const empty = (): Fields => ({ self: false, children: new Map() });

/** Whether the set holds nothing. */
export function isEmpty(fields: Fields): boolean {
  return !fields.self && fields.children.size === 0;
}

/** A step and the value that it leads to. */
interface Step {
  step: string;
  value: Json;
  path: readonly string[];
}

/** The parts of a value by step; undefined when the value is one field. */
export function stepsOf(type: ResourceType, value: Json | undefined, path: readonly string[]): Step[] | undefined {
  if (isObject(value)) {
    const top = path.length === 0;
    const inMetadata = path.length === 1 && path[0] === "metadata";
    return Object.entries(value).flatMap(([key, value]) => {
      if (value === undefined || (top && (key === "kind" || key === "apiVersion"))) return [];
      if (inMetadata && UNMANAGED.has(key)) return [];
      return [{ step: `f:${key}`, value, path: [...path, key] }];
    });
  }
  const rule = Array.isArray(value) ? listRule(type, path) : undefined;
  if (!Array.isArray(value) || rule === undefined) return undefined;
  return value.map((item) => {
    const step = rule === "set" ? `v:${JSON.stringify(item)}` : `k:${JSON.stringify(elementKeys(rule, item))}`;
    return { step, value: item, path };
  });
}

/** Whether a step leads to a list element, which is itself a member beside its fields. */
export function isElement(step: string): boolean {
  return !step.startsWith("f:");
}

/** Every field of an object. */
export function fieldsOf(type: ResourceType, value: Json, path: readonly string[] = []): Fields {
  const steps = stepsOf(type, value, path);
  // Metadata is no field of its own: what the system keeps in it belongs to nobody.
  const isMetadata = path.length === 1 && path[0] === "metadata";
  if (steps === undefined || (steps.length === 0 && path.length > 0 && !isMetadata)) return leaf();
  const fields = empty();
  for (const { step, value, path } of steps) {
    const inner = fieldsOf(type, value, path);
    if (isElement(step)) inner.self = true;
    if (!isEmpty(inner)) fields.children.set(step, inner);
  }
  return fields;
}

/** What changed between two values: fields that are new or different, and fields that are gone. */
export function compareFields(
  type: ResourceType,
  before: Json | undefined,
  after: Json | undefined,
  path: readonly string[] = [],
): { changed: Fields; removed: Fields } {
  const same = { changed: empty(), removed: empty() };
  if (before === after) return same;
  if (before === undefined) return { changed: fieldsOf(type, after ?? null, path), removed: empty() };
  if (after === undefined) return { changed: empty(), removed: fieldsOf(type, before, path) };
  const [old, now] = [stepsOf(type, before, path), stepsOf(type, after, path)];
  if (old === undefined || now === undefined)
    return sameJson(before, after) ? same : { changed: leaf(), removed: empty() };
  const oldValues = new Map(old.map(({ step, value }) => [step, value]));
  const nowValues = new Map(now.map(({ step, value }) => [step, value]));
  for (const { step, value, path } of now) {
    const inner = compareFields(type, oldValues.get(step), value, path);
    if (isElement(step) && !oldValues.has(step)) inner.changed.self = true;
    if (!isEmpty(inner.changed)) same.changed.children.set(step, inner.changed);
    if (!isEmpty(inner.removed)) same.removed.children.set(step, inner.removed);
  }
  for (const { step, value, path } of old) {
    if (nowValues.has(step)) continue;
    const gone = fieldsOf(type, value, path);
    if (isElement(step)) gone.self = true;
    same.removed.children.set(step, gone);
  }
  return same;
}

/** Members of either set. */
export function union(a: Fields, b: Fields): Fields {
  const children = new Map(a.children);
  for (const [step, inner] of b.children) {
    const mine = children.get(step);
    children.set(step, mine === undefined ? inner : union(mine, inner));
  }
  return { self: a.self || b.self, children };
}

/** Members of `a` that are not in `b`. */
export function difference(a: Fields, b: Fields): Fields {
  return filter(a, b, (inA, inB) => inA && !inB);
}

/** Members of both sets. */
export function intersection(a: Fields, b: Fields): Fields {
  return filter(a, b, (inA, inB) => inA && inB);
}

function filter(a: Fields, b: Fields, keep: (inA: boolean, inB: boolean) => boolean): Fields {
  const children = new Map<string, Fields>();
  for (const [step, inner] of a.children) {
    const kept = filter(inner, b.children.get(step) ?? empty(), keep);
    if (!isEmpty(kept)) children.set(step, kept);
  }
  return { self: keep(a.self, b.self), children };
}

/** The members as conflict messages write them: `.metadata.annotations.example.com/a`, `.spec.containers[name="x"].image`. */
export function memberPaths(fields: Fields, prefix = ""): string[] {
  const paths = fields.self ? [prefix] : [];
  for (const [step, inner] of fields.children) paths.push(...memberPaths(inner, prefix + stepText(step)));
  return paths;
}

function stepText(step: string): string {
  if (step.startsWith("f:")) return `.${step.slice(2)}`;
  if (step.startsWith("v:")) return `[=${step.slice(2)}]`;
  const keys = JSON.parse(step.slice(2)) as JsonObject;
  const pairs = Object.entries(keys).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return `[${pairs.join(",")}]`;
}

/** The set as `managedFields[].fieldsV1` writes it. */
export function toFieldsV1(fields: Fields): JsonObject {
  const json: JsonObject = fields.self && fields.children.size > 0 ? { ".": {} } : {};
  for (const [step, inner] of fields.children) json[step] = toFieldsV1(inner);
  return json;
}

/** The set that `fieldsV1` describes. */
export function fromFieldsV1(json: JsonObject, top = true): Fields {
  const entries = Object.entries(json).filter((entry): entry is [string, JsonObject] => isObject(entry[1]));
  const children = entries
    .filter(([step]) => step !== ".")
    .map(([step, inner]): [string, Fields] => {
      return [step, fromFieldsV1(inner, false)];
    });
  return { self: Object.hasOwn(json, ".") || (!top && children.length === 0), children: new Map(children) };
}
