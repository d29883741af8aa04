/**
 * Network policies of one pod network on this node: its pods by their attachments, its rules in the network namespace in which their host ends are, and
 * the end of connections that these do not allow any more. What the cluster has is told from outside, in the words of this network: pods with
 * the addresses that they have in it, and the policies that are about it.
 */
import { cidrContains } from "../addr/index.ts";
import { type AskingPod, CniError, CODE } from "../cni/index.ts";
import { hostIfname } from "../dataplane/pod-link/index.ts";
import type { Logger } from "../log/index.ts";
import type { MonitorListener, NetlinkEvent, Rtnl } from "../netlink/index.ts";
import type { Metrics } from "../observe/index.ts";
import { type Changes, type NamedAddress, type Pod } from "../policy/index.ts";
import { PATIENCE_MS } from "../pod-requests/index.ts";
import { within } from "../reconcile/index.ts";
import { ConnectionJudge, type Occasion } from "./connections.ts";
import { EnforcedRules } from "./enforced-rules.ts";
import { type LocalPod, LocalPods, podsOfLinks } from "./local-pods.ts";
import { NameAnswers } from "./names/name-answers.ts";
import { NetworkObserver, type NetworkObserverOptions } from "./observe/network-observer.ts";
import { keyOf } from "../json/index.ts";

export interface NetworkEnforcementOptions {
  /** Name of the pod network. */
  network: string;
  /** Descriptor of the network namespace of its pods' host ends; the agent's own by default. */
  netns?: number;
  /** A conversation with that namespace. */
  rtnl: Rtnl;
  nodeName: string;
  log: Logger;
  metrics: Metrics;
  /** Whether the network has policies, so that a pod has to wait for its rules. */
  hasPolicies: () => boolean;
  /** Pods that have attachments, by their host ends, as the kernel and our records have them; by links and routes alone by default. @throws NetlinkError */
  here?: () => Map<string, LocalPod>;
  /** Domain names in policies: the file in which their addresses are kept, and DNS servers that are believed beside the cluster's own; there are none by default. */
  names?: { path: string; servers: readonly string[] };
  /** Whether two attachments may have an address; see LocalPods. */
  shared?: boolean;
  /** A pod of this node as the watch has told of it. */
  heard: (key: string) => (Pod & { uid: string }) | undefined;
  /** A pod that asks, as the API server has it. @throws CniError with the reason why it cannot be told which policies it has */
  find: (pod: AskingPod) => Promise<Pod>;
  /** Something worth an Event of a pod. */
  podEvent: NetworkObserverOptions["event"];
  /** Hears of each packet that was denied. */
  onDenied?: NetworkObserverOptions["onDenied"];
  /** Whether the rules are in force has changed, or why those with domain names are not. */
  onState: () => void;
  /** Pods here have other addresses. */
  onPods?: () => void;
}

/** An attachment to the network. */
export interface Attachment {
  containerId: string;
  ifname: string;
}

/** See the header. */
export class NetworkEnforcement implements MonitorListener {
  readonly #options: NetworkEnforcementOptions;
  readonly #pods: LocalPods;
  /** Pods of this node as the API server has last told of them, by namespace/name; kept as long as one has an attachment. */
  readonly #known = new Map<string, Pod>();
  /** Pods that had attachments and have none any more: the API server's word about their addresses is an old one. */
  readonly #detached = new Set<string>();
  /** Made once it is known where most pods are. */
  #rules: EnforcedRules | undefined;
  #connections: ConnectionJudge | undefined;
  #observer: NetworkObserver | undefined;
  #names: NameAnswers | undefined;
  /** What was heard before there were rules. */
  #early: Changes[] = [];

  constructor(options: NetworkEnforcementOptions) {
    this.#options = options;
    this.#pods = new LocalPods(options.shared);
  }

  /** Name of the pod network. */
  get network(): string {
    return this.#options.network;
  }

  /** Descriptor of the network namespace of its rules; the agent's own where undefined. */
  get netns(): number | undefined {
    return this.#options.netns;
  }

  /** Its rules; undefined while it is not known where most pods are. */
  get rules(): EnforcedRules | undefined {
    return this.#rules;
  }

  /** What people can see of the rules; undefined while there can be none. */
  get observer(): NetworkObserver | undefined {
    return this.#observer;
  }

  /** Addresses that domain names have. */
  namesNow(): NamedAddress[] {
    return this.#names?.current() ?? [];
  }

  /** Why rules with domain names allow nothing here; undefined where they are in force, or there are none. */
  get namesFault(): string | undefined {
    return this.#rules?.holdsAnswers ? (this.#rules.unheld ?? this.#names?.fault) : undefined;
  }

  /** Whether that says how things are: the rules are in the kernel, and listening to answers has been tried where it is needed. */
  get namesKnown(): boolean {
    return this.#rules?.inForce === true && this.#names?.tried !== false;
  }

  /** A pod as its attachments here have it. */
  here(pod: Pod): Pod {
    return pod.node === this.#options.nodeName ? this.#local(pod) : pod;
  }

  /** Pods here by the addresses that they have. */
  get holders(): ReadonlyMap<string, LocalPod> {
    return this.#pods.holders;
  }

  /** Takes in the pods that are here. @throws NetlinkError when they cannot be read */
  start(): void {
    for (const [name, pod] of this.#attached()) this.#pods.add(name, pod);
  }

  #attached(): Map<string, LocalPod> {
    const { here, rtnl } = this.#options;
    return here?.() ?? podsOfLinks(rtnl);
  }

  /** Stops, and leaves the rules in the kernel. */
  async stop(): Promise<void> {
    await this.#names?.stop();
    await this.#rules?.stop();
    await this.#connections?.stop();
    await this.#observer?.stop();
  }

