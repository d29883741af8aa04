/**
 * Switching nodes on and off. A node is switched on as a process in namespaces of its own (lab/machine), plugged
 * into the switch, and introduced to the API server; switched off, it is that process killed.
 */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CommandError } from "../../src/cli/index.ts";
import { type ApiClient, ApiError, type KubeObject } from "../api-client.ts";
import { apiRecord, binDirOf, fabricPid, type LabContext } from "./context.ts";
import { newCredentials } from "../control/client.ts";
import { cut, mend, plugIn, unplug } from "./fabric.ts";
import type { FromMachine, MachineSpec, ToMachine } from "../machine/main.ts";
import { CLUSTER_CIDRS, nodeName, podCidr, podFamilies, underlayFamilies, underlayIp } from "./names.ts";
import { childrenOf, ended, isRunning, processId, signal } from "./processes.ts";
import type { NodeRecord } from "./records.ts";
import { PLUGIN_DIRS } from "../runtime/runtime.ts";
import { Starting } from "./start.ts";

const SHUTDOWN_MS = 10_000;

/** The record of a node; a process that has ended is no longer in it. */
export function readNode(lab: LabContext, number: number): NodeRecord {
  const name = nodeName(number);
  const node = lab.files.read("nodes", `${name}.json`) as NodeRecord | undefined;
  if (!node) throw new CommandError(`lab "${lab.record.name}" has no ${name}`);
  return alive(node);
}

/** A node that was never switched on. */
export const newNode = (number: number): NodeRecord => ({ name: nodeName(number), number, boots: 0 });

/** All nodes, by number. */
export const readNodes = (lab: LabContext): NodeRecord[] => lab.files.all<NodeRecord>("nodes").map(alive);

function alive(node: NodeRecord): NodeRecord {
  const { holder, init, ...rest } = node;
  return init && holder && isRunning(init) ? { ...rest, holder, init } : rest;
}

const write = (lab: LabContext, node: NodeRecord): void => lab.files.write(node, "nodes", `${node.name}.json`);

/** The addresses that kubelet reports. */
const addressesOf = (lab: LabContext, number: number): { type: string; address: string }[] => [
  ...underlayFamilies(lab.record.addressing).map((family) => ({
    type: "InternalIP",
    address: underlayIp(number, family),
  })),
  { type: "Hostname", address: nodeName(number) },
];

/** The Node object that kubelet and the node controller make together. */
export function nodeObject(lab: LabContext, number: number): KubeObject {
  const name = nodeName(number);
  const podCidrs = podFamilies(lab.record.addressing).map((family) => podCidr(number, family));
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
    spec: { podCIDR: podCidrs[0], podCIDRs: podCidrs },
    status: { addresses: addressesOf(lab, number) },
  };
}

/** Writes what an operator puts on a node before its agent starts. */
function configure(lab: LabContext, disk: string, kubeconfig: string): void {
  const { addressing, vni, port, agentConfig } = lab.record;
  const dir = join(disk, "etc/skylane");
  mkdirSync(dir, { recursive: true });
  const config = {
    vni,
    port,
    clusterCidrs: podFamilies(addressing).map((family) => CLUSTER_CIDRS[family]),
    cni: { binDir: PLUGIN_DIRS.find((path) => existsSync(path)) ?? PLUGIN_DIRS[0] },
    ...agentConfig,
  };
  // JSON is YAML, so the file needs no library here.
  writeFileSync(join(dir, "agent.yaml"), `${JSON.stringify(config, null, 2)}\n`);
  writeFileSync(join(dir, "kubeconfig"), kubeconfig, { mode: 0o600 });
}

/** What a new node is made of; `register` introduces it to the API server just before its programs start. */
export interface BootOptions {
  register?(): Promise<void>;
}

