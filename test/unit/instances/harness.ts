/**
 * A node's parts in pod networks on a machine that is made up: namespaces, devices, rules and data paths write down what is done to them,
 * records and addresses are in a directory of the test's, and the API server is the lab's, in this process.
 */
import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { type Linked, realHost } from "../../../src/cni/index.ts";
import { type AgentConfig, loadAgentConfig } from "../../../src/config/index.ts";
import { POD_NETWORKS } from "../../../src/crd/index.ts";
import { type NetnsMounter, NetworkNetns } from "../../../src/dataplane/netns/index.ts";
import { hostIfname } from "../../../src/dataplane/pod-link/index.ts";
import type { UplinkOptions } from "../../../src/dataplane/uplink/index.ts";
import type { InstanceFirewallOptions } from "../../../src/firewall/index.ts";
import { type InstanceLinks, type InstanceMachine, Networks } from "../../../src/instances/index.ts";
import { connect, createObject, type KubeClient, NODES, podsOf } from "../../../src/kube/index.ts";
import { type MonitorListener, type Operation, POD_LINK_GROUP } from "../../../src/netlink/index.ts";
import type { Inputs, NodeChanges, NodeFacts, OwnFacts } from "../../../src/nodes/index.ts";
import { type CheckResult, Metrics } from "../../../src/observe/index.ts";
import { linkOf } from "../../support/link.ts";
import { FakeHost, FakePath, FakeRules, keptLog } from "../network/harness.ts";

export const NODE = "n11";
const NETNS_DIR = "/nowhere/netns";
let containers = 0;

/** A namespace that is this process's own, and is left alone. */
class FakeNetns extends NetworkNetns {
  wrong: string[] = [];
  isOpen = true;
  override settle(): string[] {
    return this.wrong.splice(0);
  }
  override close(): void {
    this.isOpen = false;
    super.close();
  }
}

/** What is in the namespace of a network, and the network's parts there. */
export class FakeNamespace extends FakeHost {
  readonly calls: string[];
  readonly listeners = new Set<MonitorListener>();
  /** The latest ones. */
  rules: FakeInstanceRules | undefined;
  path: FakePath | undefined;
  uplink: FakeUplink | undefined;
  netns: FakeNetns | undefined;
  override links = [linkOf(1, "lo", { loopback: true })];

  constructor(calls: string[]) {
    super();
    this.calls = calls;
    Object.assign(this.rtnl, {
      execute: (operation: Operation) => {
        assert.ok(operation.kind === "link" && operation.op === "del");
        const { index, name } = operation.link;
        this.calls.push(`deleted ${name ?? index}`);
        this.links = this.links.filter((link) => link.index !== index);
      },
      close: () => undefined,
      [Symbol.dispose]: () => undefined,
    });
  }
}

class FakeInstanceRules extends FakeRules {
  readonly applied: () => void;
  readonly outside: () => readonly string[] | undefined;

  constructor(calls: string[], { onApplied, outside }: InstanceFirewallOptions) {
    super(calls);
    this.applied = onApplied;
    this.outside = outside;
  }
  changeHosts(): void {}
  hold(): void {}
  secure = (): Promise<void> => Promise.resolve();
  refresh(): void {
    this.calls.push(`rules: outside of ${this.outside()?.join(" ") ?? "nothing"}`);
  }
  stop(): Promise<void> {
    this.calls.push("rules: stop");
    return Promise.resolve();
  }
  remove(): Promise<void> {
    this.calls.push("rules: remove");
    return Promise.resolve();
  }
}

class FakeUplink {
  readonly calls: string[];
  hostIndex: number | undefined;
  /** What the next look finds to be wrong. */
  wrong: string[] = ["made it"];
  fault: Error | undefined;

  constructor(calls: string[]) {
    this.calls = calls;
  }
  ensure(mtu: number): string[] {
    if (this.fault) throw this.fault;
    this.hostIndex = 77;
    this.calls.push(`uplink: mtu ${mtu}`);
    return this.wrong.splice(0);
  }
  remove(): void {
    this.calls.push("uplink: remove");
  }
}

/** A pod that is attached to a network beside the default one. */
export interface AttachedPod {
  containerId: string;
  network: string;
}

/** See the header. */
export class InstancesHarness {
  readonly calls: string[] = [];
  readonly log = keptLog();
  readonly events: string[] = [];
  readonly host = new FakeHost();
  readonly metrics = new Metrics("test");
  readonly dir = mkdtempSync(join(tmpdir(), "skylane-instances-"));
  readonly namespaces = new Map<string, FakeNamespace>();
  /** Networks whose namespaces have a name. */
  readonly named = new Set<string>();
  readonly nodes = new Map<string, NodeFacts>();
  rulesNow: CheckResult = { ok: true, message: "in place" };
  away: string | undefined;
  /** How long a request waits for a network, in milliseconds; as long as in the product by default. */
  readyMs: number | undefined;
  /** Told when an instance is made, by its network. */
  onJoin: (network: string) => void = () => undefined;
  /** Told of each data path before it starts. */
  onPath: (path: FakePath) => void = () => undefined;
  own: OwnFacts = { name: NODE, podCidrs: ["10.244.11.0/24"], internalIps: ["172.30.0.11"] };
  api!: ApiServer;
  client!: KubeClient;
  config!: AgentConfig;
  networks!: Networks;
  #port: Socket | undefined;

