/**
 * Keeps the host ends of pods as the plugin made them. The plugin itself is long gone when somebody deletes a pod's
 * route or sets its link down; the kernel tells the agent, and the agent looks up in the reservations what the pod
 * holds. Addresses that another IPAM plugin gave are not known here, so those pods are left to their runtime.
 *
 * Routes to addresses that may as well be another node's, those of claims above all, are none of its business: the network's data path
 * decides where they lead, and is the only one to write them (data-path/claims-path.ts).
 */
import { addressBits, familyOf } from "../addr/index.ts";
import { ipamDir, realHost } from "../cni/index.ts";
import type { NetworkRecords } from "../config/index.ts";
import { Ipam, type Reservation, uptime } from "../ipam/local/index.ts";
import type { Logger } from "../log/index.ts";
import {
  type Address,
  describeOperation,
  type NetlinkEvent,
  isPodLinkGroup,
  type Link,
  ROUTE_PROTOCOL,
  type Rtnl,
} from "../netlink/index.ts";
import {
  type AttachedPod,
  GATEWAY,
  hostIfname,
  listPodLinks,
  repairHostEnds,
  repairNeighbours,
} from "../dataplane/pod-link/index.ts";
import { bootId } from "../sys/index.ts";
import { Task } from "../reconcile/index.ts";
import type { Metrics } from "../observe/index.ts";

/** A burst of notifications is one look, this long after its first, in milliseconds. */
const SETTLE_MS = 100;
/** The same where an address went that host routes may have named as their source: every pod's IPv4 route went along. */
const LOST_SOURCE_SETTLE_MS = 5;
/**
 * Younger attachments may still be in the making, in seconds: the plugin's hands are on them. An ADD that takes longer on a
 * busy node finds what is repaired meanwhile there already, and goes on.
 */
const YOUNG_SECONDS = 1;
/** How often all host ends are looked at without any notification, in milliseconds. */
const LOOK_MS = 30_000;
const GATEWAYS: ReadonlySet<string> = new Set(Object.values(GATEWAY));

/** What it works on. */
export interface HostEndsOptions {
  config: NetworkRecords;
  log: Logger;
  metrics: Metrics;
  rtnl: Rtnl;
  /** Descriptor of the namespace of the host ends; the agent's own by default. */
  netns?: number | undefined;
  /** Host ends are ports of a bridge. */
  bridged?: boolean;
  /** Whether the network's data path keeps the route to an address; of none by default. */
  keeps?: (ip: string) => boolean;
}

/** The device that a notification is about; 0 where it is about none. */
function indexOf(event: NetlinkEvent): number {
  switch (event.kind) {
    case "link":
      return event.link.index;
    case "address":
      return event.address.ifindex;
    case "route":
      return event.route.ifindex ?? 0;
    case "neighbour":
      return event.neighbour.ifindex;
    case "netconf":
      return event.netconf.ifindex;
    default:
      return 0;
  }
}

/** A pod, and whether it has its addresses by a claim. */
interface Attached extends AttachedPod {
  addresses: string[];
  kept: Set<string>;
  claimed: boolean;
}

/** The number that stands for all devices of a namespace in notifications of kernel parameters. */
const ALL_DEVICES = -1;

/** What somebody could change of a device, in one text. */
const looks = ({ name, mac, mtu, group, master, up, noArp, noMulticast }: Link): string =>
  [name, mac, mtu, group, master, up, noArp, noMulticast].join(" ");

/** What the overlay's device has, among others: a single address. */
const isHostAddress = ({ ip, prefix }: Address): boolean => prefix === addressBits(familyOf(ip));

/** Whether routes to pods may have gone with an address; the kernel removes them for IPv4 alone (fib_sync_down_addr). */
const isLostSource = (event: NetlinkEvent): boolean =>
  event.kind === "address" && event.event === "del" && familyOf(event.address.ip) === 4 && isHostAddress(event.address);

