/**
 * The fast path of a routed pod network beside the ordinary one: programs at pods' host ends and at the underlay device let pass what the kernel's own connection
 * tracking knows as settled. What should be in the kernel follows from this node's part of the network, its peers, and the ways to pods that the kernel has; a look compares
 * that with what is there, at each change and twice a second, since nobody tells of a program that somebody takes off a device.
 *
 * Whatever stands in the way turns it off, with the reason in words, and never stops anything else: the ordinary path is always there.
 */
import type { Logger } from "../../log/index.ts";
import { errorText } from "../../log/index.ts";
import { isPodLinkGroup, type MonitorListener, type NetlinkEvent, Rtnl } from "../../netlink/index.ts";
import type { LocalNetwork, Peer } from "../../peers/index.ts";
import { Task } from "../../reconcile/index.ts";
import { Attached, type AttachedBy } from "./attached.ts";
import { Clsact } from "./clsact.ts";
import { type PacketCount, readCounters } from "./counters.ts";
import { Entries } from "./entries.ts";
import { Liberal } from "./liberal.ts";
import { LocalPods } from "./local-pods.ts";
import { type KnownPeers, PeerPrefixes } from "./peer-prefixes.ts";
import { aliveEntry, deviceEntry, podEntry, type Room } from "./programs/maps.ts";
import { lookAround, type Surroundings } from "./surroundings.ts";

/** A burst of notifications is one look, this long after its first, in milliseconds. */
const SETTLE_MS = 20;
/** How often it is looked without any, in milliseconds. */
const LOOK_MS = 500;
/** Every so many of those looks are at the surroundings as well, much of which tells of its changes: IPsec policies and kernel parameters do not. */
const AROUND_EVERY = 4;
const POD_MAPS = ["devices", "pods4", "pods6"] as const;
const PEER_MAPS = ["peers4", "peers6"] as const;
/** Pods on the ordinary path that the status names. */
const MOST_NAMED = 20;

export interface FastPathOptions {
  log: Logger;
  /** Namespace of the network's devices; the agent's own by default. */
  netns?: number | string;
  /** Hears what happens in it until that is closed. */
  watch: (listener: MonitorListener) => { close(): Promise<void> };
  /** Until this resolves nothing is done: it takes a while, and is needed by nobody. At once by default. */
  begin?: Promise<unknown>;
  /** By what programs are attached to devices; what the kernel has by default. */
  attachBy?: AttachedBy;
  /** Somebody had changed so many things of a kind, and they are right again. */
  onRepair: (kind: "fast-path-program" | "fast-path-entry" | "fast-path-sysctl", count: number) => void;
}

/** How the fast path stands. */
export interface FastPathStatus {
  on: boolean;
  /** Why it is off, or how it works. */
  message: string;
  /** Host ends that have it. */
  pods: number;
  /** Prefixes of peers that it leads to. */
  prefixes: number;
  /** What is on the ordinary path all the same, and why: devices, nodes. */
  ordinary: { what: string; why: string }[];
  packets: PacketCount[];
}

/** See the header. */
export class FastPath implements MonitorListener {
  readonly #options: FastPathOptions;
  readonly #rtnl: Rtnl;
  readonly #clsact: Clsact;
  readonly #localPods = new LocalPods();
  readonly #peers = new PeerPrefixes();
  readonly #liberal: Liberal;
  readonly #task: Task;
  readonly #watch: { close(): Promise<void> };
  readonly #timer: NodeJS.Timeout;
  #local: LocalNetwork | undefined;
  #entries: Entries | undefined;
  #attached: Attached | undefined;
  #around: Surroundings | string | undefined;
  #looks = 0;
  #begun = true;
  /** It was tried to take away what a former agent has left. */
  #swept = false;
  #unread = true;
  /** What programs are to know of peers, and whether the maps have it already. */
  #known: { uplink: number; peers: KnownPeers; written: boolean } | undefined;
  #on = false;
  #message = "not looked at yet";
  #ordinary: FastPathStatus["ordinary"] = [];