  /** One with an API server that knows this node, and no network yet. */
  static async start(): Promise<InstancesHarness> {
    const harness = new InstancesHarness();
    await harness.#start();
    return harness;
  }

  async #start(): Promise<void> {
    const socket = createSocket("udp4").bind(0, "127.0.0.1");
    await once(socket, "listening");
    this.#port = socket;
    this.api = await startApiServer({ host: "127.0.0.1" });
    const kubeconfig = join(this.dir, "kubeconfig");
    writeFileSync(kubeconfig, this.api.kubeconfig(), { mode: 0o600 });
    this.client = connect({ kubeconfig });
    const flags = { "node-name": NODE, "run-dir": join(this.dir, "run"), "data-dir": join(this.dir, "data") };
    this.config = loadAgentConfig({
      argv: [
        ...Object.entries(flags).flatMap(([key, value]) => [`--${key}`, value]),
        "--port",
        `${socket.address().port}`,
      ],
      env: {},
    });
    await this.newNode();
    this.networks = this.agent();
  }

  /** This node is registered, again where it was before. */
  async newNode(): Promise<void> {
    const there = this.own.uid !== undefined;
    if (there) this.api.store.remove(this.api.type("nodes"), NODE);
    const node = await createObject(this.client, NODES, { apiVersion: "v1", kind: "Node", metadata: { name: NODE } });
    this.own = { ...this.own, uid: (node as { metadata: { uid: string } }).metadata.uid };
  }

  /** A node's networks as an agent has them that starts now; {@link close} stops the latest one. */
  agent(): Networks {
    return new Networks({
      ...(this.readyMs !== undefined && { readyMs: this.readyMs }),
      config: this.config,
      settled: Promise.resolve(),
      log: this.log,
      metrics: this.metrics,
      client: this.client,
      rtnl: this.host.rtnl,
      machine: this.#machine(),
      firewall: Object.assign(new FakeRules([]), { remove: () => undefined, changeHosts: () => undefined }),
      elsewhere: () => ({ apiServer: [], services: [], pods: [] }),
      policies: {
        join: ({ name }) => {
          this.calls.push(`policies: join ${name}`);
          this.onJoin(name);
          const over = (how: string) => () => {
            this.calls.push(`policies: ${how}`);
            return Promise.resolve();
          };
          return {
            blocksChanged: () => undefined,
            whoHas: () => ({}),
            stop: over("stop"),
            leave: over("leave"),
          };
        },
      },
      egress: { join: () => ({ changed: () => undefined, stop: async () => undefined, leave: async () => undefined }) },
      flows: { join: () => ({ close: () => Promise.resolve() }) },
      announce: () => undefined,
      announced: () => ({ ok: true, message: "published" }),
      repaired: (path) => void this.calls.push(`repaired ${path.slice(this.dir.length)}`),
      event: (type, reason, message) => void this.events.push(`${type} ${reason} ${message}`),
      apiAway: () => this.away,
      onPresence: () => undefined,
      onDefined: () => undefined,
    });
  }

  #machine(): InstanceMachine {
    const namespaceOf = (fd: number): FakeNamespace =>
      [...this.namespaces.values()].find(({ netns }) => netns?.isOpen && netns.fd === fd) ??
      assert.fail("another namespace");
    const open = (network: string, found: boolean): NetworkNetns => {
      const namespace = this.namespace(network);
      namespace.netns = new FakeNetns(network, openSync("/proc/thread-self/ns/net", "r"), {
        netnsDir: NETNS_DIR,
        found,
      });
      return namespace.netns;
    };
    const openNetworkNetns = (network: string) => (this.named.has(network) ? open(network, true) : undefined);
    return {
      listNetworkNetns: () => [...this.named],
      openNetworkNetns,
      ensureNetworkNetns: (network) => openNetworkNetns(network) ?? open(network, false),
      rtnl: ({ network }) => this.namespace(network).rtnl,
      links: ({ netns }): InstanceLinks => {
        const { rtnl, listeners } = namespaceOf(netns);
        const also = (listener: MonitorListener) => {
          listeners.add(listener);
          return { passOver: () => () => undefined, close: async () => void listeners.delete(listener) };
        };
        const nothing = {} as never;
        const stop = () => Promise.resolve();
        const watch = { also, close: stop };
        const [look, hostEndOf] = [() => undefined, () => undefined];
        return { rtnl, watch, queue: nothing, attach: nothing, look, hostEndOf, stop };
      },
      rules: (options) => {
        const namespace = namespaceOf(options.netns);
        namespace.rules = new FakeInstanceRules(namespace.calls, options);
        namespace.rules.verdictNow = this.rulesNow;
        return namespace.rules;
      },
      uplink: ({ netns }: UplinkOptions) => {
        const namespace = namespaceOf(netns);
        return (namespace.uplink = new FakeUplink(namespace.calls));
      },
      dataPath: ({ info }, local, listener) => {
        const namespace = this.namespace(info.name);
        namespace.links.push(linkOf(9, local.device, { kind: "vxlan" }));
        namespace.path = new FakePath(local, listener, namespace.calls);
        this.onPath(namespace.path);
        return namespace.path;
      },
    };
  }

  /** The namespace of a network, whether it is open or not. */
  namespace(network: string): FakeNamespace {
    const there = this.namespaces.get(network) ?? new FakeNamespace(this.calls);
    this.namespaces.set(network, there);
    return there;
  }

  /** Who names namespaces, for one request. */
  readonly mounter: NetnsMounter = {
    hold: (name) => {
      this.calls.push(`named ${name}`);
      this.named.add(name.replace(/^sky-/, ""));
      return Promise.resolve();
    },
    release: (name) => {
      this.calls.push(`unnamed ${name}`);
      this.named.delete(name.replace(/^sky-/, ""));
      return Promise.resolve();
    },
  };

  get inputs(): Inputs {
    return { own: this.own, nodes: { [Symbol.iterator]: () => this.nodes.values() } };
  }

  /** Tells the networks what is known of the cluster. */
  update(changed: readonly NodeFacts[] = [], live = true): void {
    for (const node of changed) this.nodes.set(node.name, node);
    const changes: NodeChanges = new Map(changed.map((node) => [node.name, node]));
    this.networks.update(this.inputs, live, changes);
  }

  /** Defines a PodNetwork; returns its uid. */
  async define(name: string, vni: number, spec: Record<string, unknown> = {}): Promise<string> {
    const object = await createObject(this.client, POD_NETWORKS, {
      apiVersion: "skylane.dev/v1alpha1",
      kind: "PodNetwork",
      metadata: { name },
      spec: { vni, cidrs: [`10.${vni % 256}.0.0/24`], blockSize: 16, namespaceSelector: {}, ...spec },
    });
    return (object as { metadata: { uid: string } }).metadata.uid;
  }

  /** What a runtime asks for a new pod that asks for these networks; the pod is in the API server. */
  async request(asks: string): Promise<Parameters<Networks["prepare"]>[0]> {
    const name = `pod-${++containers}`;
    const object = await createObject(this.client, podsOf("default"), {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, annotations: { "skylane.dev/networks": asks } },
      spec: { nodeName: NODE, containers: [{ name: "main", image: "none" }] },
    });
    const { uid } = (object as { metadata: { uid: string } }).metadata;
    return {
      network: this.config.network,
      pod: { namespace: "default", name, uid },
      attachment: { containerId: name, ifname: "eth0" },
      netns: `/run/netns/${name}`,
    };
  }

  /** An ADD as far as networks have to do with it: what it is told, its record and link, and that they are there. */
  async attach(asks: string): Promise<AttachedPod> {
    const request = await this.request(asks);
    const { additional } = await this.networks.prepare(request, this.mounter);
    const network = additional[0]?.network ?? assert.fail("no additional interface");
    return this.attachTo(network, request.attachment.containerId);
  }

  /** The second half of it. */
  async attachTo(network: string, containerId: string): Promise<AttachedPod> {
    const pod = { containerId, network };
    this.record(pod);
    await this.networks.linked(this.linked(pod));
    return pod;
  }

  linked({ containerId, network }: AttachedPod): Linked {
    return { network, containerId, ifname: "net1", netns: `/run/netns/${containerId}` } as unknown as Linked;
  }

  /** Writes down that a pod is in a network, and makes its link. */
  record({ containerId, network }: AttachedPod): void {
    const owner = { containerId, ifname: "net1" };
    const { dataDir } = this.config;
    const since = { since: 0, uptime: 0, bootId: "boot" };
    realHost.attachments({ dataDir, network }).begin({ name: "skylane", owner, ...since });
    const index = 100 + ++containers;
    const { links } = this.namespace(network);
    links.push(linkOf(index, hostIfname(containerId, "net1"), { kind: "veth", group: POD_LINK_GROUP }));
  }

  /** The opposite. */
  forget({ containerId, network }: AttachedPod): void {
    const { dataDir } = this.config;
    realHost.attachments({ dataDir, network }).end({ containerId, ifname: "net1" });
    const namespace = this.namespace(network);
    const name = hostIfname(containerId, "net1");
    namespace.links = namespace.links.filter((link) => link.name !== name);
  }

  /** A DEL: record and link go, and the network hears of it. */
  async detach(pod: AttachedPod): Promise<void> {
    this.forget(pod);
    await this.networks.leaveIfEmpty(pod.network, this.mounter);
  }

  /** What was called since the last time. */
  since(): string[] {
    return this.calls.splice(0);
  }

  async close(): Promise<void> {
    await this.networks.stop();
    await this.client.close();
    await this.api.close();
    this.#port?.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
