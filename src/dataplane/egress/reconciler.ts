/** Keeps what egress gateways come to in rtnetlink (entries.ts), and tells when an egress address has come to this node. */
import type { Link, NetlinkEvent } from "../../netlink/index.ts";
import { doubtAbout, type Ensured, sameEntry } from "../../reconcile/index.ts";
import { KernelReconciler, type KernelReconcilerOptions } from "../kernel/index.ts";
import {
  type EgressEntry,
  type EgressGround,
  egressKey,
  type EgressObject,
  egressOperations,
  isEgressRoute,
  isEgressRule,
} from "./entries.ts";

export interface EgressReconcilerOptions extends KernelReconcilerOptions {
  /** Whether an address is one that this node has put somewhere. */
  isOurs: (ip: string) => boolean;
  /** A wanted address has just come to a device. */
  onAddress: (ip: string, ifindex: number) => void;
}

/** What follows from the reconciler's entries that are not in place. */
export interface EgressFault {
  entry: string;
  why: string;
}

/** See the header. */
export class EgressReconciler extends KernelReconciler<EgressEntry, EgressObject, EgressGround> {
  protected ground: object = {};
  readonly #options: EgressReconcilerOptions;
  #device = "";

  constructor(options: EgressReconcilerOptions) {
    super(options, "egress gateways", ["link", "address", "route", "rule"], egressOperations);
    this.#options = options;
  }

  /** Sets what should be. @param device name of the overlay's device */
  set(entries: readonly EgressEntry[], device: string): void {
    if (device !== this.#device) this.ground = {};
    this.#device = device;
    const wanted = new Map(entries.map((entry) => [egressKey(entry), entry]));
    for (const key of this.desired.entries.keys()) if (!wanted.has(key)) this.desired.put(key, undefined);
    for (const [key, entry] of wanted)
      if (!sameEntry(this.desired.entries.get(key), entry)) this.desired.put(key, entry);
    this.change();
  }

  /** Entries that are not in place, and why, in words. */
  get faults(): EgressFault[] {
    if (this.error !== undefined) return [{ entry: "all", why: this.error }];
    const { missing, errors } = this;
    return Array.from(missing, (entry) => ({ entry, why: errors.get(entry) ?? "not in place yet" }));
  }

  protected override ensure(): Ensured<EgressGround> {
    const link = this.#device === "" ? undefined : this.rtnl.link(this.#device);
    return { on: { device: link?.up ? link.index : undefined }, touched: false, problems: [] };
  }

  protected override async read(): Promise<EgressObject[]> {
    const { rtnl } = this;
    const { isOurs } = this.#options;
    const wanted = new Set(
      [...this.desired.entries.values()].flatMap((entry) => (entry.kind === "address" ? [entry.ip] : [])),
    );
    return [
      ...rtnl
        .addresses()
        .filter(({ ip }) => wanted.has(ip) || isOurs(ip))
        .map((address): EgressObject => ({ kind: "address", address, own: isOurs(address.ip) })),
      ...rtnl
        .routes()
        .filter(isEgressRoute)
        .map((route): EgressObject => ({ kind: "route", route })),
      ...rtnl
        .rules()
        .filter(isEgressRule)
        .map((rule): EgressObject => ({ kind: "rule", rule })),
    ];
  }

  protected override nameOf(ifindex: number, { device }: EgressGround): string | undefined {
    return ifindex === device ? this.#device : this.rtnl.link(ifindex)?.name;
  }

  protected override tellRefused(entries: ReadonlyMap<string, string>): void {
    for (const [entry, reason] of entries)
      this.logger.warn("the kernel refused a part of an egress gateway; it is tried again", { entry, reason });
  }

  protected override onEvents(events: readonly NetlinkEvent[]): void {
    for (const event of events) {
      const gone = event.event === "del";
      if (event.kind === "link") this.#onLink(event.link, gone);
      else {
        const there = this.#objectOf(event);
        if (!there) continue;
        const key = doubtAbout(this.desired, there, gone, egressOperations, this.on ?? { device: undefined });
        if (key !== undefined) this.doubt(`a notification about ${key}`, key);
        if (
          there.kind === "address" &&
          !gone &&
          this.desired.entries.has(egressOperations.keyOf(there, { device: undefined }))
        )
          this.#options.onAddress(there.address.ip, there.address.ifindex);
      }
    }
  }

  #objectOf(event: NetlinkEvent): EgressObject | undefined {
    if (event.kind === "address")
      return { kind: "address", address: event.address, own: this.#options.isOurs(event.address.ip) };
    if (event.kind === "route" && isEgressRoute(event.route)) return { kind: "route", route: event.route };
    return event.kind === "rule" && isEgressRule(event.rule) ? { kind: "rule", rule: event.rule } : undefined;
  }

  /** With a device that goes down the kernel removes IPv4 routes and IPv6 addresses, and says little about it. */
  #onLink(link: Link, gone: boolean): void {
    const isDevice = link.name === this.#device;
    if (isDevice && (gone || !link.up || link.index !== this.on?.device)) {
      this.ground = {};
      this.doubt(`a notification about ${link.name}`);
    }
    for (const [key, entry] of this.desired.entries)
      if (entry.kind === "address" && entry.ifindex === link.index && !gone)
        this.doubt(`a notification about ${link.name}`, key);
  }
}