/** Looks after the host ends of one pod network's pods. */
export class HostEnds {
  readonly #options: HostEndsOptions;
  readonly #ipam: Ipam;
  readonly #task: Task;
  /** Host ends that were seen up, by index, as they were then: only those can have been changed. */
  readonly #seen = new Map<number, Link>();
  /** MTUs of host ends of which nobody has written one down, by name: as they were when they were first seen. */
  readonly #mtus = new Map<string, number>();
  /** Indexes of host ends whose pods have permanent neighbours. */
  readonly #settled = new Set<number>();
  /** Host ends of pods without a claim, by the pods' addresses, as of the last look. */
  #ordinary: ReadonlyMap<string, number> = new Map();
  /** Host ends whose pods are still being made, at the last look. */
  #young: ReadonlySet<string> = new Set();
  readonly #timer: NodeJS.Timeout;
  /** Another look, for attachments that were too young for the last one. */
  #later: NodeJS.Timeout | undefined;

  constructor(options: HostEndsOptions) {
    const { config, log } = options;
    this.#options = options;
    this.#ipam = new Ipam({ dir: ipamDir(config), warn: (message) => log.debug(message) });
    this.#task = new Task(
      () => this.#repair(),
      { baseMs: 1_000, maxMs: 60_000 },
      (error, attempt) => {
        if (attempt === 1) log.error("pods' links on this node cannot be looked after", { error });
      },
    );
    // That a pod has changed its MAC is announced in its own namespace alone.
    this.#timer = setInterval(() => this.look(), LOOK_MS);
  }

  /** Looks at everything now: at start, and after notifications were lost. */
  look(): void {
    this.#task.want();
  }

  /** Index of the host end of the pod that has an address without a claim; undefined where none has, or its ADD was only just. */
  hostEndOf(ip: string): number | undefined {
    const index = this.#ordinary.get(ip);
    return index !== undefined && this.#seen.has(index) ? index : undefined;
  }

  /**
   * Takes note of what the kernel tells; looks for itself when an entry of a pod went.
   * @param leaving whether a device is one that we are removing.
   */
  notice(events: readonly NetlinkEvent[], leaving: (ifindex: number) => boolean): void {
    let within = Number.POSITIVE_INFINITY;
    for (const event of events) {
      if (!this.#concerns(event) || leaving(indexOf(event))) continue;
      within = Math.min(within, isLostSource(event) ? LOST_SOURCE_SETTLE_MS : SETTLE_MS);
    }
    if (Number.isFinite(within)) this.#task.want(within);
  }

  /** Waits for a look that is under way and looks no more. */
  stop(): Promise<void> {
    clearTimeout(this.#later);
    clearInterval(this.#timer);
    return this.#task.stop();
  }

  #concerns(event: NetlinkEvent): boolean {
    switch (event.kind) {
      case "link": {
        const { link } = event;
        const before = this.#seen.get(link.index);
        if (event.event === "del") this.#seen.delete(link.index);
        else if (!before && link.up && isPodLinkGroup(link.group)) {
          this.#seen.set(link.index, link);
          // A new one: its neighbours are made permanent once its pod is made.
          this.#lookLater();
        }
        return event.event === "new" && before !== undefined && looks(link) !== looks(before);
      }
      case "netconf":
        return event.netconf.ifindex === ALL_DEVICES || this.#seen.has(event.netconf.ifindex);
      case "address":
        // With an address the kernel removes the IPv4 routes that name it as their source, and tells nobody.
        return GATEWAYS.has(event.address.ip) ? event.event === "del" : isHostAddress(event.address);
      case "route": {
        const { protocol, gateway, dst, ifindex = 0 } = event.route;
        const [ip = "", bits] = dst.split("/");
        const host = (bits === "32" || bits === "128") && gateway === undefined;
        const ours = protocol === ROUTE_PROTOCOL;
        // one of ours that went, or another in its place
        if (event.event === "del" ? ours : !ours) return host;
        // or one that came, by the data path, to a pod here, whose neighbours follow from it
        return host && event.event === "new" && this.#seen.has(ifindex) && this.#options.keeps?.(ip) === true;
      }
      case "neighbour":
        return event.event === "del" && this.#settled.has(event.neighbour.ifindex);
      default:
        return false;
    }
  }

  #lookLater(): void {
    this.#later ??= setTimeout(() => this.look(), YOUNG_SECONDS * 1_000 + SETTLE_MS);
  }

  #repair(): void {
    const { config, log, metrics, rtnl } = this.#options;
    const names = new Map([...this.#seen].map(([index, { name }]) => [index, name]));
    const { netns, bridged = false } = this.#options;
    const attached = this.#attached();
    const ends = repairHostEnds(rtnl, attached, { netns, names });
    // Nobody routes to the port of a bridge.
    const neighbours = bridged ? undefined : repairNeighbours(rtnl, this.#young, this.#settled, netns);
    this.#remember(attached);
    const done = [...ends.done, ...(neighbours?.done ?? [])];
    const failures = [...ends.failures, ...(neighbours?.failures ?? [])];
    for (const change of ends.set) {
      metrics.repairs.inc({ network: config.network, kind: "pod-sysctl" });
      log.warn("restored a kernel parameter of a pod's link (changed externally)", { change });
    }
    for (const operation of done) {
      metrics.repairs.inc({ network: config.network, kind: `pod-${operation.kind}` });
      log.warn("put a pod's link right that somebody had changed", {
        operation: describeOperation(operation, (index) => names.get(index)),
      });
    }
    if (failures.length > 0) throw new AggregateError(failures.map(({ error }) => error));
  }

  /** Host ends as they are now, right or as right as could be. */
  #remember(attached: readonly Attached[]): void {
    this.#seen.clear();
    for (const link of listPodLinks(this.#options.rtnl)) if (link.up) this.#seen.set(link.index, link);
    const names = new Set([...this.#seen.values()].map(({ name }) => name));
    for (const name of this.#mtus.keys()) if (!names.has(name)) this.#mtus.delete(name);
    for (const { name, mtu } of this.#seen.values()) if (!this.#mtus.has(name)) this.#mtus.set(name, mtu);
    if (!this.#options.keeps) return;
    const indexes = new Map(Array.from(this.#seen.values(), ({ name, index }) => [name, index]));
    const ordinary = new Map<string, number>();
    for (const { containerId, ifname, addresses, claimed } of attached) {
      const index = claimed ? undefined : indexes.get(hostIfname(containerId, ifname));
      if (index !== undefined) for (const ip of addresses) ordinary.set(ip, index);
    }
    this.#ordinary = ordinary;
  }

  /** Pods by the addresses that they hold, those aside that are still being made. */
  #attached(): Attached[] {
    const boot = bootId();
    const { config, bridged = false, keeps } = this.#options;
    const pods = new Map<string, Attached>();
    const young = new Set<string>();
    const podOf = ({ owner, uptime: since, bootId: then }: Omit<Reservation, "ip">, mtu?: number) => {
      if (then !== boot) return undefined;
      if (uptime() - since < YOUNG_SECONDS) {
        young.add(hostIfname(owner.containerId, owner.ifname));
        return undefined;
      }
      const { containerId, ifname } = owner;
      const key = `${containerId}/${ifname}`;
      const known = mtu ?? this.#mtus.get(hostIfname(containerId, ifname));
      const pod = pods.get(key) ?? {
        containerId,
        ifname,
        addresses: [],
        kept: new Set<string>(),
        claimed: false,
        bridged,
        ...(known !== undefined && { mtu: known }),
      };
      pods.set(key, pod);
      return pod;
    };
    for (const record of realHost.attachments(config).list()) {
      const pod = podOf(record, record.mtu);
      if (pod) pod.claimed = record.claim !== undefined;
    }
    for (const record of this.#ipam.list()) {
      const pod = podOf(record);
      pod?.addresses.push(record.ip);
      // Of a claim's addresses nobody knows where they lead before the data path has decided.
      if (pod?.claimed || keeps?.(record.ip)) pod?.kept.add(record.ip);
    }
    clearTimeout(this.#later);
    this.#later = undefined;
    this.#young = young;
    if (young.size > 0) this.#lookLater();
    return [...pods.values()];
  }
}
