/**
 * This machine's links and addresses: how they are, and that they have changed, so that the underlay is chosen anew
 * at once. What happens to pods' own links, the bulk of all notifications on a busy node, is passed over there. The agent
 * hears this namespace's notifications here and nowhere else.
 */
import { ipScope } from "../addr/index.ts";
import {
  type Address,
  type Link,
  type MonitorListener,
  NetlinkError,
  type NetlinkEvent,
  isPodLinkGroup,
  type Route,
  ROUTE_PROTOCOL,
  type Rtnl,
} from "../netlink/index.ts";
import type { SegmentInput } from "./segments.ts";
import { type NetnsWatch, watchNetns } from "./netns-watch.ts";

/** The machine as far as the choice depends on it. */
export interface Machine {
  links: readonly Link[];
  addresses: readonly Address[];
  /** The kernel's route lookup; undefined where it finds no route. */
  routeTo(ip: string): { ifindex?: number; prefSrc?: string; gateway?: string } | undefined;
}

/** A burst of notifications is one change: this long after its first, in milliseconds. */
const SETTLE_MS = 20;

/** RT_TABLE_MAIN, linux/rtnetlink.h */
const MAIN_TABLE = 254;

/** Whether a notification can bear on the choice of the underlay or, with `routes`, on the ways in it. */
function concernsUnderlay(event: NetlinkEvent, routes: boolean): boolean {
  if (event.kind === "route") {
    const { protocol, table = MAIN_TABLE, dst } = event.route;
    // Pods' own routes and those to peers are ours; link-local networks come with every device.
    return routes && protocol !== ROUTE_PROTOCOL && table === MAIN_TABLE && !dst.startsWith("fe80:");
  }
  if (event.kind === "link") return !isPodLinkGroup(event.link.group) && !/^sky\.\d+$/.test(event.link.name);
  return event.kind === "address" && ipScope(event.address.ip) === "unicast";
}

/** The agent's own network namespace, which is the host's. */
export const OWN_NETNS = "/proc/thread-self/ns/net";

/** Who is told of what. */
export interface MachineListener {
  /** Some time after a change that can bear on the underlay; the listener looks for itself what it is. */
  changed(): void;
  /** Told everything, at once and first: who answers requests with what is told. */
  links: MonitorListener;
}

/**
 * Watches links, addresses, routes and neighbours.
 * @param routes whether a changed way in the underlay is a change, too. @throws SysError when no socket can be opened
 */
export function watchMachine(listener: MachineListener, { routes }: { routes: boolean }): NetnsWatch {
  let timer: NodeJS.Timeout | undefined;
  const changed = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      listener.changed();
    }, SETTLE_MS);
  };
  const watch = watchNetns(listener.links);
  watch.also({
    onEvents: (events) => {
      if (events.some((event) => concernsUnderlay(event, routes))) changed();
    },
    onResync: changed,
  });
  return {
    also: watch.also,
    close: async () => {
      await watch.close();
      clearTimeout(timer);
    },
  };
}

/** What was seen in this turn of the event loop. */
const seen = new WeakMap<Rtnl, Machine & SegmentInput>();

/**
 * The machine as it is now: hundreds of networks may look in one turn, of which the first one asks the kernel.
 * @throws NetlinkError when the kernel cannot be read
 */
export function lookAt(rtnl: Rtnl): Machine & SegmentInput {
  const before = seen.get(rtnl);
  if (before) return before;
  const machine = ask(rtnl);
  seen.set(rtnl, machine);
  setImmediate(() => seen.delete(rtnl));
  return machine;
}

function ask(rtnl: Rtnl): Machine & SegmentInput {
  let routes: Route[] | undefined;
  return {
    links: rtnl.links(),
    addresses: rtnl.addresses(),
    routes: () => (routes ??= rtnl.routes({ table: MAIN_TABLE })),
    rules: () => rtnl.rules(),
    routeTo: (ip) => {
      try {
        return rtnl.routeTo(ip);
      } catch (error) {
        if (error instanceof NetlinkError) return undefined; // no route there
        throw error;
      }
    },
  };
}
