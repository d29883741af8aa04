/**
 * Egress gateways on this node. What the status of an EgressGateway says of its addresses is the truth: a node has the addresses that it says and no
 * others. The agent with the Lease writes it; a candidate that no longer hears who has an address takes it for itself, if it is next.
 */
import { familyOf, FAMILIES, networkAddress } from "../addr/index.ts";
import type { AskingPod } from "../cni/index.ts";
import { type AddressHolder, EGRESS_GATEWAYS, type EgressGatewayInfo, matchesSelector } from "../crd/index.ts";
import { answersFor, type EgressKeeper, type GatewayNode, NO_EGRESS } from "../dataplane/egress/index.ts";
import type { EgressAnswer } from "../dataplane/nft/index.ts";
import { ApiError, type KubeClient, NodeLeases, patchStatus, type ReflectorTimings } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import type { LocalNetwork, Peer } from "../peers/index.ts";
import type { EgressGatewayStatus, EgressStatus } from "../observe/index.ts";
import { Task } from "../reconcile/index.ts";
import { type EgressAttachment, EgressAdmission } from "./admission.ts";
import { Beats } from "./beats.ts";
import { type AtRisk, CutOff } from "./cut-off.ts";
import type { GatewayObject } from "./gateway-object.ts";
import { EgressNetworks, type EgressNetwork, type EgressOfNetwork } from "./networks.ts";
import { planNode } from "./node-plan.ts";
import { assign, type Candidates, distribute } from "./rendezvous.ts";
import { type EgressPod, type Selected, select, type Taken } from "./selection.ts";
import { EgressSources } from "./sources.ts";
import { egressStatus } from "./statuses.ts";
import { TransitWord } from "./transit-word.ts";
import type { Transits } from "./transits.ts";

/** A burst of changes is one look, this long after its first, in milliseconds; and so many times as long as a look has taken. */
const SETTLE_MS = 20;
const REST = 5;
const MOST_REST_MS = 500;
/** How soon the status of a gateway is written, and how soon its count of pods, in milliseconds. */
const SOON_MS = 50;
const COUNT_MS = 5_000;
/**
 * How long an address stays where it is before it goes back to the node that it belongs to, in milliseconds: longer than the Lease of a node that has
 * just died says that it lives.
 */
const STAY_MS = 90_000;

export interface EgressGatewaysOptions {
  client: KubeClient;
  log: Logger;
  nodeName: string;
  keeper: EgressKeeper;
  transits: Transits;
  /** Something in a pod network's namespace that somebody had changed is as it was. */
  onRepair: () => void;
  /** Why pods of a network cannot reach what is outside of it; undefined where they can. */
  noWayOut: (network: string) => string | undefined;
  granted: (node: string) => readonly string[] | undefined;
  /** What an egress address may not be. */
  taken: () => Taken;
  /** Prefixes of pods, nodes and Services. */
  inside: () => readonly string[];
  /** Index of the device that has an address of this node; undefined where none has. */
  deviceOf: (ip: string) => number | undefined;
  /** Whether this agent writes for all. */
  leads: () => boolean;
  /** Whether there may be any is otherwise; see {@link EgressGateways.mayBe}. */
  onPresence: () => void;
  /** Pods here leave by other nodes, from which their answers come. */
  onAnswers: (answers: readonly EgressAnswer[]) => void;
  timings?: Partial<ReflectorTimings>;
}

/** See the header. */
export class EgressGateways {
  readonly #options: EgressGatewaysOptions;
  readonly #sources: EgressSources;
  readonly #leases: NodeLeases;
  readonly #beats: Beats;
  readonly #admission: EgressAdmission;
  readonly #networks: EgressNetworks;
  readonly #statuses: Task;
  readonly #takeover: Task;
  readonly #cutOff: CutOff;
  readonly #peers = new Map<string, Peer>();
  /** Since when the agent with the Lease has seen an address where it is, by gateway and address. */
  readonly #seen = new Map<string, { generation: number; since: number }>();
  /** When the status of a gateway was written last, on the clock of `performance`. */
  readonly #written = new Map<string, number>();
  #local: LocalNetwork | undefined;
  #selected: readonly Selected[] = [];
  #held: readonly string[] = [];
  #looking: NodeJS.Timeout | undefined;
  #tookMs = 0;
  #stopped = false;

