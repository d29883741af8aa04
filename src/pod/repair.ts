/**
 * Host ends of pods that somebody changed by hand, made right again: a link that was set down loses its routes and
 * its IPv6 address, and a deleted route cuts its pod off without a word. What belongs there follows from the addresses
 * that the pod holds, so nothing needs to be remembered.
 */
import { familyOf } from "../addr/index.ts";
import {
  type Address,
  type Link,
  type Operation,
  type OperationFailure,
  ROUTE_PROTOCOL,
  type Route,
  type Rtnl,
} from "../netlink/index.ts";
import { isHostEnd } from "./attach.ts";
import { type HostSources, hostSources } from "./host-sources.ts";
import { GATEWAY, hostIfname } from "./names.ts";
import { GATEWAY_ADDRESS, hostRoute } from "./plan.ts";

/** An attachment and the addresses that its pod holds. */
export interface AttachedPod {
  containerId: string;
  ifname: string;
  addresses: readonly string[];
  /** Those of them that another node has for now: no route leads from here to the pod. */
  away?: ReadonlySet<string>;
}

/** What was found wrong and put right. */
export interface HostEndRepairs {
  done: Operation[];
  /** What the kernel refused; an end whose pod went away meanwhile is not among them. */
  failures: OperationFailure[];
}

/** The kernel's words for a device that is no longer there. */
const GONE = new Set(["ENODEV", "ENXIO", "ENOENT", "ENETDOWN"]);

/** What is missing of one host end. Pure. @param sources as the namespace has them */
export function hostEndRepairs(
  link: Pick<Link, "index" | "up">,
  pod: AttachedPod,
  actual: { addresses: readonly Address[]; routes: readonly Route[] },
  sources: HostSources = {},
): Operation[] {
  const operations: Operation[] = [];
  const { index } = link;
  if (!link.up) operations.push({ op: "set", kind: "link", link: { index, up: true } });
  for (const ip of pod.addresses) {
    const family = familyOf(ip);
    const gateway = GATEWAY[family];
    if (!actual.addresses.some((address) => address.ifindex === index && address.ip === gateway)) {
      const address = { ifindex: index, ip: gateway, ...GATEWAY_ADDRESS[family] };
      operations.push({ op: "replace", kind: "address", address });
    }
    const route = hostRoute(ip, index, sources);
    const there = actual.routes.some(({ ifindex, dst }) => ifindex === index && dst === route.dst);
    if (!there && !pod.away?.has(ip)) operations.push({ op: "replace", kind: "route", route });
  }
  return operations;
}

/**
 * Routes to a pod that name no source though the host has one now, or a former one: nobody's mistake, as the overlay's device may
 * have been made anew, or the pod be older than this release. Pure.
 */
export function sourceChanges(
  index: number,
  pod: AttachedPod,
  routes: readonly Route[],
  sources: HostSources,
): Operation[] {
  return pod.addresses.flatMap((ip): Operation[] => {
    const route = hostRoute(ip, index, sources);
    if (route.prefSrc === undefined) return [];
    const there = routes.find(({ ifindex, dst }) => ifindex === index && dst === route.dst);
    return there && there.prefSrc !== route.prefSrc ? [{ op: "replace", kind: "route", route }] : [];
  });
}

/** Puts right what is missing of the given pods' host ends; pods without one are left alone. @throws NetlinkError when the kernel cannot be read */
export function repairHostEnds(rtnl: Rtnl, pods: readonly AttachedPod[]): HostEndRepairs {
  const links = rtnl.links();
  const ends = new Map(links.filter(isHostEnd).map((link) => [link.name, link]));
  if (ends.size === 0 || pods.length === 0) return { done: [], failures: [] };
  const actual = { addresses: rtnl.addresses(), routes: rtnl.routes({ protocol: ROUTE_PROTOCOL }) };
  const sources = hostSources(links, actual.addresses);
  const changes = pods.flatMap((pod) => {
    const link = ends.get(hostIfname(pod.containerId, pod.ifname));
    return link ? sourceChanges(link.index, pod, actual.routes, sources) : [];
  });
  const repairs = pods.flatMap((pod) => {
    const link = ends.get(hostIfname(pod.containerId, pod.ifname));
    return link ? hostEndRepairs(link, pod, actual, sources) : [];
  });
  const operations = [...repairs, ...changes];
  if (operations.length === 0) return { done: [], failures: [] };
  const refused = rtnl.executeAll(operations);
  const undone = new Set(refused.map(({ index }) => index));
  return {
    done: repairs.filter((_, index) => !undone.has(index)),
    failures: refused.filter(({ error }) => !GONE.has(error.code)),
  };
}
