/**
 * Network policies on this node: what is heard of the cluster and what is known of the pods here goes into the rules, each network's its own, and
 * no pod comes before the rules know it.
 *
 * As long as there are no policies nothing is watched but policies, and nothing of this stands in the kernel.
 */
import { join } from "node:path";
import { type AskingPod, type CniError, CODE } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { ApiError, type KubeClient, podEntryOf } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import type { MonitorListener, NetlinkEvent, Rtnl } from "../netlink/index.ts";
import type { Metrics } from "../observe/index.ts";
import { askedObject, isStatic, sameAsHeard, VerdictWait } from "../pod-requests/index.ts";
import type { Changes, Pod, Policy } from "../policy/index.ts";
import { RememberedWord } from "../sys/index.ts";
import type { FurtherNetworkOptions, JoinedNetwork } from "./further/further-network.ts";
import { type Attached, FurtherPolicies, type PolicedNetwork } from "./further/further-policies.ts";
import { NetworkEnforcement, type NetworkEnforcementOptions, refusal } from "./network-enforcement.ts";
import type { Explanation, PolicyList, PolicyState } from "./observe/documents.ts";
import { PolicyObserver } from "./observe/policy-observer.ts";
import type { Question } from "./observe/question.ts";
import { policyPod, PolicySources } from "./sources/policy-sources.ts";
import { keyOf } from "../json/index.ts";

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
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
  /** Something worth an Event of a pod. */
  podEvent: NetworkEnforcementOptions["podEvent"];
  /** Hears of each packet that was denied, and in which network. */
  onDenied?: FurtherNetworkOptions["onDenied"];
  /** There are policies of the cluster whose status may not say what it is to say; see {@link PolicyEngine.unstated}. */
  onUnstated: () => void;
  /** What {@link PolicyEngine.names} says may be otherwise. */
  onNames: () => void;
  /** Whether pods need the agent has changed, or whether they may come. */
  onState: () => void;
}

/** Whether there are policies, as pods that come must know it. */
type PolicyPresence = "some" | "none" | "unknown";

/** See the header. */
export class PolicyEngine implements MonitorListener {
  readonly #options: PolicyEngineOptions;
  readonly #sources: PolicySources;
  readonly #remembered: RememberedWord;
  /** Of the default network. */
  readonly #default: NetworkEnforcement;
  readonly #further: FurtherPolicies;
  readonly #observer: PolicyObserver;
  #told = "";
  /** Who waits for another state. */
  readonly #waiting = new VerdictWait((why) => refusal(CODE.tryAgain, why));

