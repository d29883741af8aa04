/**
 * What a limit is in the kernel. What a pod receives waits in a token bucket at the root of its host end. What it sends comes in at the host end,
 * where nothing can wait; so it is handed to an IFB device of its own, waits in the token bucket there, and is given back to the host end as if it came
 * in just then: routing, packet filter and bridges see it once, with the interface that it came from.
 *
 * All of it is in the namespace of the host end, where a pod has no rights whatever it may do in its own.
 */
import {
  type Link,
  type Operation,
  type OperationFailure,
  isPodLinkGroup,
  type Rtnl,
  SHAPER_LINK_GROUP,
  type TokenBucket,
} from "../../netlink/index.ts";
import { type EntryOperations, entryKey } from "../../reconcile/index.ts";
import { bucketOf, isBucket } from "./bucket.ts";
import type { Limits } from "./limits.ts";

/** Handle of our token buckets, by which they are told from others'. */
const OWN_HANDLE = 0x534b_0000;
/** Priority of our filter among those of a host end. */
const PRIORITY = 83;
const IFB = "sbw";
const HOST_END = "sky";

/** The IFB device of a host end. */
export const ifbOf = (hostEnd: string): string => IFB + hostEnd.slice(HOST_END.length);
const isIfb = ({ kind, name }: Link): boolean => kind === "ifb" && name.startsWith(IFB);

/** What should be there. `end` is the host end that it is for. */
export type LimitEntry =
  /** An IFB device. */
  | { readonly kind: "ifb"; readonly end: string }
  /** A token bucket at the root of a device. */
  | {
      readonly kind: "queue";
      readonly end: string;
      readonly device: string;
      readonly rate: number;
      readonly burst: number | undefined;
    }
  /** What filters hang on. */
  | { readonly kind: "hook"; readonly end: string }
  /** The filter that hands packets to the IFB device. */
  | { readonly kind: "redirect"; readonly end: string };

/** What is there. */
export type LimitObject = { readonly end: string; readonly index: number } & (
  | { readonly kind: "ifb" }
  | { readonly kind: "queue"; readonly device: string; readonly bucket: TokenBucket | undefined; readonly own: boolean }
  | { readonly kind: "hook"; readonly own: boolean }
  | { readonly kind: "redirect"; readonly to: number }
);

/** Devices by name: pods' host ends, and IFB devices of ours. */
export type Devices = ReadonlyMap<string, Pick<Link, "index" | "name" | "mtu" | "up">>;

const idOf = (entry: { kind: string; end: string; device?: string }): string => entry.device ?? entry.end;
export const limitKey = (entry: { kind: string; end: string; device?: string }): string =>
  entryKey(entry.kind, idOf(entry));

/** The entries of a host end's limits. */
export function entriesOf(end: string, { ingress, egress }: Limits): LimitEntry[] {
  const entries: LimitEntry[] = [];
  if (ingress) entries.push({ kind: "queue", end, device: end, rate: ingress.rate, burst: ingress.burst });
  if (egress)
    entries.push(
      { kind: "ifb", end },
      { kind: "queue", end, device: ifbOf(end), rate: egress.rate, burst: egress.burst },
      { kind: "hook", end },
      { kind: "redirect", end },
    );
  return entries;
}

const bucketFor = ({ end, rate, burst }: LimitEntry & { kind: "queue" }, devices: Devices): TokenBucket =>
  bucketOf({ rate, ...(burst !== undefined && { burst }) }, devices.get(end)?.mtu ?? 0);

