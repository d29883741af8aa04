/** MultiNetworkPolicies on this node: which of them are about which network that it takes part in, and whether pods may come to one. */
import { join } from "node:path";
import { type AskingPod, CODE } from "../../cni/index.ts";
import type { AgentConfig } from "../../config/index.ts";
import { type Changes, type Policy, policyKeyOf } from "../../policy/index.ts";
import type { Logger } from "../../log/index.ts";
import { RememberedWord } from "../../sys/index.ts";
import { VerdictWait } from "../../pod-requests/index.ts";
import { type Attachment, refusal } from "../network-enforcement.ts";
import type { Explanation, PolicyList, PolicyState } from "../observe/documents.ts";
import { listPolicies } from "../observe/policy-list.ts";
import { PolicyObserver } from "../observe/policy-observer.ts";
import { type Question, QuestionError } from "../observe/question.ts";
import { summed } from "../observe/rule-counters.ts";
import type { PolicySources } from "../sources/policy-sources.ts";
import { FurtherNetwork, type FurtherNetworkOptions, type JoinedNetwork } from "./further-network.ts";
import { keyOf } from "../../json/index.ts";

const NOT_KNOWN = "MultiNetworkPolicies, or the pods and networks that they are about, are not known yet";
const NONE = "there are no MultiNetworkPolicies";
const IN_FORCE = "MultiNetworkPolicies are in force";
/** The resource, as watches have it. */
const RESOURCE = "multi-networkpolicies";
/** An attachment to a network whose namespace has this path. */
export type Attached = Attachment & { hostNetns?: string };

export interface FurtherPoliciesOptions
  extends Omit<FurtherNetworkOptions, "leftovers" | "onState" | "pod" | "podsHere" | "namespaces" | "heard"> {
  config: AgentConfig;
  log: Logger;
  sources: Pick<
    PolicySources,
    "presence" | "synced" | "watches" | "policies" | "networkOf" | "pod" | "podAnywhere" | "podsHere" | "namespaces"
  >;
}

/** What a network tells of itself, and has told. */
export type PolicedNetwork = Pick<FurtherNetwork, "blocksChanged" | "whoHas" | "stop" | "leave">;

/** See the header. */
export class FurtherPolicies {
  readonly #options: FurtherPoliciesOptions;
  readonly #remembered: RememberedWord;
  readonly #networks = new Set<FurtherNetwork>();
  readonly #policies = new Map<string, Policy>();
  /** Who waits for another state. */
  readonly #waiting = new VerdictWait((why) => refusal(CODE.tryAgain, why));

