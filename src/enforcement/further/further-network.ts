/**
 * MultiNetworkPolicies of one pod network beside the default one, on a node that takes part in it. Without policies that name the network nothing is
 * told, written or waited for. In a routed network they are rules in the network's own namespace. On a bridge frames go from port to port
 * where no rule of ours sees them: a pod that a policy selects there does not start, and one that runs is told of.
 */
import { type AskingPod, CODE } from "../../cni/index.ts";
import type { Logger } from "../../log/index.ts";
import type { MonitorListener, Rtnl } from "../../netlink/index.ts";
import type { Metrics } from "../../observe/index.ts";
import { type Changes, type Namespace, type Pod, type Policy, policyKeyOf, selects } from "../../policy/index.ts";
import { type LocalPod } from "../local-pods.ts";
import {
  type Attachment,
  NetworkEnforcement,
  type NetworkEnforcementOptions,
  refusal,
} from "../network-enforcement.ts";
import { NetworkAddresses, type NetworkAddressesOptions } from "./network-addresses.ts";
import { NetworkWorld } from "./network-world.ts";
import { keyOf } from "../../json/index.ts";

/** A network that this node takes part in. */
export interface JoinedNetwork {
  name: string;
  /** Path of its network namespace, as requests name it. */
  path: string;
  /** Descriptor of that namespace, and a conversation with it. */
  netns: number;
  rtnl: Rtnl;
  /** Has a listener told of what happens there. */
  watch: (listener: MonitorListener) => { close: () => Promise<void> };
  bridged: boolean;
  /** Canonical. */
  cidrs: readonly string[];
  log: Logger;
  /** Pods that have attachments, by their host ends. @throws NetlinkError, IpamStorageError */
  here: () => Map<string, LocalPod>;
  /** The blocks of all nodes in it. */
  view: NetworkAddressesOptions["view"];
  places: NetworkAddressesOptions["places"];
  /** Tells the other nodes which pods here, namespace/name, have which addresses; undefined: none need know. */
  publish: (pods: ReadonlyMap<string, string> | undefined) => void;
}

export interface FurtherNetworkOptions {
  nodeName: string;
  metrics: Metrics;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
  /** See NetworkEnforcement; without addresses. */
  heard: (key: string) => (Pod & { uid: string }) | undefined;
  find: (pod: AskingPod) => Promise<Pod>;
  /** See NetworkWorld. */
  pod: (key: string) => Pod | undefined;
  podsHere: () => Iterable<Pod>;
  namespaces: () => Iterable<Namespace>;
  /** See NetworkEnforcement. */
  podEvent: NetworkEnforcementOptions["podEvent"];
  /** Hears of each packet that was denied, and in which network. */
  onDenied?: ((...denied: [...Parameters<Denied>, network: string]) => void) | undefined;
  /** An agent before this one may have left rules. */
  leftovers: boolean;
  onState: () => void;
}

type Denied = NonNullable<NetworkEnforcementOptions["onDenied"]>;

/** Policies by their keys. */
export type PoliciesByKey = ReadonlyMap<string, Policy>;

const NONE: PoliciesByKey = new Map();
/** Policies and pods of a bridge that are told of, over the network's life here. */
const MOST_TOLD = 256;

/** See the header. */
export class FurtherNetwork {
  readonly #joined: JoinedNetwork;
  readonly #options: FurtherNetworkOptions;
  readonly #addresses: NetworkAddresses;
  readonly #world: NetworkWorld;
  /** Of a routed network. */
  readonly #enforcement: NetworkEnforcement | undefined;
  readonly #watch: { close: () => Promise<void> } | undefined;
  /** Those that name the network; undefined while nobody knows. */
  #policies: PoliciesByKey | undefined;
  /** Its pods, namespaces and policies have been told of. */
  #begun = false;
  /** Policies and pods of a bridge that were told of. */
  readonly #told = new Set<string>();

