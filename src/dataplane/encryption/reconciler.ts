/**
 * Keeps the WireGuard device, its peers, and what leads packets into it. Of links and routes the kernel tells; of a device's key and peers, and of
 * rules, nobody does, so those are looked at twice a second, and less often the longer a look takes.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { familyOf } from "../../addr/index.ts";
import {
  describeOperation,
  Monitor,
  type MonitorListener,
  type NetlinkEvent,
  type Operation,
  Rtnl,
  Wireguard,
  type WireguardChange,
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
import { applyPlan } from "../kernel/index.ts";
import { wireguardOverhead, tunnelOverhead } from "../vxlan/index.ts";
import { DEVICE, type DesiredWireguard, ensureWireguard, hasWrongParameters, isWrong } from "./device.ts";
import { DesiredEncryption, ENCRYPTION_TABLE, type EncryptionActual, type EncryptionEntry } from "./entries.ts";
import type { NodeKey } from "./key.ts";
import { encryptionOperations, type EncryptionOperation, isOurRule, type OnWireguard } from "./operations.ts";

/** How often what nobody tells of is looked at, in milliseconds; a look may take a fiftieth of the time. */
const LOOK_MS = 500;
const LOOK_SHARE = 50;

/** Of this node, as far as encryption goes by it. */
export type LocalOfEncryption = Pick<LocalNetwork, "underlayIp" | "port" | "mtu" | "encryption">;

export interface EncryptionReconcilerOptions extends ReconcileOptions {
  local: LocalOfEncryption;
  key: NodeKey;
  /** UDP port of the device. */
  port: number;
  /** Namespace to work in, as path or descriptor; the process's own when absent. */
  netns?: number | string;
  /** Hears what happens in it; a monitor of its own when absent. */
  watch?: (listener: MonitorListener) => { close(): Promise<void> };
  /** How the device's peers stand was looked at. */
  onLook?: () => void;
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
  #local: LocalOfEncryption;
  #device: DesiredWireguard;
  #rtnl: Rtnl | undefined;
  #wireguard: Wireguard | undefined;
  #timer: NodeJS.Timeout | undefined;
  #states: ReadonlyMap<string, WireguardPeerState> = new Map();

  constructor(options: EncryptionReconcilerOptions) {
    super(options, "encryption between nodes", encryptionOperations);
    const { local, key, port } = options;
    this.#options = options;
    this.#local = local;
    this.#device = deviceOf(local, key, port);
    this.#desired = new DesiredEncryption(local, key.publicKey, this.desired);
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
    this.change();
  }

