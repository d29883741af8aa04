/** PolicySources with the lab's API server behind them, and what they told so far. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApiServer, type ApiServerOptions, type RequestInfo, startApiServer } from "../../../../lab/api/index.ts";
import { PolicySources, type PolicySourcesOptions } from "../../../../src/enforcement/sources/policy-sources.ts";
import { connect, type KubeClient } from "../../../../src/kube/index.ts";
import type { Logger } from "../../../../src/log/index.ts";
import type { Changes, ClusterNode, Namespace, Pod, Policy } from "../../../../src/policy/index.ts";

/** The node whose agent listens. */
export const HERE = "here";
/** Small waits. */
export const TIMINGS = { baseMs: 2, capMs: 20, stableMs: 0, initialMs: 5_000, bookmarkMs: 5_000, absentMs: 5 };

/** The definition of ClusterNetworkPolicies, without its schema. */
export const DEFINITION = {
  metadata: { name: "clusternetworkpolicies.policy.networking.k8s.io" },
  spec: {
    group: "policy.networking.k8s.io",
    names: { plural: "clusternetworkpolicies", kind: "ClusterNetworkPolicy" },
    scope: "Cluster",
    versions: [{ name: "v1alpha2", served: true, storage: true, subresources: { status: {} } }],
  },
};

/** The definition of MultiNetworkPolicies, as older clusters have it. */
export const MULTI_DEFINITION = {
  metadata: { name: "multi-networkpolicies.k8s.cni.cncf.io" },
  spec: {
    group: "k8s.cni.cncf.io",
    names: { plural: "multi-networkpolicies", kind: "MultiNetworkPolicy" },
    scope: "Namespaced",
    versions: [{ name: "v1beta1", served: true, storage: true }],
  },
};

/** The definition of NetworkAttachmentDefinitions. */
export const ATTACHMENT_DEFINITION = {
  metadata: { name: "network-attachment-definitions.k8s.cni.cncf.io" },
  spec: {
    group: "k8s.cni.cncf.io",
    names: { plural: "network-attachment-definitions", kind: "NetworkAttachmentDefinition" },
    scope: "Namespaced",
    versions: [{ name: "v1", served: true, storage: true }],
  },
};

/** What was told, put together. */
export class Told {
  readonly pods = new Map<string, Pod>();
  readonly namespaces = new Map<string, Namespace>();
  readonly nodes = new Map<string, ClusterNode>();
  readonly policies = new Map<string, Policy>();
  /** Every batch as it came. */
  readonly batches: Changes[] = [];

  take(changes: Changes): void {
    this.batches.push(changes);
    const { pods, namespaces, nodes, policies } = changes;
    for (const { namespace, name } of pods?.gone ?? []) this.pods.delete(`${namespace}/${name}`);
    for (const pod of pods?.set ?? []) this.pods.set(`${pod.namespace}/${pod.name}`, pod);
    for (const name of namespaces?.gone ?? []) this.namespaces.delete(name);
    for (const one of namespaces?.set ?? []) this.namespaces.set(one.name, one);
    for (const name of nodes?.gone ?? []) this.nodes.delete(name);
    for (const one of nodes?.set ?? []) this.nodes.set(one.name, one);
    for (const one of policies?.gone ?? []) this.policies.delete(keyOf(one));
    for (const one of policies?.set ?? []) this.policies.set(keyOf(one), one);
  }
}

const keyOf = ({ namespace, name }: { namespace: string | undefined; name: string }): string =>
  namespace === undefined ? name : `${namespace}/${name}`;

/** See the header. */
export class Heard {
  readonly told = new Told();
  /** Requests as "verb resource", in the order in which they came. */
  readonly asked: RequestInfo[] = [];
  /** Level and message. */
  readonly logged: [string, string][] = [];
  /** Resources that may not be read. */
  readonly forbidden = new Set<string>();
  readonly granted = new Map<string, readonly string[]>();
  states = 0;
  api!: ApiServer;
  client!: KubeClient;
  sources!: PolicySources;
  readonly #folder = mkdtempSync(join(tmpdir(), "skylane-policy-sources-"));

  static async begin(options: Partial<ApiServerOptions> = {}): Promise<Heard> {
    const heard = new Heard();
    heard.api = await startApiServer({
      host: "127.0.0.1",
      bookmarkIntervalMs: 50,
      tokens: { agent: { name: "agent" } },
      authorize: (request) => {
        heard.asked.push(request);
        return !heard.forbidden.has(request.resource);
      },
      ...options,
    });
    const kubeconfig = join(heard.#folder, "kubeconfig");
    writeFileSync(kubeconfig, heard.api.kubeconfig("agent"));
    heard.client = connect({ kubeconfig });
    return heard;
  }

  /** Begins to listen. */
  start(options: Partial<PolicySourcesOptions> = {}): void {
    const log = (level: string) => (message: string) => void this.logged.push([level, message]);
    this.sources = new PolicySources({
      client: this.client,
      log: { error: log("error"), warn: log("warn"), info: log("info"), debug: log("debug") } as unknown as Logger,
      nodeName: HERE,
      granted: (node) => this.granted.get(node),
      onChange: (changes) => this.told.take(changes),
      onState: () => void this.states++,
      lingerMs: 0,
      timings: TIMINGS,
      ...options,
    });
    this.sources.start();
  }

  async end(): Promise<void> {
    await this.sources.stop();
    await this.client.close();
    await this.api.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Whether anything was asked of a resource. */
  wasAsked(resource: string): boolean {
    return this.asked.some((one) => one.resource === resource);
  }

  put(plural: string, object: Record<string, unknown> & { metadata: Metadata }): void {
    const type = this.api.type(plural);
    const { name, namespace } = object.metadata;
    const key = namespace === undefined ? name : `${namespace}/${name}`;
    const before = this.api.store.get(type, key)?.object.metadata;
    const metadata = {
      uid: before?.uid ?? `uid-${key}`,
      creationTimestamp: "2026-01-01T00:00:00Z",
      ...object.metadata,
    };
    const apiVersion = type.group === "" ? type.version : `${type.group}/${type.version}`;
    this.api.store.put(type, key, { ...object, apiVersion, kind: type.kind, metadata });
  }

  remove(plural: string, key: string): void {
    this.api.store.remove(this.api.type(plural), key);
  }

  /** A pod as its kubelet has it. */
  pod(key: string, { labels = {}, node = HERE, ip, spec = {}, status = {}, metadata = {} }: PodOptions = {}): void {
    const [namespace = "", name = ""] = key.split("/");
    const ips = ip === undefined ? {} : { podIP: [ip].flat()[0], podIPs: [ip].flat().map((one) => ({ ip: one })) };
    this.put("pods", {
      metadata: { namespace, name, labels, ...metadata },
      spec: { nodeName: node, containers: [{ name: "main", image: "i" }], ...spec },
      status: { phase: "Running", ...ips, ...status },
    });
  }

  /** A NetworkPolicy. */
  policy(
    key: string,
    spec: Record<string, unknown> = { podSelector: {} },
    metadata: Record<string, unknown> = {},
  ): void {
    const [namespace = "", name = ""] = key.split("/");
    this.put("networkpolicies", { metadata: { namespace, name, ...metadata }, spec });
  }
}

type Metadata = { name: string; namespace?: string } & Record<string, unknown>;

interface PodOptions {
  labels?: Record<string, string>;
  node?: string;
  ip?: string | string[];
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
  metadata?: Record<string, unknown>;
}
