/**
 * Garbage collection by ownerReferences, as the real server's controller does it: an object goes, in the background, when
 * all its owners are gone, also when it is made after that. Owners of kinds that are not in the table are taken for present.
 */
import type { StoreEvent } from "./history.ts";
import { objectKey, type Registry } from "../registry.ts";
import type { Store } from "./store.ts";
import { apiVersionOf, isObject, type KubeObject, type ResourceType } from "../types.ts";

interface Dependent {
  type: ResourceType;
  key: string;
}

const OWNER_KEYS = ["apiVersion", "kind", "name", "uid"] as const;
type Owner = Record<(typeof OWNER_KEYS)[number], string>;

/** Follows a store for its whole life. */
export function collectGarbage(store: Store, registry: Registry): void {
  const collector = new Collector(store, registry);
  for (const type of store.types()) {
    for (const { key, object } of store.list(type)) collector.note({ type, key }, object);
    store.subscribe(type, (event) => collector.seen(type, event));
  }
}

class Collector {
  readonly #store: Store;
  readonly #registry: Registry;
  /** Uid of an owner → what names it, by type and key. */
  readonly #dependents = new Map<string, Map<string, Dependent>>();

  constructor(store: Store, registry: Registry) {
    this.#store = store;
    this.#registry = registry;
  }

  seen(type: ResourceType, { type: kind, key, version, previous }: StoreEvent): void {
    const dependent = { type, key };
    if (previous !== undefined) this.#forget(dependent, previous.object);
    if (kind !== "DELETED") return this.note(dependent, version.object);
    const owned = this.#dependents.get(version.object.metadata.uid ?? "");
    for (const one of owned?.values() ?? []) this.#lookSoon(one);
  }

  note(dependent: Dependent, object: KubeObject): void {
    const owners = ownersOf(object);
    for (const { uid } of owners) {
      const owned = this.#dependents.get(uid) ?? new Map<string, Dependent>();
      this.#dependents.set(uid, owned.set(idOf(dependent), dependent));
    }
    if (owners.length > 0) this.#lookSoon(dependent);
  }

  #forget(dependent: Dependent, object: KubeObject): void {
    for (const { uid } of ownersOf(object)) {
      const owned = this.#dependents.get(uid);
      owned?.delete(idOf(dependent));
      if (owned?.size === 0) this.#dependents.delete(uid);
    }
  }

  /** After the write that is under way: what it answers is not to be changed by its consequences. */
  #lookSoon({ type, key }: Dependent): void {
    setImmediate(() => {
      const object = this.#store.get(type, key)?.object;
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return;
      const owners = ownersOf(object);
      if (owners.length === 0 || owners.some((owner) => this.#isThere(owner, object.metadata.namespace))) return;
      this.#registry.delete(type, key, {});
    });
  }

  #isThere({ apiVersion, kind, name, uid }: Owner, namespace: string | undefined): boolean {
    const type = this.#store.types().find((one) => one.kind === kind && apiVersionOf(one) === apiVersion);
    if (type === undefined) return true;
    const key = objectKey(type.namespaced ? namespace : undefined, name);
    return this.#store.get(type, key)?.object.metadata.uid === uid;
  }
}

const idOf = ({ type, key }: Dependent): string => `${type.group}/${type.plural}/${key}`;

function ownersOf({ metadata: { ownerReferences } }: KubeObject): Owner[] {
  const isOwner = (value: unknown): value is Owner =>
    isObject(value) && OWNER_KEYS.every((key) => typeof value[key] === "string");
  return Array.isArray(ownerReferences) ? ownerReferences.filter(isOwner) : [];
}
