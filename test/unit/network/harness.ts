/**
 * A pod network with everything around it made up: these inputs, this machine, this data path, and what was called. The network itself
 * is the real one; time passes as it does.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { type AgentConfig, loadAgentConfig } from "../../../src/config/index.ts";
import type { InstancePath } from "../../../src/data-path/index.ts";
import type { Fields, Logger } from "../../../src/log/index.ts";
import { type Address, type Link, NetlinkError, type Route, type Rtnl } from "../../../src/netlink/index.ts";
import { PodNetwork } from "../../../src/network/index.ts";
import type { Inputs, NodeChanges, NodeFacts, OwnFacts } from "../../../src/nodes/index.ts";
import { type CheckResult, type DataPathListener, Metrics } from "../../../src/observe/index.ts";
import type { LocalNetwork, Peer, VtepAnnotation } from "../../../src/peers/index.ts";
import { linkOf } from "../../support/link.ts";

const ENETUNREACH = 101;

/** A logger that keeps what it is told, at info and above, as "level: message". */
export function keptLog(): Logger & { lines: string[] } {
  const lines: string[] = [];
  const at = (level: string) => (message: string, _fields?: Fields) => void lines.push(`${level}: ${message}`);
  const logger = {
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: () => undefined,
    enabled: () => true,
  };
  const log: Logger & { lines: string[] } = { ...logger, lines, child: () => log };
  return log;
}

/** The host as far as a network looks at it: `eth0` with an address a family, and what the network has made. */
export class FakeHost {
  links: Link[] = [linkOf(1, "lo", { loopback: true }), linkOf(2, "eth0")];
  addresses: Address[] = [
    { ifindex: 2, ip: "172.30.0.11", prefix: 24 },
    { ifindex: 2, ip: "fd30::11", prefix: 64 },
  ];
  routes: Route[] = [];
  /** Routes to single addresses. */
  lookups = new Map<string, Route>();
  /** Thrown by whatever is asked, once. */
  fault: Error | undefined;

  /** Enough of a conversation with its kernel for who only looks. */
  readonly rtnl = {
    links: () => this.#answer(this.links),
    link: (which: string | number) => this.links.find(({ name, index }) => name === which || index === which),
    addresses: () => this.addresses,
    routes: () => this.routes,
    rules: () => [],
    routeTo: (ip: string) => {
      const route = this.lookups.get(ip);
      if (!route) throw new NetlinkError({ errno: ENETUNREACH, doing: `looking for a route to ${ip}` });
      return route;
    },
  } as unknown as Rtnl;

  #answer<T>(value: T): T {
    const { fault } = this;
    this.fault = undefined;
    if (fault) throw fault;
    return value;
  }
}

/** A data path that does nothing, says of itself what it is told to, and writes down what it hears. */
export class FakePath implements InstancePath {
  readonly calls: string[];
  readonly listener: DataPathListener;
  local: LocalNetwork;
  peers = new Map<string, Peer>();
  error: string | undefined;
  tried = true;
  claims = false;
  /** Why it cannot start; asked once for each attempt. */
  faults: Error[];
  /** Why the next pod cannot be served. */
  linkFault: Error | undefined;
  known = new Set<string>();

  constructor(local: LocalNetwork, listener: DataPathListener, calls: string[], faults: Error[] = []) {
    this.local = local;
    this.listener = listener;
    this.calls = calls;
    this.faults = faults;
  }

  start(): Promise<void> {
    const fault = this.faults.shift();
    this.calls.push(fault ? "path: cannot start" : "path: start");
    if (fault) return Promise.reject(fault);
    this.pass();
    return Promise.resolve();
  }
  /** A pass ends. */
  pass(failures = 0): void {
    this.listener.onPass({ applySeconds: 0, failures });
  }
  setLocal(local: LocalNetwork): void {
    this.local = local;
    this.calls.push(`path: local ${local.podCidrs.join(" ")} mtu ${local.mtu}`);
  }
  setPeers(peers: Iterable<Peer>): void {
    this.peers = new Map(Array.from(peers, (peer) => [peer.node, peer]));
    this.calls.push(`path: peers ${[...this.peers.keys()].sort().join(" ")}`.trimEnd());
  }
  changePeers(changes: Iterable<readonly [string, Peer | undefined]>): void {
    for (const [node, peer] of changes) {
      if (peer) this.peers.set(node, peer);
      else this.peers.delete(node);
      this.calls.push(`path: ${peer ? "has" : "loses"} ${node}`);
    }
  }
  status(): ReturnType<InstancePath["status"]> {
    const { device } = this.local;
    const count = { expected: this.peers.size, present: this.tried ? this.peers.size : 0 };
    const peers = Array.from(this.peers.values(), ({ node, mac, underlayIp, podCidrs }) => {
      return { node, mac, underlayIp, podCidrs, state: "programmed" as const };
    });
    const ready = this.error === undefined && this.tried;
    return {
      device,
      ready,
      ...(this.error !== undefined && { error: this.error }),
      peers,
      entries: { route: count },
      repairs: { total: 0, byKind: {} },
    };
  }
  stop(): Promise<void> {
    this.calls.push("path: stop");
    return Promise.resolve();
  }
  linked({ containerId }: { containerId: string }): Promise<void> {
    this.calls.push(`path: linked ${containerId}`);
    const fault = this.linkFault;
    this.linkFault = undefined;
    return fault ? Promise.reject(fault) : Promise.resolve();
  }
  adopt(): void {
    this.calls.push("path: adopt");
  }
  refresh(): void {
    this.calls.push("path: refresh");
  }
  blocksChanged(): void {
    this.calls.push("path: blocks");
  }
  knows(address: string): boolean {
    return this.known.has(address);
  }
  uses(ip: string): boolean {
    return this.known.has(ip);
  }
  leave(): Promise<void> {
    this.calls.push("path: leave");
    return Promise.resolve();
  }
}

