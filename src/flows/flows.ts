/**
 * Flows on this node: events of connection tracking into the table, at a rate that is bounded, of the default network from the host's namespace and of pod
 * networks that follow connections from their own. Where more come, the kernel is told to hand over one of two connections, one of four and so on, and
 * fewer again when there is room, in all namespaces alike; each flow says how many it stands for.
 */
import { type ConnectionEvent, ConnectionEvents, isChosen } from "../dataplane/conntrack/index.ts";
import type { Logger } from "../log/index.ts";
import { Task } from "../reconcile/index.ts";
import type { RememberedWord } from "../sys/index.ts";
import { accountIn, keepAccounting, restoreAccounting } from "./accounting.ts";
import type { FlowFilter } from "./filter.ts";
import { type DeniedPacket, type FlowAnswer, type FlowPlace, FlowTable, type FlowTableOptions } from "./flow-table.ts";

/** How often the rate is looked at, and the kernel parameters, in milliseconds. */
const LOOK_MS = 700;
/** Events that are read between two looks. */
const BUDGET = 350;
/** After so many looks with little to read the share is doubled. */
const QUIET_LOOKS = 5;
/** One of 65,536 connections is the least. */
const MOST_BITS = 16;
/** Readers that wait for something new at a time, and how long one waits, in milliseconds. */
const MOST_WAITING = 8;
const WAIT_MS = 10_000;

export interface FlowsStatus {
  on: boolean;
  /** Why not. */
  error?: string;
  /** Flows that are remembered. */
  flows: number;
  /** One in so many connections is read now. */
  sampled: number;
  /** How many events, about, were not told of, by reason. */
  leftOut: Record<LeftOut, number>;
}

/** Not read as there were too many; dropped by the kernel, which had no room; gone from the table before their end. */
type LeftOut = "sampled" | "dropped" | "table";

export interface FlowsOptions extends Pick<FlowTableOptions, "network" | "whoHas" | "serviceAt" | "passesBy" | "node"> {
  log: Logger;
  tunnelPort: number;
  /** Which kernel parameters were set. */
  before: RememberedWord;
  onRepair: (count: number, network: string) => void;
}

/** A pod network with a namespace of its own. */
export interface FlowNetwork extends FlowPlace {
  /** Descriptor of that namespace, open until {@link FlowsOfNetwork.close} has resolved. */
  netns: number;
}

/** Flows of a pod network, as long as this node takes part in it. */
export interface FlowsOfNetwork {
  close(): Promise<void>;
}

interface Listening {
  place: FlowPlace & { netns?: number };
  events?: ConnectionEvents;
  /** The kernel counts there as it is to. */
  accounted?: true;
}

/** From {@link start} to {@link stop}. */
export class Flows {
  readonly table: FlowTable;
  readonly #options: FlowsOptions;
  readonly #opening: Task;
  readonly #default: Listening;
  /** The default network first. */
  readonly #networks = new Set<Listening>();
  #started = false;
  #error: string | undefined;
  #bits = 0;
  #read = 0;
  #quiet = 0;
  #sampledOut = 0;
  /** Of networks that this node has left. */
  #droppedBefore = 0;
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(options: FlowsOptions) {
    this.#options = options;
    this.table = new FlowTable(options);
    this.#default = { place: options };
    this.#networks.add(this.#default);
    this.#opening = new Task(
      () => Promise.resolve(this.#open()),
      { baseMs: 1_000, maxMs: 60_000 },
      (error, attempt) => {
        this.#error = error instanceof Error ? error.message : String(error);
        if (attempt === 1) options.log.warn("flows cannot be listened to; it is tried again", { error });
      },
    );
  }

  start(): void {
    this.#started = true;
    this.#opening.want();
  }

