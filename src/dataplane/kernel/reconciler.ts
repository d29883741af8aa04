/**
 * A reconciler whose other side is a network namespace of the kernel: it has the conversations with the namespace, hears its
 * notifications, and carries plans out there. What devices and entries there are is said by a subclass.
 */
import {
  describeOperation,
  type Listening,
  Monitor,
  type MonitorKind,
  type MonitorListener,
  type NetlinkEvent,
  type Operation,
  Rtnl,
} from "../../netlink/index.ts";
import {
  type Entry,
  type EntryOperations,
  type ReconcileOptions,
  Reconciler,
  type Refused,
} from "../../reconcile/index.ts";
import { applyPlan } from "./apply.ts";

/** Where a VXLAN device is made, and where it shall be. */
export interface LinkNetns {
  /** A conversation with the namespace whose underlay the device uses. */
  rtnl: Pick<Rtnl, "links" | "execute">;
  /** The device's own namespace, as path or descriptor. */
  netns: number | string;
}

/** What the owner of such a reconciler says of it. */
export interface KernelReconcilerOptions extends ReconcileOptions {
  /** Namespace to work in, as path or descriptor; the process's own when absent. */
  netns?: number | string;
  /**
   * Namespace whose underlay the VXLAN device uses, as path or descriptor: the device is made from there into `netns`, which it
   * takes. Absent, it is made in `netns` itself. A deleted device is made again in the same way.
   */
  underlayNetns?: number | string;
  /** Room for notifications that were not read yet, in bytes. */
  receiveBufferBytes?: number;
  /**
   * Has a listener told of what the reconciler has to hear of the namespace, from the call on until it is closed: who watches the
   * namespace already need not have everything read and decoded twice. A monitor of its own when absent.
   */
  watch?: (listener: MonitorListener) => Listening;
}

/** See the header. */
export abstract class KernelReconciler<E extends Entry, A extends Entry, On> extends Reconciler<E, A, On, Operation> {
  protected readonly netns: number | string | undefined;
  readonly #options: KernelReconcilerOptions;
  readonly #kinds: readonly MonitorKind[];
  #rtnl: Rtnl | undefined;
  /** A conversation with the namespace that the device is made from. */
  #underlay: Rtnl | undefined;
  #heard: Listening | undefined;
  /** The device whose entries are not heard of when they are made here, and what ends that. */
  #passedOver: { ifindex: number; end: () => void } | undefined;

  /** @param kinds what is to be heard of the namespace */
  constructor(
    options: KernelReconcilerOptions,
    name: string,
    kinds: readonly MonitorKind[],
    by: EntryOperations<E, A, On, Operation>,
  ) {
    super(options, name, by);
    this.#options = options;
    this.#kinds = kinds;
    this.netns = options.netns;
  }

  protected abstract onEvents(events: readonly NetlinkEvent[]): void;
  /** What a device is called in the log. */
  protected abstract nameOf(ifindex: number, on: On): string | undefined;

  /** A conversation with the namespace. @throws SysError when no socket can be opened */
  protected get rtnl(): Rtnl {
    return (this.#rtnl ??= Rtnl.open(this.netns === undefined ? {} : { netns: this.netns }));
  }

  /** Where the device is made, when not there. @throws SysError when no socket can be opened */
  protected get linkNetns(): LinkNetns | undefined {
    const { netns, underlayNetns } = this.#options;
    if (underlayNetns === undefined || netns === undefined) return undefined;
    this.#underlay ??= Rtnl.open({ netns: underlayNetns });
    return { rtnl: this.#underlay, netns };
  }

  protected override watch(): Listening {
    return (this.#heard = this.#watch());
  }

  #watch(): Listening {
    const { netns, receiveBufferBytes, watch } = this.#options;
    const listener: MonitorListener = {
      onEvents: (events) => this.onEvents(events),
      onResync: (reason) => this.doubt(reason),
    };
    if (watch) return watch(listener);
    return Monitor.open({
      kinds: this.#kinds,
      ...listener,
      ...(netns !== undefined && { netns }),
      ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
    });
  }

  /** What is made on a device here is not heard of from now on, as far as a monitor can do without. @throws SysError */
  protected passOver(ifindex: number): void {
    if (this.#passedOver?.ifindex === ifindex) return;
    this.#passedOver?.end();
    const end = this.#heard?.passOver(this.rtnl, ifindex);
    this.#passedOver = end && { ifindex, end };
  }

  protected override async apply(operations: readonly Operation[]): Promise<readonly Refused[]> {
    const failures = await applyPlan(this.rtnl, operations);
    return failures.map(({ index, error }) => ({ index, message: error.message }));
  }

  protected override describe(operation: Operation, on: On): string {
    return describeOperation(operation, (ifindex) => this.nameOf(ifindex, on));
  }

  protected override hangUp(): void {
    this.#passedOver?.end();
    this.#passedOver = undefined;
    this.#rtnl?.close();
    this.#underlay?.close();
    this.#rtnl = undefined;
    this.#underlay = undefined;
  }
}
