/**
 * What every reconciler of a network does alike, whatever it keeps: it listens to the network's namespace, has passes made when
 * something is wanted otherwise or in doubt, and tries again what failed. It has the sockets that a pass works with; what
 * a pass does is not known here.
 */
import type { Logger } from "../../log/index.ts";
import { Monitor, type MonitorKind, type MonitorListener, type NetlinkEvent, Rtnl } from "../../netlink/index.ts";
import { Backoff, type BackoffOptions, Scheduler, type PassEnd } from "../../reconcile/index.ts";
import type { LinkNetns } from "./device/link-netns.ts";

/** The key under which failures of devices and of reading the kernel are retried; no entry has it. */
export const WHOLE = "device";

/** What the owner of a reconciler says of it. */
export interface ControlLoopOptions {
  /** Namespace to work in, as path or descriptor; the process's own when absent. */
  netns?: number | string;
  /**
   * Namespace whose underlay the VXLAN device uses, as path or descriptor: the device is made from there into `netns`, which it
   * takes. Absent, it is made in `netns` itself. A deleted device is made again in the same way.
   */
  underlayNetns?: number | string;
  logger: Logger;
  /** The pass could not be made at all; it is tried again. `status().error` says the same. */
  onError?: (error: unknown) => void;
  /** First and longest pause between attempts at what fails, in milliseconds. */
  backoff?: BackoffOptions;
  /** Room for notifications that were not read yet, in bytes. */
  receiveBufferBytes?: number;
  /**
   * Has a listener told of what the reconciler has to hear of the namespace, from the call on until it is closed: who watches the
   * namespace already need not have everything read and decoded twice. A monitor of its own when absent.
   */
  watch?: (listener: MonitorListener) => { close(): Promise<void> };
}

/** What a pass works with. */
export interface PassPlace {
  rtnl: Rtnl;
  netns: number | string | undefined;
  /** Where the device is made, when not there. */
  birthplace: LinkNetns | undefined;
  /** Whether what the last pass left still holds; a pass that cannot rely on it dumps. */
  trusted: boolean;
}

/** What is kept, and how. `Outcome`: what a pass leaves. */
export interface Upkept<Outcome extends { trusted: boolean }> {
  /** What it is called in the log: "overlay". */
  name: string;
  /** What is to be heard of the namespace. */
  kinds: readonly MonitorKind[];
  onEvents(events: readonly NetlinkEvent[]): void;
  /** Makes the kernel right. @throws whatever keeps it from being read, or devices from being made */
  pass(at: PassPlace): Promise<Outcome>;
  /** A pass has ended so; there is no {@link ControlLoop.error} any more. */
  onOutcome(outcome: Outcome): void;
}

/** Keeps something right from {@link ControlLoop.start} until {@link ControlLoop.stop}. */
export class ControlLoop<Outcome extends { trusted: boolean }> {
  readonly backoff: Backoff;
  readonly #options: ControlLoopOptions;
  readonly #kept: Upkept<Outcome>;
  readonly #pacer: Scheduler;
  #error: string | undefined;
  #rtnl: Rtnl | undefined;
  /** A conversation with the namespace that the device is made from. */
  #underlay: Rtnl | undefined;
  #monitor: { close(): Promise<void> } | undefined;

  constructor(options: ControlLoopOptions, kept: Upkept<Outcome>) {
    this.#options = options;
    this.#kept = kept;
    this.backoff = new Backoff(options.backoff);
    this.#pacer = new Scheduler({ pass: (trusted) => this.#pass(trusted), retryIn: () => this.backoff.nextIn() });
  }

  /**
   * Starts watching; resolves when the first pass has ended, whether it succeeded or not.
   * @throws SysError when no socket can be opened; Error at the second call
   */
  async start(): Promise<void> {
    if (this.#monitor) throw new Error("a reconciler is started once");
    const { netns, receiveBufferBytes, watch } = this.#options;
    const listener: MonitorListener = {
      onEvents: (events) => this.#kept.onEvents(events),
      onResync: (reason) => this.doubt(reason),
    };
    this.#monitor = watch
      ? watch(listener)
      : Monitor.open({
          kinds: this.#kept.kinds,
          ...listener,
          ...(netns !== undefined && { netns }),
          ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
        });
    this.#pacer.start();
    await this.settled();
  }

  /**
   * Something is wanted otherwise: a pass at once.
   * @param waits tells which entries wait for their retry all the same: what failed and has become something else deserves a new
   * chance at once; what is not wanted, none. Asked for when something has failed.
   */
  change(waits: () => (key: string) => boolean): void {
    if (this.backoff.size > 0) {
      const isWaiting = waits();
      this.backoff.keep((key) => key !== WHOLE && isWaiting(key));
    }
    this.#pacer.change();
  }

  /** What is known of the kernel may hold no longer: a pass soon, which looks. */
  doubt(reason: string): void {
    if (this.#pacer.trusted) this.#options.logger.debug(`the ${this.#kept.name} is looked at again`, { reason });
    this.#pacer.doubt();
  }

  /** Resolves when no pass is under way or about to start; retries of failing entries may still be due later. */
  settled(): Promise<void> {
    return this.#pacer.settled();
  }

  /** Why there is no device, or why the kernel could not be read. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Stops watching and leaves the kernel as it is. */
  async stop(): Promise<void> {
    await this.#pacer.stop();
    await this.#monitor?.close();
    this.#hangUp();
    this.#pacer.free();
  }

  async #pass(trusted: boolean): Promise<PassEnd> {
    try {
      const { netns } = this.#options;
      this.#rtnl ??= Rtnl.open(netns === undefined ? {} : { netns });
      const place = { rtnl: this.#rtnl, netns, birthplace: this.#birthplace(), trusted };
      const outcome = await this.#kept.pass(place);
      this.#error = undefined;
      this.backoff.clear(WHOLE);
      this.#kept.onOutcome(outcome);
      return outcome.trusted ? "done" : "again";
    } catch (error) {
      this.#failed(error);
      return "failed";
    }
  }

  #failed(error: unknown): void {
    this.#error = error instanceof Error ? error.message : String(error);
    if (this.backoff.failed(WHOLE, this.#error)) {
      this.#options.logger.error(`the ${this.#kept.name} cannot be made right; it is tried again`, { error });
    }
    this.#options.onError?.(error);
    // The sockets themselves may be what failed.
    this.#hangUp();
  }

  #hangUp(): void {
    this.#rtnl?.close();
    this.#underlay?.close();
    this.#rtnl = undefined;
    this.#underlay = undefined;
  }

  #birthplace(): LinkNetns | undefined {
    const { netns, underlayNetns } = this.#options;
    if (underlayNetns === undefined || netns === undefined) return undefined;
    this.#underlay ??= Rtnl.open({ netns: underlayNetns });
    return { rtnl: this.#underlay, netns };
  }
}
