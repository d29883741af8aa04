/**
 * This machine's links and addresses: how they are, and that they have changed, so that the underlay is chosen anew
 * at once. What happens to pods' own links, the bulk of all notifications on a busy node, is passed over.
 */
import { ipScope } from "../addr/index.ts";
import { Monitor, NetlinkError, type NetlinkEvent, POD_LINK_GROUP, type Rtnl } from "../netlink/index.ts";
import type { Machine } from "./local.ts";

/** A burst of notifications is one change: this long after its first, in milliseconds. */
const SETTLE_MS = 20;

/** Whether a notification can bear on the choice of the underlay. */
function concernsUnderlay(event: NetlinkEvent): boolean {
  if (event.kind === "link") return event.link.group !== POD_LINK_GROUP && !/^sky\.\d+$/.test(event.link.name);
  return event.kind === "address" && ipScope(event.address.ip) === "unicast";
}

/** Calls back some time after changes; the caller looks for itself what they are. @throws SysError when no socket can be opened */
export function watchMachine(onChange: () => void): { close(): Promise<void> } {
  let timer: NodeJS.Timeout | undefined;
  const changed = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      onChange();
    }, SETTLE_MS);
  };
  const monitor = Monitor.open({
    kinds: ["link", "address"],
    onEvents: (events) => {
      if (events.some(concernsUnderlay)) changed();
    },
    onResync: changed,
  });
  return {
    close: async () => {
      await monitor.close();
      clearTimeout(timer);
    },
  };
}

/** The machine as it is now. @throws NetlinkError when the kernel cannot be read */
export function lookAt(rtnl: Rtnl): Machine {
  return {
    links: rtnl.links(),
    addresses: rtnl.addresses(),
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
