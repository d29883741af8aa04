/**
 * Encryption between nodes as the agent has it: the node's keys, the reconciler of what the kernel needs, and the packet filter that lets nothing by
 * it. It is told what the default network is told, since every node takes part in that one, and every network's tunnel goes between the same
 * addresses.
 */
import type { Logger } from "../../log/index.ts";
import { errorText } from "../../log/index.ts";
import type { MonitorListener } from "../../netlink/index.ts";
import type { Encryption as Mode, LocalNetwork, Peer, WireguardIdentity } from "../../peers/index.ts";
import { Task } from "../../reconcile/index.ts";
import { monotonicMs } from "../../sys/index.ts";
import { EncryptionFilter } from "./filter.ts";
import { NodeKey } from "./key.ts";
import { keepKeys, type Keys, loadKeys, writeKeys } from "./keys.ts";
import { DEVICES, laneOf, otherSlot } from "./lanes.ts";
import { EncryptionReconciler } from "./reconciler.ts";
import { Rotation } from "./rotation.ts";
import { type EncryptionStatus, statusOfPeer } from "./status.ts";

const secondsNow = (): number => monotonicMs() / 1000;
/** Of a key, in seconds. */
const ageOf = ({ made }: { made: number }): number => Math.max(0, Math.round((Date.now() - made) / 1000));

const RETRY = { baseMs: 500, maxMs: 10_000 } as const;

export interface EncryptionOptions {
  mode: Mode;
  dataDir: string;
  /** UDP ports of WireGuard and of VXLAN. */
  wireguardPort: number;
  vxlanPort: number;
  /** At which age of the key another one takes its place, in days; 0: never. */
  keyDays: number;
  log: Logger;
  watch: (listener: MonitorListener) => { close(): Promise<void> };
  onRepair: (kind: string, count: number) => void;
  /** What the other nodes are to know, or whether this node is ready, may have changed. */
  onState: () => void;
  /** The node has gone over to another key. */
  onRotated: () => void;
  /** Says to people that something is wrong. */
  warn: (reason: string, message: string) => void;
}

/** See the header. */
export class Encryption {
  readonly #options: EncryptionOptions;
  readonly #filter: EncryptionFilter;
  readonly #begin: Task;
  #keys: Keys | undefined;
  #rotation: Rotation | undefined;
  /** It was said that this rotation stands still. */
  #warned = false;
  #keyError: string | undefined;
  #reconciler: EncryptionReconciler | undefined;
  #local: LocalNetwork | undefined;
  #peers = new Map<string, Peer>();
  #announced = "";

