/**
 * Host ends of pods that somebody changed by hand, made right again: a link that was set down loses its routes and
 * its IPv6 address, a deleted route cuts its pod off without a word, and another MAC address, group or forwarding does as well.
 * What belongs there follows from the addresses that the pod holds and from host-end.ts.
 */
import { familyOf } from "../../../addr/index.ts";
import {
  type Address,
  isPodLinkGroup,
  type Link,
  type LinkChange,
  type Operation,
  type OperationFailure,
  POD_LINK_GROUP,
  ROUTE_PROTOCOL,
  type Route,
  type Rtnl,
} from "../../../netlink/index.ts";
import { withNetns } from "../../../sys/index.ts";
import { type KernelObject, type ObjectPlan, planObjects } from "../../kernel/index.ts";
import { type HostEnd, hostEndFaults, settleHostEnd } from "./host-end.ts";
import { type HostSources, hostSources } from "./host-sources.ts";
import { GATEWAY, hostIfname } from "../names.ts";
import { GATEWAY_ADDRESS, hostRoute } from "../plan.ts";

/** An attachment and the addresses that its pod holds. */
export interface AttachedPod {
  containerId: string;
  ifname: string;
  addresses: readonly string[];
  /** Those of them to which somebody else keeps the routes, to here or elsewhere. */
  kept?: ReadonlySet<string>;
  /** MTU of its host end, in bytes, where it was written down. */
  mtu?: number;
  /** Its host end is a port of a bridge: it has neither addresses nor routes. */
  bridged?: boolean;
}

/** What was found wrong and put right. */
export interface HostEndRepairs {
  done: Operation[];
  /** Kernel parameters, in words. */
  set: string[];
  /** What the kernel refused; an end whose pod went away meanwhile is not among them. */
  failures: OperationFailure[];
}

/** The kernel's words for a device that is no longer there. */
const GONE = new Set(["ENODEV", "ENXIO", "ENOENT", "ENETDOWN"]);

/** What belongs on a host end, but for routes that somebody else keeps. @param sources as the namespace has them */
function* objectsOf(index: number, pod: AttachedPod, sources: HostSources): Generator<KernelObject> {
  yield { kind: "link", link: { index, up: true } };
  for (const ip of pod.addresses) {
    const family = familyOf(ip);
    yield { kind: "address", address: { ifindex: index, ip: GATEWAY[family], ...GATEWAY_ADDRESS[family] } };
    if (!pod.kept?.has(ip)) yield { kind: "route", route: hostRoute(ip, index, sources) };
  }
}

function* objectsThere(
  links: readonly Pick<Link, "index" | "up" | "mtu">[],
  { addresses, routes }: { addresses: readonly Address[]; routes: readonly Route[] },
): Generator<KernelObject> {
  for (const link of links) yield { kind: "link", link };
  for (const address of addresses) yield { kind: "address", address };
  for (const route of routes) yield { kind: "route", route };
}

/**
 * What host ends lack, and which of their routes are different: those name no source though the host has one now, or a former one,
 * which is nobody's mistake, as the overlay's device may have been made anew, or the pod be older than this release. Pure.
 */
export function hostEndRepairs(
  ends: readonly { link: Pick<Link, "index" | "up" | "mtu">; pod: AttachedPod }[],
  actual: { addresses: readonly Address[]; routes: readonly Route[] },
  sources: HostSources = {},
): ObjectPlan {
  const wanted = ends.flatMap(({ link, pod }) => [...objectsOf(link.index, pod, sources)]);
  const links = ends.map(({ link }) => link);
  return planObjects(wanted, objectsThere(links, actual));
}

/** Where host ends are. */
export interface Place {
  /** Descriptor of their namespace; the process's own by default. */
  netns?: number | undefined;
  /** Host ends as they were called, by index: one that was renamed since is known by that. */
  names?: ReadonlyMap<number, string>;
}

/** A pod's host end as it was found. */
interface Found {
  link: Link;
  pod: AttachedPod;
  end: HostEnd;
}

/** A pair of veths, and not one that is being removed. */
const mayBeHostEnd = ({ kind, group }: Link): boolean =>
  kind === "veth" && (group === POD_LINK_GROUP || !isPodLinkGroup(group));

function find(links: readonly Link[], pods: readonly AttachedPod[], { names }: Place): Found[] {
  const byName = new Map<string, Link>();
  for (const link of links) {
    if (!mayBeHostEnd(link)) continue;
    const former = names?.get(link.index);
    if (former !== undefined && !byName.has(former)) byName.set(former, link);
    byName.set(link.name, link);
  }
  return pods.flatMap((pod) => {
    const name = hostIfname(pod.containerId, pod.ifname);
    const link = byName.get(name);
    const families = new Set(pod.addresses.map(familyOf));
    return link ? [{ link, pod, end: { name, families, bridged: pod.bridged ?? false, mtu: pod.mtu } }] : [];
  });
}

/** What makes the device itself right again. A device is renamed while it is down (before Linux 6.2). */
function deviceRepairs({ link, end }: Found): Operation[] {
  const { index } = link;
  const changes = hostEndFaults(link, end).map(({ change }) => change);
  const set = (change: Omit<LinkChange, "index">): Operation => ({
    op: "set",
    kind: "link",
    link: { index, ...change },
  });
  const { name, up: _, ...rest } = Object.assign({}, ...changes) as Omit<LinkChange, "index">;
  return [
    ...(name === undefined ? [] : [set({ up: false }), set({ name })]),
    ...(Object.keys(rest).length === 0 ? [] : [set(rest)]),
    // the others are set up when their addresses and routes are looked at
    ...(name !== undefined && end.bridged ? [set({ up: true })] : []),
  ];
}

/**
 * Puts right what is wrong with the given pods' host ends; pods without one are left alone.
 * @throws NetlinkError, SysError when the kernel cannot be read or a parameter not be set
 */
export function repairHostEnds(rtnl: Rtnl, pods: readonly AttachedPod[], place: Place = {}): HostEndRepairs {
  let links = rtnl.links();
  let found = find(links, pods, place);
  if (found.length === 0) return { done: [], set: [], failures: [] };
  const device = execute(rtnl, found.flatMap(deviceRepairs));
  if (device.done.length > 0) {
    links = rtnl.links();
    found = find(links, pods, place);
  }
  // With IPv6 switched off on a device there can be no addresses and routes.
  const settle = (): string[] => found.flatMap(({ link, end }) => (link.name === end.name ? settleHostEnd(end) : []));
  const set = place.netns === undefined ? settle() : withNetns(place.netns, settle);
  const routed = found.filter(({ end }) => !end.bridged);
  if (routed.length === 0) return { ...device, set };
  const actual = { addresses: rtnl.addresses(), routes: rtnl.routes({ protocol: ROUTE_PROTOCOL }) };
  const sources = hostSources(links, actual.addresses);
  const { missing, different } = hostEndRepairs(routed, actual, sources);
  const { done, failures } = execute(rtnl, [...missing, ...different]);
  const said = new Set(missing);
  return {
    done: [...device.done, ...done.filter((operation) => said.has(operation))],
    set,
    failures: [...device.failures, ...failures],
  };
}

function execute(rtnl: Rtnl, operations: Operation[]): Pick<HostEndRepairs, "done" | "failures"> {
  if (operations.length === 0) return { done: [], failures: [] };
  const refused = rtnl.executeAll(operations);
  const undone = new Set(refused.map(({ index }) => index));
  return {
    done: operations.filter((_, index) => !undone.has(index)),
    failures: refused.filter(({ error }) => !GONE.has(error.code)),
  };
}
