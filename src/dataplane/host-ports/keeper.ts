/**
 * Host ports in the hands of the agent: the table is put in place with what the records say and is kept so. Any transaction of somebody else's
 * that touches it is answered by putting it in place whole; a pod's own ports come and go as elements.
 */
import { socketAddress } from "../../addr/index.ts";
import { type MonitorListener, type NetlinkEvent } from "../../netlink/index.ts";
import type { Logger } from "../../log/index.ts";
import { LONGEST_REST_MS, RepairRest, Task } from "../../reconcile/index.ts";
import {
  applyRuleset,
  ElementSocket,
  ElementsRefused,
  NftError,
  NftWatch,
  WatchedTable,
  removeTables,
  type RunTool,
  toolRunner,
} from "../nft/index.ts";
import { HostPortsNotReady, HostPortsUnsupported } from "./errors.ts";
import { allowLoopback, type HostPortRequest, HostPorts, loopbackEnds } from "./host-ports.ts";
import { hostPortText, type PortMapping } from "./mapping.ts";
import { missingElements, type PortTable, putElements, takeElements } from "./port-table.ts";
import { type HostPortRecord, HostPortRecords, type Mapped, type PortOwner } from "./records.ts";
import { HOST_PORT_TABLE, renderHostPorts } from "./table.ts";

const OWN_TABLE = `inet ${HOST_PORT_TABLE}`;
const OWN_NETNS = "/proc/thread-self/ns/net";
const RETRY = { baseMs: 100, maxMs: 10_000 } as const;
/** A burst of changed kernel parameters is one look, this long after its first, in milliseconds. */
const SETTLE_MS = 20;

export interface HostPortKeeperOptions {
  dataDir: string;
  /** New pods may come with host ports. */
  own: boolean;
  log: Logger;
  isAttached: (record: HostPortRecord) => boolean;
  /** Removes a record's name; unlink(2) by default. */
  unlink?: (path: string) => void;
  /** Something that somebody had changed is as it was. */
  onRepair: () => void;
  /** Whether the table is in place has changed. */
  onState: () => void;
  /** Runs nft. */
  run?: RunTool;
}

/** A mapped port, for people and programs. */
export interface MappedHostPort {
  /** "8080/tcp". */
  port: string;
  /** "10.244.1.5:80", one for each of its addresses. */
  to: string[];
  /** NAMESPACE/NAME, where the runtime says it. */
  pod?: string;
  container: string;
}

/** How host ports stand. */
export interface HostPortsStatus {
  inPlace: boolean;
  /** Why not. */
  error?: string;
  ports: MappedHostPort[];
}

/** See the header. */
export class HostPortKeeper implements MonitorListener {
  readonly #options: HostPortKeeperOptions;
  readonly #run: RunTool;
  readonly #records: HostPortRecords;
  readonly #ports: HostPorts;
  readonly #table: Task;
  readonly #loopback: Task;
  #watch: NftWatch | undefined;
  #socket: ElementSocket | undefined;
  readonly #watched = new WatchedTable(undefined, OWN_TABLE);
  /** Names of the records that the table was put in place with, or that came and went since then. */
  #names = "";
  #drifted = false;
  #wanted: boolean;
  #inPlace = false;
  #error: string | undefined;
  /** The kernel, or nft, cannot do it. */
  #unsupported = false;
  readonly #rest = new RepairRest();

