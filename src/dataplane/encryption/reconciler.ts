/**
 * Keeps the WireGuard devices, their peers, and what leads packets into them. Of links and routes the kernel tells; of a device's key and peers, and of
 * rules, nobody does, so those are looked at twice a second, and less often the longer a look takes. A look also moves what goes to a peer into the best
 * lane that has come up, and wakes those that have not.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Family, familyOf, hostPrefix } from "../../addr/index.ts";
import {
  describeOperation,
  type Link,
  Monitor,
  type MonitorListener,
  type NetlinkEvent,
  type Operation,
  Rtnl,
  Wireguard,
  type WireguardChange,
  type WireguardDevice,
  type WireguardPeerState,
} from "../../netlink/index.ts";
import type { LocalNetwork, Peer } from "../../peers/index.ts";
import {
  doubtAbout,
  type Ensured,
  planAll,
  Reconciler,
  type ReconcileOptions,
  type Refused,
  WHOLE,
} from "../../reconcile/index.ts";
import { monotonicMs } from "../../sys/index.ts";
import { applyPlan } from "../kernel/index.ts";
import { wireguardOverhead, tunnelOverhead } from "../vxlan/index.ts";
import { type DesiredWireguard, ensureDevices, hasWrongParameters, isWrong } from "./device.ts";
import {
  BACK_TABLE,
  DesiredEncryption,
  ENCRYPTION_TABLE,
  type EncryptionActual,
  type EncryptionEntry,
  peerKey,
  routeKey,
} from "./entries.ts";
import { type Keys, publicOf } from "./keys.ts";
import { DEVICES, LANES, type Lane, type PeerLane, slotHere } from "./lanes.ts";
import { Wakes } from "./wakes.ts";
import { encryptionOperations, type EncryptionOperation, isOurRule, type OnWireguard } from "./operations.ts";

/** How often what nobody tells of is looked at, in milliseconds; a look may take a fiftieth of the time. */
const LOOK_MS = 500;
const LOOK_SHARE = 50;
/** For how long a device stays that nobody uses any more: a node that changes its mind all the time is no reason to look at everything each time. */
const LINGER_SECONDS = 10;
/** How often a device is tried again that could not be made, while others could. */
const RETRY_SECONDS = 10;

const secondsNow = (): number => monotonicMs() / 1000;

/** Of this node, as far as encryption goes by it. */
export type LocalOfEncryption = Pick<LocalNetwork, "underlayIp" | "port" | "mtu" | "encryption">;

export interface EncryptionReconcilerOptions extends ReconcileOptions {
  local: LocalOfEncryption;
  keys: Keys;
  /** UDP port of the first lane's device; the others' follow. */
  port: number;
  /** Namespace to work in, as path or descriptor; the process's own when absent. */
  netns?: number | string;
  /** Hears what happens in it; a monitor of its own when absent. */
  watch?: (listener: MonitorListener) => { close(): Promise<void> };
  /** How the devices' peers stand was looked at. */
  onLook?: () => void;
}

/** The lanes to a peer as the kernel has them. */
export interface LanesTo {
  lanes: (PeerLane & { state: WireguardPeerState | undefined })[];
  /** The one by which is sent. */
  used: Lane | undefined;
}

/** See the header. */
export class EncryptionReconciler extends Reconciler<
  EncryptionEntry,
  EncryptionActual,
  OnWireguard,
  EncryptionOperation