  /**
   * It is known where most pods of the network have their addresses, canonical prefixes: there can be rules. Where no two attachments share an
   * address, the prefixes are this node's alone. Later calls change nothing.
   */
  locate(podCidrs: readonly string[]): void {
    if (this.#rules) return;
    const { network, netns, nodeName, log, metrics, rtnl, shared, heard, podEvent, onDenied, onState } = this.#options;
    const connections = (this.#connections = new ConnectionJudge({
      log,
      netns,
      passes: (packet, toNode) => rules.model.passes(packet, toNode),
      ownAddresses: () => new Set(rtnl.addresses().map(({ ip }) => ip)),
      isOurs: (ip) => !shared && podCidrs.some((cidr) => cidrContains(cidr, ip)),
      isHeld: (ip) => this.#pods.holders.has(ip),
    }));
    connections.uses([...this.#pods.holders.keys()]);
    const rules = (this.#rules = new EnforcedRules({
      log,
      netns,
      nodeName,
      podCidrs,
      onRevoked: (revocations, occasion) => connections.want(revocations, occasion),
      onState: () => {
        observer.rulesAre(rules.standing);
        this.#names?.listen(rules.holdsAnswers);
        onState();
      },
      onRepair: () => metrics.repairs.inc({ network, kind: "policy" }),
      onApplied: (seconds) => metrics.policySeconds.observe({ network }, seconds),
    }));
    const observer = (this.#observer = new NetworkObserver({
      network,
      netns,
      log,
      metrics,
      model: rules.model,
      uidOf: (key) => heard(key)?.uid,
      event: podEvent,
      onDenied,
    }));
    const { names } = this.#options;
    if (names) {
      void rules.change({ servers: names.servers });
      this.#names = new NameAnswers({
        log,
        netns,
        path: names.path,
        change: (changes) => rules.change(changes),
        wantsName: (name) => rules.model.wantsName(name),
        onFault: onState,
      });
      this.#names.start();
    }
    for (const changes of this.#early.splice(0)) void rules.change(changes);
  }

  /** Takes in what the cluster has; of pods here it is known better. */
  change(changes: Changes): void {
    void this.#change(this.#localised(changes));
  }

  /**
   * A pod of this node has addresses from now on; resolves when its policies are in force for them. Undefined where there is nothing to wait for.
   * @throws CniError 11 when they cannot be, and nothing is known of the attachment then
   */
  admit(attachment: Attachment, pod: AskingPod, ips: readonly string[]): Promise<void> | undefined {
    const { hasPolicies } = this.#options;
    const name = hostIfname(attachment.containerId, attachment.ifname);
    const forgotten = this.#pods.add(name, { ...pod, ips });
    this.#detached.delete(keyOf(pod));
    this.#options.onPods?.();
    if (!hasPolicies()) {
      this.#connections?.uses(ips);
      return undefined;
    }
    for (const one of forgotten) if (keyOf(one) !== keyOf(pod)) this.#tell(keyOf(one));
    return this.#comes(name, pod, ips);
  }

  async #comes(name: string, pod: AskingPod, ips: readonly string[]): Promise<void> {
    const { find } = this.#options;
    try {
      if (!this.#rules) throw refusal(CODE.tryAgain, "network policies are not in force on this node yet");
      const known = await find(pod);
      this.#known.set(keyOf(pod), known);
      const inForce = this.#rules.change({ pods: { set: [this.#local(known)] } }, "coming");
      await within(inForce, PATIENCE_MS, () =>
        refusal(CODE.tryAgain, `its network policies are not in force: ${this.#rules?.error ?? "the kernel is slow"}`),
      );
    } catch (error) {
      this.#release(name);
      throw error;
    } finally {
      this.#connections?.uses(ips);
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
    const there = this.#attached();
    for (const name of this.#pods.names()) if (!there.has(name)) this.#release(name);
  }

  #release(name: string): void {
    const pod = this.#pods.remove(name);
    if (!pod) return;
    this.#options.onPods?.();
    const key = keyOf(pod);
    if (this.#pods.ipsOf(key) === undefined && this.#options.heard(key)) this.#detached.add(key);
    this.#tell(key, "leaving");
  }

  /** Tells the rules of a pod here whose attachments are other ones now. */
  #tell(key: string, occasion?: Occasion): void {
    const known = this.#known.get(key);
    if (!known) return;
    const gone = this.#options.heard(key) === undefined && this.#pods.ipsOf(key) === undefined;
    if (gone) this.#known.delete(key);
    void this.#change({ pods: gone ? { gone: [known] } : { set: [this.#local(known)] } }, occasion);
  }

  /** A pod here with the addresses of its attachments. */
  #local(pod: Pod): Pod {
    const own = this.#pods.ipsOf(keyOf(pod));
    if (own) return { ...pod, ips: own };
    const believed = (ip: string): boolean => this.#pods.holderOf(ip) === undefined;
    return { ...pod, ips: this.#detached.has(keyOf(pod)) ? [] : pod.ips.filter(believed) };
  }

  /** What the cluster has, with what is known better here. */
  #localised(changes: Changes): Changes {
    const { pods } = changes;
    if (!pods) return changes;
    const { nodeName } = this.#options;
    const set = pods.set?.map((pod) => {
      if (pod.node !== nodeName) return pod;
      this.#known.set(keyOf(pod), pod);
      this.#connections?.uses(pod.ips);
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

  async #change(changes: Changes, occasion?: Occasion): Promise<void> {
    if (this.#rules) await this.#rules.change(changes, occasion);
    else this.#early.push(changes);
  }
}

/** The answer to a pod that cannot have its policies in force. */
export const refusal = (code: number, message: string): CniError =>
  new CniError(
    code,
    message,
    "A pod starts only with its network policies in force; see the log of skylane-agent on this node.",
  );