  constructor(options: EncryptionOptions) {
    const { log, onRepair } = options;
    this.#options = options;
    this.#filter = new EncryptionFilter(log, () => onRepair("encryption-filter", 1));
    this.#begin = new Task(
      () => this.#start(),
      RETRY,
      (error, attempt) => {
        if (attempt === 1) log.error("encryption between nodes cannot begin; it is tried again", { error });
        this.#keyError = errorText(error);
        this.#tell();
      },
    );
  }

  /**
   * Puts the packet filter in place, before anything of a network can be sent.
   * @throws Error with `strict`, when the packet filter refuses: nothing would keep back what is in the clear
   */
  async start(): Promise<void> {
    this.#setFilter();
    await this.#filter.settled();
    const { error } = this.#filter;
    if (error !== undefined && this.#options.mode === "strict")
      throw new Error(`encryption is strict, and what is in the clear cannot be kept back: ${error}`);
  }

  /** Resolves when what was set so far is in the kernel, or cannot be. */
  async ready(): Promise<void> {
    await this.#begin.settled();
    await this.#reconciler?.settled();
  }

  setLocal(local: LocalNetwork): void {
    this.#local = local;
    if (this.#reconciler) this.#reconciler.setLocal(local);
    else this.#begin.want();
    this.#tell();
  }

  setPeers(peers: Iterable<Peer>): void {
    this.#peers = new Map(Array.from(peers, (peer) => [peer.node, peer] as const));
    this.#reconciler?.setPeers(this.#peers.values());
    this.#setFilter();
  }

  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    const list = [...changes];
    for (const [node, peer] of list) {
      if (peer) this.#peers.set(node, peer);
      else this.#peers.delete(node);
    }
    this.#reconciler?.changePeers(list);
    this.#setFilter();
  }

  /** What the other nodes are to know; undefined while this node takes nothing that is encrypted. */
  get identity(): WireguardIdentity | undefined {
    if (!this.#keys || this.#error !== undefined) return undefined;
    const { slot, key, next } = this.#keys;
    return {
      key: key.publicKey,
      port: this.#options.wireguardPort + laneOf(slot, 0),
      slot,
      ...(next && { next: next.key.publicKey }),
    };
  }

  /** For readiness. */
  get verdict(): { ok: boolean; message: string } {
    const error = this.#error ?? this.#filter.error;
    return error === undefined ? { ok: true, message: `by ${this.#device}` } : { ok: false, message: error };
  }

  status(): EncryptionStatus {
    const { mode, wireguardPort, keyDays } = this.#options;
    const reconciler = this.#reconciler;
    const keys = this.#keys;
    const inputs = {
      mode,
      error: this.#error,
      refused: (peer: Peer) => reconciler?.errorOf(peer),
      lanesTo: (peer: Peer) => reconciler?.lanesTo(peer) ?? { lanes: [], used: undefined },
      rotates: keys?.next !== undefined,
      now: Date.now() / 1000,
    };
    const peers = [...this.#peers.values()].map((peer) => statusOfPeer(peer, inputs));
    const encrypted = peers.filter(({ state }) => state === "encrypted").length;
    const { ok, message } = this.verdict;
    const rotation = this.#rotationStatus;
    return {
      mode,
      ready: ok,
      message: ok ? `${encrypted} of ${peers.length} nodes` : message,
      device: this.#device,
      ...(keys && {
        publicKey: keys.key.publicKey,
        slot: keys.slot,
        keySeconds: ageOf(keys),
      }),
      keyDays,
      ...(rotation && { rotation }),
      port: wireguardPort,
      peers: peers.sort((a, b) => (a.node < b.node ? -1 : 1)),
      repairs: [...(reconciler?.repaired.values() ?? [])].reduce((sum, count) => sum + count, 0),
    };
  }

  /**
   * Gives this node another key, at once: the one before is worth nothing from then on, and neither is one that it was going over to. The other nodes take
   * it as they hear of it.
   * @returns its public half. @throws Error where this node does not encrypt, and of the system when the key cannot be written; then all stays as it was
   */
  newKey(): string {
    const { slot } = this.#working;
    const key = NodeKey.make();
    this.#setKeys({ slot, key, made: Date.now() });
    this.#options.log.info("this node has a new key", { publicKey: key.publicKey });
    return key.publicKey;
  }

  /**
   * Begins to go over to another key, without a lost packet, or goes on with it.
   * @returns the public half of the next one. @throws as {@link newKey}
   */
  rotateKey(): string {
    const { next, ...keys } = this.#working;
    if (next) return next.key.publicKey;
    const key = NodeKey.make();
    this.#setKeys({ ...keys, next: { key, made: Date.now() } });
    this.#options.log.info("this node goes over to another key", { publicKey: key.publicKey });
    return key.publicKey;
  }

  /**
   * Goes over to the next key now, whoever still uses the one before.
   * @returns its public half. @throws Error where there is none, and as {@link newKey}
   */
  finishRotation(): string {
    const { slot, next } = this.#working;
    if (!next) throw new Error("this node goes over to no other key");
    const left = this.#rotation?.awaited.map(({ node }) => node) ?? [];
    this.#setKeys({ slot: otherSlot(slot), ...next });
    const { log, onRotated } = this.#options;
    log.info("this node has gone over to its next key, and forgotten the one before", {
      publicKey: next.key.publicKey,
      ...(left.length > 0 && { left }),
    });
    onRotated();
    return next.key.publicKey;
  }

  /** Sees that the keys' files are as they were written. @returns whether they were not. @throws Error of the system */
  keepKey(): boolean {
    return this.#keys !== undefined && keepKeys(this.#options.dataDir, this.#keys);
  }

  /** Stops, and leaves everything as it is. */
  async stop(): Promise<void> {
    await this.#begin.stop();
    await Promise.all([this.#reconciler?.stop(), this.#filter.stop()]);
  }

  /** The first device. */
  get #device(): string {
    return DEVICES[laneOf(this.#keys?.slot ?? 0, 0)];
  }

  /** The keys of a node that encrypts. @throws Error where it does not */
  get #working(): Keys {
    if (!this.#keys || !this.#reconciler || this.#error !== undefined)
      throw new Error(`this node does not encrypt: ${this.#error ?? "not begun yet"}`);
    return this.#keys;
  }

  get #rotationStatus(): EncryptionStatus["rotation"] {
    const rotation = this.#rotation;
    const next = this.#keys?.next;
    if (!rotation || !next) return undefined;
    const now = secondsNow();
    return {
      publicKey: next.key.publicKey,
      seconds: Math.round(rotation.seconds(now)),
      keySeconds: ageOf(next),
      standsStill: rotation.standsStill(now),
      awaited: rotation.awaited,
    };
  }

  /** On disk first: nobody hears of a key that would not be there after a power cut. */
  #setKeys(keys: Keys): void {
    writeKeys(this.#options.dataDir, keys, this.#working);
    this.#take(keys);
    this.#reconciler?.setKeys(keys);
    this.#tell();
  }

  #take(keys: Keys): void {
    this.#keys = keys;
    this.#rotation = keys.next && new Rotation(keys.slot, secondsNow());
    this.#warned = false;
  }

  /** How the devices' peers stand was looked at. */
  #onLook(): void {
    this.#setFilter();
    const keys = this.#keys;
    if (!keys || this.#error !== undefined) return;
    try {
      if (this.#rotation) this.#goOn(this.#rotation);
      else if (this.#isDue(keys)) this.rotateKey();
    } catch (error) {
      // A disk that is full, as a rule; the next look is soon enough.
      if (!this.#warned)
        this.#options.log.error("the key of this node cannot be changed; it is tried again", { error });
      this.#warned = true;
    }
  }

  #goOn(rotation: Rotation): void {
    const now = secondsNow();
    const reconciler = this.#reconciler;
    if (!reconciler) return;
    rotation.look(
      this.#encrypted.map((peer) => {
        const { lanes, used } = reconciler.lanesTo(peer);
        return {
          node: peer.node,
          knows: peer.wireguard?.slot !== undefined,
          at: peer.underlayIp,
          lanes: lanes.map((one) => ({ ...one, error: reconciler.errorOfLane(one.lane) })),
          used,
        };
      }),
      now,
    );
    if (rotation.isOver(now)) return void this.finishRotation();
    if (!rotation.standsStill(now) || this.#warned) return;
    this.#warned = true;
    const { warn, log } = this.#options;
    const nodes = rotation.awaited.map(({ node, why }) => `${node}: ${why}`);
    log.warn("the change of this node's key stands still", { nodes });
    warn("KeyRotationStandsStill", `this node cannot forget its old key of WireGuard: ${some(nodes)}`);
  }

  /** By age; a node that knows one key alone would lose packets, and has some time to be updated. */
  #isDue({ made, key }: Keys): boolean {
    const { keyDays } = this.#options;
    const ageMs = Date.now() - made;
    if (keyDays === 0 || !isOld(ageMs, keyDays, key.publicKey)) return false;
    return isOverdue(ageMs, keyDays) || this.#encrypted.every(({ wireguard }) => wireguard?.slot !== undefined);
  }

  get #encrypted(): Peer[] {
    return [...this.#peers.values()].filter(({ wireguard }) => wireguard !== undefined);
  }

  /** Why this node cannot encrypt. */
  get #error(): string | undefined {
    const local = this.#local;
    if (!local) return "this node's part of the network is not known yet";
    if (local.publicIp !== undefined)
      return `the other nodes reach this one at ${local.publicIp}, which is none of its own addresses (1:1 NAT): a packet in the tunnel is addressed to it, and nobody translates that inside of WireGuard`;
    if (this.#keyError !== undefined) return this.#keyError;
    const { error, begun = false } = this.#reconciler ?? {};
    return error ?? (begun ? undefined : "not begun yet");
  }

  async #start(): Promise<void> {
    const local = this.#local;
    if (!local || this.#reconciler) return;
    const { dataDir, wireguardPort, log, watch, onRepair } = this.#options;
    this.#take(loadKeys(dataDir));
    this.#keyError = undefined;
    const reconciler = new EncryptionReconciler({
      local,
      keys: this.#keys as Keys,
      port: wireguardPort,
      logger: log,
      watch,
      onRepair: (kind, count) => onRepair(`encryption-${kind}`, count),
      onPass: () => this.#tell(),
      onError: () => this.#tell(),
      onLook: () => this.#onLook(),
    });
    reconciler.setPeers(this.#peers.values());
    this.#reconciler = reconciler;
    try {
      await reconciler.start();
    } catch (error) {
      this.#reconciler = undefined;
      await reconciler.stop();
      throw error;
    }
  }

  #tell(): void {
    const now = JSON.stringify([this.identity, this.verdict]);
    if (now === this.#announced) return;
    this.#announced = now;
    this.#options.onState();
  }

  #setFilter(): void {
    const { mode, vxlanPort } = this.#options;
    const reconciler = this.#reconciler;
    const peers = [...this.#peers.values()];
    const agreed = (peer: Peer): boolean => reconciler?.hasAgreed(peer) ?? false;
    const ports = peers.flatMap(({ port }) => port ?? []);
    const keyed = mode === "strict" ? [] : peers.filter(agreed).map(({ underlayIp }) => underlayIp);
    this.#filter.set({ mode, port: vxlanPort, peerPorts: ports, keyed });
  }
}

/** As many nodes as an Event can name. */
const NAMED = 3;

const some = (words: readonly string[]): string =>
  `${words.slice(0, NAMED).join("; ")}${words.length > NAMED ? `; and ${words.length - NAMED} others` : ""}`;

const DAY_MS = 86_400_000;
/** Nodes that were made at the same time do not change their keys at the same time. */
const SPREAD = 0.1;

/** Whether a key is too old. @param publicKey by which nodes differ: up to a tenth earlier */
export function isOld(ageMs: number, days: number, publicKey: string): boolean {
  const spread = Buffer.from(publicKey, "base64").readUInt32LE(0) / 0x1_0000_0000;
  return ageMs >= days * DAY_MS * (1 - SPREAD * spread);
}

/** Whether nobody is waited for any more. */
const isOverdue = (ageMs: number, days: number): boolean => ageMs >= days * DAY_MS * (1 + SPREAD);