  /** Listens no more, and restores the kernel parameters. */
  async stop(): Promise<void> {
    this.#started = false;
    clearInterval(this.#timer);
    await this.#opening.stop();
    for (const one of this.#networks) await this.#close(one);
    this.#wake();
    restoreAccounting(this.#options.before);
  }

  /** This node takes part in a pod network, and its connections are listened to until what is returned is closed. */
  join(network: FlowNetwork): FlowsOfNetwork {
    const one: Listening = { place: network };
    this.#networks.add(one);
    if (this.#started) this.#opening.want();
    return {
      close: async () => {
        if (!this.#networks.delete(one)) return;
        this.table.unfollow((_, name) => name !== network.network);
        try {
          await this.#close(one);
        } catch (error) {
          this.#options.log.warn("flows of a pod network that this node leaves could not be ended in order", {
            network: network.network,
            error,
          });
        }
      },
    };
  }

  async #close(one: Listening): Promise<void> {
    const { events, place } = one;
    delete one.events;
    if (events) this.#droppedBefore += events.dropped;
    await events?.close();
    if (place.netns !== undefined && one.accounted) accountIn(place.netns, false);
    delete one.accounted;
  }

  status(): FlowsStatus {
    return {
      on: this.#default.events !== undefined && this.#error === undefined,
      ...(this.#error !== undefined && { error: this.#error }),
      flows: this.table.size,
      sampled: 2 ** this.#bits,
      leftOut: { sampled: this.#sampledOut, dropped: this.#dropped, table: this.table.left },
    };
  }

  /** A policy has denied a packet. @param network name of the pod network */
  denied(packet: DeniedPacket, policy: string, network: string): void {
    const where = this.#networks.values().find(({ place }) => place.network === network);
    if (!where) return;
    this.table.denied(packet, policy, Date.now(), where.place);
    this.#wake();
  }

  /**
   * Flows that have changed after a number.
   * @param wait whether to wait for a while where there are none. @returns undefined where too many wait
   */
  async read(filter: FlowFilter, after: number, wait: boolean): Promise<FlowAnswer | undefined> {
    const answer = this.table.read(filter, after);
    if (!wait || answer.flows.length > 0) return answer;
    if (this.#waiting.size >= MOST_WAITING) return undefined;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, WAIT_MS);
      this.#waiting.add(done);
    });
    return this.table.read(filter, after);
  }

  #open(): void {
    for (const one of this.#networks) {
      if (one.events) continue;
      this.#account(one);
      one.events = ConnectionEvents.open({
        netns: one.place.netns,
        tunnelPort: this.#options.tunnelPort,
        onEvent: (event) => this.#take(event, one.place),
        onUnreadable: (reason) => this.#options.log.debug("events of connections cannot be read", { reason }),
      });
      one.events.share(this.#bits);
    }
    this.#error = undefined;
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
  }

  #take(event: ConnectionEvent, place: FlowPlace): void {
    // Those that came before the kernel was told of the smaller share.
    if (!isChosen(event.id, this.#bits)) {
      this.#sampledOut++;
      return;
    }
    this.#sampledOut += 2 ** this.#bits - 1;
    this.table.connection(event, 2 ** this.#bits, Date.now(), place);
    if (++this.#read > BUDGET) this.#share(this.#bits + 1);
  }

  #share(bits: number): void {
    this.#read = 0;
    this.#quiet = 0;
    if (bits > MOST_BITS) return;
    this.#bits = bits;
    for (const { events } of this.#networks) events?.share(bits);
    this.table.unfollow((id) => isChosen(id, bits));
  }

  #look(): void {
    try {
      this.#dropped = this.#droppedBefore;
      for (const one of this.#networks) {
        this.#account(one);
        this.#dropped += one.events?.dropped ?? 0;
      }
      this.#quiet = this.#read < BUDGET / 4 ? this.#quiet + 1 : 0;
      this.#read = 0;
      if (this.#bits > 0 && this.#quiet >= QUIET_LOOKS) this.#share(this.#bits - 1);
      this.#error = undefined;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (message !== this.#error)
        this.#options.log.warn("flows are not as they should be; it is tried again", { error });
      this.#error = message;
    }
    this.#wake();
  }

  #account(one: Listening): void {
    const { netns, network } = one.place;
    const set = netns === undefined ? keepAccounting(this.#options.before) : accountIn(netns, true);
    if (set.length > 0 && one.accounted) {
      this.#options.log.info("kernel parameters of connection tracking were changed, and are right again", {
        set,
        network,
      });
      this.#options.onRepair(set.length, network);
    }
    one.accounted = true;
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }
}
