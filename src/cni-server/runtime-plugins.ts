/**
 * What the node's container runtime finds under the names of the chained plugins. It looks in its own directories (CNI_PATH), so it
 * may well take another `portmap` than the one beside our executable, one that speaks older versions: every call then fails
 * in that plugin. So the plugin is asked (see src/cni/chain-question.ts) at the first call of each runtime, and about once
 * a minute from then on, as such executables come and go with the host's packages.
 */
import { type FSWatcher, statSync, watch } from "node:fs";
import { join } from "node:path";
import {
  askPlugin,
  CHAIN_ANSWER,
  type ChainAnswer,
  type CniCall,
  type FoundPlugin,
  readChainAnswer,
  requestOf,
} from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import { chainedTypes, foundBy, isFound, isInstalled } from "./chain.ts";

/** How long an answer holds, and how soon the same runtime is asked again, in milliseconds. */
const HOLDS_MS = 60_000;
/** How soon another one is. */
const PAUSE_MS = 10_000;
/** How long an answer may take. */
const ANSWER_MS = 30_000;
/** Runtimes that are remembered: one calls for kubelet, perhaps another for Multus. */
const MAX_RUNTIMES = 4;
/** Beside another one, a runtime that has not called for so long is no longer there. */
const SILENT_MS = 60 * 60_000;

export interface RuntimePluginsOptions {
  config: Pick<AgentConfig, "runDir" | "network" | "hostPorts"> & {
    cni: Pick<AgentConfig["cni"], "chained" | "binDir">;
  };
  /** Whether pods run whose host ports portmap may have mapped. */
  portmapped: boolean;
  log: Logger;
  /** Whether the default network is the only one, so that the plugin serves every request about it as well as the agent. */
  alone: () => boolean;
  /** Why the API server cannot be asked, which the plugin could not tell; undefined while it can. */
  apiAway: () => string | undefined;
  /** A runtime finds something else. */
  onChange: () => void;
  /** A clock in milliseconds; tests give another one. */
  now?: () => number;
}

interface Known {
  answer: ChainAnswer;
  learnedAt: number;
  heardAt: number;
}

/** See the header. */
export class RuntimePlugins {
  readonly #options: RuntimePluginsOptions;
  readonly #types: readonly string[];
  readonly #now: () => number;
  /** By CNI_PATH. */
  readonly #known = new Map<string, Known>();
  /** What was in the configured directory when it was all learned. */
  #stamp: string;
  #asked: { path: string; at: number } | undefined;
  #waiting: { request: string; watcher: FSWatcher; timer: NodeJS.Timeout } | undefined;

  constructor(options: RuntimePluginsOptions) {
    this.#options = options;
    const { portmapped } = options;
    const { runDir, cni, hostPorts } = options.config;
    this.#types = chainedTypes({ ...cni, hostPorts, portmapped });
    this.#now = options.now ?? (() => performance.now());
    this.#stamp = this.#look();
    // What the agent before this one was told; it is asked for anew with the first call.
    const last = this.#types.length > 0 ? readChainAnswer(runDir) : undefined;
    if (last) this.#known.set(last.path, { answer: last, learnedAt: -Infinity, heardAt: this.#now() });
  }

