/**
 * Pods of the lab: kubelet's part. It asks the runtime for a sandbox, asks again while the node's network is not
 * ready, and makes pods anew on a node that has booted since.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CommandError } from "../../src/cli/index.ts";
import type { ApiClient } from "../api-client.ts";
import { binDirOf, initOf, type LabContext } from "../cluster/context.ts";
import { nodeNumber, podName } from "../cluster/names.ts";
import { readNode } from "../cluster/nodes.ts";
import { hasObject, makePodObject, removePodObject, tellRunning } from "./pod-objects.ts";
import type { NodeRecord, PodRecord } from "../cluster/records.ts";
import { resultIps } from "../runtime/chain.ts";
import {
  callChain,
  createSandbox,
  IFNAME,
  NetworkNotReady,
  PluginError,
  readConfList,
  removeSandbox,
  type RuntimeNode,
} from "../runtime/runtime.ts";

/** What may be asked of a pod's attachment. */
export interface PodOptions {
  /** CNI runtimeConfig by capability: ips, mac, portMappings, bandwidth … */
  runtimeConfig?: Record<string, unknown>;
  /** Its namespace ("default"); made where it is not there. */
  namespace?: string;
  /** Annotations of its object, by which it asks for further networks. */
  annotations?: Readonly<Record<string, string>>;
  /** Labels of its object, by which policies select it. */
  labels?: Readonly<Record<string, string>>;
  /** How long to go on asking while the node is not ready, in milliseconds (60,000). */
  timeoutMs?: number;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;

/** A node as its runtime sees it. @throws CommandError when it is off */
export const runtimeNode = (lab: LabContext, node: NodeRecord): RuntimeNode => ({
  name: node.name,
  init: initOf(node),
  etc: lab.files.path("disks", node.name, "etc"),
  binDir: binDirOf(lab, node.name),
  env: lab.env,
});

const write = (lab: LabContext, pod: PodRecord): void => lab.files.write(pod, "pods", `${pod.name}.json`);

/** All pods. */
export const readPods = (lab: LabContext): PodRecord[] => lab.files.all<PodRecord>("pods");

/** A pod. @throws CommandError when there is none of that name */
export function readPod(lab: LabContext, name: string): PodRecord {
  const pod = /^[a-z0-9][a-z0-9.-]*$/.test(name)
    ? (lab.files.read("pods", `${name}.json`) as PodRecord | undefined)
    : undefined;
  if (!pod) throw new CommandError(`lab "${lab.record.name}" has no pod "${name}"`);
  return pod;
}

/** The path of a pod's network namespace for this machine. @throws CommandError when its node is off or was rebooted */
export function podNetns(lab: LabContext, pod: PodRecord): string {
  const node = readNode(lab, nodeNumber(pod.node));
  const init = initOf(node);
  if (pod.boot !== node.boots)
    throw new CommandError(`${pod.name} was on ${pod.node} before it was rebooted; its sandbox is gone`);
  return `/proc/${init}/root${pod.netns}`;
}

type PodTraits = Pick<PodRecord, "namespace" | "annotations" | "labels" | "runtimeConfig">;

function fresh(
  name: string,
  node: NodeRecord,
  { namespace, annotations, labels, runtimeConfig }: PodTraits,
): PodRecord {
  return {
    name,
    node: node.name,
    namespace,
    ...(annotations && { annotations }),
    ...(labels && { labels }),
    // One without an object is a static pod to whoever asks: its uid is a hash, not an object's.
    uid: randomUUID().replaceAll("-", ""),
    containerId: randomBytes(32).toString("hex"),
    netns: join("/run/netns", `cni-${randomUUID()}`),
    boot: node.boots,
    ips: [],
    runtimeConfig,
  };
}

function claim(lab: LabContext, node: NodeRecord, name: string | undefined, traits: PodTraits): PodRecord {
  if (name !== undefined) {
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name))
      throw new CommandError(`a pod's name is up to 63 of a–z, 0–9 and "-", not "${name}"`);
    const pod = fresh(name, node, traits);
    if (!lab.files.claim(pod, "pods", `${name}.json`)) throw new CommandError(`there is a pod "${name}" already`);
    return pod;
  }
  for (let k = 0; ; k++) {
    const pod = fresh(podName(node.number, k), node, traits);
    if (lab.files.claim(pod, "pods", `${pod.name}.json`)) return pod;
  }
}

