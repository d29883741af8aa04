/**
 * What egress gateways come to in the namespace of a pod network: its table is put in place with what is wanted, and kept so, and connections that
 * were begun on another way are ended.
 */
import { cidrContains } from "../../addr/index.ts";
import type { Logger } from "../../log/index.ts";
import type { Task } from "../../reconcile/index.ts";
import type { Connection } from "../conntrack/index.ts";
import { KeptTable, type RunTool } from "../nft/index.ts";
import { astrayConnections } from "./astray.ts";
import { type NetworkEgressWanted, renderNetworkEgress } from "./network-table.ts";
import { EGRESS_TABLE } from "./table.ts";

export interface NetworkEgressOptions {
  /** Descriptor of the network's namespace. */
  netns: number;
  log: Logger;
  /** Something that somebody had changed is as it was. */
  onRepair: () => void;
  /** Runs nft. */
  run?: RunTool;
}

/** See the header. */
export class NetworkEgress {
  readonly #table: KeptTable;
  readonly #connections: Task;
  #wanted: NetworkEgressWanted = { ways: [], inside: [] };
  /** "" for none; undefined before anything was wanted. */
  #text: string | undefined;
  /** All that packets of the network have left with. */
  #transits: ReadonlySet<string> = new Set();

  constructor(options: NetworkEgressOptions) {
    const { netns, log, run, onRepair } = options;
    this.#table = new KeptTable({
      table: EGRESS_TABLE,
      netns,
      log,
      run,
      render: () => this.#text || undefined,
      onPut: (repaired) => {
        if (!repaired) this.#connections.want();
      },
      onRepair,
    });
    this.#connections = astrayConnections(log, () => this.#astray(), netns);
  }

  /** Sets what should be; until the first call nothing is touched. @throws RangeError when a value is no address or prefix */
  set(wanted: NetworkEgressWanted): void {
    const text = wanted.ways.length === 0 ? "" : renderNetworkEgress(wanted);
    this.#wanted = wanted;
    this.#transits = this.#transits.union(new Set(wanted.ways.flatMap(({ transit }) => transit ?? [])));
    if (text === this.#text) return;
    this.#text = text;
    this.#table.want();
    if (text === "" && this.#transits.size > 0) this.#connections.want();
  }

  /** Why the table is not in place; undefined where it is, or there is to be none. */
  get fault(): string | undefined {
    return this.#table.inPlace || this.#text === "" || this.#text === undefined
      ? undefined
      : (this.#table.error ?? "being put in place");
  }

  /** Resolves when the table is as it has to be, or could not be put in place. @returns why not, undefined where it is */
  async put(): Promise<string | undefined> {
    await this.#table.settled();
    return this.fault;
  }

  /** Stops, and leaves the kernel as it is. */
  async stop(): Promise<void> {
    await Promise.all([this.#table.stop(), this.#connections.stop()]);
  }

  #astray(): (connection: Connection) => boolean {
    const { ways, inside } = this.#wanted;
    const byPod = new Map(ways.flatMap((way) => way.pods.map((pod) => [pod, way] as const)));
    const covers = (cidrs: readonly string[], ip: string): boolean => cidrs.some((cidr) => cidrContains(cidr, ip));
    return ({ original, reply }) => {
      // What stays in the network is translated by nobody.
      if (reply.destination === original.source) return false;
      const way = byPod.get(original.source);
      const led = way && !covers(inside, original.destination) && (!way.to || covers(way.to, original.destination));
      return led ? reply.destination !== way.transit : this.#transits.has(reply.destination);
    };
  }
}