  /** Begins to look; nothing is in the kernel before the network is known. @throws SysError when no socket can be opened */
  constructor(options: FastPathOptions) {
    const { netns, watch, begin } = options;
    this.#options = options;
    this.#rtnl = Rtnl.open(netns === undefined ? {} : { netns });
    this.#clsact = new Clsact(this.#rtnl);
    this.#liberal = new Liberal(netns);
    this.#task = new Task(
      () => this.#look(),
      { baseMs: 1_000, maxMs: 60_000 },
      (error) => this.#off(errorText(error)),
    );
    if (begin) this.#beginWith(begin);
    this.#watch = watch(this);
    this.#timer = setInterval(() => this.#task.want(), LOOK_MS);
  }

  /** This node's part of the network is this now. */
  setLocal(local: LocalNetwork): void {
    this.#local = local;
    this.#around = undefined;
    this.#task.want();
  }

  /** Takes peers as they are now, by node; undefined for those that left. All others stay. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    this.#peers.change(changes);
    this.#known = undefined;
    this.#task.want();
  }

  /** Replaces the peers. */
  setPeers(peers: Iterable<Peer>): void {
    this.#peers.replace(peers);
    this.#known = undefined;
    this.#task.want();
  }

  onEvents(events: readonly NetlinkEvent[]): void {
    const underlayIp = this.#local?.underlayIp;
    const around = events.some(
      (event) =>
        // with each pod an address of its host end comes or goes
        (event.kind === "address" && event.address.ip === underlayIp) ||
        // a pod's limit must hold at once
        event.kind === "tc" ||
        (event.kind === "link" && !isPodLinkGroup(event.link.group)),
    );
    for (const event of events)
      if (event.kind === "tc") this.#clsact.forget(event.tc.ifindex);
      else if (event.kind === "link" && event.event === "del") this.#clsact.forget(event.link.index);
    if (around) this.#around = undefined;
    if (this.#localPods.notice(events) || around) this.#task.want(SETTLE_MS);
  }

  onResync(): void {
    this.#unread = true;
    this.#around = undefined;
    this.#clsact.forget();
    this.#task.want();
  }

  /** How it stands now. */
  status(): FastPathStatus {
    return {
      on: this.#on,
      message: this.#message,
      pods: this.#attached?.pods ?? 0,
      prefixes: (this.#entries?.count("peers4") ?? 0) + (this.#entries?.count("peers6") ?? 0),
      ordinary: this.#ordinary.slice(0, MOST_NAMED),
      packets: this.#entries ? readCounters(this.#entries.maps.counters) : [],
    };
  }

  /** Resolves when no look is under way or about to start. */
  settled(): Promise<void> {
    return this.#task.settled();
  }

  /** Takes everything out of the kernel; packets go the ordinary path. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#watch.close();
    await this.#task.stop();
    this.#attached?.[Symbol.dispose]();
    this.#entries?.[Symbol.dispose]();
    this.#attached = undefined;
    this.#entries = undefined;
    this.#on = false;
    this.#rtnl.close();
  }

  #beginWith(begin: Promise<unknown>): void {
    this.#begun = false;
    void begin.then(() => {
      this.#begun = true;
      this.#task.want();
    });
  }

  #off(why: string): void {
    this.#attached?.detach();
    this.#sweep();
    if (this.#on || why !== this.#message) this.#options.log.info(`the fast path is off: ${why}`);
    this.#on = false;
    this.#message = why;
    this.#ordinary = [];
  }

  /** Takes away what a former agent has left, where nothing takes its place; once. */
  #sweep(): void {
    if (this.#attached !== undefined || this.#swept) return;
    this.#swept = true;
    try {
      this.#clsact.sweep();
    } catch (error) {
      // It does nothing any more.
      this.#options.log.info(`what a former agent has left of the fast path is still there: ${errorText(error)}`);
    }
  }

  async #look(): Promise<void> {
    const local = this.#local;
    if (!local || !this.#begun) return;
    if (this.#unread) {
      this.#localPods.read(this.#rtnl);
      this.#unread = false;
    }
    this.#clsact.doubt();
    if (++this.#looks % AROUND_EVERY === 0) this.#around = undefined;
    const around = (this.#around ??= lookAround(this.#rtnl, this.#clsact, local, this.#options.netns));
    if (typeof around === "string") return this.#off(around);
    // What the kernel lacks is said before it is asked for memory, of which old ones allow little.
    const { netns, attachBy } = this.#options;
    const attached = (this.#attached ??= await Attached.open(this.#clsact, netns, attachBy && [attachBy]));
    const { tunnel, lifetimes, shaped, wireSlow, directSlow } = around;
    const { uplink } = tunnel;
    if (this.#known?.uplink !== uplink) this.#known = { uplink, peers: this.#peers.known(uplink), written: false };
    const known = this.#known;
    const { lengths, direct } = known.peers;
    const { pods, ends } = this.#localPods.pods;
    const fast = pods.filter(({ ifindex }) => !shaped.has(ifindex));
    const devices = new Set(fast.map(({ ifindex }) => ifindex));
    const liberal = this.#liberal.keep();
    if (liberal.why !== undefined) return this.#off(liberal.why);
    if (liberal.repaired) this.#repaired("fast-path-sysctl", 1);
    const entries = this.#entriesFor({
      pods: Math.max(fast.length, devices.size + 1),
      peers: known.peers.entries.length,
    });
    entries.set(POD_MAPS, [...[...devices, tunnel.device].map(deviceEntry), ...fast.map(podEntry)]);
    if (!known.written) entries.set(PEER_MAPS, known.peers.entries);
    known.written = true;
    // At each look, and before programs are attached; to load them may take long.
    const beat = (): void => {
      if (attached.by === "clsact") entries.maps.alive.set(aliveEntry());
    };
    beat();
    await attached.load(entries.maps, { ...tunnel, lengths, direct: direct && directSlow === undefined }, lifetimes);
    beat();
    this.#repaired("fast-path-entry", entries.compare());
    this.#repaired(
      "fast-path-program",
      attached.attach({
        pods: devices,
        ...(tunnel.inbound === "underlay" && wireSlow === undefined && { wire: uplink }),
        device: tunnel.device,
      }),
    );
    this.#ordinary = [
      ...(wireSlow === undefined ? [] : [{ what: "packets from other nodes", why: wireSlow }]),
      ...(direct && directSlow !== undefined ? [{ what: "packets without the tunnel", why: directSlow }] : []),
      ...[...ends].flatMap(([index, { name }]) => {
        const kind = shaped.get(index);
        return kind === undefined ? [] : [{ what: name, why: `it has queueing discipline ${kind}` }];
      }),
      ...known.peers.ordinary,
    ];
    const header = tunnel.encapsulate
      ? "the tunnel's header is made by the program"
      : `packets to other nodes leave by ${local.device}`;
    const message = attached.by === "tcx" ? header : `${header} (programs by ${attached.by})`;
    if (!this.#on || message !== this.#message) this.#options.log.info(`the fast path is on: ${message}`);
    this.#on = true;
    this.#message = message;
  }

  /** Maps with so much room. In place of those that have less there are new ones, empty, to which programs have to be led; those before them are there as long as programs use them. */
  #entriesFor(room: Room): Entries {
    const before = this.#entries;
    if (before?.hasRoomFor(room)) return before;
    const entries = new Entries(room, this.#options.netns, before?.maps.counters);
    this.#entries = entries;
    if (this.#known) this.#known.written = false;
    before?.disposeOfEntries();
    return entries;
  }

  #repaired(kind: Parameters<FastPathOptions["onRepair"]>[0], count: number): void {
    if (count === 0) return;
    this.#options.onRepair(kind, count);
    this.#options.log.warn("repaired the fast path, of which somebody had changed something", { kind, count });
  }
}