/** Switches a node on; resolves when its programs run. @throws Error saying at which step it failed; it is off again then */
export async function boot(lab: LabContext, node: NodeRecord, options: BootOptions = {}): Promise<NodeRecord> {
  const { name, number } = node;
  const { files } = lab;
  const disk = files.path("disks", name);
  const root = files.path("roots", name);
  for (const dir of [disk, root]) mkdirSync(dir, { recursive: true });
  const { kubeletToken, agentKubeconfig } = await newCredentials(lab, name);
  configure(lab, disk, agentKubeconfig);
  const boots = node.boots + 1;
  let now: NodeRecord = { name, number, boots };
  const namespaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--propagation", "private"];
  const starting = new Starting<ToMachine, FromMachine>(
    lab,
    name,
    ["unshare", ...namespaces, "--fork", "--kill-child=KILL", "--", join(lab.binDir, "skylanectl"), "lab", "machine"],
    (holder) => {
      now = { ...now, holder };
      write(lab, now);
    },
  );
  try {
    const { url, caPem } = apiRecord(lab);
    const spec: MachineSpec = {
      node: name,
      root: { hostname: name, root, disk, visible: [join(lab.binDir, "..")], bootId: randomUUID() },
      addresses: addressesOf(lab, number),
      api: { url, caPem, token: kubeletToken },
      agent: [
        join(binDirOf(lab, name), "skylane-agent"),
        "--config",
        "/etc/skylane/agent.yaml",
        "--node-name",
        name,
        "--kubeconfig",
        "/etc/skylane/kubeconfig",
      ],
    };
    starting.tell({ spec });
    expect(await starting.next(), "mounted", name);
    const init = processId(childrenOf(now.holder?.pid ?? 0)[0] ?? 0);
    if (!init) throw new Error(`${name} has no first process`);
    now = { ...now, init };
    write(lab, now);
    await unplug(fabricPid(lab), number);
    await plugIn(fabricPid(lab), init.pid, number, lab.record.addressing);
    if (node.partition) {
      await cut(fabricPid(lab), number, node.partition);
      now = { ...now, partition: node.partition };
      write(lab, now);
    }
    await options.register?.();
    starting.tell({ go: true });
    expect(await starting.next(), "started", name);
    starting.release();
    return now;
  } catch (error) {
    await powerOff(lab, now);
    throw new Error(`${name} does not boot: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function expect(message: FromMachine, state: FromMachine["state"], name: string): void {
  if (message.state === "failed") throw new Error(message.message);
  if (message.state !== state) throw new Error(`${name} said "${message.state}" when "${state}" was due`);
}

/** Cuts a node's power: all its processes end at once, and its memory, links and sandboxes go. Its disk stays. */
export async function powerOff(lab: LabContext, node: NodeRecord): Promise<NodeRecord> {
  for (const id of [node.init, node.holder]) {
    if (id && signal(id, "SIGKILL")) await ended(id);
  }
  await unplug(fabricPid(lab), node.number);
  const { init: _init, holder: _holder, ...off } = node;
  write(lab, off);
  return off;
}

/** Shuts a node down in order: its agent gets SIGTERM and a little time. */
export async function shutDown(lab: LabContext, node: NodeRecord): Promise<NodeRecord> {
  if (node.init && signal(node.init, "SIGTERM")) await ended(node.init, SHUTDOWN_MS);
  return powerOff(lab, node);
}

/** Cuts a node off from all others, or changes how it is. */
export async function partition(lab: LabContext, node: NodeRecord, how: "silent" | "unplugged"): Promise<void> {
  if (node.partition) await heal(lab, node);
  write(lab, { ...node, partition: how });
  if (node.init) await cut(fabricPid(lab), node.number, how);
}

/** Undoes {@link partition}. */
export async function heal(lab: LabContext, node: NodeRecord): Promise<void> {
  const { partition: how, ...healed } = node;
  if (how && node.init) await mend(fabricPid(lab), node.number, how);
  write(lab, healed);
}

/** Introduces a node to the API server, if it is not known there. */
export async function register(lab: LabContext, api: ApiClient, number: number): Promise<void> {
  try {
    await api.call("POST", "/api/v1/nodes", nodeObject(lab, number));
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 409)) throw error;
  }
}

/** Removes a node from the API server, if it is there, and its lease. */
export async function deregister(api: ApiClient, name: string): Promise<void> {
  const paths = [`/api/v1/nodes/${name}`, `/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${name}`];
  for (const path of paths) {
    try {
      await api.call("DELETE", path);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    }
  }
}
