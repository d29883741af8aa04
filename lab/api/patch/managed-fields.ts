/**
 * `metadata.managedFields`: which manager set which field. An update or patch takes over what it changes; an apply
 * owns exactly what it names (see apply.ts). Entries whose fields stay keep their time, so that a write that
 * changes nothing is recognised as such.
 */
import { compareFields, difference, type Fields, fromFieldsV1, isEmpty, toFieldsV1, union } from "../schema/fields.ts";
import { apiVersionOf, type KubeObject, type ManagedFields, type ResourceType, sameJson } from "../types.ts";

/** Who writes: the manager's name, how, and through which subresource. */
export interface Manager {
  name: string;
  operation: "Apply" | "Update";
  subresource?: string;
}

/** A manager and its fields. */
export interface Owned {
  entry: ManagedFields;
  fields: Fields;
}

/** The entries of an object, decoded. */
export function ownersOf(object: KubeObject | undefined): Owned[] {
  return (object?.metadata.managedFields ?? []).map((entry) => ({ entry, fields: fromFieldsV1(entry.fieldsV1) }));
}

/** Whether an entry is this manager's. */
export function isEntryOf(entry: ManagedFields, manager: Manager): boolean {
  return (
    entry.manager === manager.name &&
    entry.operation === manager.operation &&
    (entry.subresource ?? "") === (manager.subresource ?? "")
  );
}

/** The entries after an update: the manager gains what changed, everybody loses what changed or went. */
export function trackUpdate(
  type: ResourceType,
  before: KubeObject | undefined,
  after: KubeObject,
  manager: Manager,
  now: string,
): ManagedFields[] {
  const { changed, removed } = compareFields(type, before ?? {}, after);
  const owners = ownersOf(before);
  const own = owners.find(({ entry }) => isEntryOf(entry, manager));
  const lost = union(changed, removed);
  const others = owners
    .filter((owner) => owner !== own)
    .map(({ entry, fields }) => ({ entry, fields: difference(fields, lost) }));
  const mine = difference(union(own?.fields ?? { self: false, children: new Map() }, changed), removed);
  return encodeOwners([...others, { entry: own?.entry ?? newEntry(type, manager, now), fields: mine }], now);
}

/** A manager's new, still empty entry. */
export function newEntry(type: ResourceType, manager: Manager, now: string): ManagedFields {
  const { name, operation, subresource } = manager;
  const entry: ManagedFields = {
    manager: name,
    operation,
    apiVersion: apiVersionOf(type),
    time: now,
    fieldsType: "FieldsV1",
    fieldsV1: {},
  };
  return subresource === undefined ? entry : { ...entry, subresource };
}

/** Entries as they are stored: those without fields go, those that changed get a new time. */
export function encodeOwners(owners: readonly Owned[], now: string): ManagedFields[] {
  return owners
    .filter(({ fields }) => !isEmpty(fields))
    .map(({ entry, fields }) => {
      const fieldsV1 = toFieldsV1(fields);
      return sameJson(fieldsV1, entry.fieldsV1) ? entry : { ...entry, fieldsV1, time: now };
    });
}
