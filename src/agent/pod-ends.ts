/**
 * Keeps the host ends of pods as the plugin made them. The plugin itself is long gone when somebody deletes a pod's
 * route or sets its link down; the kernel tells the agent, and the agent looks up in the reservations what the pod
 * holds. Addresses that another IPAM plugin gave are not known here, so those pods are left to their runtime.
 */
import { addressBits, familyOf } from "../addr/index.ts";
import { ipamDir } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { Ipam, uptime } from "../ipam/index.ts";
import type { Logger } from "../log/index.ts";
import {
  type Address,
  describeOperation,
  type NetlinkEvent,
  isPodLinkGroup,
  ROUTE_PROTOCOL,
  type Rtnl,
} from "../netlink/index.ts";
import { type AttachedPod, GATEWAY, hostIfname, listPodLinks, repairHostEnds, repairNeighbours } from "../pod/index.ts";
import { bootId } from "../sys/index.ts";
import { Task } from "../task/index.ts";
import type { Metrics } from "./metrics.ts";

/** A burst of notifications is one look, this long after its first, in milliseconds. */
const SETTLE_MS = 100;
/** Younger attachments may still be in the making, in seconds: the plugin's hands are on them. */
const YOUNG_SECONDS = 5;
/** How often all host ends are looked at without any notification, in milliseconds. */
const LOOK_MS = 30_000;
const GATEWAYS: ReadonlySet<string> = new Set(Object.values(GATEWAY));

/** What it works on. */
export interface PodEndsOptions {
  config: AgentConfig;
  log: Logger;
  metrics: Metrics;
  rtnl: Rtnl;
  /** Descriptor of the namespace of the host ends; the agent's own by default. */
  netns?: number | undefined;
  /** Addresses of pods here that other nodes have for now; none by default. @throws NetlinkError, IpamStorageError */
  away?: () => ReadonlySet<string>;
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
    default:
      return 0;
  }
}

/** What the overlay's device has, among others: a single address. */
const isHostAddress = ({ ip, prefix }: Address): boolean => prefix === addressBits(familyOf(ip));

/** Looks after the host ends of one pod network's pods. */
export class PodEnds {
  readonly #options: PodEndsOptions;
  readonly #ipam: Ipam;
  readonly #task: Task;
  /** Indexes of host ends that were seen up: only those can be set down. */
  readonly #up = new Set<number>();
  /** Indexes of host ends whose pods have permanent neighbours. */
  readonly #settled = new Set<number>();
  /** Host ends whose pods are still being made, at the last look. */
  #young: ReadonlySet<string> = new Set();
  readonly #timer: NodeJS.Timeout;
  /** Another look, for attachments that were too young for the last one. */
  #later: NodeJS.Timeout | undefined;

  constructor(options: PodEndsOptions) {
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

  /**
   * Takes note of what the kernel tells; looks for itself when an entry of a pod went.
   * @param leaving whether a device is one that we are removing.
   */
  notice(events: readonly NetlinkEvent[], leaving: (ifindex: number) => boolean): void {
    let wrong = false;
    for (const event of events) {
      const concerns = this.#concerns(event);
      wrong = (concerns && !leaving(indexOf(event))) || wrong;
    }
    if (wrong) this.#task.want(SETTLE_MS);
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
        const { index, group, up } = event.link;
        if (!isPodLinkGroup(group)) return false;
        const wasUp = this.#up.delete(index);
        if (event.event === "new" && up) this.#up.add(index);
        // A new one: its neighbours are made permanent once its pod is made.
        if (event.event === "new" && up && !this.#settled.has(index) && this.#up.has(index)) this.#lookLater();
        return event.event === "new" && wasUp && !up;
      }
      case "address":
        // With an address the kernel removes the IPv4 routes that name it as their source, and tells nobody.
        return GATEWAYS.has(event.address.ip) ? event.event === "del" : isHostAddress(event.address);
      case "route": {
        const { protocol, gateway, dst } = event.route;
        const host = /\/(32|128)$/.test(dst) && gateway === undefined;
        // one of ours that went, or another in its place
        return host && (event.event === "del" ? protocol === ROUTE_PROTOCOL : protocol !== ROUTE_PROTOCOL);
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
    for (const { index, up } of listPodLinks(rtnl)) if (up) this.#up.add(index);
    const ends = repairHostEnds(rtnl, this.#attached());
    const neighbours = repairNeighbours(rtnl, this.#young, this.#settled, this.#options.netns);
    const done = [...ends.done, ...neighbours.done];
    const failures = [...ends.failures, ...neighbours.failures];
    const names = new Map(done.length > 0 ? rtnl.links().map(({ index, name }) => [index, name]) : []);
    for (const operation of done) {
      metrics.repairs.inc({ network: config.network, kind: `pod-${operation.kind}` });
      log.warn("put a pod's link right that somebody had changed", {
        operation: describeOperation(operation, (index) => names.get(index)),
      });
    }
    if (failures.length > 0) throw new AggregateError(failures.map(({ error }) => error));
  }

  /** Pods by the addresses that they hold, those aside that are still being made. */
  #attached(): AttachedPod[] {
    const boot = bootId();
    const away = this.#options.away?.() ?? new Set();
    const pods = new Map<string, AttachedPod & { addresses: string[] }>();
    const young = new Set<string>();
    for (const { ip, owner, uptime: since, bootId: then } of this.#ipam.list()) {
      if (then !== boot) continue;
      if (uptime() - since < YOUNG_SECONDS) {
        young.add(hostIfname(owner.containerId, owner.ifname));
        continue;
      }
      const key = `${owner.containerId}/${owner.ifname}`;
      const pod = pods.get(key) ?? { containerId: owner.containerId, ifname: owner.ifname, addresses: [], away };
      pod.addresses.push(ip);
      pods.set(key, pod);
    }
    clearTimeout(this.#later);
    this.#later = undefined;
    this.#young = young;
    if (young.size > 0) this.#lookLater();
    return [...pods.values()];
  }
}