  constructor(options: EgressGatewaysOptions) {
    this.#options = options;
    const { client, log, nodeName, granted, onPresence, timings, transits, onRepair } = options;
    let were: boolean | undefined;
    const onChange = (): void => {
      if (this.mayBe !== were) onPresence();
      were = this.mayBe;
      this.#admission.heard();
      this.look();
    };
    const word = new TransitWord({ client, nodeName, log });
    this.#networks = new EgressNetworks({ nodeName, transits, word, onRepair, onChange: () => this.look() });
    this.#admission = new EgressAdmission({
      client,
      nodeName,
      synced: () => this.#sources.synced,
      wanted: () => this.mayBe,
      heard: (key) => this.#sources.pod(key),
      concerns: (pod) => this.#select([pod]).some(({ pods }) => pods.length > 0),
      put: (network) => this.#put(network),
      networkAt: (path) => this.#networks.at(path),
      onChange,
    });
    this.#sources = new EgressSources({ client, log, nodeName, granted, onChange, ...(timings && { timings }) });
    this.#cutOff = new CutOff({ client, log, nodeName, atRisk: () => this.#atRisk(), onChange: () => this.look() });
    this.#leases = new NodeLeases(client, { log, onNews: onChange });
    this.#beats = new Beats({ log, onChange, onBeat: () => this.#cutOff.ask() });
    const task = (run: () => Promise<void>, complaint: string, maxMs: number): Task =>
      new Task(run, { baseMs: 250, maxMs }, (error, attempt) => {
        if (attempt === 1) log.warn(`${complaint}; trying again`, { error });
      });
    this.#statuses = task(() => this.#writeAll(), "the status of egress gateways cannot be written", 30_000);
    this.#takeover = task(() => this.#takeOver(), "egress addresses of a dead node cannot be taken over", 1_000);
  }

  start(): void {
    this.#sources.start();
  }

  /** Stops, and leaves the kernel as it is. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#looking);
    this.#beats.stop();
    this.#cutOff.stop();
    await Promise.all([
      this.#networks.stop(),
      this.#sources.stop(),
      this.#leases.stop(),
      this.#statuses.stop(),
      this.#takeover.stop(),
    ]);
    await this.#options.keeper.stop();
  }

  setLocal(local: LocalNetwork): void {
    this.#local = local;
    this.look();
  }

  setPeers(peers: Iterable<Peer>): void {
    this.#peers.clear();
    for (const peer of peers) this.#peers.set(peer.node, peer);
    this.look();
  }

  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    for (const [node, peer] of changes) {
      if (peer) this.#peers.set(node, peer);
      else this.#peers.delete(node);
    }
    this.look();
  }

  /** This node takes part in a pod network that may have gateways. */
  join(network: EgressNetwork): EgressOfNetwork {
    return this.#networks.join(network);
  }

  /** Whether there are any, so that somebody has to write their status. */
  get wanted(): boolean {
    return this.#sources.gateways.size > 0;
  }

  /** A pod of this node has addresses from now on; resolves when its packets leave as they have to. @throws CniError 11 when they cannot */
  admit(attachment: EgressAttachment, pod: AskingPod, ips: readonly string[]): Promise<void> {
    return this.#admission.admit(attachment, pod, ips);
  }

  /** An attachment's link is gone, and nothing has its addresses. */
  released(attachment: EgressAttachment): void {
    this.#admission.released(attachment);
  }

  async #put(network: string | undefined): Promise<string | undefined> {
    if (!this.#local) return "it is not known yet how this node is reached";
    this.#evaluate();
    const why = network === undefined ? undefined : await this.#networks.put(network);
    return why ?? (await this.#options.keeper.put());
  }

  /** Whether there may be any, so that a pod has to wait for its way out: while nobody has said so, where there were some. */
  get mayBe(): boolean {
    return this.#sources.known ? this.wanted : this.#options.keeper.standing;
  }

  /** Whether pods could come, as far as gateways go. */
  get verdict(): { ok: boolean; message: string } {
    if (!this.mayBe) return { ok: true, message: "there are no egress gateways" };
    return this.#sources.synced
      ? { ok: true, message: "egress gateways and their pods are known" }
      : { ok: false, message: "the API server has not said which egress gateways there are, or who their pods" };
  }

  /** Something that this follows from may be otherwise. */
  look(): void {
    if (this.#stopped) return;
    this.#looking ??= setTimeout(
      () => {
        this.#looking = undefined;
        const start = performance.now();
        try {
          this.#evaluate();
        } catch (error) {
          this.#options.log.error("egress gateways cannot be worked out; looking again with the next change", {
            error,
          });
        }
        this.#tookMs = performance.now() - start;
      },
      Math.max(SETTLE_MS, Math.min(REST * this.#tookMs, MOST_REST_MS)),
    );
  }

  status(): EgressStatus {
    const { keeper, nodeName } = this.#options;
    const { synced } = this.#sources;
    const gateways = Array.from(this.#sources.gateways.values(), (object): EgressGatewayStatus => {
      const selected = this.#selected.find(({ gateway }) => gateway.name === object.name);
      const holder = (address: string | undefined): string | undefined =>
        object.holders.find((one) => one.address === address)?.node;
      const refused = Array.from(selected?.refused ?? [], ([address, why]) => `${address} cannot be used: ${why}`);
      const noWayOut = this.#noWayOut(object);
      const why = object.fault ?? (refused.length > 0 ? refused.join("; ") : undefined);
      return {
        gateway: object.name,
        ...(object.info?.network !== undefined && { network: object.info.network }),
        ...(why !== undefined && { why }),
        ...(noWayOut !== undefined && { noWayOut }),
        addresses: (object.info?.addresses ?? []).map((address) => {
          const node = holder(address);
          const named = selected?.pods.filter((pod) => pod.address === address).length ?? 0;
          const pods = object.info?.network === undefined ? named : this.#networks.count(address);
          return { address, ...(node !== undefined && { node }), pods };
        }),
        pods: (selected?.pods ?? [])
          .filter(({ node }) => node === nodeName)
          .map(({ key, ip, address }) => {
            const node = holder(address);
            return { pod: key, ip, ...(address !== undefined && { address }), ...(node !== undefined && { node }) };
          }),
      };
    });
    return {
      ...(!synced && { message: "the API server has not said which there are, or who their pods are" }),
      gateways,
      addresses: [...this.#held],
      faults: [...keeper.faults, ...this.#networks.faults],
    };
  }

  #evaluate(): void {
    const { keeper, nodeName, inside, deviceOf, onAnswers } = this.#options;
    const { synced, gateways } = this.#sources;
    if (!synced) return;
    const local = this.#local;
    if (gateways.size > 0 && !local) return;
    const infos = this.#infos;
    const pods = [...this.#sources.pods()];
    const inNetworks = this.#networks.pods(infos, (key) => this.#sources.pod(key));
    this.#selected = this.#select([...this.#admission.coming.together(pods), ...inNetworks]);
    const { transits: said, namespaces } = this.#sources;
    const others = { said, granted: this.#options.granted, pods, namespaces };
    const wired = this.#networks.wired(this.#selected, local?.podCidrs ?? [], others);
    const holders = new Map(Array.from(gateways.values(), ({ name, holders: those }) => [name, those]));
    const candidates = new Map(infos.map(({ name }) => [name, new Set(this.#candidates(name))]));
    const wanted =
      local && gateways.size > 0
        ? planNode(wired, holders, {
            node: nodeName,
            gatewayNode: (name) => this.#gatewayNode(name),
            mayHold: (gateway, node) => candidates.get(gateway)?.has(node) ?? false,
            letGo: (address) => this.#cutOff.letGo.has(address),
            inside: inside(),
            device: local.device,
            uplink: deviceOf(local.underlayIp),
          })
        : NO_EGRESS;
    this.#held = wanted.addresses;
    keeper.set(wanted);
    this.#networks.set(this.#selected, inside());
    onAnswers(answersFor(wanted));
    this.#watchCandidates(candidates);
    if (this.#options.leads()) this.#statuses.want(SOON_MS);
    if (this.#missing().length > 0) this.#takeover.want();
  }

  /** Gateways that can be read. */
  get #infos(): EgressGatewayInfo[] {
    return Array.from(this.#sources.gateways.values()).flatMap(({ info }) => info ?? []);
  }

  #select(pods: Iterable<EgressPod>): Selected[] {
    return select(this.#infos, pods, this.#sources.namespaces, this.#options.taken());
  }

  #gatewayNode(name: string): GatewayNode | undefined {
    const peer = this.#peers.get(name);
    if (!peer) return undefined;
    const vteps = FAMILIES.flatMap((family) => {
      const cidr = peer.podCidrs.find((one) => familyOf(one) === family);
      return cidr === undefined ? [] : [[family, networkAddress(cidr)] as const];
    });
    return { node: name, underlayIp: peer.underlayIp, vteps: Object.fromEntries(vteps) };
  }

  /** Nodes that a gateway's nodeSelector selects, as far as this node has them as peers. */
  #candidates(gateway: string): string[] {
    const selector = this.#sources.gateways.get(gateway)?.info?.nodeSelector;
    return Array.from(this.#sources.nodes)
      .filter(
        ([node, labels]) =>
          matchesSelector(selector, labels) && (node === this.#options.nodeName || this.#peers.has(node)),
      )
      .map(([node]) => node);
  }

  /** Candidates are watched by each other; the agent with the Lease reads the Leases of all. */
  #watchCandidates(candidates: ReadonlyMap<string, ReadonlySet<string>>): void {
    const { nodeName, leads } = this.#options;
    const watched = [...candidates.values()].filter((nodes) => nodes.has(nodeName)).flatMap((nodes) => [...nodes]);
    this.#beats.follow(
      new Map(
        watched.flatMap((node) => {
          const ip = this.#peers.get(node)?.underlayIp;
          return ip === undefined ? [] : [[node, ip] as const];
        }),
      ),
    );
    this.#leases.follow(leads() ? [...candidates.values()].flatMap((nodes) => [...nodes]) : []);
  }

  /** Whether a node is alive: as beats say where it is watched, and else as its Lease. */
  #lives(node: string): boolean {
    if (node === this.#options.nodeName) return true;
    const lease = this.#leases.of(node);
    return this.#beats.hears(node) ?? (lease !== "over" && lease !== "doubtful");
  }

  #choice(gateway: string): Omit<Candidates, "mayMove"> {
    const all = this.#candidates(gateway);
    return { all: new Set(all), live: all.filter((node) => this.#lives(node)) };
  }

  /** Addresses that this node is to take: those of candidates that it does not hear, where it is next. */
  #missing(): { object: GatewayObject; addresses: AddressHolder[] }[] {
    const { nodeName } = this.#options;
    return this.#selected.flatMap(({ gateway: { name }, usable }) => {
      const object = this.#sources.gateways.get(name);
      if (!object?.info || !this.#candidates(name).includes(nodeName)) return [];
      const dead = object.holders.filter(({ node }) => this.#beats.hears(node) === false);
      if (dead.length === 0) return [];
      const next = assign(usable, object.holders, { ...this.#choice(name), mayMove: () => false });
      const mine = next.filter(({ address, node }) => node === nodeName && dead.some((one) => one.address === address));
      return mine.length > 0 ? [{ object, addresses: mine }] : [];
    });
  }

  async #takeOver(): Promise<void> {
    const { client, log } = this.#options;
    for (const { object, addresses } of this.#missing()) {
      const { name, resourceVersion, holders } = object;
      const taken = holders.map((one) => addresses.find(({ address }) => address === one.address) ?? one);
      try {
        await patchStatus(client, EGRESS_GATEWAYS, name, { addresses: taken }, resourceVersion);
        log.warn("took over egress addresses of a node that is not heard", {
          gateway: name,
          addresses: addresses.map(({ address }) => address),
          from: holders
            .filter(({ address }) => addresses.some((one) => one.address === address))
            .map(({ node }) => node),
        });
      } catch (error) {
        // Somebody was there before: the watch tells what it is now.
        if (!isOvertaken(error, name)) throw error;
      }
    }
  }

  /** Gateways of which this node has addresses, and their successors are not heard. */
  #atRisk(): AtRisk[] {
    const { nodeName } = this.#options;
    return Array.from(this.#sources.gateways.values()).flatMap(({ name, holders }) => {
      const others = this.#candidates(name).filter((node) => node !== nodeName);
      const mine = holders.filter(({ node }) => node === nodeName).map(({ address }) => address);
      const next = distribute(mine, others);
      const addresses = mine.filter((address) => {
        const node = next.get(address);
        return node !== undefined && this.#beats.hears(node) === false;
      });
      return addresses.length > 0 ? [{ gateway: name, addresses }] : [];
    });
  }

  async #writeAll(): Promise<void> {
    for (const { name } of this.#sources.gateways.values()) {
      if (!this.#options.leads() || this.#stopped) return;
      await this.#write(name);
    }
    // Addresses go back when they have been away for long enough, of which nothing else tells.
    if (this.wanted) this.#statuses.want(STAY_MS / 3);
  }

  /** Writes the status of a gateway where it is otherwise, on the version of it that was read. */
  async #write(name: string): Promise<void> {
    const object = this.#sources.gateways.get(name);
    if (!object) return;
    const selected = this.#selected.find(({ gateway }) => gateway.name === name);
    const usable = selected?.usable ?? [];
    const mayMove = (holder: AddressHolder): boolean => this.#stayed(name, holder);
    const holders = assign(usable, object.holders, { ...this.#choice(name), mayMove });
    const noWayOut = this.#noWayOut(object);
    const facts = {
      ...(object.fault !== undefined && { fault: object.fault }),
      ...(noWayOut !== undefined && { noWayOut }),
      holders,
      pods: this.#count(object, selected),
      refused: selected?.refused ?? new Map<string, string>(),
      unheld: usable.filter((ip) => !holders.some(({ address, node }) => address === ip && this.#lives(node))),
    };
    const wanted = egressStatus(object, facts, new Date().toISOString());
    if (!wanted) return;
    // A count that changes all the time is written once in a while.
    const countAlone = !egressStatus({ ...object, status: { ...object.status, pods: facts.pods } }, facts, "");
    if (countAlone && performance.now() - (this.#written.get(name) ?? -COUNT_MS) < COUNT_MS) {
      this.#statuses.want(COUNT_MS);
      return;
    }
    this.#written.set(name, performance.now());
    try {
      await patchStatus(this.#options.client, EGRESS_GATEWAYS, name, wanted, object.resourceVersion);
    } catch (error) {
      if (!isOvertaken(error, name)) throw error;
    }
  }

  #noWayOut({ info }: GatewayObject): string | undefined {
    return info?.network === undefined ? undefined : this.#options.noWayOut(info.network);
  }

  /** A pod of a network has an address a family, of which the more used one counts. */
  #count({ info }: GatewayObject, selected: Selected | undefined): number {
    if (info?.network === undefined) return new Set(selected?.pods.map(({ key }) => key)).size;
    const sums = FAMILIES.map((family) =>
      info.addresses.reduce((sum, ip) => sum + (familyOf(ip) === family ? this.#networks.count(ip) : 0), 0),
    );
    return Math.max(...sums);
  }

  #stayed(gateway: string, { address, generation }: AddressHolder): boolean {
    const key = `${gateway} ${address}`;
    const seen = this.#seen.get(key);
    if (seen?.generation === generation) return performance.now() - seen.since > STAY_MS;
    this.#seen.set(key, { generation, since: performance.now() });
    return false;
  }
}

const isOvertaken = (error: unknown, name: string): boolean =>
  error instanceof ApiError && (error.status === 409 || error.isGone(name));
