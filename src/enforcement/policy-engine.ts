/**
 * Network policies on this node: what is heard of the cluster and what is known of the pods here goes into the rules, and no pod of the default
 * network comes before the rules know it.
 *
 * As long as there are no policies nothing is watched but policies, and nothing of this stands in the kernel.
 */
import { join } from "node:path";
import { type AskingPod, CniError, CODE } from "../cni/index.ts";
import { hostIfname } from "../dataplane/pod-link/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { ApiError, type KubeClient, podEntryOf } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import type { MonitorListener, NetlinkEvent, Rtnl } from "../netlink/index.ts";
import type { Metrics } from "../observe/index.ts";
import { askedObject, isStatic } from "../pod-requests/index.ts";
import { type Changes, keyOf, type Pod } from "../policy/index.ts";
import { within } from "../reconcile/index.ts";
import { RememberedWord } from "../sys/index.ts";
import { ConnectionJudge } from "./connections.ts";
import { EnforcedRules } from "./enforced-rules.ts";
import { LocalPods, podKey, podsOfLinks } from "./local-pods.ts";
import { policyPod, PolicySources } from "./sources/policy-sources.ts";

/** How long an ADD waits for the API server's first word, and for the kernel, in milliseconds. */
const PATIENCE_MS = 3_000;

export interface PolicyEngineOptions {
  config: AgentConfig;
  log: Logger;
  metrics: Metrics;
  client: KubeClient;
  rtnl: Rtnl;
  /** Prefixes that the API server gives a node's pods; undefined while nobody knows. */
  granted: (node: string) => readonly string[] | undefined;
  /** Addresses of a node itself, those in the overlay included; undefined while nobody knows. */
  nodeIps: (node: string) => readonly string[] | undefined;
  /** Whether pods need the agent has changed, or whether they may come. */
  onState: () => void;
}

/** Whether there are policies, as pods that come must know it. */
type PolicyPresence = "some" | "none" | "unknown";

/** An attachment of the default network. */
interface Attachment {
  containerId: string;
  ifname: string;
}

/** See the header. */
export class PolicyEngine implements MonitorListener {
  readonly #options: PolicyEngineOptions;
  readonly #sources: PolicySources;
  readonly #remembered: RememberedWord;
  readonly #pods = new LocalPods();
  /** Pods of this node as the API server has last told of them, by namespace/name; kept as long as one has an attachment. */
  readonly #known = new Map<string, Pod>();
  /** Pods that had attachments and have none any more: the API server's word about their addresses is an old one. */
  readonly #detached = new Set<string>();
  /** Made once our own pod CIDRs are known, which tell where most pods are. */
  #rules: EnforcedRules | undefined;
  #connections: ConnectionJudge | undefined;
  /** What was heard before there were rules. */
  #early: Changes[] = [];
  #told = "";
  /** Who waits for another state. */
  readonly #waiting = new Set<() => void>();

