/**
 * Moves a pod to another node with all that is in its sandbox, as a live migration does it: the sandbox is one and the same
 * network namespace before and after, with its sockets and processes, and only its interfaces are made anew on the new node. What
 * keeps its address (an IPClaim's) keeps its connections.
 */
import { spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { dirname, join } from "node:path";
import { CommandError } from "../../src/cli/index.ts";
import type { ApiClient } from "../api-client.ts";
import type { LabContext } from "../cluster/context.ts";
import { entering, run } from "../exec.ts";
import { nodeNumber } from "../cluster/names.ts";
import { readNode } from "../cluster/nodes.ts";
import { hasObject, makePodObject, removePodObject, tellRunning } from "./pod-objects.ts";
import { attach, podNetns, runtimeNode } from "./pods.ts";
import type { NodeRecord, PodRecord } from "../cluster/records.ts";
import { callChain, readConfList, removeSandbox, type RuntimeNode } from "../runtime/runtime.ts";

/**
 * Moves a pod. @returns it as it is now
 * @throws CommandError when it is there already or its node is off; PluginError as the plugins of the new node said it: the pod
 * is back where it was then, with interfaces made anew
 */
export async function movePod(lab: LabContext, api: ApiClient, pod: PodRecord, to: NodeRecord): Promise<PodRecord> {
  if (pod.node === to.name) throw new CommandError(`${pod.name} is on ${to.name} already`);
  const source = runtimeNode(lab, readNode(lab, nodeNumber(pod.node)));
  const target = runtimeNode(lab, to);
  const there: PodRecord = { ...onNode(pod, to), netns: join("/run/netns", `cni-${randomUUID()}`) };
  await bind(podNetns(lab, pod), target, there.netns);
  try {
    await setAside(lab, pod, source);
    const moved = await attach(lab, target, await rebind(api, pod, there));
    if (hasObject(moved)) await tellRunning(api, moved);
    await takeDown(source, pod);
    await removeSandbox(source, pod.netns);
    return moved;
  } catch (error) {
    await removeSandbox(target, there.netns);
    await takeDown(source, pod);
    const back = await rebind(api, there, pod);
    await attach(lab, source, onNode(back, readNode(lab, nodeNumber(pod.node))));
    throw error;
  }
}

/** The pod on a node, before its interfaces are made: a container of its own to the runtime there. */
function onNode(before: PodRecord, { name, boots }: NodeRecord): PodRecord {
  const { result: _, ...pod } = before;
  return { ...pod, node: name, boot: boots, ips: [], containerId: randomBytes(32).toString("hex") };
}

/** A Pod never changes its node: the object is made anew. */
async function rebind(api: ApiClient, from: PodRecord, to: PodRecord): Promise<PodRecord> {
  if (!hasObject(to)) return to;
  await removePodObject(api, from);
  return makePodObject(api, to);
}

/** The interfaces that the pod has make room for the new ones. */
async function setAside(lab: LabContext, pod: PodRecord, { env }: RuntimeNode): Promise<void> {
  const netns = podNetns(lab, pod);
  const { interfaces = [] } = (pod.result ?? {}) as { interfaces?: { name: string; sandbox?: string }[] };
  for (const [i, { name }] of interfaces.filter(({ sandbox }) => sandbox).entries()) {
    await run(entering({ netns }, "ip", ["address", "flush", "dev", name]), { env });
    await run(entering({ netns }, "ip", ["link", "set", name, "down"]), { env });
    // Kernels before 6.2 do not rename what the same message takes down.
    await run(entering({ netns }, "ip", ["link", "set", name, "name", `old${i}`]), { env });
  }
}

/** Takes down what was made for a container; the sandbox itself goes on elsewhere, so that it is not entered. */
async function takeDown(node: RuntimeNode, pod: PodRecord): Promise<void> {
  await callChain(node, readConfList(node), "DEL", { ...pod, netns: "" });
}

/** Gives a namespace of one node a name on another one. @param from its path in this process's sight */
async function bind(from: string, { init, env }: RuntimeNode, to: string): Promise<void> {
  const inside = { pid: init, whole: true };
  await run(entering(inside, "mkdir", ["-p", dirname(to)]), { env });
  await run(entering(inside, "touch", [to]), { env });
  const fd = openSync(from, "r");
  try {
    // Mounts of one mount namespace cannot be bound in another, but an open namespace can.
    const mount = entering(inside, "mount", ["--no-canonicalize", "--bind", "/proc/self/fd/3", to]);
    const [command, ...args] = mount as [string, ...string[]];
    await new Promise<void>((resolve, reject) => {
      const child = spawn(command, args, { env, stdio: ["ignore", "ignore", "inherit", fd] });
      child.once("error", reject);
      child.once("close", (status) => {
        if (status === 0) resolve();
        else reject(new Error(`${mount.join(" ")} failed (status ${status})`));
      });
    });
  } finally {
    closeSync(fd);
  }
}
