/**
 * Host ports in the hands of the agent: the table is put in place with what the records say and is kept so. Any transaction of somebody else's
 * that touches it is answered by putting it in place whole; a pod's own ports come and go as elements.
 */
import { socketAddress } from "../../addr/index.ts";
import { type MonitorListener, type NetlinkEvent } from "../../netlink/index.ts";
import type { Logger } from "../../log/index.ts";
import { Task } from "../../reconcile/index.ts";
import { ElementSocket, ElementsRefused, KeptTable, NftError, type RunTool } from "../nft/index.ts";
import { HostPortsNotReady, HostPortsUnsupported } from "./errors.ts";
import { allowLoopback, type HostPortRequest, HostPorts, loopbackEnds } from "./host-ports.ts";
import { hostPortText, type PortMapping } from "./mapping.ts";
import { missingElements, type PortTable, putElements, takeElements } from "./port-table.ts";
import { type HostPortRecord, HostPortRecords, type Mapped, type PortOwner } from "./records.ts";
import { HOST_PORT_TABLE, renderHostPorts } from "./table.ts";

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
  readonly #records: HostPortRecords;
  readonly #ports: HostPorts;
  readonly #table: KeptTable;
  readonly #loopback: Task;
  #socket: ElementSocket | undefined;
  /** Names of the records that the table was put in place with, or that came and went since then. */
  #names = "";
  /** Those that it was rendered with last. */
  #rendered = "";
  #wanted: boolean;
  /** The kernel, or nft, cannot do it. */
  #unsupported = false;
  /** The table is in place, as was told last. */
  #told = false;

  constructor(options: HostPortKeeperOptions) {
    const { dataDir, own, unlink, isAttached, log, run, onRepair } = options;
    this.#options = options;
    this.#records = new HostPortRecords(dataDir, unlink);
    const table: PortTable = {
      put: (record) => this.#put(record),
      missing: (record) => missingElements(this.#elements, record),
      take: (records, others) => this.#take(records, others),
    };
    this.#wanted = own || this.#records.names().length > 0;
    this.#ports = new HostPorts({ records: this.#records, table, isAttached });
    this.#table = new KeptTable({
      table: HOST_PORT_TABLE,
      log,
      run,
      render: () => this.#render(),
      // The plugin may have changed it, for a pod: then its records say so.
      isDrift: () => this.#names === this.#records.names().join(),
      onPut: () => this.#isPut(),
      onFailed: (error) => this.#failed(error),
      onRepair,
    });
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
    if (this.#table.inPlace) return { ok: true, message: "in place" };
    const message = this.#table.error ?? "not put in place yet";
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
    const { inPlace, error } = this.#table;
    return { inPlace, ...(error !== undefined && { error }), ports };
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
    await Promise.all([this.#table.stop(), this.#loopback.stop()]);
    this.#socket?.close();
    this.#socket = undefined;
  }

  get #elements(): ElementSocket {
    return (this.#socket ??= ElementSocket.open(undefined));
  }

  async #put(record: Mapped): Promise<void> {
    if (this.#table.inPlace && !this.#table.running) {
      try {
        putElements(this.#elements, record);
        this.#changed();
        return;
      } catch (error) {
        if (!(error instanceof ElementsRefused)) throw error;
        // Somebody has just taken the table away; the news of it is on its way.
      }
    }
    this.#wanted = true;
    await this.#table.putNow();
    if (this.#table.inPlace) return;
    const why = this.#table.error ?? "it is being put in place";
    if (this.#unsupported) throw new HostPortsUnsupported(`this node cannot map host ports: ${why}`);
    throw new HostPortsNotReady(`the table of host ports is not in place: ${why}`);
  }

  async #take(records: readonly Mapped[], others: readonly Mapped[]): Promise<void> {
    takeElements(this.#elements, records, others);
    this.#changed();
    // What is on its way there may have been made before the records went.
    if (this.#table.running) await this.#table.putNow();
  }

  /** The table has what the records say. */
  #changed(): void {
    this.#names = this.#records.names().join();
  }

  #render(): string | undefined {
    if (!this.#wanted) return undefined;
    this.#rendered = this.#records.names().join();
    return renderHostPorts(this.#records.list().filter(this.#options.isAttached));
  }

  #isPut(): void {
    this.#names = this.#rendered;
    this.#unsupported = false;
    if (!this.#told) this.#options.onState();
    this.#told = true;
  }

  #failed(error: unknown): void {
    this.#unsupported = error instanceof NftError && error.reason === "refused";
    this.#told = false;
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