  constructor(options: PolicyEngineOptions) {
    this.#options = options;
    const { client, log, config, metrics, rtnl, granted, nodeIps, podEvent, onDenied } = options;
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
      onChange: (changes) => {
        this.#default.change(ofDefault(changes));
        this.#further.change(changes);
      },
      onUnstated: options.onUnstated,
      onState: () => {
        this.#onState();
        this.#further.sourcesChanged();
      },
    });
    const { network, nodeName } = config;
    const sources = this.#sources;
    this.#further = new FurtherPolicies({ ...options, nodeName, sources, find: (pod) => this.#find(pod) });
    this.#default = new NetworkEnforcement({
      network,
      nodeName,
      log,
      metrics,
      rtnl,
      hasPolicies: () => this.presence === "some",
      names: { path: join(config.dataDir, "cache", "domain-names.json"), servers: config.dnsServers },
      heard: (key) => this.#sources.pod(key),
      find: (pod) => this.#find(pod),
      podEvent,
      onDenied: onDenied && ((packet, policy) => onDenied(packet, policy, network)),
      onState: () => this.#onState(),
    });
    this.#observer = new PolicyObserver({
      nodeName,
      state: () => this.#ownState,
      policies: () => this.#sources.policies("default"),
      namespaces: () => this.#sources.namespaces(),
      nodes: (names) => this.#sources.nodes(names),
      pod: (key) => {
        const pod = this.#sources.podAnywhere(key);
        return pod && this.#default.here(pod);
      },
      model: () => this.#default.rules?.model,
      counts: async () => (await this.#default.observer?.counts()) ?? [],
      named: () => this.#default.namesNow(),
      namesFault: () => this.#default.namesFault,
    });
  }

  /** Begins to listen. @throws NetlinkError when the pods that are here cannot be read */
  start(): void {
    this.#default.start();
    this.#sources.start();
  }

  /** Stops, and leaves the rules in the kernel. */
  async stop(): Promise<void> {
    await this.#sources.stop();
    await this.#default.stop();
  }

  /** This node takes part in a pod network from now on, until what is returned is stopped. @throws NetlinkError, IpamStorageError */
  join(network: JoinedNetwork): PolicedNetwork {
    return this.#further.join(network);
  }

  /** Networks whose policies are in force on this node, or may be, the default one first. */
  get networks(): NetworkEnforcement[] {
    return [this.#default, ...[...this.#further.networks].flatMap(({ enforcement }) => enforcement ?? [])];
  }

  /** Our own pod CIDRs are known. */
  ownPodCidrs(podCidrs: readonly string[]): void {
    if (podCidrs.length === 0) return;
    this.#default.locate(podCidrs);
    this.#onState();
  }

  /** What nodes are given, or which addresses they have, has changed. */
  grantsChanged(nodes: Iterable<string>): void {
    this.#sources.grantsChanged(nodes);
  }

  /**
   * Whether there are policies of the default network. What the agent before this one knew counts as long as it was that there are none; where nobody ever knew and the
   * ClusterRole, which is of a release without policies, does not let the agent read them, there are none as there were before.
   */
  get presence(): PolicyPresence {
    const presence = this.#sources.presence("default");
    const { watches } = this.#sources;
    if (presence !== "unknown") return presence;
    const { word } = this.#remembered;
    const never = word === undefined && watches["networkpolicies"]?.forbidden === true;
    return word === "none" || never ? "none" : "unknown";
  }

  /** How things stand with policies of the default network. */
  get #ownState(): PolicyState {
    const { ok, message } = this.#verdict;
    return { presence: this.presence, inForce: ok && this.presence === "some", message };
  }

  /** How things stand with policies of all networks of this node, for status. */
  get state(): PolicyState {
    return together(this.#ownState, this.#further.state);
  }

  /**
   * Who has an address of the default network: a pod of this node by its attachment, others where policies have pods followed; undefined where
   * nobody that is known.
   */
  whoHas(ip: string): { pod: string; labels?: Readonly<Record<string, string>> } | { nodes: string[] } | undefined {
    const here = this.#default.holders.get(ip);
    const owner = here ? { pod: keyOf(here) } : this.#default.rules?.model.ownerOf(ip);
    if (!owner || "nodes" in owner) return owner;
    const labels = this.#sources.podAnywhere(owner.pod)?.labels;
    return { ...owner, ...(labels && { labels }) };
  }

  /** Whether there are policies of the cluster. */
  get anyOfCluster(): boolean {
    return this.#sources.anyOfCluster;
  }

  /**
   * Policies of the cluster whose status does not say what it is to say: one agent of the cluster writes it.
   * @param causes why nodes cannot keep domain names, by node
   */
  unstated(causes: ReadonlyMap<string, string>): ReturnType<PolicySources["unstated"]> {
    return this.#sources.unstated(causes);
  }

  /** Why rules with domain names allow nothing on this node, once that is known; no fault where they are in force, or there are none. */
  get names(): { known: boolean; fault: string | undefined } {
    return { known: this.#default.namesKnown, fault: this.#default.namesFault };
  }

  /** All policies, with how they stand here. */
  async list(): Promise<PolicyList> {
    const [own, further] = await Promise.all([this.#observer.list(), this.#further.list()]);
    return {
      ...own,
      ...together(own, further),
      policies: [...own.policies, ...further.policies],
      others: [...own.others, ...further.others],
    };
  }

  /** Answers a question about a pod or a packet. @throws QuestionError when it is about somebody who is not known */
  explain(question: Question): Explanation {
    const { network = this.#default.network } = question;
    return network === this.#default.network
      ? this.#observer.explain(question)
      : this.#further.explain(question, network);
  }

  /** Has metrics show what rules have counted. */
  async sample(): Promise<void> {
    for (const { observer } of this.networks) await observer?.sample();
  }

  /** Whether pods could come to all networks of this node, for readiness. */
  get verdict(): { ok: boolean; message: string } {
    const [own, further] = [this.#verdict, this.#further.verdict];
    return further ? { ok: own.ok && further.ok, message: `${own.message}; ${further.message}` } : own;
  }

  /** Whether pods could come to the default network. */
  get #verdict(): { ok: boolean; message: string } {
    switch (this.presence) {
      case "none":
        return { ok: true, message: "there are no network policies" };
      case "unknown":
        return { ok: false, message: "the API server has not said whether there are network policies" };
      default: {
        if (!this.#sources.synced("default"))
          return { ok: false, message: "network policies, or the pods that they are about, are not all known yet" };
        const { rules } = this.#default;
        if (rules?.inForce) return { ok: true, message: "network policies are in force" };
        return {
          ok: false,
          message: `network policies are not in force: ${rules?.error ?? "their rules are being put in place"}`,
        };
      }
    }
  }

  /** Sees that pods can come to a network. @throws CniError 50 */
  require(network: string): void {
    if (network !== this.#options.config.network) return this.#further.require(network);
    const { ok, message } = this.#verdict;
    if (!ok) throw refusal(CODE.notAvailable, message);
  }

  /**
   * Waits until it is known whether there are policies, and until those are in force. A static pod does not wait for the API server's first
   * word, as it waits for no other. @throws CniError 11 when that takes too long
   */
  async ready(pod: AskingPod | undefined): Promise<void> {
    if (!pod || (isStatic(pod) && this.presence === "unknown")) return;
    await this.#waiting.until(() => this.#verdict);
  }

  /**
   * A pod of this node has addresses from now on; resolves when its policies are in force for them, undefined where there is nothing to wait for. An attachment with `hostNetns`
   * is to the pod network whose namespace has that path, one without to the default network.
   * @throws CniError 11 when they cannot be, and nothing is known of the attachment then; 105 when a policy selects the pod that cannot be enforced
   */
  admit(attachment: Attached, pod: AskingPod, ips: readonly string[]): Promise<void> | undefined {
    const to = attachment.hostNetns === undefined ? this.#default : this.#further;
    return to.admit(attachment, pod, ips);
  }

  /** An attachment's link is gone, and nothing has its addresses. */
  released(attachment: Attached): void {
    (attachment.hostNetns === undefined ? this.#default : this.#further).released(attachment);
  }

  onEvents(events: readonly NetlinkEvent[]): void {
    this.#default.onEvents(events);
  }

  onResync(): void {
    this.#default.onResync();
  }

  /** A pod that asks: as the watch has told of it, else as the API server has it. @throws CniError */
  async #find(pod: AskingPod): Promise<Pod> {
    return sameAsHeard(pod, this.#sources.pod(keyOf(pod))) ?? (await this.#asked(pod));
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

  #onState(): void {
    const [presence, synced] = [this.#sources.presence("default"), this.#sources.synced("default")];
    const { rules } = this.#default;
    if (synced) rules?.begin(this.#remembered.word === "none");
    // Not before nothing of ours is in the kernel any more: the next agent does not look whether there is.
    if (presence === "some" || (presence === "none" && rules?.clean)) this.#remembered.remember(presence);
    this.#waiting.changed();
    this.#options.onNames();
    const now = `${this.presence} ${this.#verdict.ok}`;
    if (now === this.#told) return;
    this.#told = now;
    this.#options.onState();
  }
}

/** How things stand with policies of the default network, and with those of the others where there are any. */
function together(own: PolicyState, further: PolicyState): PolicyState {
  if (further.presence === "none") return own;
  const known = own.presence !== "unknown" && further.presence === "some";
  return {
    presence: known ? "some" : "unknown",
    inForce: further.inForce && (own.inForce || own.presence === "none"),
    message: `${own.message}; ${further.message}`,
  };
}

/** What is about the default network. */
function ofDefault(changes: Changes): Changes {
  const { policies } = changes;
  if (!policies) return changes;
  const isOurs = ({ kind }: Pick<Policy, "kind">): boolean => kind !== "MultiNetworkPolicy";
  const [set, gone] = [policies.set?.filter(isOurs), policies.gone?.filter(isOurs)];
  return { ...changes, policies: { ...(set && { set }), ...(gone && { gone }) } };
}

const unknown = (pod: AskingPod, why: string): CniError =>
  refusal(CODE.tryAgain, `nobody can tell which network policies pod ${keyOf(pod)} has: ${why}`);
