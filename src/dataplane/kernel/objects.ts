/**
 * Objects of the kernel on interfaces of which only some are ours: the ends of veth pairs. What is wanted is put there, and all else
 * stays as it is. Compared and ordered as the entries of every data plane are.
 */
import { type Address, type Neighbour, type Operation, type Route, ROUTE_PROTOCOL } from "../../netlink/index.ts";
import { DeltaTracker, type EntryOperations, planAll } from "../../reconcile/index.ts";

/** An object as it should be, or as it is. */
export type KernelObject =
  /** An interface that is up, and of what MTU, in bytes, where somebody has said so. */
  | { kind: "link"; link: { index: number; up: boolean; mtu?: number } }
  | { kind: "address"; address: Address }
  | { kind: "neighbour"; neighbour: Neighbour }
  | { kind: "route"; route: Route };

/** NUD_PERMANENT (linux/neighbour.h): never aged, never probed. */
const PERMANENT = 0x80;

const objects: EntryOperations<KernelObject, KernelObject, undefined, Operation> = {
  order: ["link", "address", "neighbour", "route"],

  keyOf(object) {
    switch (object.kind) {
      case "link":
        return `link ${object.link.index}`;
      case "route":
        return `route ${object.route.ifindex} ${object.route.family} ${object.route.dst}`;
      case "address":
        return `address ${object.address.ifindex} ${object.address.ip}`;
      default:
        return `neighbour ${object.neighbour.ifindex} ${object.neighbour.ip}`;
    }
  },

  isRight(wanted, there) {
    if (wanted.kind === "link" && there.kind === "link") {
      const { mtu = there.link.mtu } = wanted.link;
      return there.link.up && there.link.mtu === mtu;
    }
    if (wanted.kind === "neighbour" && there.kind === "neighbour") {
      const { mac, state = 0 } = there.neighbour;
      return mac === wanted.neighbour.mac && (state & PERMANENT) !== 0;
    }
    if (wanted.kind === "route" && there.kind === "route") {
      const { gateway, protocol = ROUTE_PROTOCOL, prefSrc } = there.route;
      const source = wanted.route.prefSrc ?? prefSrc;
      return gateway === wanted.route.gateway && protocol === ROUTE_PROTOCOL && prefSrc === source;
    }
    return wanted.kind === there.kind;
  },

  applied: (object) => object,
  replaces: () => true,

  put(object) {
    if (object.kind === "link") return { op: "set", ...object };
    return { op: "replace", ...object };
  },

  remove: () => undefined,
};

/** What makes objects so. */
export interface ObjectPlan {
  /** Puts those of which there is nothing, or interfaces right. */
  missing: Operation[];
  /** Puts those right that are there and otherwise. */
  different: Operation[];
}

/** Plans what of the wanted objects is not there, or otherwise; nothing else is touched. */
export function planObjects(wanted: Iterable<KernelObject>, actual: Iterable<KernelObject>): ObjectPlan {
  const tracker = new DeltaTracker<KernelObject>();
  for (const object of wanted) tracker.put(objects.keyOf(object, undefined), object);
  const there = new Set<string>();
  const ours = function* (): Generator<KernelObject> {
    for (const object of actual) {
      const key = objects.keyOf(object, undefined);
      if (!tracker.entries.has(key)) continue;
      if (object.kind !== "link") there.add(key);
      yield object;
    }
  };
  const { keys, operations } = planAll(tracker, ours(), objects, undefined);
  return {
    missing: operations.filter((_, index) => !there.has(keys[index] as string)),
    different: operations.filter((_, index) => there.has(keys[index] as string)),
  };
}