  /** This node is otherwise, or has another key. */
  setLocal(local: LocalOfEncryption, key: NodeKey = this.#device.key): void {
    this.#local = local;
    const device = deviceOf(local, key, this.#options.port);
    if (JSON.stringify(device) !== JSON.stringify(this.#device)) this.#device = device;
    this.forgive();
    this.#desired.setLocal(local, key.publicKey);
    this.change();
  }

  /** This node has another key. */
  setKey(key: NodeKey): void {
    this.setLocal(this.#local, key);
  }

  /** Whether there has been a device. */
  get begun(): boolean {
    return this.on !== undefined;
  }

  /** How the device's peers stood at the last look, by public key. */
  get states(): ReadonlyMap<string, WireguardPeerState> {
    return this.#states;
  }

  /** Why a peer's entries are not in place, by public key or underlay prefix; undefined where they are. */
  errorOf(keys: readonly string[]): string | undefined {
    for (const key of keys) {
      const error = this.errors.get(key);
      if (error !== undefined) return error;
    }
    return undefined;
  }

  /** How many things of ours somebody else had changed, by kind. */
  get repaired(): ReadonlyMap<string, number> {
    return this.repairs;
  }

  override async start(): Promise<void> {
    await super.start();
    this.#look();
  }

  override async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await super.stop();
  }

  protected override get ground(): object {
    return this.#device;
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
    const { link, did } = ensureWireguard(this.#kernel, this.#conversation, this.#device, this.#options.netns);
    if (did.length > 0) {
      const [level, what] = again
        ? (["warn", "repaired WireGuard device"] as const)
        : (["info", "WireGuard device"] as const);
      this.logger[level](`${what} ${link.name}: ${did.join("; ")}`);
    }
    return { on: { ifindex: link.index, family: this.#desired.family }, touched: did.length > 0, problems: [] };
  }

  protected override async read(): Promise<Iterable<EncryptionActual>> {
    const found = this.#readUntold() ?? [];
    await nextTurn();
    const routes = this.#kernel.routes({ table: ENCRYPTION_TABLE });
    return [...found, ...routes.map((route): EncryptionActual => ({ kind: "route", route }))];
  }

  protected override async apply(operations: readonly EncryptionOperation[]): Promise<readonly Refused[]> {
    const refused: Refused[] = [];
    for (let from = 0; from < operations.length; ) {
      const peers = operations[from]?.kind === "wireguardPeer";
      let to = from;
      while (to < operations.length && (operations[to]?.kind === "wireguardPeer") === peers) to++;
      const some = operations.slice(from, to);
      const failures = peers
        ? this.#conversation.change(DEVICE, some as WireguardChange[])
        : await applyPlan(this.#kernel, some as Operation[]);
      for (const { index, error } of failures) refused.push({ index: from + index, message: error.message });
      from = to;
    }
    return refused;
  }

  protected override describe(operation: EncryptionOperation, { ifindex }: OnWireguard): string {
    if (operation.kind !== "wireguardPeer")
      return describeOperation(operation, (index) => (index === ifindex ? DEVICE : this.#kernel.link(index)?.name));
    const { op } = operation;
    return op === "put"
      ? `setting peer ${operation.peer.publicKey} of ${DEVICE}`
      : `removing peer ${operation.publicKey} of ${DEVICE}`;
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

  /** Peers and rules; undefined where there is no device, or it has another key, port or mark. */
  #readUntold(): EncryptionActual[] | undefined {
    const device = this.#conversation.device(DEVICE);
    const { key, port } = this.#device;
    if (!device || device.publicKey !== key.publicKey || device.listenPort !== port || device.fwmark !== 0)
      return undefined;
    this.#states = new Map(device.peers.map((peer) => [peer.publicKey, peer]));
    const rules = this.#kernel.rules().filter(isOurRule);
    return [
      ...device.peers.map((peer): EncryptionActual => ({ kind: "peer", peer })),
      ...rules.map((rule): EncryptionActual => ({ kind: "rule", rule })),
    ];
  }

  #look(): void {
    const start = performance.now();
    try {
      const { on } = this;
      if (on && this.error === undefined && !this.#isRight(on)) this.doubt("a look at keys, peers and rules");
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
      [...this.desired.entries].filter(([key, { kind }]) => kind !== "route" && !errors.has(key)),
    );
    return planAll({ entries }, found, encryptionOperations, on).operations.length === 0;
  }

  #onEvents(events: readonly NetlinkEvent[]): void {
    const { on } = this;
    for (const event of events) {
      const gone = event.event === "del";
      if (event.kind === "link") {
        const { index, name } = event.link;
        const ours = index === on?.ifindex;
        if ((ours && (gone || name !== DEVICE || isWrong(event.link, this.#device))) || (!ours && name === DEVICE))
          this.doubt(`a notification about ${name}`, WHOLE);
      } else if (event.kind === "route" && on && event.route.table === ENCRYPTION_TABLE) {
        const key = doubtAbout(this.desired, event, gone, encryptionOperations, on);
        if (key !== undefined) this.doubt(`a notification about ${key}`, gone ? key : undefined);
      } else if (event.kind === "netconf" && event.netconf.ifindex === on?.ifindex) {
        if (hasWrongParameters(this.#desired.family, this.#options.netns))
          this.doubt("kernel parameters of the device");
      }
    }
  }
}

function deviceOf(local: LocalOfEncryption, key: NodeKey, port: number): DesiredWireguard {
  const family = familyOf(local.underlayIp);
  const mtu = local.mtu + tunnelOverhead(local) - wireguardOverhead(family);
  // The kernel takes IPv6 off a device below 1280 bytes (RFC 8200, section 5).
  return { family, key, port, mtu: family === 6 ? Math.max(mtu, 1280) : mtu };
}