/** Makes a pod. @throws PluginError as the plugins said it; nothing is left of the pod then */
export async function addPod(
  lab: LabContext,
  api: ApiClient,
  node: NodeRecord,
  name: string | undefined,
  options: PodOptions = {},
): Promise<PodRecord> {
  const runtime = runtimeNode(lab, node);
  const { namespace = "default", annotations, labels, runtimeConfig = {} } = options;
  const object = { ...(annotations && { annotations }), ...(labels && { labels }) };
  let pod = claim(lab, node, name, { namespace, runtimeConfig, ...object });
  try {
    if (hasObject(pod)) pod = await makePodObject(api, pod);
    await createSandbox(runtime, pod.netns);
    const made = await attach(lab, runtime, pod, options.timeoutMs);
    if (hasObject(pod)) await tellRunning(api, made);
    return made;
  } catch (error) {
    await removeSandbox(runtime, pod.netns);
    if (hasObject(pod)) await removePodObject(api, pod);
    lab.files.delete("pods", `${pod.name}.json`);
    throw error;
  }
}

/** Has the interfaces of a pod made in its sandbox. @throws PluginError, NetworkNotReady when that lasts for too long */
export async function attach(
  lab: LabContext,
  runtime: RuntimeNode,
  pod: PodRecord,
  timeoutMs = 60_000,
): Promise<PodRecord> {
  const end = performance.now() + timeoutMs;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(LONGEST_PAUSE_MS, pause * 2)) {
    try {
      const list = readConfList(runtime);
      const result = await callChain(runtime, list, "ADD", pod);
      const made = { ...pod, ips: resultIps(result ?? {}, IFNAME), ...(result ? { result } : {}) };
      write(lab, made);
      return made;
    } catch (error) {
      if (!(error instanceof NetworkNotReady)) await takeDown(runtime, pod, error);
      const later = error instanceof NetworkNotReady || (error instanceof PluginError && error.tryAgain);
      if (!later || performance.now() + pause > end) throw error;
    }
    await delay(pause);
  }
}

/** As runtimes do: what failed half way is taken down before it is tried again. @throws Error with both failures */
async function takeDown(runtime: RuntimeNode, pod: PodRecord, failure: unknown): Promise<void> {
  try {
    await callChain(runtime, readConfList(runtime), "DEL", pod);
  } catch (error) {
    const [first, second] = [failure, error].map((e) => (e instanceof Error ? e.message : String(e)));
    throw new AggregateError([failure, error], `${first}; then, taking it down: ${second}`, { cause: error });
  }
}

/** Removes a pod. On a node that is off only the record goes; the node frees its address when it is back. */
export async function deletePod(lab: LabContext, api: ApiClient, pod: PodRecord): Promise<void> {
  const node = readNode(lab, nodeNumber(pod.node));
  if (node.init) {
    const runtime = runtimeNode(lab, node);
    await callChain(runtime, readConfList(runtime), "DEL", pod);
    await removeSandbox(runtime, pod.netns);
  }
  if (hasObject(pod)) await removePodObject(api, pod);
  lab.files.delete("pods", `${pod.name}.json`);
}

/** Asks the plugins whether a pod is as they made it. @throws PluginError naming what differs */
export async function checkPod(lab: LabContext, pod: PodRecord): Promise<void> {
  const runtime = runtimeNode(lab, readNode(lab, nodeNumber(pod.node)));
  await callChain(runtime, readConfList(runtime), "CHECK", pod);
}

/**
 * What kubelet does after a boot: pods whose sandboxes are gone are taken down in the records of the plugins and get
 * new ones, with new addresses.
 */
export async function remakePods(lab: LabContext, node: NodeRecord): Promise<PodRecord[]> {
  const runtime = runtimeNode(lab, node);
  const old = readPods(lab).filter((pod) => pod.node === node.name && pod.boot !== node.boots);
  const made: PodRecord[] = [];
  for (const pod of old) {
    try {
      await callChain(runtime, readConfList(runtime), "DEL", pod);
    } catch (error) {
      if (!(error instanceof NetworkNotReady)) throw error;
    }
    const again = fresh(pod.name, node, pod);
    write(lab, again);
    await createSandbox(runtime, again.netns);
    made.push(await attach(lab, runtime, again));
  }
  return made;
}
