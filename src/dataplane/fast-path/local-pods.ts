/**
 * Pods of this node as the kernel leads to them, put together from what it announces: a route of ours to a single address over a host end, the host end
 * itself, and the pod's MAC among its neighbours. What is missing of that is on the ordinary path, which finds out by itself or does not.
 */
import { addressBits, familyOf } from "../../addr/index.ts";
import {
  type Link,
  type NetlinkEvent,
  POD_LINK_GROUP,
  type Neighbour,
  type Route,
  ROUTE_PROTOCOL,
  type Rtnl,
} from "../../netlink/index.ts";
import type { FastPod } from "./programs/maps.ts";

const MAIN_TABLE = 254;
const UNICAST = 1;
/** States of a neighbour in which its MAC is known (NUD_VALID without NOARP, linux/neighbour.h). */
const KNOWN = 0x80 | 0x02 | 0x04 | 0x08 | 0x10;

/** A host end as far as it matters. */
interface HostEnd {
  name: string;
  mtu: number;
}

/** The address that a route is to, where it is one to a pod. */
function podOf({ dst, protocol, gateway, table = MAIN_TABLE, type = UNICAST, multipath }: Route): string | undefined {
  if (protocol !== ROUTE_PROTOCOL || gateway !== undefined || table !== MAIN_TABLE || type !== UNICAST || multipath)
    return undefined;
  const [ip = "", bits] = dst.split("/");
  // Link-local addresses are of one link, and never forwarded.
  return Number(bits) === addressBits(familyOf(ip)) && !ip.startsWith("fe80:") ? ip : undefined;
}

const isHostEnd = ({ kind, group, up }: Link): boolean => kind === "veth" && group === POD_LINK_GROUP && up;

/** See the header. */
export class LocalPods {
  readonly #ends = new Map<number, HostEnd>();
  /** Devices by the address that leads over them. */
  readonly #routes = new Map<string, number>();
  /** MACs, by device and address. */
  readonly #macs = new Map<number, Map<string, string>>();

  /** Reads everything anew. @throws NetlinkError, DumpInterrupted */
  read(rtnl: Rtnl): void {
    const [links, routes, neighbours] = [rtnl.links(), rtnl.routes({ protocol: ROUTE_PROTOCOL }), rtnl.neighbours()];
    this.#ends.clear();
    this.#routes.clear();
    this.#macs.clear();
    for (const link of links) this.#link(link, "new");
    for (const route of routes) this.#route(route, "new");
    for (const neighbour of neighbours) this.#neighbour(neighbour, "new");
  }

  /** Takes note of what the kernel tells. @returns whether a pod may be reached otherwise now */
  notice(events: readonly NetlinkEvent[]): boolean {
    let changed = false;
    for (const event of events) {
      if (event.kind === "link") changed = this.#link(event.link, event.event) || changed;
      else if (event.kind === "route") changed = this.#route(event.route, event.event) || changed;
      else if (event.kind === "neighbour") changed = this.#neighbour(event.neighbour, event.event) || changed;
    }
    return changed;
  }

  /** Pods that can be reached, and over which host ends, by index. */
  get pods(): { pods: FastPod[]; ends: ReadonlyMap<number, HostEnd> } {
    const pods: FastPod[] = [];
    const ends = new Map<number, HostEnd>();
    for (const [ip, ifindex] of this.#routes) {
      const end = this.#ends.get(ifindex);
      const mac = this.#macs.get(ifindex)?.get(ip);
      if (!end || mac === undefined) continue;
      pods.push({ ip, ifindex, mac, mtu: end.mtu });
      ends.set(ifindex, end);
    }
    return { pods, ends };
  }

  #link(link: Link, event: "new" | "del"): boolean {
    const { index, name, mtu } = link;
    const before = this.#ends.get(index);
    if (event === "new" && isHostEnd(link)) {
      this.#ends.set(index, { name, mtu });
      return before?.mtu !== mtu || before.name !== name;
    }
    if (!before) return false;
    this.#ends.delete(index);
    // With a device that goes, or down, its IPv4 routes and neighbours go and nobody is told.
    this.#macs.delete(index);
    for (const [ip, ifindex] of this.#routes) if (ifindex === index) this.#routes.delete(ip);
    return true;
  }

  #route(route: Route, event: "new" | "del"): boolean {
    const ip = podOf(route);
    if (ip === undefined || route.ifindex === undefined) return false;
    const before = this.#routes.get(ip);
    if (event === "new") this.#routes.set(ip, route.ifindex);
    else if (before === route.ifindex) this.#routes.delete(ip);
    return before !== this.#routes.get(ip);
  }

  #neighbour({ ifindex, ip, mac, state = 0 }: Neighbour, event: "new" | "del"): boolean {
    const known = this.#macs.get(ifindex);
    const before = known?.get(ip);
    const now = event === "new" && mac !== undefined && (state & KNOWN) !== 0 ? mac : undefined;
    if (before === now) return false;
    if (now === undefined) known?.delete(ip);
    else if (known) known.set(ip, now);
    else this.#macs.set(ifindex, new Map([[ip, now]]));
    return true;
  }
}
