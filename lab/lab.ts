/**
 * A whole cluster on one machine, as an object: what `skylanectl lab` and the tests do, they do with this. A lab is
 * its directory; any number of processes may open it.
 */
import { type AgentStatus, agentStatus, CommandError, type LiveMap, type Trace } from "../src/cli/index.ts";
import type { ApiClient } from "./api-client.ts";
import { build, takeDown } from "./cluster/build.ts";
import * as claims from "./pods/claims.ts";
import { apiClient, fabricPid, findBinDir, initOf, type LabContext, labEnv } from "./cluster/context.ts";
import type { Faults, FaultSettings } from "./api/index.ts";
import { callControl } from "./control/client.ts";
import { type Drift, drift, type DriftOptions } from "./pods/drift.ts";
import { entering, run } from "./exec.ts";
import { type AddOptions, addNode, removeNode } from "./cluster/membership.ts";
import { MAX_NODES, nodeNumber } from "./cluster/names.ts";
import { movePod } from "./pods/move.ts";
import * as networks from "./pods/networks.ts";
import * as nodes from "./cluster/nodes.ts";
import * as policies from "./pods/policies.ts";
import { type Echo, pingAll, pingFrom } from "./pods/ping.ts";
import { type LabOptions, newRecord } from "./cluster/options.ts";
import * as pods from "./pods/pods.ts";
import { LabFiles, type LabRecord, type NodeRecord, type PodRecord } from "./cluster/records.ts";
import { resultIps } from "./runtime/chain.ts";
import { showLab } from "./pods/live-map.ts";
import { trace, type TraceOptions } from "./pods/trace.ts";
import { type Transfer, transfer, type TransferOptions } from "./pods/transfer.ts";

/** What the API server was told, as it says itself. */
export type FaultState = ReturnType<Faults["state"]>;

/** One lab that is up, whoever made it. */
export class Lab {
  readonly context: LabContext;
  #api: ApiClient | undefined;

  private constructor(files: LabFiles, record: LabRecord) {
    this.context = { files, record, binDir: findBinDir(), env: labEnv(record.runId) };
  }

  /** Opens a lab that is up. @throws CommandError when there is none of that name */
  static open(name = "lab", base?: string): Lab {
    const files = new LabFiles(name, base);
    const record = files.read("lab.json") as LabRecord | undefined;
    if (!record) {
      throw new CommandError(
        files.exists
          ? `lab "${name}" was never finished; take it down: skylanectl lab down --name ${name}`
          : `there is no lab "${name}"; make one: skylanectl lab up --name ${name}`,
      );
    }
    return new Lab(files, record);
  }

  /** Makes a lab. Whatever fails, nothing is left of it. @throws CommandError when there is one of that name */
  static async up(options: LabOptions = {}): Promise<Lab> {
    const { name = "lab", nodes: count = 3 } = options;
    if (process.getuid?.() !== 0) throw new CommandError("a lab makes network namespaces: run this as root");
    if (count > MAX_NODES) throw new CommandError(`a lab has at most ${MAX_NODES} nodes`);
    findBinDir();
    const files = new LabFiles(name, options.base);
    if (!files.create())
      throw new CommandError(
        `there is a lab "${name}" already; take it down first: skylanectl lab down --name ${name}`,
      );
    const record = newRecord(name, options);
    files.write(record, "lab.json");
    const lab = new Lab(files, record);
    try {
      await build(lab, count, options);
      return lab;
    } catch (error) {
      await Lab.down(name, options.base);
      // whatever was under way when it was told to stop failed for that reason
      options.signal?.throwIfAborted();
      throw error;
    }
  }

  /**
   * Takes a lab down, whole or half made, and leaves nothing of it.
   * Returns how many processes were ended; undefined when there was no such lab.
   */
  static async down(name = "lab", base?: string): Promise<number | undefined> {
    const files = new LabFiles(name, base);
    if (!files.exists) return undefined;
    return takeDown(files, (files.read("lab.json") as LabRecord | undefined)?.runId);
  }

  get name(): string {
    return this.context.record.name;
  }

  /** A client of the lab's API server. */
  get api(): ApiClient {
    this.#api ??= apiClient(this.context);
    return this.#api;
  }

  /** Closes what this object keeps open; the lab stays up. */
  close(): void {
    this.#api?.close();
    this.#api = undefined;
  }