  constructor(options: HostPortKeeperOptions) {
    const { dataDir, own, unlink, isAttached, log, run } = options;
    this.#options = options;
    this.#run = run ?? toolRunner();
    this.#records = new HostPortRecords(dataDir, unlink);
    const table: PortTable = {
      put: (record) => this.#put(record),
      missing: (record) => missingElements(this.#elements, record),
      take: (records, others) => this.#take(records, others),
    };
    this.#wanted = own || this.#records.names().length > 0;
    this.#ports = new HostPorts({ records: this.#records, table, isAttached });
    this.#table = new Task(
      () => this.#apply(),
      RETRY,
      (error) => this.#failed(error),
    );
    this.#loopback = new Task(
      () => this.#keepLoopback(),
      RETRY,
      (error, attempt) => {
        if (attempt === 1) log.error("host ports cannot be reached by way of 127.0.0.1; it is tried again", { error });
      },
    );
  }

  /** Puts the table in place and keeps it, where pods come with host ports or have some; else takes away what an agent before this one has left. */
  start(): void {
    this.#table.want();
    this.#loopback.want();
  }

  /** Maps a pod's ports. @throws HostPortTaken, HostPortsNotReady, HostPortsUnsupported; Error of the system */
  map(record: HostPortRequest): Promise<void> {
    return this.#ports.map(record);
  }

  /** Maps nothing to an attachment any more. @throws Error of the system, ElementsRefused */
  unmap(owner: PortOwner): Promise<void> {
    return this.#ports.unmap(owner);
  }

  /** See {@link HostPorts.differences}. @throws Error of the system, ElementsRefused */
  differences(owner: PortOwner, asked: readonly PortMapping[]): string[] {
    return this.#ports.differences(owner, asked);
  }

  /** Lets go of ports whose attachments are gone. @throws Error of the system, ElementsRefused */
  collect(): Promise<void> {
    return this.#ports.collect();
  }

  /** @throws HostPortsNotReady while a pod with host ports could not start */
  require(): void {
    const { ok, message } = this.verdict;
    if (!ok) throw new HostPortsNotReady(`the table of host ports is not in place: ${message}`);
  }

  /** For readiness: whether a pod with host ports could start, or never will on this node. */
  get verdict(): { ok: boolean; message: string } {
    if (!this.#wanted) return { ok: true, message: "the plugin portmap has them" };
    if (this.#inPlace) return { ok: true, message: "in place" };
    const message = this.#error ?? "not put in place yet";
    return {
      ok: this.#unsupported,
      message: this.#unsupported ? `pods with host ports are refused: ${message}` : message,
    };
  }

  /** @throws Error of the system when the records cannot be read */
  status(): HostPortsStatus {
    const ports = this.#records.list().flatMap(({ owner, pod, ips, ports: mapped }) =>
      mapped.map(
        (mapping): MappedHostPort => ({
          port: hostPortText(mapping),
          to: ips
            .filter((ip) => mapping.hostIp === "" || ip.includes(":") === mapping.hostIp.includes(":"))
            .map((ip) => socketAddress({ ip, port: mapping.containerPort })),
          ...(pod !== undefined && { pod }),
          container: owner.containerId,
        }),
      ),
    );
    return { inPlace: this.#inPlace, ...(this.#error !== undefined && { error: this.#error }), ports };
  }

  /** Kernel parameters may have changed. */
  onEvents(events: readonly NetlinkEvent[]): void {
    if (events.some(({ kind }) => kind === "netconf")) this.onResync();
  }

  onResync(): void {
    this.#loopback.want(SETTLE_MS);
  }

  /** Stops, and leaves the table as it is. */
  async stop(): Promise<void> {
    await Promise.all([this.#table.stop(), this.#loopback.stop(), this.#watch?.close()]);
    this.#socket?.close();
    this.#socket = undefined;
  }

  get #elements(): ElementSocket {
    return (this.#socket ??= ElementSocket.open(undefined));
  }

  async #put(record: Mapped): Promise<void> {
    if (this.#inPlace && !this.#table.running) {
      try {
        this.#made(putElements(this.#elements, record));
        return;
      } catch (error) {
        if (!(error instanceof ElementsRefused)) throw error;
        // Somebody has just taken the table away; the news of it is on its way.
      }
    }
    this.#wanted = true;
    await this.#whole();
    if (this.#inPlace) return;
    const why = this.#error ?? "it is being put in place";
    if (this.#unsupported) throw new HostPortsUnsupported(`this node cannot map host ports: ${why}`);
    throw new HostPortsNotReady(`the table of host ports is not in place: ${why}`);
  }

  async #take(records: readonly Mapped[], others: readonly Mapped[]): Promise<void> {
    for (const generation of takeElements(this.#elements, records, others)) this.#made(generation);
    // What is on its way there may have been made before the records went.
    if (this.#table.running) await this.#whole();
  }

  #made(generation: number | undefined): void {
    this.#watched.made(generation);
    this.#names = this.#records.names().join();
  }

  /** Puts the table in place once more, and waits for that. */
  async #whole(): Promise<void> {
    this.#table.wantAtOnce();
    await this.#table.settled();
  }

  async #apply(): Promise<void> {
    const { log, isAttached } = this.#options;
    if (!this.#wanted) {
      await removeTables(this.#run, [OWN_TABLE]);
      return;
    }
    this.#watch ??= NftWatch.open({
      // By name it costs no thread of the pool.
      netns: OWN_NETNS,
      onTransactions: (transactions) => {
        this.#watched.notice(transactions);
        if (!this.#table.running) this.#judge();
      },
      onLost: (reason) => {
        log.debug("notifications of the packet filter were lost", { reason });
        this.#table.want(LONGEST_REST_MS);
      },
    });
    const drifted = this.#drifted;
    this.#drifted = false;
    const names = this.#records.names().join();
    const records = this.#records.list().filter(isAttached);
    try {
      const own = await this.#watched.making(() => applyRuleset(this.#run, renderHostPorts(records)));
      this.#names = names;
      if (own === undefined) this.#table.want(LONGEST_REST_MS);
    } catch (error) {
      this.#drifted ||= drifted;
      throw error;
    }
    const before = this.#inPlace;
    this.#inPlace = true;
    this.#error = undefined;
    this.#unsupported = false;
    if (!before) this.#options.onState();
    if (drifted) this.#repaired();
    this.#judge();
  }

  /** Whether anybody else has touched the table: the plugin for a pod, as its records say, or somebody who has no business there. */
  #judge(): void {
    if (!this.#watched.touchedByOthers()) return;
    this.#drifted = this.#names === this.#records.names().join();
    this.#table.want(this.#rest.ms);
  }

  #repaired(): void {
    this.#rest.repaired();
    this.#options.log.warn(`table ${OWN_TABLE} was changed by somebody else and is put back`);
    this.#options.onRepair();
  }

  #failed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (message !== this.#error)
      this.#options.log.error(`table ${OWN_TABLE} cannot be put in place; it is tried again`, { error });
    this.#error = message;
    this.#unsupported = error instanceof NftError && error.reason === "refused";
    this.#inPlace = false;
    this.#options.onState();
  }

  #keepLoopback(): void {
    const { isAttached } = this.#options;
    for (const hostEnd of loopbackEnds(this.#records.list().filter(isAttached)))
      if (allowLoopback(hostEnd)) {
        this.#options.log.warn("restored a kernel parameter of a pod's link (changed externally)", {
          change: `net.ipv4.conf.${hostEnd}.route_localnet = 1`,
        });
        this.#options.onRepair();
      }
  }
}
