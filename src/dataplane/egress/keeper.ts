/**
 * Egress gateways on this node: the table, the routes and their rules, and the addresses are put in place with what is wanted, and kept so. Any
 * transaction of somebody else's that touches the table is answered by putting it in place whole.
 *
 * An address comes when the table knows it, and the table knows it until it has gone: without the table the node itself would answer what
 * belongs to connections of pods, with a reset.
 */
import { cidrContains } from "../../addr/index.ts";
import { type Listening, type MonitorListener, Rtnl } from "../../netlink/index.ts";
import type { Logger } from "../../log/index.ts";
import { Task } from "../../reconcile/index.ts";
import { sendFrame } from "../../sys/index.ts";
import type { Connection } from "../conntrack/index.ts";
import { KeptTable, type RunTool } from "../nft/index.ts";
import { astrayConnections } from "./astray.ts";
import { announcementOf } from "./announcement.ts";
import { egressEntries } from "./entries.ts";
import { heldAddresses, holdAddresses } from "./records.ts";
import { type EgressFault, EgressReconciler } from "./reconciler.ts";
import { EGRESS_TABLE, renderEgress } from "./table.ts";
import {
  type EgressWanted,
  gatewayNodes,
  GatewayNumbers,
  isNothing,
  NO_EGRESS,
  type NumberedGateway,
  numberedGateways,
} from "./wanted.ts";

const RETRY = { baseMs: 100, maxMs: 10_000 } as const;
/** An address is announced so often, and so long apart, in milliseconds (RFC 5227, section 3: ANNOUNCE_NUM, ANNOUNCE_INTERVAL). */
const ANNOUNCE = { times: 3, everyMs: 1_000 } as const;

export interface EgressKeeperOptions {
  dataDir: string;
  log: Logger;
  watch: (listener: MonitorListener) => Listening;
  /** Things that somebody had changed are as they were. */
  onRepair: (count: number) => void;
  /** Runs nft. */
  run?: RunTool;
}

/** See the header. */
export class EgressKeeper {
  readonly #options: EgressKeeperOptions;
  readonly #reconciler: EgressReconciler;
  readonly #table: KeptTable;
  readonly #connections: Task;
  readonly #forgetting: Task;
  readonly #numbers = new GatewayNumbers();
  readonly #announcing = new Map<string, NodeJS.Timeout>();
  /** Addresses that we have put on a device, as the disk has them. */
  #held: Set<string>;
  /** Those of them that the table knows. */
  #guarded: ReadonlySet<string>;
  /** Those that it was rendered with last. */
  #rendered: ReadonlySet<string> = new Set();
  #wanted: EgressWanted | undefined;
  #gateways: readonly NumberedGateway[] = [];
  /** The table's text, "" for none; undefined before anything was wanted. */
  #text: string | undefined;
  #starting: Promise<void> | undefined;

