/**
 * One version of one object, with its bytes. Each version is serialised once and the bytes are shared by every
 * list and every watch that sends it: with thousands of nodes and hundreds of watches, serialising is the cost.
 * The bytes are those of a list item (no kind and apiVersion); a prefix turns them into the whole object, so that
 * one copy serves both.
 */
import { apiVersionOf, type KubeObject, type ResourceType } from "../types.ts";
import { podMessage } from "../http/pod-message.ts";
import { serviceMessage } from "../http/service-message.ts";
import { metadataMessage, nodeMessage } from "../http/wire.ts";

/** What of an object a client asked for: everything, or kind and metadata (PartialObjectMetadata), in JSON or protobuf. */
export type Projection = "full" | "meta" | "wire" | "wholeWire";

const META_PREFIX = Buffer.from('{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",');
const BRACE = Buffer.from("{");

/** Kinds whose objects can be had whole in protobuf. */
export const WHOLE_MESSAGES: Readonly<Record<string, (object: KubeObject) => Buffer>> = {
  Node: nodeMessage,
  Pod: podMessage,
  Service: serviceMessage,
};

/** One immutable version of an object. */
export class Version {
  readonly type: ResourceType;
  readonly object: KubeObject;
  /** The store's resourceVersion at which it was written. */
  readonly rv: number;
  /** `namespace/name`, or the name alone for a cluster-scoped object. */
  readonly key: string;
  #body: Buffer | undefined;
  #meta: Buffer | undefined;
  #wire: Buffer | undefined;
  #wholeWire: Buffer | undefined;

  constructor(type: ResourceType, key: string, object: KubeObject, rv: number) {
    this.type = type;
    this.key = key;
    this.object = object;
    this.rv = rv;
  }

  /** The object's JSON after `{`, without kind and apiVersion; in protobuf the message alone. */
  body(projection: Projection): Buffer {
    if (projection === "wholeWire") {
      this.#wholeWire ??= WHOLE_MESSAGES[this.type.kind]?.(this.object) ?? Buffer.alloc(0);
      return this.#wholeWire;
    }
    if (projection === "wire") {
      this.#wire ??= metadataMessage(this.object.metadata);
      return this.#wire;
    }
    if (projection === "meta") {
      this.#meta ??= Buffer.from(JSON.stringify({ metadata: this.object.metadata }).slice(1));
      return this.#meta;
    }
    if (this.#body === undefined) {
      const { kind: _kind, apiVersion: _apiVersion, metadata, ...rest } = this.object;
      this.#body = Buffer.from(JSON.stringify({ metadata, ...rest }).slice(1));
    }
    return this.#body;
  }

  /** What comes before `body` in an answer of its own or a watch event. */
  prefix(projection: Projection): Buffer {
    return projection === "meta" ? META_PREFIX : prefixOf(this.type);
  }

  /** What comes before `body` in a list: built-in list items carry no kind and apiVersion, others do. */
  itemPrefix(projection: Projection): Buffer {
    return projection === "full" && !this.type.custom ? BRACE : this.prefix(projection);
  }

  /** Drops the bytes of a version that has been replaced; they are made again if a late watch asks. */
  forget(): void {
    this.#body = undefined;
    this.#meta = undefined;
    this.#wire = undefined;
    this.#wholeWire = undefined;
  }
}

const prefixes = new WeakMap<ResourceType, Buffer>();

function prefixOf(type: ResourceType): Buffer {
  let prefix = prefixes.get(type);
  if (prefix === undefined) {
    const head = JSON.stringify({ kind: type.kind, apiVersion: apiVersionOf(type) });
    prefix = Buffer.from(`${head.slice(0, -1)},`);
    prefixes.set(type, prefix);
  }
  return prefix;
}
