/**
 * Where the agent answers: HTTP on a TCP address for the node itself (the kubelet's probes, metrics), where it is set on another one
 * for metrics alone, HTTP on a Unix socket for the operator's command line, and CNI requests on another one. The sockets' names are
 * looked after as everything of ours on the disk is.
 */
import { join } from "node:path";
import type { CniCall, Host } from "../cni/index.ts";
import { type AgentConfig, parseListen } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import { Task } from "../reconcile/index.ts";
import {
  type Access,
  type KeptSocket,
  type Listener,
  listenTcp,
  listenUnix,
  localAccess,
  metricsAccess,
  type Routes,
} from "../http/index.ts";
import { CNI_SOCKET, CniServer } from "../cni-server/index.ts";
import type { Duty } from "./disk/control-loop.ts";
import type { NetnsMounter } from "../dataplane/netns/index.ts";

/** Name of the agent's socket in the run directory. */
export const SOCKET_NAME = "agent.sock";

export interface ServingOptions {
  config: AgentConfig;
  log: Logger;
  routes: { tcp: Routes; unix: Routes };
  /** The machine as CNI requests see it. */
  host: (names: NetnsMounter) => Host;
  /** Whether a CNI request that could be served is left to the plugin; never by default. */
  leave?: (call: CniCall) => boolean;
}

/** Serves from {@link start} to {@link close}. */
export class Serving {
  readonly #options: ServingOptions;
  readonly #status: KeptSocket;
  readonly #cni: CniServer;
  readonly #tasks: Task[];
  readonly #listeners: Listener[] = [];

  private constructor(options: ServingOptions, status: KeptSocket, cni: CniServer) {
    this.#options = options;
    this.#status = status;
    this.#cni = cni;
    const { config, log, routes } = options;
    const { listen, metrics } = config;
    const only: Routes = { "/metrics": routes.tcp["/metrics"] as Routes[string] };
    this.#tasks = [
      ...(listen === "" ? [] : [this.#listen(listen, "health and metrics", routes.tcp, localAccess(listen))]),
      ...(metrics.listen === "" ? [] : [this.#listen(metrics.listen, "metrics", only, metricsAccess(metrics, log))]),
    ];
  }

  /** @throws Error with `code` when one of the sockets cannot be made */
  static async start(options: ServingOptions): Promise<Serving> {
    const { config, log, routes, host, leave } = options;
    const { runDir, dataDir } = config;
    const status = await listenUnix(join(runDir, SOCKET_NAME), routes.unix);
    try {
      return new Serving(
        options,
        status,
        await CniServer.listen({ runDir, dataDir, log, host, ...(leave && { leave }) }),
      );
    } catch (error) {
      await status.close();
      throw error;
    }
  }

  /** The sockets, for who looks after the disk. */
  get duties(): Duty[] {
    const { runDir } = this.#options.config;
    return [
      { kind: "socket", what: join(runDir, SOCKET_NAME), keep: () => this.#status.keep() },
      { kind: "socket", what: join(runDir, CNI_SOCKET), keep: () => this.#cni.keep() },
      { kind: "key", what: this.#cni.key.path, keep: () => this.#cni.key.keep() },
    ];
  }

  /** Takes no more requests and waits for those that have begun. */
  async close(): Promise<void> {
    await Promise.all(this.#tasks.map((task) => task.stop()));
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    await this.#cni.close();
    await this.#status.close();
  }

  /** A port that is taken is no reason to leave the data path alone: it is tried again. */
  #listen(listen: string, what: string, routes: Routes, access: Access): Task {
    const { log } = this.#options;
    const task = new Task(
      async () => {
        const listener = await listenTcp(parseListen(listen), routes, access);
        this.#listeners.push(listener);
        log.info(`serving ${what} on ${listener.address}`);
      },
      { baseMs: 1_000, maxMs: 30_000 },
      (error, attempt) => {
        if (attempt === 1) log.error(`cannot listen on ${listen}; trying again`, { error });
      },
    );
    task.want();
    return task;
  }
}