/** How entries compare with what is there, and how they are made. IFB devices are made before, by {@link makeIfb}. */
export const limitOperations: EntryOperations<LimitEntry, LimitObject, Devices, Operation> = {
  order: ["ifb", "queue", "hook", "redirect"],
  keyOf: limitKey,

  isRight(entry, there, devices) {
    switch (there.kind) {
      case "queue":
        // The device of a host end that is gone stays until its limits have ended.
        if (!devices.has(entry.end)) return true;
        return there.own && entry.kind === "queue" && isBucket(bucketFor(entry, devices), there.bucket);
      case "redirect":
        return there.to === devices.get(ifbOf(entry.end))?.index;
      default:
        return true;
    }
  },

  applied(entry, devices) {
    const { kind, end } = entry;
    const index = devices.get(kind === "queue" ? entry.device : kind === "ifb" ? ifbOf(end) : end)?.index ?? 0;
    if (kind === "ifb") return { kind, end, index };
    if (kind === "hook") return { kind, end, index, own: true };
    if (kind === "redirect") return { kind, end, index, to: devices.get(ifbOf(end))?.index ?? 0 };
    return { kind, end, index, device: entry.device, own: true, bucket: bucketFor(entry, devices) };
  },

  replaces: () => true,

  put(entry, _there, devices) {
    const { index: ifindex } = devices.get(entry.end) ?? {};
    const { index: ifb } = devices.get(ifbOf(entry.end)) ?? {};
    switch (entry.kind) {
      case "ifb":
        return ifb === undefined ? "waits" : undefined;
      case "queue": {
        const device = devices.get(entry.device);
        if (!device || ifindex === undefined) return "waits";
        const bucket = bucketFor(entry, devices);
        return {
          op: "replace",
          kind: "qdisc",
          qdisc: { ifindex: device.index, kind: "tbf", handle: OWN_HANDLE, bucket },
        };
      }
      case "hook":
        return ifindex === undefined ? "waits" : { op: "add", kind: "qdisc", qdisc: { ifindex, kind: "ingress" } };
      default:
        if (ifindex === undefined || ifb === undefined) return "waits";
        return { op: "replace", kind: "filter", filter: { ifindex, priority: PRIORITY, redirectsTo: ifb } };
    }
  },

  remove(there) {
    const { index: ifindex } = there;
    switch (there.kind) {
      case "ifb":
        return { op: "del", kind: "link", link: { index: ifindex, name: ifbOf(there.end) } };
      case "queue": {
        // That of an IFB device goes with it.
        if (!there.own || there.device !== there.end) return undefined;
        const bucket = { rate: 0, burst: 0, limit: 0 };
        return { op: "del", kind: "qdisc", qdisc: { ifindex, kind: "tbf", handle: OWN_HANDLE, bucket } };
      }
      case "hook":
        return there.own ? { op: "del", kind: "qdisc", qdisc: { ifindex, kind: "ingress" } } : undefined;
      default:
        return { op: "del", kind: "filter", filter: { ifindex, priority: PRIORITY, redirectsTo: there.to } };
    }
  },
};

/** All devices that limits are about. @throws NetlinkError */
export function readDevices(rtnl: Pick<Rtnl, "links">): Map<string, Link> {
  const found = rtnl.links().filter((link) => isPodLinkGroup(link.group) || isIfb(link));
  return new Map(found.map((link) => [link.name, link]));
}

/**
 * What of limits is there: everything that is ours, and what is in the place of what is wanted.
 * @param wanted whether an entry is, by key @throws NetlinkError, DumpInterrupted
 */
export function readLimits(
  rtnl: Pick<Rtnl, "qdiscs" | "ingressFilters">,
  devices: Devices,
  wanted: (key: string) => boolean,
): LimitObject[] {
  const byIndex = new Map(Array.from(devices.values(), ({ index, name }) => [index, name]));
  const found: LimitObject[] = [];
  for (const { name, index } of devices.values())
    if (name.startsWith(IFB)) found.push({ kind: "ifb", end: HOST_END + name.slice(IFB.length), index });
  for (const { ifindex: index, kind, handle, at, bucket } of rtnl.qdiscs()) {
    const device = byIndex.get(index);
    if (device === undefined) continue;
    const end = device.startsWith(IFB) ? HOST_END + device.slice(IFB.length) : device;
    if (at === "root") {
      const own = kind === "tbf" && handle === OWN_HANDLE;
      const queue = { kind: "queue", end, index, device, own, bucket } as const;
      if (own || wanted(limitKey(queue))) found.push(queue);
    } else if (at === "ingress" && device === end) {
      const ours = rtnl.ingressFilters(index).filter(({ priority }) => priority === PRIORITY);
      for (const { redirectsTo } of ours)
        if (redirectsTo !== undefined) found.push({ kind: "redirect", end, index, to: redirectsTo });
      const hook = { kind: "hook", end, index, own: kind === "ingress" } as const;
      if (ours.length > 0 || devices.has(ifbOf(end)) || wanted(limitKey(hook))) found.push(hook);
    }
  }
  return found;
}

/** Whether an operation was refused because somebody has just done the same. */
export const isThereAlready = ({ operation, error }: OperationFailure): boolean =>
  operation.op === "add" && error.code === "EEXIST";

/**
 * Makes an IFB device what it should be. @returns whether something had to be done, or why it cannot be, in words
 * @param there it, as it is now
 */
export function makeIfb(
  rtnl: Pick<Rtnl, "executeAll">,
  end: string,
  there: Pick<Link, "index" | "up"> | undefined,
): boolean | string {
  if (there?.up) return false;
  const name = ifbOf(end);
  const link = { kind: "ifb", name, group: SHAPER_LINK_GROUP, addrGenMode: "none" } as const;
  const failures = rtnl.executeAll([
    ...(there ? [] : [{ op: "add", kind: "link", link } as const]),
    { op: "set", kind: "link", link: { index: there?.index ?? 0, name, up: true } },
  ]);
  // Agent and plugin may both be about to make it.
  const failure = failures.find((one) => !isThereAlready(one));
  return failure ? failure.error.message : true;
}