  /** @throws NetlinkError, IpamStorageError when the pods that are here cannot be read */
  constructor(joined: JoinedNetwork, options: FurtherNetworkOptions) {
    this.#joined = joined;
    this.#options = options;
    const { name: network, netns, rtnl, log, here, view, places, bridged } = joined;
    const { nodeName, metrics, heard, find, podEvent, onDenied, onState } = options;
    this.#addresses = new NetworkAddresses({ network, view, places, onChange: (nodes) => this.#readdressed(nodes) });
    this.#world = new NetworkWorld({ ...options, addresses: this.#addresses });
    if (bridged) return;
    const enforcement = (this.#enforcement = new NetworkEnforcement({
      network,
      netns,
      rtnl,
      nodeName,
      log,
      metrics,
      here,
      shared: true,
      hasPolicies: () => this.#active,
      heard,
      find,
      podEvent,
      onDenied: onDenied && ((packet, policy) => onDenied(packet, policy, network)),
      onState,
      onPods: () => this.#publish(),
    }));
    enforcement.start();
    this.#watch = joined.watch(enforcement);
  }

  get name(): string {
    return this.#joined.name;
  }

  get path(): string {
    return this.#joined.path;
  }

  /** Its pods and rules; undefined for a bridged network, which has none. */
  get enforcement(): NetworkEnforcement | undefined {
    return this.#enforcement;
  }

  /** Whether nothing of it is in the kernel. */
  get clean(): boolean {
    return this.#enforcement?.rules?.clean ?? true;
  }

  /** Whether a pod could come as far as its rules go, once it is known which policies there are. */
  get verdict(): { ok: boolean; message: string } {
    const { rules } = this.#enforcement ?? {};
    if (!this.#active || this.#joined.bridged || (this.#begun && rules?.inForce)) return { ok: true, message: "" };
    const why = this.#begun
      ? (rules?.error ?? "their rules are being put in place")
      : "the network's blocks and claims are not all known yet";
    return { ok: false, message: `MultiNetworkPolicies of network ${this.name} are not in force: ${why}` };
  }

  /** A pod of any node with the addresses that it has in the network; undefined where there is no such pod. @param key namespace/name */
  pod(key: string): Pod | undefined {
    const pod = this.#options.pod(key);
    return pod && (this.#enforcement?.here({ ...pod, ips: this.#world.ipsOf(pod) }) ?? pod);
  }

  /** Who has an address: pods of this node by their attachments, others where policies have pods followed, else the node whose block it is in. */
  whoHas(ip: string): { pod?: string; labels?: Readonly<Record<string, string>>; node?: string } {
    const here = this.#enforcement?.holders.get(ip);
    const owner = here ? { pod: keyOf(here) } : this.#enforcement?.rules?.model.ownerOf(ip);
    const pod = owner && "pod" in owner ? owner.pod : undefined;
    const labels = pod === undefined ? undefined : this.#options.pod(pod)?.labels;
    const node = here ? this.#options.nodeName : this.#joined.view.blockWith(ip)?.node;
    return { ...(pod !== undefined && { pod }), ...(labels && { labels }), ...(node && { node }) };
  }

  /** Addresses of the node itself there. @throws NetlinkError */
  ownIps(): string[] {
    return this.#joined.rtnl.addresses().map(({ ip }) => ip);
  }

  /** Why a policy that names the network does not hold here; undefined where it does, or names it not. @param key see policyKeyOf */
  unheld(key: string): string | undefined {
    if (!this.#joined.bridged) return undefined;
    const isThere = this.#policies?.values().some((policy) => policyKeyOf(policy) === key);
    return isThere ? this.whyNoRules : undefined;
  }

  /** Why a bridged network has no rules, in words. */
  get whyNoRules(): string {
    return `network ${this.name} is bridged, and policies are not enforced in such`;
  }

  /** All policies that name the network, as they are now. */
  update(policies: PoliciesByKey): void {
    const before = this.#policies;
    this.#policies = policies;
    if (this.#joined.bridged) return this.#tellOfBridge();
    if (policies.size > 0) this.#enforce(before ?? NONE);
    else if (before && before.size > 0) this.#end(before);
    else if (!before && this.#options.leftovers) {
      this.#enforcement?.locate(this.#joined.cidrs);
      this.#enforcement?.rules?.begin();
    }
    if (!before || before.size > 0 !== this.#active) this.#publish();
  }

  /** Pods or namespaces have changed. */
  change(changes: Changes): void {
    if (this.#joined.bridged && this.#isAboutPodsHere(changes)) this.#tellOfBridge();
    if (!this.#begun) return;
    const translated = this.#world.translate(changes);
    if (isAny(translated)) this.#enforcement?.change(translated);
  }

  /** Nodes have other blocks, or other pods in them; "" where claims' blocks have changed. */
  blocksChanged(nodes: ReadonlySet<string>): void {
    this.#addresses.blocksChanged(nodes);
  }

  /**
   * A pod of this node has addresses from now on; resolves when its policies are in force for them.
   * @throws CniError 11 when they cannot be; 105 when a policy selects it and cannot be enforced
   */
  async admit(attachment: Attachment, pod: AskingPod, ips: readonly string[]): Promise<void> {
    if (this.#enforcement) return this.#enforcement.admit(attachment, pod, ips);
    if (!this.#active) return;
    const policy = this.#selecting(await this.#options.find(pod));
    if (policy)
      throw refusal(
        CODE.notAllowed,
        `MultiNetworkPolicy ${keyOf(policy)} selects pod ${keyOf(pod)}, and cannot be enforced in network ${this.name}, which is bridged`,
      );
  }

  released(attachment: Attachment): void {
    this.#enforcement?.released(attachment);
  }

  /** Stops, and leaves the rules in the kernel. */
  async stop(): Promise<void> {
    this.#addresses.stop();
    await this.#watch?.close();
    await this.#enforcement?.stop();
  }

  /** The node leaves the network: its rules go. */
  async leave(): Promise<void> {
    await this.stop();
    try {
      await this.#enforcement?.rules?.remove();
    } catch (error) {
      this.#joined.log.warn(
        "the rules of network policies cannot be taken away; they go with the network's namespace",
        {
          error,
        },
      );
    }
  }

  get #active(): boolean {
    return (this.#policies?.size ?? 0) > 0;
  }

  #enforce(before: PoliciesByKey): void {
    this.#addresses.start();
    if (!this.#begun) return this.#begin();
    const policies = this.#policies ?? NONE;
    const set = [...policies.values()].filter((policy) => before.get(keyOf(policy)) !== policy);
    const gone = [...before.values()].filter((policy) => !policies.has(keyOf(policy)));
    if (set.length + gone.length > 0) this.#enforcement?.change({ policies: { set, gone } });
  }

  /** Begins once it is known who is who: rules that know nobody would end what is allowed. */
  #begin(): void {
    if (!this.#addresses.known) return;
    this.#joined.log.info("there are MultiNetworkPolicies for a pod network: putting them in force");
    this.#begun = true;
    this.#enforcement?.locate(this.#joined.cidrs);
    const policies = { set: [...(this.#policies ?? NONE).values()] };
    this.#enforcement?.change({ ...this.#world.whole(), policies });
    this.#enforcement?.rules?.begin();
  }

  #end(before: PoliciesByKey): void {
    this.#addresses.stop();
    if (!this.#begun) return;
    this.#begun = false;
    this.#enforcement?.change({ ...this.#world.nothing(), policies: { gone: [...before.values()] } });
  }

  #readdressed(nodes: Iterable<string> | undefined): void {
    if (!this.#active) return;
    if (!this.#begun) return this.#begin();
    const changes = this.#world.readdressed(nodes);
    if (isAny(changes)) this.#enforcement?.change(changes);
  }

  #publish(): void {
    if (this.#policies === undefined) return;
    const pods = Array.from(this.#enforcement?.holders ?? [], ([ip, pod]) => [ip, keyOf(pod)] as const);
    this.#joined.publish(this.#active ? new Map(pods) : undefined);
  }

  #selecting(pod: Pod): Policy | undefined {
    return this.#policies
      ?.values()
      .find(({ subject, audit }) => !audit && subject.namespace === pod.namespace && selects(subject.pods, pod.labels));
  }

  #isAboutPodsHere({ pods }: Changes): boolean {
    return pods?.set?.some(({ node }) => node === this.#options.nodeName) === true;
  }

  /** Pods that run on a bridge and that a policy selects: the policy does not hold. */
  #tellOfBridge(): void {
    if (!this.#active) return;
    const attached = new Set(Array.from(this.#joined.here().values(), keyOf));
    for (const pod of this.#options.podsHere()) {
      const policy = attached.has(keyOf(pod)) ? this.#selecting(pod) : undefined;
      const what = policy && `MultiNetworkPolicy ${keyOf(policy)} does not hold for pod ${keyOf(pod)}`;
      if (what === undefined || this.#told.has(what) || this.#told.size >= MOST_TOLD) continue;
      this.#told.add(what);
      const why = this.whyNoRules;
      this.#joined.log.error(`${what}: ${why}`);
      this.#options.event("Warning", "SkylanePolicyNotEnforced", `${what}: ${why}`);
    }
  }
}

const isAny = ({ pods, namespaces }: Changes): boolean =>
  [pods, namespaces].some((part) => (part?.set?.length ?? 0) + (part?.gone?.length ?? 0) > 0);
