/**
 * A small cluster for the agent's tests: a namespace with a bridge and the API server in it, and nodes that are
 * namespaces with a cable to that bridge, directories of their own, and the real agent process.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AgentStatus } from "../../../src/observe/index.ts";
import type { FaultSettings } from "../../../lab/api/faults.ts";
import { eventually } from "../../support/eventually.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import type { ApiReply } from "./api-child.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const QUIET = ["--disable-warning=ExperimentalWarning"];

/** The agent's command: the built one, or what SKYLANE_AGENT says, split at spaces. */
function agentCommand(): string[] {
  const given = process.env["SKYLANE_AGENT"]?.split(" ");
  if (given) return given;
  const built = join(root, "dist/bin/skylane-agent");
  return existsSync(built) ? [built] : [process.execPath, ...QUIET, join(root, "cmd/skylane-agent/main.ts")];
}

type Json = Record<string, unknown>;

/** Signals by which a process ends that is at fault itself; tests send none of them. */
const OWN_FAULT: ReadonlySet<NodeJS.Signals> = new Set(["SIGSEGV", "SIGTRAP", "SIGILL", "SIGABRT", "SIGBUS"]);

/** The namespace that all nodes are cabled to, and the API server in it. */
export class Fabric {
  readonly ns: TestNamespace;
  readonly dir = mkdtempSync(join(tmpdir(), "skylane-agent-"));
  kubeconfig = "";
  #api: ChildProcess | undefined;
  #calls = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #lastId = 0;
  readonly #nodes: TestNode[] = [];

  private constructor() {
    this.ns = testNamespace("fabric");
    this.ns.exec("ip", "link", "add", "br0", "type", "bridge");
    this.ns.exec("ip", "addr", "add", "172.30.0.1/24", "dev", "br0");
    this.ns.exec("ip", "addr", "add", "fd30::1/64", "dev", "br0", "nodad");
    this.ns.exec("ip", "link", "set", "br0", "up");
  }

  /** A fabric whose API server answers. */
  static async started(): Promise<Fabric> {
    const fabric = new Fabric();
    try {
      await fabric.#start();
      return fabric;
    } catch (error) {
      await fabric.stop();
      throw error;
    }
  }

  /** Nodes 1 and 2, whose agents run and have each other for a peer. */
  async pair(): Promise<[n1: TestNode, n2: TestNode]> {
    const nodes: [TestNode, TestNode] = [this.node(1), this.node(2)];
    for (const node of nodes) await node.register();
    for (const node of nodes) node.start();
    await nodes[0].ready([nodes[1].name]);
    await nodes[1].ready([nodes[0].name]);
    return nodes;
  }

