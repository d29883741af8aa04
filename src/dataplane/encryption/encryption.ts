/**
 * Encryption between nodes as the agent has it: the node's key, the reconciler of what the kernel needs, and the packet filter that lets nothing by
 * it. It is told what the default network is told, since every node takes part in that one, and every network's tunnel goes between the same
 * addresses.
 */
import type { Logger } from "../../log/index.ts";
import { errorText } from "../../log/index.ts";
import type { MonitorListener } from "../../netlink/index.ts";
import type { Encryption as Mode, LocalNetwork, Peer, WireguardIdentity } from "../../peers/index.ts";
import { Task } from "../../reconcile/index.ts";
import { DEVICE } from "./device.ts";
import { EncryptionFilter } from "./filter.ts";
import { keepKey, loadKey, NodeKey, writeKey } from "./key.ts";
import { EncryptionReconciler } from "./reconciler.ts";
import { type EncryptionStatus, statusOfPeer } from "./status.ts";

const RETRY = { baseMs: 500, maxMs: 10_000 } as const;

export interface EncryptionOptions {
  mode: Mode;
  dataDir: string;
  /** UDP ports of WireGuard and of VXLAN. */
  wireguardPort: number;
  vxlanPort: number;
  log: Logger;
  watch: (listener: MonitorListener) => { close(): Promise<void> };
  onRepair: (kind: string, count: number) => void;
  /** What the other nodes are to know, or whether this node is ready, may have changed. */
  onState: () => void;
}

/** See the header. */
export class Encryption {
  readonly #options: EncryptionOptions;
  readonly #filter: EncryptionFilter;
  readonly #begin: Task;
  #key: NodeKey | undefined;
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
    if (!this.#key || this.#error !== undefined) return undefined;
    return { key: this.#key.publicKey, port: this.#options.wireguardPort };
  }

  /** For readiness. */
  get verdict(): { ok: boolean; message: string } {
    const error = this.#error ?? this.#filter.error;
    return error === undefined ? { ok: true, message: `by ${DEVICE}` } : { ok: false, message: error };
  }

  status(): EncryptionStatus {
    const { mode, wireguardPort } = this.#options;
    const reconciler = this.#reconciler;
    const inputs = {
      mode,
      ownKey: this.#key?.publicKey,
      error: this.#error,
      refused: (keys: readonly string[]) => reconciler?.errorOf(keys),
      state: (key: string) => reconciler?.states.get(key),
      now: Date.now() / 1000,
    };
    const peers = [...this.#peers.values()].map((peer) => statusOfPeer(peer, inputs));
    const encrypted = peers.filter(({ state }) => state === "encrypted").length;
    const { ok, message } = this.verdict;
    return {
      mode,
      ready: ok,
      message: ok ? `${encrypted} of ${peers.length} nodes` : message,
      device: DEVICE,
      ...(this.#key && { publicKey: this.#key.publicKey }),
      port: wireguardPort,
      peers: peers.sort((a, b) => (a.node < b.node ? -1 : 1)),
      repairs: [...(reconciler?.repaired.values() ?? [])].reduce((sum, count) => sum + count, 0),
    };
  }

  /**
   * Gives this node another key, at once: the one before is worth nothing from then on. The other nodes take it as they hear of it.
   * @returns its public half. @throws Error where this node does not encrypt, and of the system when the key cannot be written; then all stays as it was
   */
  newKey(): string {
    if (!this.#reconciler || this.#error !== undefined)
      throw new Error(`this node does not encrypt: ${this.#error ?? "not begun yet"}`);
    const key = NodeKey.make();
    writeKey(this.#options.dataDir, key);
    this.#key = key;
    this.#reconciler.setKey(key);
    this.#options.log.info("this node has a new key", { publicKey: key.publicKey });
    this.#tell();
    return key.publicKey;
  }

  /** Sees that the key's file is as it was written. @returns whether it was not. @throws Error of the system */
  keepKey(): boolean {
    return this.#key !== undefined && keepKey(this.#options.dataDir, this.#key);
  }

  /** Stops, and leaves everything as it is. */
  async stop(): Promise<void> {
    await this.#begin.stop();
    await Promise.all([this.#reconciler?.stop(), this.#filter.stop()]);
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
    this.#key = loadKey(dataDir);
    this.#keyError = undefined;
    const reconciler = new EncryptionReconciler({
      local,
      key: this.#key,
      port: wireguardPort,
      logger: log,
      watch,
      onRepair: (kind, count) => onRepair(`encryption-${kind}`, count),
      onPass: () => this.#tell(),
      onError: () => this.#tell(),
      onLook: () => this.#setFilter(),
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
    const states = this.#reconciler?.states;
    const peers = [...this.#peers.values()];
    const agreed = ({ wireguard }: Peer): boolean =>
      wireguard !== undefined && states?.get(wireguard.key)?.lastHandshake !== undefined;
    const ports = peers.flatMap(({ port }) => port ?? []);
    const keyed = mode === "strict" ? [] : peers.filter(agreed).map(({ underlayIp }) => underlayIp);
    this.#filter.set({ mode, port: vxlanPort, peerPorts: ports, keyed });
  }
}