  /** What each runtime finds. */
  get told(): { runtimes: readonly ChainAnswer[] } {
    return { runtimes: this.#current() };
  }

  #current(): readonly ChainAnswer[] {
    const stamp = this.#look();
    // A plugin that was installed, removed or replaced there may well be the runtime's: what was told may no longer be so.
    if (stamp !== this.#stamp) {
      this.#known.clear();
      this.#asked = undefined;
    }
    this.#stamp = stamp;
    return Array.from(this.#known.values(), ({ answer }) => answer);
  }

  /** Whether every pod's runtime finds every plugin, in words. */
  get verdict(): { ok: boolean; message: string } {
    const { cni, hostPorts } = this.#options.config;
    const runtimes = this.#current();
    const input = { ...cni, hostPorts, runtimes };
    const missing = cni.chained === "auto" ? [] : this.#types.filter((type) => !isFound(type, input));
    if (missing.length > 0) {
      const names = missing.map((type) => `"${type}"`).join(", ");
      const where =
        runtimes.length > 0
          ? `the container runtime finds no CNI plugin ${names} in its directories (${runtimes.map(({ path }) => path).join("; ")})`
          : `there is no CNI plugin ${names} in ${cni.binDir}`;
      return { ok: false, message: `${where}, so every pod fails: install it there, or take it out of cni.chained` };
    }
    const each = this.#types.map((type) => `${type}: ${inWords(foundBy(type, input), isInstalled(type, input))}`);
    return { ok: true, message: each.join("; ") || "no plugin is chained" };
  }

  /** Whether the plugin is to serve this request, so that it tells what the runtime finds; the question is written then. */
  ask({ env, config, verb }: Pick<CniCall, "env" | "config" | "verb">): boolean {
    const { CNI_PATH: path } = env;
    const request = requestOf(env);
    if (!path || request === undefined || this.#types.length === 0) return false;
    const known = this.#known.get(path);
    const now = this.#now();
    if (known) known.heardAt = now;
    if (this.#waiting || !this.#served(verb, config)) return false;
    if (known && now - known.learnedAt < HOLDS_MS) return false;
    if (this.#asked && now - this.#asked.at < (this.#asked.path === path ? HOLDS_MS : PAUSE_MS)) return false;
    this.#asked = { path, at: now };
    return this.#put(request);
  }

  /** Waits for no more answers. */
  stop(): void {
    if (!this.#waiting) return;
    clearTimeout(this.#waiting.timer);
    this.#waiting.watcher.close();
    this.#waiting = undefined;
  }

  /** Whether the plugin serves a request as well as the agent does. */
  #served(verb: CniCall["verb"], { network, ipam }: CniCall["config"]): boolean {
    if (network !== this.#options.config.network || ipam !== undefined) return false;
    const { alone, apiAway } = this.#options;
    if (alone()) return verb !== "ADD";
    return verb === "CHECK" || (verb === "STATUS" && apiAway() === undefined);
  }

  #put(request: string): boolean {
    const { config, log } = this.#options;
    const { runDir } = config;
    try {
      const watcher = watch(runDir, (_, name) => {
        if (name === CHAIN_ANSWER) this.#take();
      });
      watcher.on("error", () => this.stop());
      this.#waiting = { request, watcher, timer: setTimeout(() => this.stop(), ANSWER_MS).unref() };
      askPlugin(runDir, { request, plugins: this.#types });
      return true;
    } catch (error) {
      this.stop();
      log.warn("cannot ask which chained plugins the container runtime finds", { error });
      return false;
    }
  }

  #take(): void {
    const answer = readChainAnswer(this.#options.config.runDir);
    if (!answer || answer.request !== this.#waiting?.request) return;
    this.stop();
    this.#current();
    const before = this.#known.get(answer.path)?.answer.plugins;
    const now = this.#now();
    this.#known.delete(answer.path);
    for (const [path, { heardAt }] of this.#known)
      if (now - heardAt > SILENT_MS || this.#known.size >= MAX_RUNTIMES) this.#known.delete(path);
    this.#known.set(answer.path, { answer, learnedAt: now, heardAt: now });
    if (before && JSON.stringify([...before]) === JSON.stringify([...answer.plugins])) return;
    const found = this.#types.map((type) => `${type}: ${inWords([answer.plugins.get(type) ?? null], false)}`);
    this.#options.log.info(`the container runtime finds ${found.join("; ")}`, { path: answer.path });
    this.#options.onChange();
  }

  /** What the configured directory holds of them. */
  #look(): string {
    const { binDir } = this.#options.config.cni;
    return this.#types
      .map((type) => statSync(join(binDir, type), { throwIfNoEntry: false }))
      .map((stat) => (stat ? `${stat.ino} ${stat.size} ${stat.mtimeMs}` : "none"))
      .join();
  }
}

function inWords(found: readonly (FoundPlugin | null)[], installed: boolean): string {
  if (found.length === 0) return installed ? "installed; no runtime has called yet" : "not installed";
  const each = found.map((one) => {
    if (!one) return "not there";
    const { file, versions } = one;
    return versions?.length ? `${file} (CNI ${versions.join(", ")})` : `${file} (does not say which CNI versions)`;
  });
  return [...new Set(each)].join(", ");
}
