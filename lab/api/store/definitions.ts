/**
 * Custom resources as their definitions make them: a resource is served once its CustomResourceDefinition is there, and goes with
 * it, its objects first and its watches last. Served is the first version that a definition serves, without its schema.
 */
import type { Store } from "./store.ts";
import type { Watches } from "./watches.ts";
import {
  apiVersionOf,
  type FieldProblem,
  isObject,
  type Json,
  type KubeObject,
  resourceKey,
  type ResourceType,
  valueAt,
} from "../types.ts";

const GROUP = "apiextensions.k8s.io";

/** The row of the definitions themselves. */
export const DEFINITIONS: ResourceType = {
  group: GROUP,
  version: "v1",
  plural: "customresourcedefinitions",
  singular: "customresourcedefinition",
  kind: "CustomResourceDefinition",
  namespaced: false,
  shortNames: ["crd", "crds"],
  status: true,
  statusOnCreate: "keep",
  statusKeepsMetadata: true,
  generation: true,
  versionedUpdate: true,
  defaults: established,
  validate: named,
};

const text = (value: Json | undefined): string => (typeof value === "string" ? value : "");
const namesOf = (definition: KubeObject): { [key: string]: Json | undefined } => {
  const names = valueAt(definition, "spec.names");
  return isObject(names) ? names : {};
};

function established(object: KubeObject): KubeObject {
  const names = namesOf(object);
  const condition = (type: string, reason: string): Json => ({ type, status: "True", reason });
  return {
    ...object,
    status: {
      acceptedNames: names as Json,
      storedVersions: versionsOf(object).map(({ name }) => text(name)),
      conditions: [condition("NamesAccepted", "NoConflicts"), condition("Established", "InitialNamesAccepted")],
    },
  };
}

function named(object: KubeObject): FieldProblem[] {
  const name = `${text(namesOf(object)["plural"])}.${text(valueAt(object, "spec.group"))}`;
  if (object.metadata.name === name) return [];
  const message = `Invalid value: ${JSON.stringify(object.metadata.name)}: must be spec.names.plural+"."+spec.group`;
  return [{ field: "metadata.name", reason: "FieldValueInvalid", message }];
}

function versionsOf(definition: KubeObject): { [key: string]: Json | undefined }[] {
  const versions = valueAt(definition, "spec.versions");
  return Array.isArray(versions) ? versions.filter(isObject) : [];
}

/** The row that a definition stands for; undefined where it serves no version. */
export function definedType(definition: KubeObject): ResourceType | undefined {
  const served = versionsOf(definition).find((version) => version["served"] === true);
  const names = namesOf(definition);
  const plural = text(names["plural"]);
  if (served === undefined || plural === "") return undefined;
  const shortNames = Array.isArray(names["shortNames"]) ? names["shortNames"].map(text) : undefined;
  return {
    group: text(valueAt(definition, "spec.group")),
    version: text(served["name"]),
    plural,
    singular: text(names["singular"]) || text(names["kind"]).toLowerCase(),
    kind: text(names["kind"]),
    namespaced: valueAt(definition, "spec.scope") === "Namespaced",
    ...(shortNames && { shortNames }),
    custom: true,
    generation: true,
    versionedUpdate: true,
    ...(valueAt(served, "subresources.status") !== undefined && { status: true }),
  };
}

/** Whether objects of a journal are of this kind: they are needed before those that they define. */
export const isDefinition = ({ resource }: { resource: string }): boolean => resource === resourceKey(DEFINITIONS);

/** Follows a store's definitions for its whole life. @param fixed rows that no definition changes */
export function serveDefinitions(store: Store, watches: Watches, fixed: readonly ResourceType[]): void {
  const isFixed = (type: ResourceType): boolean => fixed.some((one) => resourceKey(one) === resourceKey(type));
  const same = (a: ResourceType | undefined, b: ResourceType | undefined): boolean =>
    a === b || (a !== undefined && b !== undefined && apiVersionOf(a) === apiVersionOf(b) && a.status === b.status);
  store.subscribe(DEFINITIONS, ({ type: kind, version, previous }) => {
    const before = previous && definedType(previous.object);
    const after = kind === "DELETED" ? undefined : definedType(version.object);
    if (same(before, after)) return;
    if (before && !isFixed(before)) {
      const type = store.types().find((one) => resourceKey(one) === resourceKey(before));
      if (type && !after) for (const { key } of store.list(type)) store.remove(type, key);
      if (type) {
        watches.endOf(type);
        store.removeType(type);
      }
    }
    if (after && !isFixed(after)) store.addType(after);
  });
}