> {
  readonly #options: EncryptionReconcilerOptions;
  readonly #desired: DesiredEncryption;
  readonly #wakes = new Wakes();
  #local: LocalOfEncryption;
  #keys: Keys;
  #devices: readonly DesiredWireguard[];
  #rtnl: Rtnl | undefined;
  #wireguard: Wireguard | undefined;
  #timer: NodeJS.Timeout | undefined;
  #states: ReadonlyMap<string, WireguardPeerState> = new Map();
  /** Why lanes have no device. */
  #laneErrors: ReadonlyMap<Lane, string> = new Map();
  #laneRetry = 0;
  /** When lanes were used last. */
  readonly #lastUsed = new Map<Lane, number>();
  /** Devices of lanes that nobody uses any more. */
  #surplus: readonly Link[] = [];

  constructor(options: EncryptionReconcilerOptions) {
    super(options, "encryption between nodes", encryptionOperations);
    const { local, keys } = options;
    this.#options = options;
    this.#local = local;
    this.#keys = keys;
    this.#desired = new DesiredEncryption(local, publicOf(keys), this.desired, this.#agreed);
    this.#devices = this.#devicesNow();
  }

  /** Replaces the peers. */
  setPeers(peers: Iterable<Peer>): void {
    const next = new Map(Array.from(peers, (peer) => [peer.node, peer] as const));
    const gone = [...this.#desired.peers.keys()].filter((node) => !next.has(node));
    this.changePeers([...gone.map((node) => [node, undefined] as const), ...next]);
  }

  /** Takes peers as they are now, by node; undefined for those that left. All others stay. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    this.#desired.change(changes);
    this.#settleDevices();
    this.change();
  }

  /** This node is otherwise, or has other keys. */
  setLocal(local: LocalOfEncryption, keys: Keys = this.#keys): void {
    this.#local = local;
    this.#keys = keys;
    this.forgive();
    this.#desired.setLocal(local, publicOf(keys));
    this.#settleDevices();
    this.change();
  }

  /** This node has other keys. */
  setKeys(keys: Keys): void {
    this.setLocal(this.#local, keys);
  }

  /** Whether there has been a device. */
  get begun(): boolean {
    return this.on !== undefined;
  }

  /** How the devices' peers stood at the last look, by lane and public key. */
  get states(): ReadonlyMap<string, WireguardPeerState> {
    return this.#states;
  }

  /** The lanes to a peer, better ones behind. */
  lanesTo(peer: Peer): LanesTo {
    const { lanes, used } = this.#desired.lanesTo(peer);
    return { lanes: lanes.map((one) => ({ ...one, state: this.#states.get(peerKey(one.lane, one.key)) })), used };
  }

  /** Whether there was a handshake with a peer, on whichever lane. */
  hasAgreed(peer: Peer): boolean {
    return this.#desired.lanesTo(peer).lanes.some(this.#agreed);
  }

  /** Why what goes to a peer has no way; undefined where it has. */
  errorOf(peer: Peer): string | undefined {
    const { lanes, used } = this.#desired.lanesTo(peer);
    const lane = lanes.find((one) => one.lane === used);
    if (!lane) return undefined;
    const prefix = hostPrefix(peer.underlayIp);
    const { errors } = this;
    return (
      this.#laneErrors.get(lane.lane) ??
      errors.get(peerKey(lane.lane, lane.key)) ??
      errors.get(routeKey(prefix, false)) ??
      errors.get(routeKey(prefix, true))
    );
  }

  /** Why a lane has no device. */
  errorOfLane(lane: Lane): string | undefined {
    return this.#laneErrors.get(lane);
  }

  /** How many things of ours somebody else had changed, by kind. */
  get repaired(): ReadonlyMap<string, number> {
    return this.repairs;
  }

  override async start(): Promise<void> {
    // What an agent before this one has moved into a lane stays there.
    try {
      this.#readDevices();
      this.#desired.look();
    } catch (error) {
      this.logger.debug("how WireGuard stands cannot be read yet", { error });
    }
    await super.start();
    this.#look();
  }

  override async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await super.stop();
  }

  protected override get ground(): object {
    return this.#devices;
  }

  protected override watch(): { close(): Promise<void> } {
    const { watch, netns } = this.#options;
    const listener: MonitorListener = {
      onEvents: (events) => this.#onEvents(events),
      onResync: (reason) => this.doubt(reason),
    };
    if (watch) return watch(listener);
    return Monitor.open({ kinds: ["link", "route", "netconf"], ...listener, ...(netns !== undefined && { netns }) });
  }

  protected override ensure(again: boolean): Ensured<OnWireguard> {
    const { netns } = this.#options;
    const { devices, errors, did, surplus } = ensureDevices(this.#kernel, this.#conversation, this.#devices, netns);
    this.#surplus = surplus;
    this.#laneRetry = secondsNow() + RETRY_SECONDS;
    for (const [lane, message] of errors)
      if (this.#laneErrors.get(lane) !== message)
        this.logger.error(`WireGuard device ${DEVICES[lane]} cannot be made; it is tried again`, { reason: message });
    this.#laneErrors = errors;
    if (did.length > 0) {
      const [level, what] = again
        ? (["warn", "repaired WireGuard device"] as const)
        : (["info", "WireGuard device"] as const);
      this.logger[level](`${what}: ${did.join("; ")}`);
    }
    const indexes = new Map(Array.from(devices, ([lane, { index }]) => [lane, index] as const));
    return { on: { devices: indexes, family: this.#desired.family }, touched: did.length > 0, problems: [] };
  }

  protected override async read(): Promise<Iterable<EncryptionActual>> {
    const found = this.#readUntold() ?? [];
    await nextTurn();
    const routes = this.#kernel.routes({ table: ENCRYPTION_TABLE });
    const back = this.#kernel.routes({ table: BACK_TABLE });
    return [
      ...found,
      ...routes.map((route): EncryptionActual => ({ kind: "route", route })),
      ...back.map((route): EncryptionActual => ({ kind: "back", route })),
    ];
  }

  /** Nothing is led into them by now. */
  protected override afterPass(): void {
    const surplus = this.#surplus;
    this.#surplus = [];
    for (const { index, name } of surplus) {
      if (this.#devices.some(({ lane }) => DEVICES[lane] === name)) continue;
      try {
        this.#kernel.execute({ op: "del", kind: "link", link: { index, name } });
        this.logger.info(`removed WireGuard device ${name}, which nobody uses any more`);
      } catch (error) {
        this.logger.warn(`WireGuard device ${name}, which nobody uses any more, cannot be removed`, { error });
      }
    }
  }

  protected override async apply(operations: readonly EncryptionOperation[]): Promise<readonly Refused[]> {
    const refused: Refused[] = [];
    const laneAt = (index: number): Lane | undefined => {
      const operation = operations[index];
      return operation?.kind === "wireguardPeer" ? operation.lane : undefined;
    };
    for (let from = 0; from < operations.length; ) {
      const lane = laneAt(from);
      let to = from;
      while (to < operations.length && laneAt(to) === lane) to++;
      const some = operations.slice(from, to);
      const failures =
        lane === undefined
          ? await applyPlan(this.#kernel, some as Operation[])
          : this.#conversation.change(DEVICES[lane], some as WireguardChange[]);
      for (const { index, error } of failures) refused.push({ index: from + index, message: error.message });
      from = to;
    }
    return refused;
  }

  protected override describe(operation: EncryptionOperation, { devices }: OnWireguard): string {
    if (operation.kind !== "wireguardPeer")
      return describeOperation(operation, (index) => deviceAt(devices, index) ?? this.#kernel.link(index)?.name);
    const { op, lane } = operation;
    return op === "put"
      ? `setting peer ${operation.peer.publicKey} of ${DEVICES[lane]}`
      : `removing peer ${operation.publicKey} of ${DEVICES[lane]}`;
  }

  protected override tellRefused(entries: ReadonlyMap<string, string>): void {
    for (const [entry, reason] of entries)
      this.logger.warn("the kernel refused a part of encryption between nodes; it is tried again", { entry, reason });
  }

  protected override hangUp(): void {
    this.#rtnl?.close();
    this.#wireguard?.close();
    this.#rtnl = undefined;
    this.#wireguard = undefined;
  }

  get #kernel(): Rtnl {
    const { netns } = this.#options;
    return (this.#rtnl ??= Rtnl.open(netns === undefined ? {} : { netns }));
  }

  get #conversation(): Wireguard {
    return (this.#wireguard ??= Wireguard.open(this.#options.netns));
  }

  readonly #agreed = ({ lane, key }: PeerLane): boolean =>
    this.#states.get(peerKey(lane, key))?.lastHandshake !== undefined;

  /** The devices as they should be now: none with a key that this node has forgotten. */
  #devicesNow(): DesiredWireguard[] {
    const { port } = this.#options;
    const { slot, key, next } = this.#keys;
    const now = secondsNow();
    for (const lane of this.#desired.lanes) this.#lastUsed.set(lane, now);
    return LANES.flatMap((lane) => {
      const used = this.#lastUsed.get(lane);
      const its = slotHere(lane) === slot ? key : next?.key;
      if (!its || used === undefined || now - used >= LINGER_SECONDS) return [];
      return [{ lane, key: its, port: port + lane, ...sizeOf(this.#local) }];
    });
  }

  /** @returns whether they are to be others than before */
  #settleDevices(): boolean {
    const devices = this.#devicesNow();
    if (JSON.stringify(devices) === JSON.stringify(this.#devices)) return false;
    this.#devices = devices;
    return true;
  }

  /** Devices of the lanes that are used, with how their peers stand. */
  #readDevices(): Map<Lane, WireguardDevice> {
    const found = new Map<Lane, WireguardDevice>();
    const states = new Map<string, WireguardPeerState>();
    for (const { lane } of this.#devices) {
      const device = this.#conversation.device(DEVICES[lane]);
      if (!device) continue;
      found.set(lane, device);
      for (const peer of device.peers) states.set(peerKey(lane, peer.publicKey), peer);
    }
    this.#states = states;
    return found;
  }

  /** Peers and rules; undefined where a device is not there that could be made, or has another key, port or mark. */
  #readUntold(): EncryptionActual[] | undefined {
    const found = this.#readDevices();
    for (const { lane, key, port } of this.#devices) {
      const device = found.get(lane);
      const isRight = device?.publicKey === key.publicKey && device.listenPort === port && device.fwmark === 0;
      if (!isRight && !this.#laneErrors.has(lane)) return undefined;
    }
    const peers = [...found].filter(([lane]) => !this.#laneErrors.has(lane));
    const rules = this.#kernel.rules().filter(isOurRule);
    return [
      ...peers.flatMap(([lane, device]) =>
        device.peers.map((peer): EncryptionActual => ({ kind: "peer", lane, peer })),
      ),
      ...rules.map((rule): EncryptionActual => ({ kind: "rule", rule })),
    ];
  }

  /** Lanes that have come up are used, and those that have not are woken. */
  #seeToLanes(): void {
    const isMoved = this.#desired.look();
    if (this.#settleDevices() || isMoved) this.change();
    const pairs = Array.from(this.#desired.many(), (peer) => {
      const { lanes, used } = this.#desired.lanesTo(peer);
      return { lanes, used: lanes.findIndex(({ lane }) => lane === used), agreed: this.#agreed };
    });
    const wakes = this.#wakes.due(pairs, secondsNow());
    for (const { lane, key, anew } of wakes) {
      const entry = this.desired.entries.get(peerKey(lane, key));
      if (entry?.kind !== "peer" || !this.#states.has(peerKey(lane, key))) continue;
      const put = encryptionOperations.put(entry, undefined, this.on as OnWireguard);
      const changes: WireguardChange[] =
        anew && typeof put === "object" && put.kind === "wireguardPeer"
          ? [{ op: "remove", publicKey: key }, put]
          : [{ op: "wake", publicKey: key }];
      this.#conversation.change(DEVICES[lane], changes);
    }
  }

  #look(): void {
    const start = performance.now();
    try {
      const { on } = this;
      if (on && this.error === undefined) {
        if (!this.#isRight(on)) this.doubt("a look at keys, peers and rules");
        else this.#seeToLanes();
        if (this.#laneErrors.size > 0 && secondsNow() >= this.#laneRetry) {
          this.#laneRetry = secondsNow() + RETRY_SECONDS;
          this.doubt("a device that could not be made");
        }
      }
      this.#options.onLook?.();
    } catch (error) {
      // The pass says what is wrong, and tries again.
      this.doubt(error instanceof Error ? error.message : String(error));
    }
    const pause = Math.max(LOOK_MS, LOOK_SHARE * (performance.now() - start));
    this.#timer = setTimeout(() => this.#look(), pause).unref();
  }

  #isRight(on: OnWireguard): boolean {
    const found = this.#readUntold();
    if (!found) return false;
    const { errors } = this;
    const entries = new Map(
      [...this.desired.entries].filter(([key, { kind }]) => kind !== "route" && kind !== "back" && !errors.has(key)),
    );
    return planAll({ entries }, found, encryptionOperations, on).operations.length === 0;
  }

  #onEvents(events: readonly NetlinkEvent[]): void {
    const { on } = this;
    for (const event of events) {
      const gone = event.event === "del";
      if (event.kind === "link") {
        const { index, name } = event.link;
        const ours = deviceAt(on?.devices, index);
        const desired = this.#devices.find(({ lane }) => DEVICES[lane] === name);
        const isRight = desired && ours === name && !gone && !isWrong(event.link, desired);
        // One that cannot be made is tried again by the clock.
        if (desired && !gone && this.#laneErrors.has(desired.lane)) continue;
        if ((ours !== undefined || desired) && !isRight && !this.#isGivenUp(name, ours))
          this.doubt(`a notification about ${name}`, WHOLE);
      } else if (event.kind === "route" && on) {
        const { route } = event;
        const kind = route.table === ENCRYPTION_TABLE ? "route" : route.table === BACK_TABLE ? "back" : undefined;
        const key = kind && doubtAbout(this.desired, { kind, route }, gone, encryptionOperations, on);
        if (key !== undefined) this.doubt(`a notification about ${key}`, gone ? key : undefined);
      } else if (event.kind === "netconf") {
        const name = deviceAt(on?.devices, event.netconf.ifindex);
        if (name !== undefined && hasWrongParameters(name, this.#desired.family, this.#options.netns))
          this.doubt("kernel parameters of the device");
      }
    }
  }

  /** Whether news of a device is none: its lane is no longer used. */
  #isGivenUp(name: string, ours: string | undefined): boolean {
    return (ours ?? name) === name && !this.#devices.some(({ lane }) => DEVICES[lane] === name);
  }
}

function deviceAt(devices: ReadonlyMap<Lane, number> | undefined, index: number): string | undefined {
  for (const [lane, at] of devices ?? []) if (at === index) return DEVICES[lane];
  return undefined;
}

function sizeOf(local: LocalOfEncryption): { mtu: number; family: Family } {
  const family = familyOf(local.underlayIp);
  const mtu = local.mtu + tunnelOverhead(local) - wireguardOverhead(family);
  // The kernel takes IPv6 off a device below 1280 bytes (RFC 8200, section 5).
  return { family, mtu: family === 6 ? Math.max(mtu, 1280) : mtu };
}
