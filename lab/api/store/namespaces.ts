/**
 * Namespaces contain: nothing is created in a missing or dying one, and deleting one deletes what is in it. The
 * real server leaves the second part to a controller; there is none here, so it happens at once.
 */
import { ApiError, forbidden, notFound } from "../errors.ts";
import type { Store } from "./store.ts";
import type { KubeObject, ResourceType } from "../types.ts";

const IMMORTAL = ["default", "kube-public", "kube-system"];

/** The life of namespaces. */
export class Namespaces {
  readonly #store: Store;
  readonly #type: ResourceType;

  constructor(store: Store) {
    const type = store.types().find((type) => type.group === "" && type.plural === "namespaces");
    if (type === undefined) throw new Error("the resource table has no namespaces");
    this.#store = store;
    this.#type = type;
  }

  /** Whether a type is the namespaces' own. */
  isNamespace(type: ResourceType): boolean {
    return type === this.#type;
  }

  /** Throws 404 for a missing namespace, 403 for one that is being deleted. */
  checkOpen(type: ResourceType, name: string, namespace: string): void {
    const version = this.#store.get(this.#type, namespace);
    if (version === undefined) throw notFound(this.#type, namespace);
    if (version.object.metadata.deletionTimestamp === undefined) return;
    const problem = `unable to create new content in namespace ${namespace} because it is being terminated`;
    const refusal = forbidden(type, name, problem);
    throw new ApiError(refusal.code, refusal.reason, refusal.message, {
      ...refusal.details,
      causes: [
        {
          reason: "NamespaceTerminating",
          message: `namespace ${namespace} is being terminated`,
          field: "metadata.namespace",
        },
      ],
    });
  }

  /** Throws 403 for the namespaces that a cluster cannot be without. */
  checkDeletable(object: KubeObject): void {
    const { name } = object.metadata;
    if (IMMORTAL.includes(name)) throw forbidden(this.#type, name, "this namespace may not be deleted");
  }

  /** Whether nothing is in the namespace. */
  empty(namespace: string): boolean {
    return this.#contents(namespace).length === 0;
  }

  /** Deletes what is in a namespace; what finalizers hold stays for now. */
  drain(namespace: string, remove: (type: ResourceType, key: string) => unknown): void {
    for (const { type, key } of this.#contents(namespace)) remove(type, key);
  }

  /** Removes a dying namespace when the last object has left it. */
  finish(namespace: string): void {
    const version = this.#store.get(this.#type, namespace);
    const metadata = version?.object.metadata;
    if (metadata?.deletionTimestamp === undefined || (metadata.finalizers ?? []).length > 0) return;
    if (this.empty(namespace)) this.#store.remove(this.#type, namespace);
  }

  #contents(namespace: string): { type: ResourceType; key: string }[] {
    const types = this.#store.types().filter((type) => type.namespaced);
    return types.flatMap((type) =>
      this.#store
        .list(type)
        .filter(({ key }) => key.startsWith(`${namespace}/`))
        .map(({ key }) => ({ type, key })),
    );
  }
}
