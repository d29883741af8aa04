/** The real agent in a namespace, and an eye on the kernel beside it. */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { Monitor, Rtnl } from "../../src/netlink/index.ts";
import { BIN, type Context } from "../support/context.ts";
import type { Namespace } from "../support/namespace.ts";
import { cpuOf, ended, fineCpuOf, memoryOf, until } from "../support/process.ts";

const DEVICE = "sky.4096";

/** Routes as they come and go in a namespace; routes are the last that is made for a peer and the first that goes. */
export class RouteWatch {
  /** Pod CIDRs that have a route now. */
  readonly routes = new Set<string>();
  /** When a route last came or went, on process.hrtime's clock. */
  readonly at = new Map<string, bigint>();
  last = 0n;
  /** How many changes were seen. */
  changes = 0;
  readonly #monitor: Monitor;

  constructor(ns: Namespace) {
    this.#monitor = Monitor.open({
      netns: ns.path,
      kinds: ["route"],
      receiveBufferBytes: 1 << 26,
      onEvents: (events) => {
        const now = process.hrtime.bigint();
        for (const event of events) {
          if (event.kind !== "route" || event.route.gateway === undefined || event.route.family !== 4) continue;
          if (event.event === "new") this.routes.add(event.route.dst);
          else this.routes.delete(event.route.dst);
          this.at.set(event.route.dst, now);
          this.last = now;
          this.changes++;
        }
      },
      onResync: () => {
        throw new Error("the bench itself has lost notifications");
      },
    });
  }

  close(): Promise<void> {
    return this.#monitor.close();
  }
}

/** One agent's life after the other in one namespace. */
export class BenchAgent {
  readonly ns: Namespace;
  readonly name: string;
  readonly ip: string;
  readonly podCidr: string;
  readonly #dir: string;
  readonly #kubeconfig: string;
  readonly #config: object;
  readonly #spawn: { cwd?: string; nodeOptions: readonly string[] };
  #child: ChildProcess | undefined;
  log = "";

  constructor(
    context: Context,
    ns: Namespace,
    who: {
      name: string;
      ip: string;
      podCidr: string;
      kubeconfig: string;
      config?: object;
      /** What Node itself is told, and where it leaves what it writes then. */
      nodeOptions?: readonly string[];
      cwd?: string;
    },
  ) {
    this.ns = ns;
    this.name = who.name;
    this.ip = who.ip;
    this.podCidr = who.podCidr;
    this.#kubeconfig = who.kubeconfig;
    this.#config = who.config ?? {};
    this.#spawn = { nodeOptions: who.nodeOptions ?? [], ...(who.cwd !== undefined && { cwd: who.cwd }) };
    this.#dir = mkdtempSync(join(context.dir, `${who.name}-`));
    context.onEnd(() => this.stop("SIGKILL"));
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("no agent runs");
    return pid;
  }
  get runDir(): string {
    return join(this.#dir, "run");
  }
  get dataDir(): string {
    return join(this.#dir, "data");
  }

  /** Starts it. @returns the moment on process.hrtime's clock */
  start(): bigint {
    for (const part of ["run", "data", "conf", "bin"]) mkdirSync(join(this.#dir, part), { recursive: true });
    const config = {
      nodeName: this.name,
      kubeconfig: this.#kubeconfig,
      listen: "",
      ...this.#config,
      runDir: this.runDir,
      dataDir: this.dataDir,
      cni: { confDir: join(this.#dir, "conf"), binDir: join(this.#dir, "bin") },
    };
    const file = join(this.#dir, "agent.yaml");
    writeFileSync(file, JSON.stringify(config));
    const at = process.hrtime.bigint();
    const { nodeOptions, ...where } = this.#spawn;
    const child = this.ns.spawn(join(BIN, "skylane-agent"), ["--config", file], {
      ...where,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"],
        ...(nodeOptions.length > 0 && { NODE_OPTIONS: nodeOptions.join(" ") }),
      },
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.log = (this.log + text).slice(-20_000);
      });
    }
    return at;
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.#child) await ended(this.#child, signal);
  }

  /** Takes everything of an earlier life away: device with its entries, files. */
  forget(): void {
    using rtnl = Rtnl.open({ netns: this.ns.path });
    const link = rtnl.link(DEVICE);
    if (link) rtnl.execute({ op: "del", kind: "link", link: { index: link.index } });
    rmSync(this.#dir, { recursive: true, force: true });
  }

  get cpu(): number {
    return cpuOf(this.pid);
  }
  get fineCpu(): number {
    return fineCpuOf(this.pid);
  }
  get memory(): number {
    return memoryOf(this.pid);
  }

  /** Waits until every check of its own says that it is ready. */
  async ready(timeoutMs = 60_000): Promise<void> {
    await until(
      `${this.name} is ready\n${this.log}`,
      timeoutMs,
      async () => (await this.get("/readyz")).status === 200,
    );
  }

  /** A value out of its metrics. */
  async metric(line: string): Promise<number> {
    const { body } = await this.get("/metrics");
    return Number(
      body
        .split("\n")
        .find((one) => one.startsWith(line))
        ?.split(" ")
        .at(-1),
    );
  }

  /** An answer from its socket; status 0 while there is nobody. */
  get(path: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve) => {
      const ask = request({ socketPath: join(this.runDir, "agent.sock"), path, agent: false }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (part: string) => (body += part));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
        response.on("error", () => resolve({ status: 0, body: "" }));
      });
      ask.on("error", () => resolve({ status: 0, body: "" }));
      ask.end();
    });
  }
}
