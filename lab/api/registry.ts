/**
 * What writes do, resource by resource: defaults, rules, optimistic concurrency, finalizers, who manages which
 * field. One path for create, update, patch and apply, so that they cannot differ. A write that changes nothing
 * is no write: no resourceVersion, no event, as on the real server.
 */
import { randomInt, randomUUID } from "node:crypto";
import { applyConfiguration } from "./patch/apply.ts";
import { ApiError, alreadyExists, conflict, notFound } from "./errors.ts";
import { type Manager, trackUpdate } from "./patch/managed-fields.ts";
import { Namespaces } from "./store/namespaces.ts";
import type { Store } from "./store/store.ts";
import { type KubeObject, type Metadata, type ResourceType, sameJson } from "./types.ts";
import {
  checkNewFinalizers,
  checkPreconditions,
  keepSystemFields,
  type Preconditions,
  raiseGeneration,
  reachable,
} from "./store/update-rules.ts";
import { checkAgainst, validateObject } from "./schema/validate.ts";
import { Version } from "./store/version.ts";

/** Letters of generated names: no vowels and nothing that looks alike (apimachinery's util/rand). */
const NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789";
const GENERATED_BASE_LIMIT = 58;

/** Who writes and how. */
export interface WriteOptions {
  manager: string;
  subresource?: string;
  /** Checks and answers as if, and writes nothing. */
  dryRun?: boolean;
}

/** The object after a write, and whether the write made it. */
export interface Written {
  version: Version;
  created: boolean;
}