  /** Takes this lab down, also when its files are gone. */
  async down(): Promise<void> {
    this.close();
    const { files, record } = this.context;
    await takeDown(files, record.runId);
  }

  nodes(): NodeRecord[] {
    return nodes.readNodes(this.context);
  }

  /** A node by "node2" or "2". @throws CommandError when there is none */
  node(name: string): NodeRecord {
    let number: number;
    try {
      number = nodeNumber(name);
    } catch (error) {
      throw new CommandError(error instanceof Error ? error.message : String(error));
    }
    return nodes.readNode(this.context, number);
  }

  /** What a node's agent says of itself. @throws CommandError when the node is off or its agent does not answer */
  status(node: NodeRecord, timeoutMs = 2000): Promise<AgentStatus> {
    return agentStatus(`/proc/${initOf(node)}/root/run/skylane/agent.sock`, timeoutMs);
  }

  /** Adds a node; resolves when every other node has it as a peer. @throws CommandError when there is one of that number */
  addNode(options: AddOptions = {}): Promise<NodeRecord> {
    return addNode(this, options);
  }

  /** Removes a node for good. */
  async removeNode(name: string): Promise<void> {
    await removeNode(this, this.node(name));
  }

  /** Cuts a node's power. */
  async killNode(name: string): Promise<NodeRecord> {
    return nodes.powerOff(this.context, this.node(name));
  }

  /**
   * Boots a node again, in order when it is on. Its pods get new sandboxes, as kubelet would give them
   * (unless `pods` is false).
   */
  async restartNode(name: string, options: { pods?: boolean } = {}): Promise<NodeRecord> {
    const before = this.node(name);
    if (before.init) await nodes.shutDown(this.context, before);
    const node = await nodes.boot(this.context, nodes.readNode(this.context, before.number));
    if (options.pods !== false) await pods.remakePods(this.context, node);
    return node;
  }

  /** Cuts a node off from the others; see NodeRecord.partition for the two ways. */
  async partition(name: string, how: "silent" | "unplugged" = "silent"): Promise<void> {
    await nodes.partition(this.context, this.node(name), how);
  }

  /** Heals every partition, or that of one node; returns the names of the nodes that were cut off. */
  async heal(name?: string): Promise<string[]> {
    const cutOff = (name === undefined ? this.nodes() : [this.node(name)]).filter((node) => node.partition);
    for (const node of cutOff) await nodes.heal(this.context, node);
    return cutOff.map((node) => node.name);
  }

  pods(): PodRecord[] {
    return pods.readPods(this.context);
  }

  pod(name: string): PodRecord {
    return pods.readPod(this.context, name);
  }

  /** Makes a pod on a node; see lab/pods/pods.ts. */
  addPod(node: string, name?: string, options: pods.PodOptions = {}): Promise<PodRecord> {
    return pods.addPod(this.context, this.api, this.node(node), name, options);
  }

  /** Addresses of a further interface of a pod. */
  ipsOf(name: string, ifname: string): string[] {
    return resultIps(this.pod(name).result ?? {}, ifname);
  }

  /** Moves a pod to another node, with its sandbox and what is in it; see lab/pods/move.ts. */
  movePod(name: string, node: string): Promise<PodRecord> {
    return movePod(this.context, this.api, this.pod(name), this.node(node));
  }

  deletePod(name: string): Promise<void> {
    return pods.deletePod(this.context, this.api, this.pod(name));
  }

  /** The pod networks that are defined. */
  networks(): Promise<networks.LabNetwork[]> {
    return networks.listNetworks(this.api);
  }

  /** Defines a pod network. @throws ApiError as the API server said it */
  addNetwork(name: string, options: networks.NetworkOptions): Promise<networks.LabNetwork> {
    return networks.addNetwork(this.api, name, options);
  }

  /** Removes a pod network. @throws CommandError when there is none of that name */
  removeNetwork(name: string): Promise<void> {
    return networks.removeNetwork(this.api, name);
  }

  /** The claims of addresses, of all namespaces. */
  claims(): Promise<claims.LabClaim[]> {
    return claims.listClaims(this.api);
  }

  /** A claim. @throws CommandError when there is none of that name */
  claim(name: string, namespace?: string): Promise<claims.LabClaim> {
    return claims.readClaim(this.api, name, namespace);
  }

