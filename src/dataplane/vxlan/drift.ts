/**
 * Whether a notification speaks against what we believe. Our own changes come back as notifications too; they show
 * what is desired, so they say nothing new, and no bookkeeping of "our own" messages is needed. (Most of those that thousands of peers
 * make are kept back by the kernel, Monitor.passOver; nothing depends on that.) Whatever shows
 * something else on our device, or one of our entries going, is a doubt, and a doubt ends in a look at the kernel.
 */
import type { Link, NetlinkEvent } from "../../netlink/index.ts";
import { doubtAbout, entryKey, WHOLE } from "../../reconcile/index.ts";
import type { Desired } from "./desired/desired.ts";
import { type Actual, MAIN_TABLE, type OnDevice } from "./plan/actual.ts";
import { fixedDifferences, liveDifferences } from "./plan/match.ts";
import { overlayOperations } from "./plan/operations.ts";

/** While there is no device, nothing lies on it: no device has this index. */
const NOWHERE: OnDevice = { ifindex: -1, vni: 0, port: 0 };

/**
 * Looks at one notification.
 * @param on our device, undefined while there is none
 * @returns the key of the entry that it casts doubt on, {@link WHOLE} for the device; undefined when it says nothing new
 */
export function doubtOf(desired: Desired, on: OnDevice = NOWHERE, event: NetlinkEvent): string | undefined {
  const gone = event.event === "del";
  const doubt = (there: Actual) => doubtAbout(desired.tracker, there, gone, overlayOperations, on);
  switch (event.kind) {
    case "link":
      return isDeviceDoubt(desired, on.ifindex, event.link, gone) ? WHOLE : undefined;
    case "route": {
      const { dst, table = MAIN_TABLE } = event.route;
      // That nothing leads where nothing shall lead is no news.
      const vacated = gone && desired.entries.get(entryKey("route", dst))?.kind === "vacant";
      return table === MAIN_TABLE && !vacated ? doubt(event) : undefined;
    }
    case "address":
      return event.address.ifindex === on.ifindex ? doubt(event) : undefined;
    case "neighbour":
      return event.neighbour.ifindex === on.ifindex ? doubt(event) : undefined;
    case "fdb":
      return event.fdb.ifindex === on.ifindex ? doubt(event) : undefined;
    default:
      return undefined;
  }
}

function isDeviceDoubt(desired: Desired, ifindex: number, link: Link, gone: boolean): boolean {
  const { device } = desired;
  if (link.index === ifindex) {
    return (
      gone ||
      link.name !== device.name ||
      !link.up ||
      fixedDifferences(device, link).length > 0 ||
      Object.keys(liveDifferences(device, link)).length > 0
    );
  }
  // With an interface that goes down the kernel removes IPv4 routes and says nothing about them.
  if (desired.routesThrough(link.index)) return true;
  // While we have no device, another one with its name or its VNI may be the obstacle that just went.
  return link.name === device.name || (ifindex === NOWHERE.ifindex && link.vxlan?.vni === device.vni);
}
