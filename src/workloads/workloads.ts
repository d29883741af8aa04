/**
 * Workloads of a network that are found one by one, and no block of addresses tells on which node: what this node says of its own,
 * and where they all are by what every node says. A workload that moves takes its addresses along: the node that sees it send
 * publishes that it has them now, and every other one, the former among them, follows. What is made of it in the kernel is
 * for the network's data path.
 */
import {
  type EndpointAddresses,
  type Holder,
  type OwnedEndpoint,
  ownEndpoints,
  type Owners,
  ownersOf,
} from "../endpoints/index.ts";
import { BlockError } from "../ipam/blocks/index.ts";
import { CniError, CODE, type Linked } from "../cni/index.ts";
import { errorText } from "../log/index.ts";
import type { PodNetworkInfo } from "../crd/index.ts";
import { hostIfname } from "../dataplane/pod-link/index.ts";
import { Task } from "../reconcile/index.ts";
import { EndpointPublisher, type EndpointPublisherOptions } from "./endpoint-publisher.ts";
import { type EndpointStandingOptions, EndpointStandings } from "./endpoint-standing.ts";
import type { ClaimUse, KnownEndpoint, PodPort } from "./pod-ports.ts";

/** Complaints about single MACs that are told, a network. */
const MAX_TOLD = 256;
/** A workload that has moved is cut off until then. */
const SIGHTING_RETRY = { baseMs: 200, maxMs: 5_000 };
const RETRY = { baseMs: 500, maxMs: 60_000 };
/** How much longer than a decision took the next one waits that others' changes ask for. */
const REST = 4;

/** What there is where. */
export interface Decision {
  /** Pods here, by the name of their host end. */
  ports: ReadonlyMap<string, PodPort>;
  /** MACs of those whose addresses are here, and no other node's any more. */
  held: ReadonlySet<string>;
  /** Ports whose pods have a MAC address that is another's, by the name of their host end. */
  refused: ReadonlySet<string>;
  /** Who has what, over all nodes. */
  owners: Owners;
}

export interface WorkloadsOptions
  extends Omit<EndpointPublisherOptions, "onChange" | "info">,
    Pick<EndpointStandingOptions, "view" | "places"> {
  info: Pick<PodNetworkInfo, "name" | "cidrs">;
  /**
   * Reads which pods are here. @param before as they were last known. @param published what this node publishes, by MAC
   * @throws NetlinkError, IpamStorageError
   */
  ports: (
    before: ReadonlyMap<string, PodPort>,
    published: ReadonlyMap<string, KnownEndpoint>,
  ) => ReadonlyMap<string, PodPort>;
  /** Takes what follows; told with every change, and at once. */
  onDecision: (decision: Decision) => void;
  /** A pod on standby has begun to send: makes the claim its own. @throws Error when it cannot be */
  taken: (use: ClaimUse) => Promise<void>;
  /** The pod that had a claim has gone, and this one has its addresses: makes the claim its own, unless another has it already. */
  left: (use: ClaimUse) => Promise<void>;
  /** The IPClaim (NAMESPACE/NAME) that has a MAC address, in use or not. @throws BlockError when nobody can tell */
  claimWithMac: (mac: string) => Promise<string | undefined>;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}

/** Keeps account of them from {@link start} to {@link stop}. */
export class Workloads {
  readonly #options: WorkloadsOptions;
  readonly #publisher: EndpointPublisher;
  readonly #standings: EndpointStandings;
  /** Who has what since the last decision. */
  #owners: Owners["byMac"] = new Map();
  #ports: ReadonlyMap<string, PodPort> = new Map();
  /** MACs to take over with the next decision, and host ends at which a workload has begun to send. */
  readonly #taking = new Set<string>();
  readonly #sighted = new Set<string>();
  readonly #sighting: Task;
  /** Which port has a MAC, by MAC, and ports that may use nothing since theirs is another's. */
  #holders: ReadonlyMap<string, string> = new Map();
  #refused: ReadonlyMap<string, Holder> = new Map();
  readonly #told = new Set<string>();
  /** Claims to be made the own of the pods that are left with them, by MAC. */
  readonly #left = new Map<string, ClaimUse>();
  readonly #claiming: Task;
  #decision: NodeJS.Timeout | undefined;
  /** Before that, on the clock of `performance`, others' changes wait: whoever changes his all the time must not take a processor. */
  #rested = 0;
  #began = false;
  readonly #stopping = Promise.withResolvers<void>();

