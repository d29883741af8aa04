/**
 * The neighbours of pods' host ends. A node has one table of neighbours a family for all of its network namespaces, with room
 * for 1,024 as a rule (`gc_thresh3`); who fills it cuts off everybody whose neighbour has to be found out first. So a pod's own
 * addresses have entries that take no room in it (`exempt_from_gc`, net/core/neighbour.c), and no others are learned on its
 * host end (the packet filter sees to that).
 *
 * They are made in two steps. A plugin behind us may change the pod's MAC (tuning does): ADD makes an entry that does not know
 * the MAC yet and asks with the first packet, as any other would, but has its place (NTF_EXT_LEARNED). When the pod is no longer in
 * the making the agent makes it permanent, with the MAC that the pod's end has by then, and follows it later.
 *
 * Which there must be follows from the routes: one for each of ours to a single address on a host end.
 */
import { linkLocalOf } from "../../../addr/index.ts";
import {
  type Address,
  type Link,
  type Neighbour,
  type Operation,
  type OperationFailure,
  ROUTE_PROTOCOL,
  type Rtnl,
} from "../../../netlink/index.ts";
import { withNetns, writeSysctlIfAny } from "../../../sys/index.ts";
import { type KernelObject, planObjects } from "../../kernel/index.ts";
import { isHostEnd } from "../attach.ts";
import { GATEWAY } from "../names.ts";
import { GATEWAY_ADDRESS, hostRoute } from "../plan.ts";

/**
 * A host end answers ARP, and learns who asked, only where the way back to that address leads to it: the pod's own (arp_filter,
 * Documentation/networking/ip-sysctl.rst). This is `all` or the device's own value, so nobody weakens it elsewhere.
 */
const arpFilter = (name: string): string => `net.ipv4.conf.${name}.arp_filter`;

/** The other end of a host end, and the single addresses that routes of ours lead to over it. */
export interface HostEndNeighbours {
  index: number;
  podMac: string;
  ips: readonly string[];
}

/** What makes neighbours permanent that are not, or that have another MAC. Pure. */
export function neighbourRepairs(ends: readonly HostEndNeighbours[], actual: readonly Neighbour[]): Operation[] {
  const wanted = ends.flatMap(({ index, podMac, ips }) =>
    ips.map((ip): KernelObject => ({ kind: "neighbour", neighbour: { ifindex: index, ip, mac: podMac } })),
  );
  const there = actual.map((neighbour): KernelObject => ({ kind: "neighbour", neighbour }));
  const { missing, different } = planObjects(wanted, there);
  return [...missing, ...different];
}

/**
 * What makes the pod's link-local address, and no other, be on the link of its host end: a link that was set down loses the route,
 * and host ends of older versions have one to the whole prefix instead. Pure.
 */
export function linkLocalRepairs(ends: readonly HostEndNeighbours[], addresses: readonly Address[]): Operation[] {
  return ends.flatMap(({ index, podMac, ips }): Operation[] => {
    const gateway = addresses.find(({ ifindex, ip }) => ifindex === index && ip === GATEWAY[6]);
    if (!gateway) return [];
    const address = { ifindex: index, ip: GATEWAY[6], ...GATEWAY_ADDRESS[6] };
    return [
      ...(ips.some((ip) => ip.startsWith("fe80:"))
        ? []
        : [{ op: "replace", kind: "route", route: hostRoute(linkLocalOf(podMac), index) } as const]),
      ...(gateway.noPrefixRoute ? [] : [{ op: "replace", kind: "address", address } as const]),
    ];
  });
}

/** What was put right. */
export interface NeighbourRepairs {
  /** Those that somebody had changed, or whose pod has another MAC now; not those that became permanent for the first time. */
  done: Operation[];
  failures: OperationFailure[];
}

/**
 * Makes the neighbours of all host ends permanent, and has them answer ARP to their pods alone.
 * @param young names of host ends whose pods are still being made
 * @param settled indexes of host ends whose neighbours were permanent before; kept up to date
 * @throws NetlinkError, SysError when the kernel cannot be read
 */
export function repairNeighbours(
  rtnl: Rtnl,
  young: ReadonlySet<string>,
  settled: Set<number>,
  netns: number | undefined,
): NeighbourRepairs {
  const ends = rtnl.links().filter((link) => isHostEnd(link) && link.up && !young.has(link.name));
  const there = new Set(ends.map(({ index }) => index));
  for (const index of settled) if (!there.has(index)) settled.delete(index);
  if (ends.length === 0) return { done: [], failures: [] };
  const filter = (): void => {
    for (const { name } of ends) writeSysctlIfAny(arpFilter(name), 1);
  };
  if (netns === undefined) filter();
  else withNetns(netns, filter);
  const ips = new Map<number, string[]>();
  for (const { ifindex = 0, dst, gateway } of rtnl.routes({ protocol: ROUTE_PROTOCOL })) {
    const [ip, prefix] = dst.split("/");
    if (gateway !== undefined || ip === undefined || (prefix !== "32" && prefix !== "128")) continue;
    const list = ips.get(ifindex);
    if (list) list.push(ip);
    else ips.set(ifindex, [ip]);
  }
  const wanted = ends.flatMap((end): HostEndNeighbours[] => {
    const there = ips.get(end.index);
    const podMac = there && podEndOf(rtnl, end)?.mac;
    return there && podMac !== undefined ? [{ index: end.index, podMac, ips: there }] : [];
  });
  const operations = [
    ...linkLocalRepairs(wanted, rtnl.addresses({ family: 6 })),
    ...neighbourRepairs(wanted, rtnl.neighbours()),
  ];
  const refused = operations.length > 0 ? rtnl.executeAll(operations) : [];
  const undone = new Set(refused.map(({ index }) => index));
  const before = new Set(settled);
  for (const { index } of wanted) settled.add(index);
  return {
    done: operations.filter(
      (operation, index) =>
        !undone.has(index) && operation.kind === "neighbour" && before.has(operation.neighbour.ifindex),
    ),
    failures: refused.filter(({ error }) => !GONE.has(error.code)),
  };
}

/** The kernel's words for a device that is no longer there, or not up. */
const GONE = new Set(["ENODEV", "ENXIO", "ENOENT", "ENETDOWN", "EINVAL"]);

/** The pod's end of a link, without entering its sandbox; undefined when it is going. */
function podEndOf(rtnl: Rtnl, { peerIndex, peerNetnsId = -1 }: Link): Link | undefined {
  if (peerIndex === undefined || peerNetnsId < 0) return undefined;
  return rtnl.linkThere(peerNetnsId, peerIndex);
}