  constructor(options: FurtherPoliciesOptions) {
    this.#options = options;
    const { config, log } = options;
    this.#remembered = new RememberedWord(join(config.dataDir, "cache", RESOURCE), (error) =>
      log.warn("whether there are MultiNetworkPolicies cannot be written down", { error }),
    );
  }

  /** Networks that this node takes part in. */
  get networks(): ReadonlySet<FurtherNetwork> {
    return this.#networks;
  }

  /**
   * This node takes part in a network from now on, until what is returned is stopped.
   * @throws NetlinkError, IpamStorageError when the pods that are here cannot be read
   */
  join(joined: JoinedNetwork): PolicedNetwork {
    const { sources } = this.#options;
    const network = new FurtherNetwork(joined, {
      ...this.#options,
      heard: (key) => {
        const pod = sources.pod(key);
        return pod && { ...pod, ips: [] };
      },
      find: async (pod) => ({ ...(await this.#options.find(pod)), ips: [] }),
      pod: (key) => sources.podAnywhere(key),
      podsHere: () => sources.podsHere(),
      namespaces: () => sources.namespaces(),
      leftovers: this.#remembered.word === "some",
      onState: () => this.#changed(),
    });
    this.#networks.add(network);
    if (this.#known) network.update(this.#policiesOf(network.name));
    const gone = (): void => void this.#networks.delete(network);
    return {
      blocksChanged: (nodes) => network.blocksChanged(nodes),
      whoHas: (ip) => network.whoHas(ip),
      stop: () => network.stop().finally(gone),
      leave: () => network.leave().finally(gone),
    };
  }

  /** Takes in what the cluster has; of policies MultiNetworkPolicies alone. */
  change(changes: Changes): void {
    const { pods, namespaces, policies } = changes;
    if (pods || namespaces) for (const network of this.#networks) network.change(changes);
    let other = false;
    for (const { kind, namespace, name } of policies?.gone ?? [])
      if (kind === "MultiNetworkPolicy") other = this.#policies.delete(keyOf({ namespace, name })) || other;
    for (const policy of policies?.set ?? []) {
      if (policy.kind !== "MultiNetworkPolicy") continue;
      this.#policies.set(keyOf(policy), policy);
      other = true;
    }
    if (other) this.#assign();
  }

  /** What is known of the cluster's policies, or of what definitions lead to, has changed. */
  sourcesChanged(): void {
    this.#assign();
    this.#changed();
  }

  /** How things stand with MultiNetworkPolicies, for status. A node without further networks need not know of any. */
  get state(): PolicyState {
    const presence = this.#options.sources.presence("further");
    if (presence === "unknown" && this.#networks.size > 0 && !this.#known)
      return { presence, inForce: false, message: NOT_KNOWN };
    if (presence !== "some") return { presence: "none", inForce: false, message: NONE };
    const faults = this.#faults;
    return {
      presence,
      inForce: this.#known && faults.length === 0,
      message: faults.length > 0 ? faults.join("; ") : this.#known ? IN_FORCE : NOT_KNOWN,
    };
  }

  /** Whether pods could come to the networks of this node, for readiness; undefined where it takes part in none, or none has policies. */
  get verdict(): { ok: boolean; message: string } | undefined {
    const faults = this.#faults;
    if (faults.length > 0) return { ok: false, message: faults.join("; ") };
    const some = this.#networks.size > 0 && this.#options.sources.presence("further") === "some";
    return some ? { ok: true, message: IN_FORCE } : undefined;
  }

  /** Why pods could not come to networks of this node, each reason once. */
  get #faults(): string[] {
    const verdicts = [...this.#networks].map((network) => this.#verdictOf(network));
    return [...new Set(verdicts.flatMap(({ ok, message }) => (ok ? [] : message)))];
  }

  /** MultiNetworkPolicies, with how they stand in the networks of this node together. */
  async list(): Promise<PolicyList> {
    const { sources, nodeName } = this.#options;
    const enforced = [...this.#networks].flatMap(({ enforcement }) => enforcement ?? []);
    const models = enforced.flatMap(({ rules }) => rules?.model ?? []);
    const counts = await Promise.all(enforced.map(async ({ observer }) => (await observer?.counts()) ?? []));
    return listPolicies({
      node: nodeName,
      state: this.state,
      policies: Iterator.from(sources.policies("further")).map((one) => ({
        ...one,
        faults: [...one.faults, ...this.#unheld(policyKeyOf({ namespace: undefined, ...one }))],
      })),
      namespaces: [...sources.namespaces()],
      model: {
        selected: () => unionOf(models.map((model) => model.selected())),
        overloaded: () => models.flatMap((model) => model.overloaded()),
      },
      counts: summed(counts.flat()),
    });
  }

  /** Answers a question about a network of this node. @throws QuestionError when it is about somebody, or a network, that is not known */
  explain(question: Question, name: string): Explanation {
    const network = this.#named(name);
    if (!network)
      throw new QuestionError(`no pod of this node is in pod network "${name}"; ask a node that has one there`);
    const { enforcement } = network;
    if (!enforcement) throw new QuestionError(network.whyNoRules);
    const { sources, nodeName } = this.#options;
    const { ok, message } = this.#verdictOf(network);
    const state: PolicyState = !this.#known
      ? { presence: "unknown", inForce: false, message }
      : this.#policiesOf(name).size === 0
        ? { presence: "none", inForce: false, message: `no MultiNetworkPolicy names network ${name}` }
        : { presence: "some", inForce: ok, message: ok ? IN_FORCE : message };
    return new PolicyObserver({
      nodeName,
      state: () => state,
      policies: () =>
        Iterator.from(sources.policies("further")).filter(({ policy }) => policy && this.#isAbout(policy, name)),
      namespaces: () => sources.namespaces(),
      nodes: () => [{ name: nodeName, labels: {}, ips: network.ownIps() }],
      pod: (key) => network.pod(key),
      model: () => enforcement.rules?.model,
      counts: async () => [],
    }).explain(question);
  }

  #named(name: string): FurtherNetwork | undefined {
    return [...this.#networks].find((one) => one.name === name);
  }

  /** Where a policy names a network in which it does not hold. */
  #unheld(policy: string): string[] {
    return [...this.#networks].flatMap((network) => network.unheld(policy) ?? []);
  }

  /** Sees that a pod could come to a network. @throws CniError 50 */
  require(name: string): void {
    const { ok, message } = this.#verdictOf(this.#named(name));
    if (!ok) throw refusal(CODE.notAvailable, message);
  }

  /**
   * A pod of this node has addresses in a network; resolves when its policies are in force for them.
   * @throws CniError 11 when they cannot be; 105 when a policy selects it and cannot be enforced there
   */
  async admit(attached: Attached, pod: AskingPod, ips: readonly string[]): Promise<void> {
    const network = this.#at(attached);
    if (!network) throw refusal(CODE.tryAgain, `no network of this node is at ${attached.hostNetns}`);
    await this.#waiting.until(() => this.#verdictOf(network));
    await network.admit(attached, pod, ips);
  }

  /** An attachment's link is gone. */
  released(attached: Attached): void {
    this.#at(attached)?.released(attached);
  }

  #at({ hostNetns }: Attached): FurtherNetwork | undefined {
    return [...this.#networks].find(({ path }) => path === hostNetns);
  }

  /**
   * Whether it is known which policies there are. Where no agent ever could read them, and the ClusterRole, which is of a release before them, does not
   * let this one, there are none as there were before.
   */
  get #known(): boolean {
    const { sources } = this.#options;
    if (sources.presence("further") !== "unknown") return sources.synced("further");
    return this.#remembered.word === undefined && sources.watches[RESOURCE]?.forbidden === true;
  }

  #verdictOf(network: FurtherNetwork | undefined): { ok: boolean; message: string } {
    if (!this.#known) return { ok: false, message: NOT_KNOWN };
    return network?.verdict ?? { ok: true, message: "" };
  }

  #assign(): void {
    if (!this.#known) return;
    for (const network of this.#networks) network.update(this.#policiesOf(network.name));
  }

  #policiesOf(network: string): Map<string, Policy> {
    return new Map([...this.#policies].filter(([, policy]) => this.#isAbout(policy, network)));
  }

  #isAbout({ networks = [] }: Policy, network: string): boolean {
    return networks.some((one) => this.#leadsTo(one, network));
  }

  /** By a definition, or by its own name, by which Skylane itself attaches pods: networks are in no namespace. */
  #leadsTo(definition: string, network: string): boolean {
    return (
      definition.slice(definition.indexOf("/") + 1) === network ||
      this.#options.sources.networkOf(definition) === network
    );
  }

  #changed(): void {
    const presence = this.#options.sources.presence("further");
    // Not before nothing of ours is in the kernel any more: the next agent does not look whether there is.
    if (presence === "some" || (presence === "none" && [...this.#networks].every(({ clean }) => clean)))
      this.#remembered.remember(presence);
    this.#waiting.changed();
  }
}

function unionOf(maps: readonly ReadonlyMap<string, ReadonlySet<string>>[]): Map<string, Set<string>> {
  const all = new Map<string, Set<string>>();
  for (const map of maps) for (const [key, pods] of map) all.set(key, new Set([...(all.get(key) ?? []), ...pods]));
  return all;
}