/** The key of an object in the store. */
export function objectKey(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/** The verbs that write. */
export class Registry {
  readonly #store: Store;
  readonly #namespaces: Namespaces;
  /** Custom resources are held against their schemas and rules. */
  schemas = true;

  constructor(store: Store) {
    this.#store = store;
    this.#namespaces = new Namespaces(store);
  }

  /** The current version. Throws 404. */
  get(type: ResourceType, key: string): Version {
    const version = this.#store.get(type, key);
    if (version === undefined) throw notFound(type, nameIn(key));
    return version;
  }

  /** Creates an object whose body is decoded and whose namespace is checked. Throws 404 (namespace), 409, 422. */
  create(type: ResourceType, object: KubeObject, options: WriteOptions): Version {
    const { metadata } = object;
    if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== "0") {
      // The real server answers a plain 500 without a reason here, and clients meet it.
      throw new ApiError(500, "", "resourceVersion should not be set on objects to be created");
    }
    const name = metadata.name === "" ? generatedName(metadata.generateName) : metadata.name;
    if (type.namespaced) this.#namespaces.checkOpen(type, name, metadata.namespace ?? "");
    const now = timestamp();
    const fresh: Metadata = {
      ...metadata,
      name,
      uid: randomUUID(),
      creationTimestamp: now,
      deletionTimestamp: undefined,
      deletionGracePeriodSeconds: undefined,
      generation: type.generation ? 1 : undefined,
    };
    let created: KubeObject = { ...object, metadata: fresh };
    if (type.status && type.statusOnCreate !== "keep") delete created.status;
    const rules = this.#rules(type);
    created = rules.defaults?.(created) ?? created;
    validateObject(rules, created);
    const key = objectKey(metadata.namespace, name);
    if (this.#store.get(type, key) !== undefined) throw alreadyExists(type, name);
    if (metadata.managedFields === undefined) {
      created = manage(created, trackUpdate(type, undefined, created, managerOf(options), now));
    }
    if (options.dryRun) return new Version(type, key, created, 0);
    return this.#store.put(type, key, created);
  }

  /** Replaces an object (PUT). Throws 404 where a PUT may not create, 409, 422. */
  update(type: ResourceType, key: string, object: KubeObject, options: WriteOptions): Written {
    const before = this.#store.get(type, key);
    if (before === undefined) {
      const { name, uid, resourceVersion } = object.metadata;
      if (!type.createOnUpdate || options.subresource !== undefined) throw notFound(type, name);
      if (uid !== undefined || resourceVersion !== undefined) {
        throw conflict(type, name, `Precondition failed: UID in precondition: ${uid ?? ""}, UID in object meta: `);
      }
      return { version: this.create(type, object, options), created: true };
    }
    return { version: this.#replace(type, before, object, options), created: false };
  }

  /** Changes an object through a function of its current state (a patch). Throws 404, 409, 422. */
  modify(type: ResourceType, key: string, change: (before: KubeObject) => KubeObject, options: WriteOptions): Version {
    const before = this.get(type, key);
    return this.#replace(type, before, change(before.object), options);
  }

  /** Server-side apply; creates what is missing. Throws 404 (a subresource of nothing), 409, 422. */
  apply(type: ResourceType, key: string, config: KubeObject, options: WriteOptions & { force: boolean }): Written {
    const before = this.#store.get(type, key);
    if (before === undefined && options.subresource !== undefined) throw notFound(type, config.metadata.name);
    const manager: Manager = { ...managerOf(options), operation: "Apply" };
    const applied = applyConfiguration({
      type,
      live: before?.object,
      config: reachable(type, config, options.subresource),
      manager,
      force: options.force,
      now: timestamp(),
    });
    if (before === undefined) return { version: this.create(type, applied, options), created: true };
    return { version: this.#replace(type, before, applied, options, true), created: false };
  }

  /**
   * Deletes an object, or marks it where finalizers hold it. Throws 404, 409 (preconditions). `removed` says which;
   * the version is the last state.
   */
  delete(
    type: ResourceType,
    key: string,
    preconditions: Preconditions,
    dryRun = false,
  ): { version: Version; removed: boolean } {
    const before = this.get(type, key);
    checkPreconditions(type, before.object, preconditions);
    const isNamespace = this.#namespaces.isNamespace(type);
    if (isNamespace) this.#namespaces.checkDeletable(before.object);
    if (dryRun) return { version: before, removed: true };
    const held = (before.object.metadata.finalizers ?? []).length > 0;
    if (!held && !(isNamespace && !this.#namespaces.empty(key)))
      return { version: this.#remove(type, key) ?? before, removed: true };
    const marked = this.#mark(type, before);
    if (isNamespace) {
      this.#namespaces.drain(key, (type, key) => this.delete(type, key, {}));
      const left = this.#store.get(type, key);
      return { version: left ?? marked, removed: left === undefined };
    }
    return { version: marked, removed: false };
  }

  /** Removes objects older than their type's lifetime (events). */
  sweep(now: number): void {
    for (const type of this.#store.types()) {
      const { lifetimeSeconds } = type;
      if (lifetimeSeconds === undefined) continue;
      for (const { key, object } of this.#store.list(type)) {
        const born = Date.parse(object.metadata.creationTimestamp ?? "");
        if (now - born > lifetimeSeconds * 1000) this.#store.remove(type, key);
      }
    }
  }

  #replace(type: ResourceType, before: Version, given: KubeObject, options: WriteOptions, applied = false): Version {
    const old = before.object;
    checkAgainst(type, given.metadata, old);
    const kept = keepSystemFields(type, given, old, options.subresource);
    const rules = this.#rules(type);
    const after = rules.defaults?.(kept, old) ?? kept;
    validateObject(rules, after, old);
    checkNewFinalizers(type, old, after);
    const own = applied
      ? (given.metadata.managedFields ?? [])
      : trackUpdate(type, old, after, managerOf(options), timestamp());
    const object = raiseGeneration(type, old, manage(after, own));
    if (sameJson(old, object)) return before;
    if (options.dryRun) return new Version(type, before.key, object, before.rv);
    if (object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers ?? []).length === 0) {
      this.#remove(type, before.key);
      return new Version(type, before.key, object, before.rv);
    }
    return this.#store.put(type, before.key, object);
  }

  #rules(type: ResourceType): ResourceType {
    if (this.schemas || !type.custom) return type;
    const bare = { ...type };
    delete bare.defaults;
    delete bare.validate;
    return bare;
  }

  #mark(type: ResourceType, before: Version): Version {
    const { metadata } = before.object;
    if (metadata.deletionTimestamp !== undefined) return before;
    const marked = { ...metadata, deletionTimestamp: timestamp(), deletionGracePeriodSeconds: 0 };
    const object: KubeObject = { ...before.object, metadata: marked };
    if (this.#namespaces.isNamespace(type)) object.status = { phase: "Terminating" };
    return this.#store.put(type, before.key, object);
  }

  #remove(type: ResourceType, key: string): Version | undefined {
    const removed = this.#store.remove(type, key);
    if (removed !== undefined && type.namespaced) this.#namespaces.finish(removed.object.metadata.namespace ?? "");
    return removed;
  }
}

function manage(object: KubeObject, managedFields: Metadata["managedFields"]): KubeObject {
  const { managedFields: _old, ...metadata } = object.metadata;
  const managed = managedFields === undefined || managedFields.length === 0 ? metadata : { ...metadata, managedFields };
  return { ...object, metadata: managed };
}

function managerOf({ manager, subresource }: WriteOptions): Manager {
  const base: Manager = { name: manager, operation: "Update" };
  return subresource === undefined ? base : { ...base, subresource };
}

function generatedName(base: string | undefined): string {
  if (base === undefined) return "";
  const letters = Array.from({ length: 5 }, () => NAME_LETTERS[randomInt(NAME_LETTERS.length)]);
  return base.slice(0, GENERATED_BASE_LIMIT) + letters.join("");
}

function nameIn(key: string): string {
  return key.slice(key.indexOf("/") + 1);
}

/** Now as the API writes times: RFC 3339, whole seconds, UTC. */
function timestamp(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, "Z");
}
