/**
 * A container runtime in small: runs plugin executables as the CNI spec says, one process a call, inside a node's
 * namespace. Lists are executed as libcni does: name, version, previous result and capabilities put into each
 * plugin's configuration, ADD in order, DEL in reverse order with the result that ADD ended with.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { TestNamespace } from "./netns.ts";

/** Where the official plugins are in Debian's containernetworking-plugins. */
export const OFFICIAL_PLUGINS = "/usr/lib/cni";

type Json = Record<string, unknown>;

/** What a plugin process left. */
export interface Outcome {
  exitCode: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
  /** stdout decoded; empty where there was none. */
  json: Json;
}

/** One attachment, as a runtime knows it. */
export interface PodRequest {
  containerId: string;
  /** Sandbox path; left out of the environment when absent. */
  netns?: string;
  ifname?: string;
  args?: string;
  capabilityArgs?: Json;
}

export interface ConfList {
  cniVersion: string;
  name: string;
  plugins: Json[];
}

/** A plugin that answered with an error. */
export class PluginFailed extends Error {
  readonly plugin: string;
  readonly outcome: Outcome;

  constructor(plugin: string, command: string, outcome: Outcome) {
    super(`${plugin} ${command}: exit ${outcome.exitCode ?? outcome.signal}: ${outcome.stdout}${outcome.stderr}`);
    this.plugin = plugin;
    this.outcome = outcome;
  }
}

/** Runs a process to its end, or to its kill after `killAfterMs`. `raw`: its output is not JSON. */
export function runProcess(
  command: string,
  args: readonly string[],
  o: { env: Record<string, string>; stdin: string; killAfterMs?: number; raw?: boolean },
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: o.env, stdio: ["pipe", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    const timer =
      o.killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), Math.max(0, o.killAfterMs));
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    child.stdin.on("error", () => undefined); // it ended before it read
    child.on("error", reject);
    child.on("close", (exitCode, signal) => {
      clearTimeout(timer);
      let json: Json = {};
      if (stdout !== "" && signal === null && !o.raw) json = JSON.parse(stdout) as Json;
      resolve({ exitCode, signal, stdout, stderr, json });
    });
    child.stdin.end(o.stdin);
  });
}

/** The runtime of one node. */
export class Runtime {
  readonly node: TestNamespace;
  readonly path: readonly string[];
  readonly #results = new Map<string, Json>();

  /** @param path the directories that plugins are found in, ours first. */
  constructor(node: TestNamespace, path: readonly string[]) {
    this.node = node;
    this.path = path;
  }

  find(type: string): string {
    const file = this.path.map((dir) => join(dir, type)).find((candidate) => existsSync(candidate));
    if (file === undefined) throw new Error(`plugin ${type} is not in ${this.path.join(", ")}`);
    return file;
  }

  /** One call of one plugin, perhaps through another program. `env` overrides; an empty value leaves the variable out. */
  exec(
    type: string,
    command: string,
    config: Json | string,
    pod: Partial<PodRequest> = {},
    o: { env?: Record<string, string>; killAfterMs?: number; through?: readonly string[]; raw?: boolean } = {},
  ): Promise<Outcome> {
    const all: Record<string, string> = {
      PATH: process.env.PATH ?? "",
      CNI_COMMAND: command,
      CNI_CONTAINERID: pod.containerId ?? "",
      CNI_NETNS: pod.netns ?? "",
      CNI_IFNAME: pod.ifname ?? (pod.containerId ? "eth0" : ""),
      CNI_ARGS: pod.args ?? "",
      CNI_PATH: this.path.join(":"),
      ...o.env,
    };
    const env = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ""));
    const stdin = typeof config === "string" ? config : JSON.stringify(config);
    // nsenter replaces itself by the plugin, so that a kill hits the plugin.
    return runProcess("nsenter", [`--net=${this.node.path}`, "--", ...(o.through ?? []), this.find(type)], {
      env,
      stdin,
      ...(o.raw && { raw: true }),
      ...(o.killAfterMs !== undefined && { killAfterMs: o.killAfterMs }),
    });
  }

  /** ADD of a whole list. @throws PluginFailed as soon as one fails */
  async add(list: ConfList, pod: PodRequest): Promise<Json> {
    let result: Json | undefined;
    for (const plugin of list.plugins) result = (await this.#call(list, plugin, "ADD", pod, result)).json;
    if (!result) throw new Error("the list has no plugins");
    this.#results.set(this.#key(list, pod), result);
    return result;
  }

  /** CHECK of a whole list, but for plugins whose own CHECK is known to be wrong. @throws PluginFailed */
  async check(list: ConfList, pod: PodRequest, o: { except?: string } = {}): Promise<void> {
    for (const plugin of list.plugins)
      if (plugin.type !== o.except) await this.#call(list, plugin, "CHECK", pod, this.resultOf(list, pod));
  }

  /** DEL of a whole list, in reverse order. @throws PluginFailed */
  async del(list: ConfList, pod: PodRequest): Promise<void> {
    const result = list.cniVersion.startsWith("0.3") ? undefined : this.resultOf(list, pod);
    for (const plugin of list.plugins.toReversed()) await this.#call(list, plugin, "DEL", pod, result);
    this.#results.delete(this.#key(list, pod));
  }

  /** What ADD of the list ended with. */
  resultOf(list: ConfList, pod: PodRequest): Json | undefined {
    return this.#results.get(this.#key(list, pod));
  }

  #key(list: ConfList, pod: PodRequest): string {
    return `${list.name}/${pod.containerId}/${pod.ifname ?? "eth0"}`;
  }

  async #call(list: ConfList, plugin: Json, command: string, pod: PodRequest, prevResult?: Json): Promise<Outcome> {
    const { capabilities, ...rest } = plugin;
    const wanted = Object.entries(pod.capabilityArgs ?? {}).filter(
      ([name]) => (capabilities as Json | undefined)?.[name] === true,
    );
    const config = {
      ...rest,
      cniVersion: list.cniVersion,
      name: list.name,
      ...(prevResult && { prevResult }),
      ...(wanted.length > 0 && { runtimeConfig: Object.fromEntries(wanted) }),
    };
    const type = String(plugin.type);
    const outcome = await this.exec(type, command, config, pod);
    if (outcome.exitCode !== 0) throw new PluginFailed(type, command, outcome);
    return outcome;
  }
}