  constructor(options: WorkloadsOptions) {
    this.#options = options;
    const { client, info, node, log, view, places, event } = options;
    this.#standings = new EndpointStandings({
      network: info.name,
      node: node.name,
      view,
      places,
      onChange: () => this.#soon(),
      onRefused: (name, fault) => {
        const message = `network ${info.name}: node ${name} may not publish what it does, and is sent nothing for it: ${fault}`;
        if (this.once(`refused ${name}`, message, {})) event("Warning", "SkylaneEndpointRefused", message);
      },
    });
    this.#publisher = new EndpointPublisher({ client, info, node, log, onChange: () => this.#soon() });
    this.#sighting = new Task(
      () => this.#takeSighted(),
      SIGHTING_RETRY,
      (error, attempt) => {
        if (attempt === 1)
          log.warn("a workload that has moved to this node cannot take its claim over; trying again", { error });
      },
    );
    this.#claiming = new Task(
      () => this.#claimLeft(),
      RETRY,
      (error, attempt) => {
        const waits = error instanceof BlockError && error.kind === "inUse";
        if (attempt === 1)
          log[waits ? "debug" : "warn"]("the status of a claim cannot be written; trying again", { error });
      },
    );
  }

  /** Whether this node has published any, before this agent as well. @throws ApiError */
  published(): Promise<boolean> {
    return this.#publisher.exists();
  }

  /** Begins; resolves with the first decision, once all nodes' endpoints are known, or with the stop. */
  async start(): Promise<void> {
    this.#publisher.start();
    const stopped = this.#stopping.promise.then(() => true);
    if (await Promise.race([this.#publisher.whenSynced(), stopped])) return;
    const claimed = [...this.#options.ports(this.#ports, this.#publisher.own).values()].filter((port) => port.claimed);
    if (await Promise.race([this.#standings.known(this.#publisher.lists, claimed), stopped])) return;
    this.#began = true;
    this.refresh();
  }

  /**
   * A pod's link is there; resolves when the other nodes can know it. One on standby waits for its first frame.
   * @throws CniError when its MAC address is another's, Error when the other nodes cannot be told
   */
  async linked({ containerId, ifname, standby }: Pick<Linked, "containerId" | "ifname" | "standby">): Promise<void> {
    const name = hostIfname(containerId, ifname);
    this.#ports = this.#options.ports(this.#ports, this.#publisher.own);
    const port = this.#ports.get(name);
    if (port?.claimed && !standby) this.#taking.add(port.mac);
    if (port?.named && !port.claimed && !this.#standings.isOwnMac(port.mac)) await this.#refuseClaimed(port.mac);
    this.#decide();
    const holder = this.#refused.get(name);
    if (port && holder) throw this.#macTaken(port.mac, whose(holder));
    await this.#publisher.published();
    // What another node had is let in only now.
    this.#decide();
  }

  /** Whoever names a MAC address does not get that of a claim, whether it is in use or not. @throws CniError */
  async #refuseClaimed(mac: string): Promise<void> {
    const claim = await this.#options.claimWithMac(mac);
    if (claim !== undefined) throw this.#macTaken(mac, `belongs to IPClaim ${claim}`);
  }

  #macTaken(mac: string, by: string): CniError {
    return new CniError(
      CODE.notAllowed,
      `pod network "${this.#options.info.name}": MAC address ${mac}, which the pod asks for, ${by}`,
      "Ask for another MAC address, or for none. One that is to stay a workload's is that of an IPClaim which the pod uses.",
    );
  }

  /** Our Node is another object now, or gone. */
  adopt(): void {
    this.#publisher.adopt();
  }

  /** Nodes have other blocks, or claims others, than before. */
  blocksChanged(): void {
    this.#standings.blocksChanged();
  }

  /** Pods may have gone. */
  refresh(): void {
    if (!this.#began) return;
    this.#ports = this.#options.ports(this.#ports, this.#publisher.own);
    this.#decide();
  }

  /** A workload that has a claim sends at a host end. It may do so once, and wait for an answer: this is not forgotten. */
  seen(ifname: string): void {
    if (!this.#sender(ifname) || this.#sighted.has(ifname)) return;
    this.#sighted.add(ifname);
    this.#sighting.want();
  }

  /** Who sends there and has not its claim's addresses yet. */
  #sender(ifname: string): { mac: string; use: ClaimUse } | undefined {
    const { mac, claim: use } = this.#ports.get(ifname) ?? {};
    return mac !== undefined && use && !this.#publisher.own.has(mac) ? { mac, use } : undefined;
  }

  /** @throws Error when the API server does not answer: it is asked again */
  async #takeSighted(): Promise<void> {
    const outcomes = await Promise.allSettled(Array.from(this.#sighted, (ifname) => this.#takeFor(ifname)));
    const failure = outcomes.find((one) => one.status === "rejected");
    if (failure) throw failure.reason;
  }

  async #takeFor(ifname: string): Promise<void> {
    const sender = this.#sender(ifname);
    if (!sender) return void this.#sighted.delete(ifname);
    const { mac, use } = sender;
    const { log, taken } = this.#options;
    try {
      await taken(use);
    } catch (error) {
      if (!(error instanceof BlockError) || error.kind === "unavailable") throw error;
      this.#sighted.delete(ifname);
      const why = `a pod sends from the addresses of a claim that it cannot have: ${errorText(error)}`;
      this.once(`${mac} ${use.holder}`, why, { mac, pod: use.pod });
      return;
    }
    this.#sighted.delete(ifname);
    if (!this.#began) return;
    log.info("a workload has moved to this node", { mac, pod: use.pod });
    this.#taking.add(mac);
    this.#decide();
  }

  /** Pods here, by the name of their host end. */
  get ports(): ReadonlyMap<string, PodPort> {
    return this.#ports;
  }

  /** Whether an endpoint on any node has an IP or MAC address. */
  knows(address: string): boolean {
    const has = ({ ips, mac }: EndpointAddresses): boolean => mac === address || ips.includes(address);
    return this.#owners.values().some(has) || this.#publisher.own.values().some(has);
  }

  /** Warns of something once; returns whether this was the time. */
  once(key: string, message: string, details: Record<string, string>): boolean {
    if (this.#told.has(key) || this.#told.size >= MAX_TOLD) return false;
    this.#told.add(key);
    this.#options.log.warn(message, details);
    return true;
  }

  async stop(): Promise<void> {
    this.#began = false;
    this.#stopping.resolve();
    clearTimeout(this.#decision);
    this.#standings.stop();
    await Promise.all([this.#sighting.stop(), this.#claiming.stop(), this.#publisher.stop()]);
  }

  /** Takes away what the other nodes know of ours, after the stop. @throws ApiError */
  async leave(): Promise<void> {
    await this.#publisher.remove();
  }

  #soon(): void {
    if (!this.#began || this.#decision) return;
    const begun = (): void => {
      this.#decision = undefined;
      if (!this.#began) return;
      const at = performance.now();
      this.#decide();
      this.#rested = performance.now() + REST * (performance.now() - at);
    };
    this.#decision = setTimeout(begun, Math.max(0, this.#rested - performance.now()));
  }

  #decide(): void {
    const { node, log, onDecision } = this.#options;
    const [ports, holders, present] = [this.#ports.values(), this.#holders, this.#owners];
    const lists = this.#standings.judged(this.#publisher.lists, present, (name) => this.#publisher.since(name));
    const standing = (one: EndpointAddresses, claimed: boolean) => this.#standings.own(one, claimed);
    const input = { node: node.name, ports, lists, taking: this.#taking, holders, standing, present };
    const outcome = ownEndpoints(input);
    const { own, from, left, lost, disputed, refused } = outcome;
    this.#holders = outcome.holders;
    this.#refused = refused;
    this.#taking.clear();
    for (const { mac, claimed, ips } of this.#ports.values())
      if (claimed && own.has(mac) && this.#standings.doubtful({ mac, ips })) left.add(mac);
    if (left.size > 0) this.#keep(left);
    for (const [mac, owner] of lost)
      log.info("a workload of this node is on another one now", { mac, ips: owner.ips.join(" "), node: owner.node });
    for (const [mac, owner] of disputed) this.#disputed(mac, owner);
    this.#publisher.set(own);
    // Until it is published, what another node had stays where it was.
    const held = [...own.values()].filter(({ mac }) => !from.has(mac) || this.#publisher.says(mac));
    const owners =
      held.length === own.size ? outcome.owners : ownersOf(new Map([...lists, [node.name, held]]), present);
    this.#owners = owners.byMac;
    const macs = new Set(held.map(({ mac }) => mac));
    onDecision({ ports: this.#ports, held: macs, refused: new Set(refused.keys()), owners });
  }

  /** Otherwise the claim would seem free, as the pod that its status names has gone, and the next pod would get it. */
  #keep(left: ReadonlySet<string>): void {
    for (const { mac, claim: use } of this.#ports.values()) if (use && left.has(mac)) this.#left.set(mac, use);
    this.#claiming.want();
  }

  /** @throws BlockError: one that is in use among them, until it is not or the addresses are another node's */
  async #claimLeft(): Promise<void> {
    const { left, log } = this.#options;
    let failure: unknown;
    for (const [mac, use] of this.#left) {
      try {
        if (this.#publisher.own.has(mac)) await left(use);
        this.#left.delete(mac);
      } catch (error) {
        if (!(error instanceof BlockError)) throw error;
        // A pod's links go before its object does, and until then it is alive as far as anybody can see.
        if (error.kind === "inUse" || error.kind === "unavailable") failure ??= error;
        else {
          log.info("a claim that was left to a pod here is not its any more", {
            mac,
            pod: use.pod,
            why: error.message,
          });
          this.#left.delete(mac);
        }
      }
    }
    if (failure !== undefined) throw failure;
  }

  #disputed(mac: string, { node, mac: other, ips }: OwnedEndpoint): void {
    const { event, info } = this.#options;
    const message = `network ${info.name}: node ${node} has ${other} ${ips.join(" ")}, which overlaps with a pod's ${mac} here; that pod is cut off`;
    if (this.once(`${mac} ${node}`, message, {})) event("Warning", "SkylaneEndpointLost", message);
  }
}

/** Who has a MAC address, in words that go on with "MAC address …". */
function whose(holder: Holder): string {
  if ("port" in holder) return `is that of another pod on this node (host interface ${holder.port})`;
  const { node, ips } = holder.endpoint;
  return `is that of a pod on node ${node} (${ips.join(", ") || "without an address"})`;
}