/** Packet filter rules that are in force or not as the test has it. */
export class FakeRules {
  readonly calls: string[];
  verdictNow: CheckResult = { ok: true, message: "in place" };

  constructor(calls: string[]) {
    this.calls = calls;
  }
  set(): void {
    this.calls.push("rules: set");
  }
  changePeers(_local: LocalNetwork, former: readonly Peer[], now: readonly Peer[]): void {
    const names = (peers: readonly Peer[]) => peers.map(({ node }) => node).join(" ") || "nobody";
    this.calls.push(`rules: ${names(former)} -> ${names(now)}`);
  }
  verdict(): CheckResult {
    return this.verdictNow;
  }
}

/** Another node: its number is in its addresses. */
export function otherNode(n: number, network: string, entry: Partial<VtepAnnotation> = {}): NodeFacts {
  const ips = [`172.30.0.${n}`];
  const podCidrs = entry.podCidrs ?? [`10.244.${n}.0/24`];
  const said = { vni: 4096, mac: `02:00:00:00:00:${n.toString(16).padStart(2, "0")}`, ips, podCidrs, port: 4789 };
  return {
    name: `n${n}`,
    uid: `uid-n${n}`,
    creationTimestamp: `2026-01-01T00:00:${String(n).padStart(2, "0")}Z`,
    vtepAnnotation: JSON.stringify({ [network]: { ...said, ...entry } }),
    granted: { podCidrs, addresses: ips, heard: true },
  };
}

/** A pod network among the parts that are made up. */
export class NetworkHarness {
  readonly calls: string[] = [];
  readonly log = keptLog();
  readonly events: string[] = [];
  readonly host = new FakeHost();
  readonly rules = new FakeRules(this.calls);
  readonly metrics = new Metrics("test");
  readonly config: AgentConfig;
  readonly network: PodNetwork;
  /** Other Nodes, by name. */
  readonly nodes = new Map<string, NodeFacts>();
  own: OwnFacts = { name: "n11", uid: "uid-n11", podCidrs: ["10.244.11.0/24"], internalIps: ["172.30.0.11"] };
  /** The latest data path. */
  path: FakePath | undefined;
  pathFaults: Error[] = [];
  /** Told of each data path before it starts. */
  onPath: (path: FakePath) => void = () => undefined;
  written: LocalNetwork[] = [];
  writeFault: Error | undefined;
  announcedNow: CheckResult = { ok: true, message: "published" };
  #port: Socket | undefined;

  constructor(port: number, argv: readonly string[] = [], more: { bridged?: boolean; isolated?: boolean } = {}) {
    this.config = loadAgentConfig({
      argv: ["--node-name", "n11", "--vni", "4096", "--port", String(port), ...argv],
      env: {},
    });
    const { host, rules, metrics, log } = this;
    this.network = new PodNetwork({
      config: this.config,
      log,
      metrics,
      rtnl: host.rtnl,
      firewall: rules,
      ...(more.isolated && { inside: { netns: -1, rtnl: host.rtnl } }),
      ...(more.bridged && { bridged: true }),
      announce: () => void this.calls.push("announce"),
      announced: () => this.announcedNow,
      write: (local) => {
        if (this.writeFault) throw this.writeFault;
        this.written.push(local);
        this.calls.push("files: written");
      },
      dataPath: (local, listener) => {
        this.#makeDevice(local);
        this.path = new FakePath(local, listener, this.calls, this.pathFaults);
        this.onPath(this.path);
        return this.path;
      },
      onVni: (vni) => this.calls.push(`vni ${vni}`),
      event: (type, reason, message) => void this.events.push(`${type} ${reason} ${message}`),
    });
  }

  /** One whose VXLAN port is open, as the kernel opens it with a device. */
  static async open(argv: readonly string[] = [], more = {}): Promise<NetworkHarness> {
    const socket = createSocket("udp4").bind(0, "127.0.0.1");
    await once(socket, "listening");
    const harness = new NetworkHarness(socket.address().port, argv, more);
    harness.#port = socket;
    return harness;
  }

  #makeDevice({ device, mtu }: LocalNetwork): void {
    if (!this.host.rtnl.link(device)) this.host.links.push(linkOf(9, device, { kind: "vxlan", mtu }));
  }

  get inputs(): Inputs {
    return { own: this.own, nodes: { [Symbol.iterator]: () => this.nodes.values() } };
  }

  /** What the API server says, with these Nodes changed. */
  update(changed: readonly NodeFacts[] = [], { live = true, gone = [] as string[] } = {}): void {
    for (const node of changed) {
      this.nodes.set(node.name, node);
      const [, cidr = ""] = /"podCidrs":\["([^"/]+)/.exec(node.vtepAnnotation ?? "") ?? [];
      this.host.lookups.set(cidr, { dst: cidr, ifindex: 9 } as Route);
    }
    for (const name of gone) this.nodes.delete(name);
    const changes: NodeChanges = new Map([
      ...changed.map((node) => [node.name, node] as const),
      ...gone.map((name) => [name, undefined] as const),
    ]);
    this.network.update(this.inputs, live, changes);
  }

  /** What was called since the last time, without announcements: they may come whenever something could have changed. */
  since(): string[] {
    return this.calls.splice(0).filter((call) => call !== "announce");
  }

  async close(): Promise<void> {
    await this.network.stop();
    this.#port?.close();
  }
}
