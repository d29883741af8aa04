/**
 * The Nodes as the rest of Skylane sees them: all of them by their metadata only (a tenth of the bytes, no heartbeats'
 * status), and this machine's own in full.
 */
import type { KubeClient } from "../client/client.ts";
import { Reflector } from "../informer/reflector.ts";
import { sameNode, sameOwnNode, transformNode, transformOwnNode } from "../informer/transform.ts";
import type { ReflectorOptions } from "../informer/source.ts";
import type { Changes, NodeMeta, OwnNodeInfo, WatchState } from "../types.ts";

/** Path of the Nodes, and of one of them. */
export const NODES = "/api/v1/nodes";
/** Content type of an object's metadata alone. */
export const METADATA_ONLY = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";
export const METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";
/** The same in the form that costs a server, the wire and us least (metadata-wire.ts), where it can be had. */
export const inWire = (json: string): string =>
  `${json.replace("json", "vnd.kubernetes.protobuf").replace(/,.*/, "")},${json}`;

/** All Nodes of the cluster by their metadata. */
export class NodeReflector extends Reflector<NodeMeta> {
  constructor(client: KubeClient, options: ReflectorOptions = {}) {
    const accept = { object: METADATA_ONLY, list: inWire(METADATA_LIST), watch: inWire(METADATA_ONLY) };
    const source = { what: "nodes", path: NODES, query: {}, accept, transform: transformNode, same: sameNode };
    super(client, { ...source, firstFromMemory: true }, options);
  }

  /** The Nodes as last known, by name; the same map for the reflector's whole life. */
  nodes(): ReadonlyMap<string, NodeMeta> {
    return this.objects;
  }
}

/** This machine's own Node in full. It need not exist yet. */
export class OwnNode {
  readonly name: string;
  private readonly reflector: Reflector<OwnNodeInfo>;

  constructor(client: KubeClient, name: string, options: ReflectorOptions = {}) {
    this.name = name;
    const json = "application/json";
    this.reflector = new Reflector(
      client,
      {
        what: "the own node",
        path: NODES,
        query: { fieldSelector: `metadata.name=${name}` },
        accept: { object: json, list: json, watch: json },
        transform: transformOwnNode,
        same: sameOwnNode,
      },
      options,
    );
  }

  /** The Node as last known; undefined while it does not exist. */
  get node(): OwnNodeInfo | undefined {
    return this.expected ? undefined : this.reflector.objects.get(this.name);
  }

  /** Whether the server has answered since the start: only then does an absent Node mean that there is none. */
  get synced(): boolean {
    return this.reflector.state.synced && !this.expected;
  }

  /**
   * An earlier run knew the Node, before the start: an answer without it counts only once the server has said about this very Node that
   * it is gone. Until then nobody is called back.
   */
  expect(): void {
    this.reflector.remember([expectedNode(this.name)]);
  }

  private get expected(): boolean {
    return this.reflector.objects.get(this.name)?.uid === "";
  }

  get state(): WatchState {
    return this.reflector.state;
  }

  /** Calls back when the Node appears, changes in what concerns Skylane, or goes, and once with the first answer. */
  onChange(listener: (node: OwnNodeInfo | undefined, changes: Changes<OwnNodeInfo>) => void): () => void {
    return this.reflector.onChange((changes) => {
      if (!this.expected) listener(this.node, changes);
    });
  }

  whenSynced(): Promise<void> {
    return this.reflector.whenSynced();
  }

  start(): void {
    this.reflector.start();
  }

  stop(): Promise<void> {
    return this.reflector.stop();
  }
}

/** Stands for a Node of which nothing is known but that it was there; no Node is the same. */
const expectedNode = (name: string): OwnNodeInfo => ({
  name,
  uid: "",
  resourceVersion: "",
  creationTimestamp: "",
  annotations: {},
  podCidrs: [],
  addresses: [],
  internalIps: [],
  externalIps: [],
});
