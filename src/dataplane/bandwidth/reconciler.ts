/** Keeps the limits of pods whose host ends are in one network namespace. */
import type { Link, NetlinkEvent } from "../../netlink/index.ts";
import { type Ensured, type Ground, sameEntry } from "../../reconcile/index.ts";
import { KernelReconciler, type KernelReconcilerOptions } from "../kernel/index.ts";
import {
  type Devices,
  entriesOf,
  ifbOf,
  type LimitEntry,
  limitKey,
  type LimitObject,
  limitOperations,
  makeIfb,
  readDevices,
  readLimits,
} from "./entries.ts";
import type { Limits } from "./limits.ts";

/** Limits by the host ends that they are for. */
export type LimitsByEnd = ReadonlyMap<string, Limits>;

export interface LimitReconcilerOptions extends KernelReconcilerOptions {
  /** What should be, as it is now: asked before each look, since plugins limit pods as well. */
  limits: () => LimitsByEnd;
}

/** A device as far as limits depend on it. */
const sameDevice = (
  a: Pick<Link, "index" | "mtu" | "up">,
  b: Pick<Link, "index" | "mtu" | "up"> | undefined,
): boolean => a.index === b?.index && a.mtu === b.mtu && a.up === b.up;

/** See the header. */
export class LimitReconciler extends KernelReconciler<LimitEntry, LimitObject, Devices> {
  protected readonly ground = {};
  readonly #limits: LimitReconcilerOptions["limits"];
  /** Host ends that are limited, by the names of the devices that matter for that. */
  #ends: ReadonlyMap<string, string> = new Map();

  constructor(options: LimitReconcilerOptions) {
    super(options, "bandwidth of pods", ["link", "tc"], limitOperations);
    this.#limits = options.limits;
  }

  /**
   * Limits are wanted otherwise: resolves when the kernel has been told. Each time it is looked at, as a plugin may have limited a pod, or have ended that,
   * and a pod's devices may have gone.
   */
  async update(): Promise<void> {
    this.#desire();
    this.doubt("limits are wanted otherwise");
    this.change();
    await this.settled();
  }

  /** Whether it knows that a host end is to be limited. */
  wants(end: string): boolean {
    return this.#ends.has(end);
  }

  /** What of a host end's limits is not in place, and why, in words; undefined where all is. */
  faultOf(end: string): string | undefined {
    if (this.error !== undefined) return this.error;
    const { missing, errors } = this;
    const keys = [...missing].filter((key) => this.desired.entries.get(key)?.end === end);
    if (keys.length === 0) return undefined;
    return keys.map((key) => errors.get(key)).find((why) => why !== undefined) ?? "not in place yet";
  }

  /** Whether nothing of a host end's limits is left, after its limits have ended and {@link update} has. */
  isClear(end: string): boolean {
    const ofEnd = ["ifb", "queue", "hook", "redirect"].map((kind) => limitKey({ kind, end }));
    return this.error === undefined && !ofEnd.some((key) => this.errors.has(key));
  }

  protected override ensure(): Ensured<Devices> {
    this.#desire();
    const devices = readDevices(this.rtnl);
    return { touched: false, problems: [], ...this.#makeIfbs(devices, this.desired.entries.values()) };
  }

  protected override async read(devices: Devices): Promise<LimitObject[]> {
    return readLimits(this.rtnl, devices, (key) => this.desired.entries.has(key));
  }

  protected override nameOf(ifindex: number, devices: Devices): string | undefined {
    for (const { index, name } of devices.values()) if (index === ifindex) return name;
    return undefined;
  }

  protected override tellRefused(entries: ReadonlyMap<string, string>): void {
    for (const [entry, reason] of entries)
      this.logger.warn("the kernel refused a part of a pod's bandwidth limit; it is tried again", { entry, reason });
  }

  protected override onEvents(events: readonly NetlinkEvent[]): void {
    for (const event of events) {
      if (event.kind === "tc") {
        const name = this.on && this.nameOf(event.tc.ifindex, this.on);
        if (name !== undefined && this.#ends.has(name)) this.doubt(`a notification about traffic control of ${name}`);
      } else if (event.kind === "link") this.#onLink(event.link, event.event === "del");
    }
  }

  #onLink(link: Link, gone: boolean): void {
    const end = this.#ends.get(link.name);
    if (end === undefined || (!gone && sameDevice(link, this.on?.get(link.name)))) return;
    for (const entry of this.desired.entries.values())
      if (entry.end === end) this.doubt(`a notification about ${link.name}`, limitKey(entry));
  }

  #desire(): void {
    const ends = new Map<string, string>();
    const wanted = new Map<string, LimitEntry>();
    for (const [end, limits] of this.#limits()) {
      ends.set(end, end).set(ifbOf(end), end);
      for (const entry of entriesOf(end, limits)) wanted.set(limitKey(entry), entry);
    }
    for (const key of this.desired.entries.keys()) if (!wanted.has(key)) this.desired.put(key, undefined);
    for (const [key, entry] of wanted)
      if (!sameEntry(this.desired.entries.get(key), entry)) this.desired.put(key, entry);
    this.#ends = ends;
  }

  /** Makes the devices that entries need, of host ends that are there. */
  #makeIfbs(
    devices: Map<string, Pick<Link, "index" | "name" | "mtu" | "up">>,
    entries: Iterable<LimitEntry>,
  ): Ground<Devices> {
    const changed: string[] = [];
    const refused = new Map<string, string>();
    for (const entry of entries) {
      const name = ifbOf(entry.end);
      if (entry.kind !== "ifb" || !devices.has(entry.end)) continue;
      const made = makeIfb(this.rtnl, entry.end, devices.get(name));
      if (made === false) continue;
      if (made === true) changed.push(limitKey(entry));
      else refused.set(limitKey(entry), made);
      const link = this.rtnl.link(name);
      if (link) devices.set(name, link);
      else devices.delete(name);
    }
    return { on: devices, changed, refused };
  }
}
