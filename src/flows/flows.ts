/**
 * Flows of the default network on this node: events of connection tracking into the table, at a rate that is bounded. Where more come, the kernel is told to
 * hand over one of two connections, one of four and so on, and fewer again when there is room; each flow says how many it stands for.
 */
import { type ConnectionEvent, ConnectionEvents, isChosen } from "../dataplane/conntrack/index.ts";
import type { Logger } from "../log/index.ts";
import { Task } from "../reconcile/index.ts";
import type { RememberedWord } from "../sys/index.ts";
import { keepAccounting, restoreAccounting } from "./accounting.ts";
import type { FlowFilter } from "./filter.ts";
import { type DeniedPacket, type FlowAnswer, FlowTable, type FlowTableOptions } from "./flow-table.ts";

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

export interface FlowsOptions extends Pick<FlowTableOptions, "whoHas" | "passesBy" | "node"> {
  log: Logger;
  tunnelPort: number;
  /** Which kernel parameters were set. */
  before: RememberedWord;
  onRepair: (count: number) => void;
}

/** From {@link start} to {@link stop}. */
export class Flows {
  readonly table: FlowTable;
  readonly #options: FlowsOptions;
  readonly #opening: Task;
  #events: ConnectionEvents | undefined;
  #error: string | undefined;
  #bits = 0;
  #read = 0;
  #quiet = 0;
  #accounted = false;
  #sampledOut = 0;
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(options: FlowsOptions) {
    this.#options = options;
    this.table = new FlowTable(options);
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
    this.#opening.want();
  }

  /** Listens no more, and restores the kernel parameters. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#opening.stop();
    await this.#events?.close();
    this.#events = undefined;
    this.#wake();
    restoreAccounting(this.#options.before);
  }

  status(): FlowsStatus {
    return {
      on: this.#events !== undefined && this.#error === undefined,
      ...(this.#error !== undefined && { error: this.#error }),
      flows: this.table.size,
      sampled: 2 ** this.#bits,
      leftOut: { sampled: this.#sampledOut, dropped: this.#dropped, table: this.table.left },
    };
  }

  /** A policy has denied a packet. */
  denied(packet: DeniedPacket, policy: string): void {
    this.table.denied(packet, policy, Date.now());
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
    this.#account();
    this.#events ??= ConnectionEvents.open({
      tunnelPort: this.#options.tunnelPort,
      onEvent: (event) => this.#take(event),
      onUnreadable: (reason) => this.#options.log.debug("events of connections cannot be read", { reason }),
    });
    this.#error = undefined;
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
  }

  #take(event: ConnectionEvent): void {
    // Those that came before the kernel was told of the smaller share.
    if (!isChosen(event.id, this.#bits)) {
      this.#sampledOut++;
      return;
    }
    this.#sampledOut += 2 ** this.#bits - 1;
    this.table.connection(event, 2 ** this.#bits, Date.now());
    if (++this.#read > BUDGET) this.#share(this.#bits + 1);
  }

  #share(bits: number): void {
    this.#read = 0;
    this.#quiet = 0;
    if (bits > MOST_BITS || !this.#events) return;
    this.#bits = bits;
    this.#events.share(bits);
    this.table.unfollow((id) => isChosen(id, bits));
  }

  #look(): void {
    try {
      this.#account();
      if (this.#events) this.#dropped = this.#events.dropped;
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

  #account(): void {
    const set = keepAccounting(this.#options.before);
    if (set.length > 0 && this.#accounted) {
      this.#options.log.info("kernel parameters of connection tracking were changed, and are right again", { set });
      this.#options.onRepair(set.length);
    }
    this.#accounted = true;
  }

  #wake(): void {
    for (const done of this.#waiting) done();
  }
}