  constructor(options: PolicyEngineOptions) {
    this.#options = options;
    const { client, log, config, granted, nodeIps } = options;
    this.#remembered = new RememberedWord(join(config.dataDir, "cache", "network-policies"), (error) =>
      log.warn(
        "whether there are network policies cannot be written down; pods wait for the API server after a restart",
        { error },
      ),
    );
    this.#sources = new PolicySources({
      client,
      log,
      nodeName: config.nodeName,
      granted,
      nodeIps,
      onChange: (changes) => void this.#change(this.#localised(changes)),
      onState: () => this.#onState(),
    });
  }

  /** Begins to listen. @throws NetlinkError when the pods that are here cannot be read */
  start(): void {
    for (const [name, pod] of podsOfLinks(this.#options.rtnl)) this.#pods.add(name, pod);
    this.#sources.start();
  }

  /** Stops, and leaves the rules in the kernel. */
  async stop(): Promise<void> {
    await this.#sources.stop();
    await this.#rules?.stop();
    await this.#connections?.stop();
  }

  /** Our own pod CIDRs are known. */
  ownPodCidrs(podCidrs: readonly string[]): void {
    if (this.#rules || podCidrs.length === 0) return;
    const { config, log, metrics, rtnl } = this.#options;
    const connections = (this.#connections = new ConnectionJudge({
      log,
      passes: (packet, toNode) => rules.model.passes(packet, toNode),
      ownAddresses: () => new Set(rtnl.addresses().map(({ ip }) => ip)),
    }));
    const rules = (this.#rules = new EnforcedRules({
      log,
      nodeName: config.nodeName,
      podCidrs,
      onRevoked: (revocations) => connections.want(revocations),
      onState: () => this.#onState(),
      onRepair: () => metrics.repairs.inc({ network: config.network, kind: "policy" }),
    }));
    for (const changes of this.#early.splice(0)) void rules.change(changes);
    this.#onState();
  }

  /** What nodes are given, or which addresses they have, has changed. */
  grantsChanged(nodes: Iterable<string>): void {
    this.#sources.grantsChanged(nodes);
  }

  /**
   * Whether there are policies. What the agent before this one knew counts as long as it was that there are none; where nobody ever knew and the
   * ClusterRole, which is of a release without policies, does not let the agent read them, there are none as there were before.
   */
  get presence(): PolicyPresence {
    const { presence, watches } = this.#sources;
    if (presence !== "unknown") return presence;
    const { word } = this.#remembered;
    const never = word === undefined && watches["networkpolicies"]?.forbidden === true;
    return word === "none" || never ? "none" : "unknown";
  }

  /** Whether pods could come, for readiness. */
  get verdict(): { ok: boolean; message: string } {
    switch (this.presence) {
      case "none":
        return { ok: true, message: "there are no network policies" };
      case "unknown":
        return { ok: false, message: "the API server has not said whether there are network policies" };
      default: {
        if (!this.#sources.synced)
          return { ok: false, message: "network policies, or the pods that they are about, are not all known yet" };
        if (this.#rules?.inForce) return { ok: true, message: "network policies are in force" };
        return {
          ok: false,
          message: `network policies are not in force: ${this.#rules?.error ?? "their rules are being put in place"}`,
        };
      }
    }
  }

  /** Sees that pods can come. @throws CniError 50 */
  require(): void {
    const { ok, message } = this.verdict;
    if (!ok) throw refusal(CODE.notAvailable, message);
  }

  /**
   * Waits until it is known whether there are policies, and until those are in force. A static pod does not wait for the API server's first
   * word, as it waits for no other. @throws CniError 11 when that takes too long
   */
  async ready(pod: AskingPod | undefined): Promise<void> {
    if (!pod || (isStatic(pod) && this.presence === "unknown")) return;
    const deadline = performance.now() + PATIENCE_MS;
    while (!this.verdict.ok) {
      const ms = deadline - performance.now();
      const { message } = this.verdict;
      await within(this.#nextState(), ms, () => refusal(CODE.tryAgain, message));
    }
  }

  #nextState(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }

  /**
   * A pod of this node has addresses from now on; resolves when its policies are in force for them.
   * @throws CniError 11 when they cannot be, and nothing is known of the attachment then
   */
  async admit(attachment: Attachment, pod: AskingPod, ips: readonly string[]): Promise<void> {
    const name = hostIfname(attachment.containerId, attachment.ifname);
    const forgotten = this.#pods.add(name, { ...pod, ips });
    this.#detached.delete(podKey(pod));
    if (this.presence !== "some") return;
    for (const one of forgotten) if (podKey(one) !== podKey(pod)) this.#tell(podKey(one));
    try {
      if (!this.#rules) throw refusal(CODE.tryAgain, "network policies are not in force on this node yet");
      const known = this.#heardOf(pod) ?? (await this.#asked(pod));
      this.#known.set(podKey(pod), known);
      const inForce = this.#rules.change({ pods: { set: [this.#local(known)] } });
      await within(inForce, PATIENCE_MS, () =>
        refusal(CODE.tryAgain, `its network policies are not in force: ${this.#rules?.error ?? "the kernel is slow"}`),
      );
    } catch (error) {
      this.#release(name);
      throw error;
    }
  }

  /** An attachment's link is gone, and nothing has its addresses. */
  released({ containerId, ifname }: Attachment): void {
    this.#release(hostIfname(containerId, ifname));
  }

  /** A link that somebody else took away, as the plugin does where the agent does not answer it, is no attachment any more. */
  onEvents(events: readonly NetlinkEvent[]): void {
    for (const event of events) {
      if (event.kind !== "link" || event.event !== "del") continue;
      const { name } = event.link;
      if (this.#pods.has(name) && this.#options.rtnl.link(name) === undefined) this.#release(name);
    }
  }

  /** News of links were lost. */
  onResync(): void {
    const there = podsOfLinks(this.#options.rtnl);
    for (const name of this.#pods.names()) if (!there.has(name)) this.#release(name);
  }

  #release(name: string): void {
    const pod = this.#pods.remove(name);
    if (!pod) return;
    if (this.#pods.ipsOf(podKey(pod)) === undefined && this.#sources.pod(podKey(pod))) this.#detached.add(podKey(pod));
    this.#tell(podKey(pod));
  }

  /** Tells the rules of a pod here whose attachments are other ones now. */
  #tell(key: string): void {
    const known = this.#known.get(key);
    if (!known) return;
    const gone = this.#sources.pod(key) === undefined && this.#pods.ipsOf(key) === undefined;
    if (gone) this.#known.delete(key);
    void this.#change({ pods: gone ? { gone: [known] } : { set: [this.#local(known)] } });
  }

  /** The pod as the watch has told of it, where that is the one that asks. */
  #heardOf(pod: AskingPod): Pod | undefined {
    const heard = this.#sources.pod(podKey(pod));
    const same = heard && (pod.uid === undefined || isStatic(pod) || heard.uid === pod.uid);
    return same ? heard : undefined;
  }

  /** The pod as the API server has it. @throws CniError with the reason why it cannot be told which policies it has */
  async #asked(pod: AskingPod): Promise<Pod> {
    const { client, config } = this.#options;
    try {
      const object = await askedObject(client, pod, config.nodeName);
      const entry = object === undefined ? undefined : podEntryOf(object, config.nodeName);
      if (entry) return policyPod(entry, entry.ips);
      throw unknown(
        pod,
        object === undefined ? "the API server knows no such pod" : "it has ended, or is in the host's network",
      );
    } catch (error) {
      if (error instanceof ApiError || error instanceof TypeError) throw unknown(pod, error.message);
      throw error;
    }
  }

  /** A pod here with the addresses of its attachments. */
  #local(pod: Pod): Pod {
    const own = this.#pods.ipsOf(keyOf(pod));
    if (own) return { ...pod, ips: own };
    const believed = (ip: string): boolean => this.#pods.holderOf(ip) === undefined;
    return { ...pod, ips: this.#detached.has(keyOf(pod)) ? [] : pod.ips.filter(believed) };
  }

  /** What the API server says, with what is known better here. */
  #localised(changes: Changes): Changes {
    const { pods } = changes;
    if (!pods) return changes;
    const { nodeName } = this.#options.config;
    const set = pods.set?.map((pod) => {
      if (pod.node !== nodeName) return pod;
      this.#known.set(keyOf(pod), pod);
      return this.#local(pod);
    });
    // Its containers may run on for a while after the object is gone.
    const gone = pods.gone?.filter((pod) => {
      const stays = this.#known.has(keyOf(pod)) && this.#pods.ipsOf(keyOf(pod)) !== undefined;
      this.#detached.delete(keyOf(pod));
      if (!stays) this.#known.delete(keyOf(pod));
      return !stays;
    });
    return { ...changes, pods: { ...(set && { set }), ...(gone && { gone }) } };
  }

  async #change(changes: Changes): Promise<void> {
    if (this.#rules) await this.#rules.change(changes);
    else this.#early.push(changes);
  }

  #onState(): void {
    const { presence, synced } = this.#sources;
    if (synced && this.#rules) this.#rules.begin(this.#remembered.word === "none");
    // Not before nothing of ours is in the kernel any more: the next agent does not look whether there is.
    if (presence === "some" || (presence === "none" && this.#rules?.clean)) this.#remembered.remember(presence);
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
    const now = `${this.presence} ${this.verdict.ok}`;
    if (now === this.#told) return;
    this.#told = now;
    this.#options.onState();
  }
}

const unknown = (pod: AskingPod, why: string): CniError =>
  refusal(CODE.tryAgain, `nobody can tell which network policies pod ${podKey(pod)} has: ${why}`);

const refusal = (code: number, message: string): CniError =>
  new CniError(
    code,
    message,
    "A pod starts only with its network policies in force; see the log of skylane-agent on this node.",
  );