  async #start(): Promise<void> {
    const child = this.ns.spawn(
      process.execPath,
      [...QUIET, fileURLToPath(new URL("api-child.ts", import.meta.url)), "172.30.0.1"],
      { stdio: ["ignore", "inherit", "inherit", "ipc"] },
    );
    this.#api = child;
    const ready = new Promise<unknown>((resolve, reject) => {
      this.#calls.set(0, { resolve, reject });
      child.once("exit", (code) => reject(new Error(`the API server ended with ${code}`)));
    });
    child.on("message", ({ id, value, error }: ApiReply) => {
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      if (error === undefined) call?.resolve(value);
      else call?.reject(new Error(error));
    });
    this.kubeconfig = join(this.dir, "kubeconfig");
    writeFileSync(this.kubeconfig, (await ready) as string);
  }

  #call(call: object): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#api?.send({ id, ...call });
    });
  }

  /** One request to the API server. */
  api<T = Json>(method: string, path: string, body?: unknown, contentType?: string): Promise<T> {
    return this.#call({
      kind: "request",
      method,
      path,
      ...(body === undefined ? {} : { body }),
      ...(contentType ? { contentType } : {}),
    }) as Promise<T>;
  }

  /** Creates many objects of a collection. */
  async create(path: string, objects: readonly Json[]): Promise<void> {
    await this.#call({ kind: "create", path, objects });
  }

  /** Makes the API server misbehave. */
  async faults(settings: FaultSettings): Promise<void> {
    await this.#call({ kind: "faults", settings });
  }

  /** Creates a Node object. */
  async createNode(name: string, podCidrs: string[], internalIps: string[], annotations: Json = {}): Promise<void> {
    await this.api("POST", "/api/v1/nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, annotations },
      spec: podCidrs.length > 0 ? { podCIDR: podCidrs[0], podCIDRs: podCidrs } : {},
    });
    await this.setAddresses(name, internalIps);
  }

  /** Sets a Node's InternalIPs. */
  async setAddresses(name: string, ips: string[]): Promise<void> {
    const addresses = ips.map((address) => ({ type: "InternalIP", address }));
    const path = `/api/v1/nodes/${name}/status`;
    await this.api("PATCH", path, { status: { addresses } }, "application/merge-patch+json");
  }

  /** Merge-patches a Node. */
  async patchNode(name: string, patch: Json): Promise<void> {
    await this.api("PATCH", `/api/v1/nodes/${name}`, patch, "application/merge-patch+json");
  }

  /** Deletes a Node object. */
  async deleteNode(name: string): Promise<void> {
    await this.api("DELETE", `/api/v1/nodes/${name}`);
  }

  /** Reasons and messages of all Events. */
  async events(): Promise<{ reason: string; message: string; involvedObject: { name: string } }[]> {
    const { items } = await this.api<{
      items: { reason: string; message: string; involvedObject: { name: string } }[];
    }>("GET", "/api/v1/events");
    return items;
  }

  /** A Node's `skylane.dev/vtep`. */
  async vtepOf(name: string): Promise<string | undefined> {
    const node = await this.api<{ metadata: { annotations?: Record<string, string> } }>("GET", `/api/v1/nodes/${name}`);
    return node.metadata.annotations?.["skylane.dev/vtep"];
  }

  /** A machine with a cable to the bridge; its Node object is made separately, see {@link TestNode.register}. */
  node(number: number): TestNode {
    const node = new TestNode(this, number);
    this.#nodes.push(node);
    return node;
  }

  /** Ends everything that is still running. */
  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.stop("SIGKILL")));
    const api = this.#api;
    if (api?.exitCode === null) {
      const ended = new Promise((resolve) => api.once("exit", resolve));
      api.removeAllListeners("exit");
      const gone = new Promise((resolve) => api.once("exit", resolve));
      api.kill("SIGKILL");
      await Promise.race([ended, gone]);
    }
    for (const node of this.#nodes) node.ns.delete();
    this.ns.delete();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** One node: n1 has 172.30.0.11, fd30::11 and the pod CIDRs 10.244.1.0/24, fd00:10:244:1::/64. */
export class TestNode {
  readonly fabric: Fabric;
  readonly name: string;
  readonly ns: TestNamespace;
  readonly dir: string;
  readonly ips: string[];
  readonly podCidrs: string[];
  /** Everything that its agents have logged. */
  log = "";
  #agent: ChildProcess | undefined;
  #config: Json;

  constructor(fabric: Fabric, number: number) {
    this.fabric = fabric;
    this.name = `n${number}`;
    this.ips = [`172.30.0.${10 + number}`, `fd30::${10 + number}`];
    this.podCidrs = [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`];
    this.dir = join(fabric.dir, this.name);
    for (const part of ["run", "data", "conf", "bin"]) mkdirSync(join(this.dir, part), { recursive: true });
    this.ns = testNamespace(this.name);
    const cable = ["link", "add", `to-${this.name}`, "type", "veth", "peer", "name", "eth0", "netns", this.ns.name];
    fabric.ns.exec("ip", ...cable);
    fabric.ns.exec("ip", "link", "set", `to-${this.name}`, "master", "br0", "up");
    this.ns.exec("ip", "link", "set", "eth0", "up");
    this.ns.exec("ip", "addr", "add", `${this.ips[0]}/24`, "dev", "eth0");
    this.ns.exec("ip", "addr", "add", `${this.ips[1]}/64`, "dev", "eth0", "nodad");
    this.#config = {
      nodeName: this.name,
      kubeconfig: fabric.kubeconfig,
      vni: 4096,
      listen: "",
      runDir: join(this.dir, "run"),
      dataDir: join(this.dir, "data"),
      cni: { confDir: join(this.dir, "conf"), binDir: join(this.dir, "bin") },
      logLevel: process.env["SKYLANE_TEST_LOG"] ?? "info",
    };
  }

  get conflist(): string {
    return join(this.dir, "conf", "10-skylane.conflist");
  }
  get published(): string {
    return join(this.dir, "run", "default.json");
  }
  get socket(): string {
    return join(this.dir, "run", "agent.sock");
  }
  get pid(): number | undefined {
    return this.#agent?.pid;
  }
  get running(): boolean {
    return this.#agent?.exitCode === null && this.#agent.signalCode === null;
  }

  /** Creates its Node object. */
  async register(more: { podCidrs?: string[]; ips?: string[]; annotations?: Json } = {}): Promise<void> {
    const { podCidrs = this.podCidrs, ips = this.ips, annotations = {} } = more;
    await this.fabric.createNode(this.name, podCidrs, ips, annotations);
  }

  /** Changes its agent's configuration for the next start. */
  configure(more: Json): void {
    Object.assign(this.#config, more);
  }

  /** Starts an agent and returns at once. */
  start(): void {
    const file = join(this.dir, "agent.yaml");
    writeFileSync(file, JSON.stringify(this.#config));
    this.#agent = this.spawnAgent(["--config", file]);
  }

  /** A process of the agent's in this node, with any arguments. */
  spawnAgent(args: readonly string[]): ChildProcess {
    const [command, ...before] = agentCommand() as [string, ...string[]];
    const child = spawn("nsenter", [`--net=${this.ns.path}`, "--", command, ...before, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"], HOME: "/nonexistent" },
    });
    const take = (text: string): void => {
      this.log += text;
      if (process.env["SKYLANE_TEST_LOG"]) process.stderr.write(text);
    };
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    child.once("exit", (_, signal) => {
      if (signal !== null && OWN_FAULT.has(signal))
        console.log(`${this.name}'s agent ended by ${signal}:\n${this.log.slice(-2_000)}`);
    });
    return child;
  }

  /** Ends the agent. @returns its exit status or signal, and how long it took. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<{ status: number | string | null; ms: number }> {
    const agent = this.#agent;
    if (!agent || !this.running) return { status: agent?.exitCode ?? null, ms: 0 };
    const start = performance.now();
    const ended = new Promise<number | string | null>((resolve) =>
      agent.once("exit", (code, name) => resolve(code ?? name)),
    );
    agent.kill(signal);
    const status = await ended;
    return { status, ms: performance.now() - start };
  }

  /** Waits for the agent to end by itself. */
  async ended(timeoutMs = 10_000): Promise<number | null> {
    await eventually(() => !this.running, { timeoutMs, message: `${this.name}'s agent has not ended` });
    return this.#agent?.exitCode ?? null;
  }

  /** An answer from the agent's socket. */
  get(path: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const ask = request({ socketPath: this.socket, path, agent: false }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (part: string) => (body += part));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
        response.on("error", reject);
      });
      ask.on("error", reject);
      ask.end();
    });
  }

  async status(): Promise<AgentStatus> {
    return JSON.parse((await this.get("/status")).body) as AgentStatus;
  }

  /** Waits until `/readyz` says yes with exactly these peers programmed. */
  async ready(peers: readonly string[] = [], timeoutMs = 60_000): Promise<AgentStatus> {
    let last: unknown;
    const wanted = [...peers].sort().join();
    try {
      return await eventually(
        async () => {
          const status = await this.status();
          last = { checks: status.ready.checks.filter(({ ok }) => !ok), peers: status.networks[0]?.peers };
          const programmed = status.networks[0]?.peers.filter(({ state }) => state === "programmed") ?? [];
          const names = programmed.map(({ node }) => node).sort();
          return status.ready.ready && names.join() === wanted ? status : undefined;
        },
        { timeoutMs },
      );
    } catch (error) {
      const state = JSON.stringify(last);
      throw new Error(`${this.name} is not ready with peers [${wanted}]: ${state}\n${this.log}`, { cause: error });
    }
  }

  /** The overlay's entries as iproute2 shows them, sorted, one line each. */
  entries(): string[] {
    const exec = (...args: string[]): string => {
      try {
        return this.ns.exec(...(args as [string, ...string[]]));
      } catch {
        return ""; // no such device
      }
    };
    return [
      exec("bridge", "fdb", "show", "dev", "sky.4096"),
      exec("ip", "neigh", "show", "dev", "sky.4096", "nud", "permanent"),
      exec("ip", "-4", "route", "show", "proto", "83"),
      exec("ip", "-6", "route", "show", "proto", "83"),
    ]
      .flatMap((text) => text.split("\n"))
      .map((line) => line.trim())
      .filter((line) => line !== "" && !line.includes("00:00:00:00:00:00"))
      .sort();
  }
}
