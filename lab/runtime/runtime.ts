/**
 * A container runtime's part in a pod's life: it makes the sandbox (a network namespace with its loopback up), calls
 * the plugins of the first configuration in /etc/cni/net.d inside the node, and remembers what they answered.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { entering, run, tryRun } from "../exec.ts";
import type { PodRecord } from "../cluster/records.ts";
import { cniArgs, type ConfList, inOrder, parseConfList, pluginRequest, type Verb } from "./chain.ts";

/** The interface that kubelet's runtimes ask for. */
export const IFNAME = "eth0";

/** Where the runtime looks for plugins, in the node's sight. */
export const PLUGIN_DIRS = ["/usr/lib/cni", "/opt/cni/bin"];
/** CNI error code 11: try again later. */
const TRY_AGAIN = 11;

/** A plugin said no. `code` is the CNI error code (below 100 the specification's own). */
export class PluginError extends Error {
  override readonly name = "PluginError";
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }

  /** Whether the plugin asks to be called again later. */
  get tryAgain(): boolean {
    return this.code === TRY_AGAIN;
  }
}

/** No configuration: the node's network is not ready, as kubelet would say. */
export class NetworkNotReady extends Error {
  override readonly name = "NetworkNotReady";
}

/** A node as its runtime sees it. */
export interface RuntimeNode {
  name: string;
  /** Process ID of the node's first process. */
  init: number;
  /** The node's /etc, in this process's sight. */
  etc: string;
  /** Directory of Skylane's executables. */
  binDir: string;
  env: NodeJS.ProcessEnv;
}

/** The configuration that a runtime would take: the first by name. @throws NetworkNotReady when there is none */
export function readConfList(node: RuntimeNode): ConfList {
  const dir = join(node.etc, "cni/net.d");
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith(".conflist")) : [];
  const first = names.sort()[0];
  if (first === undefined)
    throw new NetworkNotReady(`${node.name} has no CNI configuration yet: its agent is not ready`);
  return parseConfList(readFileSync(join(dir, first), "utf8"), `/etc/cni/net.d/${first}`);
}

/** Makes a sandbox. */
export async function createSandbox(node: RuntimeNode, netns: string): Promise<void> {
  const name = netns.split("/").at(-1) as string;
  await run(entering({ pid: node.init, whole: true }, "ip", ["netns", "add", name]), { env: node.env });
  await run(entering({ pid: node.init, whole: true }, "ip", ["-n", name, "link", "set", "lo", "up"]), {
    env: node.env,
  });
}

/** Removes a sandbox, if it is there. */
export async function removeSandbox(node: RuntimeNode, netns: string): Promise<void> {
  if (!existsSync(`/proc/${node.init}/root${netns}`)) return;
  const name = netns.split("/").at(-1) as string;
  await run(entering({ pid: node.init, whole: true }, "ip", ["netns", "delete", name]), { env: node.env });
}

/**
 * Runs a verb through the whole chain and returns the last result (of ADD; otherwise undefined).
 * @throws PluginError as the plugin said it; Error when a plugin cannot be run or does not speak CNI
 */
export async function callChain(
  node: RuntimeNode,
  list: ConfList,
  verb: Verb,
  pod: PodRecord,
): Promise<Record<string, unknown> | undefined> {
  let result = verb === "ADD" ? undefined : pod.result;
  for (const plugin of inOrder(list, verb)) {
    const request = pluginRequest(list, plugin, pod.runtimeConfig, result);
    const answer = await callPlugin(node, request.type, verb, pod, JSON.stringify(request.config));
    if (verb === "ADD") result = answer;
  }
  return verb === "ADD" ? result : undefined;
}

/** How long a call may take, in milliseconds: kubelet gives a runtime two minutes for a request (runtimeRequestTimeout). */
const PLUGIN_TIMEOUT_MS = 120_000;

async function callPlugin(
  node: RuntimeNode,
  type: string,
  verb: Verb,
  pod: PodRecord,
  input: string,
): Promise<Record<string, unknown> | undefined> {
  const dirs = [node.binDir, ...PLUGIN_DIRS];
  const dir = dirs.find((candidate) => existsSync(join(candidate, type)));
  if (dir === undefined) throw new Error(`no CNI plugin "${type}" in ${dirs.join(", ")}`);
  const env = {
    ...node.env,
    CNI_COMMAND: verb,
    CNI_CONTAINERID: pod.containerId,
    CNI_NETNS: pod.netns,
    CNI_IFNAME: IFNAME,
    CNI_ARGS: cniArgs(pod),
    CNI_PATH: dirs.join(":"),
  };
  const inside = { pid: node.init, whole: true };
  const { status, stdout, stderr } = await tryRun(entering(inside, join(dir, type), []), {
    input,
    env,
    timeoutMs: PLUGIN_TIMEOUT_MS,
  });
  if (status === 0) return stdout.trim() === "" ? undefined : (JSON.parse(stdout) as Record<string, unknown>);
  let said: { code?: number; msg?: string; details?: string };
  try {
    said = JSON.parse(stdout) as typeof said;
  } catch {
    throw new Error(
      `${type} ${verb} for ${pod.name} on ${node.name} ended with status ${status}: ${(stderr || stdout).trim()}`,
    );
  }
  const text = [said.msg, said.details].filter(Boolean).join(": ");
  throw new PluginError(said.code ?? 0, `${type} ${verb} for ${pod.name} on ${node.name}: ${text} (code ${said.code})`);
}