  /** Claims addresses for a workload. @throws ApiError as the API server said it */
  addClaim(name: string, options: claims.ClaimOptions): Promise<claims.LabClaim> {
    return claims.addClaim(this.api, name, options);
  }

  /** Removes a claim, which frees its addresses. @throws CommandError when there is none of that name */
  removeClaim(name: string, namespace?: string): Promise<void> {
    return claims.removeClaim(this.api, name, namespace);
  }

  /** Makes network policies what a text says. @throws CommandError when it holds something else; ApiError as the API server said it */
  applyPolicies(text: string): Promise<policies.AppliedPolicy[]> {
    return policies.applyPolicies(this.api, text);
  }

  /** Deletes the network policies that a text names. @throws CommandError when one is not there */
  deletePolicies(text: string): Promise<policies.AppliedPolicy[]> {
    return policies.deletePolicies(this.api, text);
  }

  /** CNI CHECK of a pod. @throws PluginError naming what differs */
  checkPod(name: string): Promise<void> {
    return pods.checkPod(this.context, this.pod(name));
  }

  /** The matrix of all pods on nodes that are on, or of those given. */
  ping(which?: readonly PodRecord[], timeoutMs?: number): Promise<Echo[]> {
    const on = new Map(this.nodes().map((node) => [node.name, node]));
    const up = (pod: PodRecord): boolean =>
      on.get(pod.node)?.init !== undefined && on.get(pod.node)?.boots === pod.boot;
    return pingAll(this.context, which ?? this.pods().filter(up), timeoutMs);
  }

  /** One echo request from a pod to an address. */
  pingFrom(pod: PodRecord, ip: string, timeoutMs?: number): Promise<Omit<Echo, "to">> {
    return pingFrom(this.context, pod, ip, timeoutMs);
  }

  /** Follows a packet from a pod to another over both nodes; see lab/pods/trace.ts. */
  trace(from: string, to: string, options?: TraceOptions): Promise<Trace> {
    return trace(this, from, to, options);
  }

  /** Shows the lab in a browser; see lab/pods/live-map.ts. @param port 0 for any that is free */
  show(port?: number): Promise<LiveMap> {
    return showLab(this, port);
  }

  /** Takes one entry of the overlay away on a node and measures how long it stays away. */
  drift(name: string, options: DriftOptions): Promise<Drift> {
    return drift(this.context, this.node(name), options);
  }

  /** Sends bytes over TCP from a pod to an address of another and compares what arrived; see lab/pods/transfer.ts. */
  transfer(from: PodRecord, to: PodRecord, ip: string, bytes: number, how?: TransferOptions): Promise<Transfer> {
    return transfer(this.context, from, to, ip, bytes, how);
  }

  /** Makes the API server misbehave; see lab/api/faults.ts. Works also while it is away. */
  async setFaults(settings: FaultSettings): Promise<void> {
    await callControl(this.context, "POST", "/faults", settings);
  }

  /** The faults that last, and how often each rule was hit. */
  async faults(): Promise<FaultState> {
    return (await callControl(this.context, "GET", "/faults")) as FaultState;
  }

  /** Makes the API server behave again. */
  async clearFaults(): Promise<void> {
    await callControl(this.context, "DELETE", "/faults");
  }

  /** Runs a command on a node to its end and returns what it printed. @throws Error when it fails */
  exec(name: string, command: string, ...args: string[]): Promise<string> {
    return run(this.enter(name, command, ...args), { env: this.context.env });
  }

  /** The command line that runs a command on a node. */
  enter(name: string, command: string, ...args: string[]): string[] {
    return entering({ pid: initOf(this.node(name)), whole: true }, command, args);
  }

  /** The command line that runs a command in a pod's network, with the files and processes of its node. */
  enterPod(name: string, command: string, ...args: string[]): string[] {
    const pod = this.pod(name);
    const pid = initOf(this.node(pod.node));
    return entering({ pid, whole: true, netns: pods.podNetns(this.context, pod) }, command, args);
  }

  /** Runs a command in a pod's network to its end and returns what it printed. @throws Error when it fails */
  execInPod(name: string, command: string, ...args: string[]): Promise<string> {
    return run(this.enterPod(name, command, ...args), { env: this.context.env });
  }

  /** The command line that runs a command in the fabric's network, where the underlay's packets are. */
  enterFabric(command: string, ...args: string[]): string[] {
    return entering({ pid: fabricPid(this.context) }, command, args);
  }
}