  constructor(options: EgressKeeperOptions) {
    const { dataDir, log, watch, run, onRepair } = options;
    this.#options = options;
    this.#held = heldAddresses(dataDir);
    // What an agent before this one has put on a device stays there.
    this.#guarded = new Set(this.#held);
    this.#reconciler = new EgressReconciler({
      logger: log,
      watch,
      isOurs: (ip) => this.#held.has(ip),
      onAddress: (ip, ifindex) => this.#announce(ip, ifindex, ANNOUNCE.times),
      onRepair: (_kind, count) => onRepair(count),
    });
    this.#table = new KeptTable({
      table: EGRESS_TABLE,
      log,
      run,
      render: () => {
        this.#rendered = new Set(this.#held);
        return this.#text || undefined;
      },
      onPut: (repaired) => {
        if (!repaired) this.#connections.want();
        this.#guarded = this.#rendered;
        this.#setEntries();
      },
      onRepair: () => onRepair(1),
    });
    this.#forgetting = this.#makeForgetting();
    this.#connections = astrayConnections(log, () => this.#astray());
  }

  #makeForgetting(): Task {
    return new Task(
      async () => {
        await this.#reconciler.settled();
        if (this.#forgetAddresses() && this.#wanted) this.set(this.#wanted);
        const { addresses } = this.#wanted ?? NO_EGRESS;
        const left = [...this.#held].filter((ip) => !addresses.includes(ip));
        if (left.length > 0) throw new Error(`still on a device: ${left.join(", ")}`);
      },
      RETRY,
      (error, attempt) => {
        // The first comes before the kernel has been told of anything.
        if (attempt === 3)
          this.#options.log.warn(
            "egress addresses that are not this node's any more cannot be taken away; looking again",
            {
              error,
            },
          );
      },
    );
  }

  /** Sets what should be; until the first call nothing is touched. @throws Error of fs when addresses cannot be written down */
  set(wanted: EgressWanted): void {
    this.#wanted = wanted;
    // Before one is put anywhere; one that goes is ours until it has gone.
    this.#held = this.#held.union(new Set(wanted.addresses));
    holdAddresses(this.#options.dataDir, this.#held);
    const numbers = this.#numbers.of(gatewayNodes(wanted).keys());
    const nothing = isNothing(wanted) && this.#held.size === 0;
    const text = nothing ? "" : renderEgress({ ...wanted, addresses: [...this.#held].sort() }, numbers);
    if (nothing) this.#guarded = new Set();
    this.#gateways = numberedGateways(wanted, numbers);
    this.#setEntries();
    this.#starting ??= this.#reconciler.start().catch((error: unknown) => {
      this.#options.log.error("changes of routes and addresses of egress gateways cannot be heard of", { error });
    });
    if (this.#held.size > wanted.addresses.length) this.#forgetting.want();
    if (text === this.#text) return;
    this.#text = text;
    this.#table.want();
  }

  #setEntries(): void {
    const { addresses, uplink, device } = this.#wanted ?? NO_EGRESS;
    const guarded = addresses.filter((ip) => this.#guarded.has(ip));
    this.#reconciler.set(egressEntries(this.#gateways, guarded, uplink), device);
  }

  /** How it stands: what is not in place, and why. */
  get faults(): EgressFault[] {
    const table =
      this.#table.inPlace || this.#text === ""
        ? []
        : [{ entry: "table", why: this.#table.error ?? "being put in place" }];
    return this.#wanted ? [...table, ...this.#reconciler.faults] : [];
  }

  /** Whether the kernel has the table; before anything was wanted: whether an agent before this one left it there. */
  get standing(): boolean {
    return this.#text === undefined ? this.#table.isThere() === true : this.#table.inPlace;
  }

  /** Resolves when the table is as it has to be, or could not be put in place. @returns why not, undefined where it is */
  async put(): Promise<string | undefined> {
    await this.#table.settled();
    return this.#table.inPlace || this.#text === "" ? undefined : (this.#table.error ?? "the table is not in place");
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await Promise.all([this.#table.settled(), this.#connections.settled(), this.#forgetting.settled()]);
    await this.#reconciler.settled();
  }

  /** Stops, and leaves the kernel as it is. */
  async stop(): Promise<void> {
    for (const timer of this.#announcing.values()) clearTimeout(timer);
    await Promise.all([this.#table.stop(), this.#connections.stop(), this.#forgetting.stop()]);
    await this.#starting;
    await this.#reconciler.stop();
  }

  /** Those that have gone from all devices are ours no longer. @returns whether there were any */
  #forgetAddresses(): boolean {
    const { addresses } = this.#wanted ?? NO_EGRESS;
    const before = this.#held;
    if ([...before].every((ip) => addresses.includes(ip))) return false;
    using rtnl = Rtnl.open();
    const there = new Set(rtnl.addresses().map(({ ip }) => ip));
    this.#held = new Set([...before].filter((ip) => addresses.includes(ip) || there.has(ip)));
    holdAddresses(this.#options.dataDir, this.#held);
    return this.#held.size < before.size;
  }

  /** Tells connections of pods here that were begun on another way. */
  #astray(): ((connection: Connection) => boolean) | undefined {
    const { ways, inside } = this.#wanted ?? NO_EGRESS;
    // What is not translated here is the pod's own in the kernel's table, too.
    const expected = new Map(
      ways.flatMap(({ pods, by, address }) =>
        pods.map((pod) => [pod, (by === "here" ? address : undefined) ?? pod] as const),
      ),
    );
    if (expected.size === 0) return undefined;
    return ({ original, reply }) => {
      const address = expected.get(original.source);
      const translated = reply.destination !== original.source;
      if (address === undefined || !translated || reply.destination === address) return false;
      return !inside.some((cidr) => cidrContains(cidr, original.destination));
    };
  }

  #announce(ip: string, ifindex: number, left: number): void {
    clearTimeout(this.#announcing.get(ip));
    this.#announcing.delete(ip);
    if (!this.#wanted?.addresses.includes(ip)) return;
    try {
      using rtnl = Rtnl.open();
      const mac = rtnl.link(ifindex)?.mac;
      if (mac !== undefined) sendFrame(ifindex, announcementOf(ip, mac));
    } catch (error) {
      this.#options.log.warn("an egress address cannot be announced to the nodes' network", { ip, error });
    }
    if (left > 1)
      this.#announcing.set(
        ip,
        setTimeout(() => this.#announce(ip, ifindex, left - 1), ANNOUNCE.everyMs),
      );
  }
}
