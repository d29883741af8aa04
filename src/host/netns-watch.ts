/**
 * What happens to links, addresses, routes and their rules, neighbours, traffic control and kernel parameters of a network namespace, heard through one socket:
 * each notification is read and decoded once, whoever wants to know.
 */
import { type Listening, Monitor, type MonitorListener } from "../netlink/index.ts";
import { ParameterWatch } from "./parameter-watch.ts";

/** Has a listener told of everything from the call on until it is closed; what need not be told, see {@link Monitor.passOver}. */
export type WatchNetns = (listener: MonitorListener) => Listening;

/** What watches a namespace. */
export interface NetnsWatch {
  /** Has one more listener told, after those before, until that is closed. */
  readonly also: WatchNetns;
  close(): Promise<void>;
}

/**
 * Watches a namespace from the call on.
 * @param first who is told before all others. @param netns its descriptor; the agent's own namespace by default
 * @throws SysError when no socket can be opened
 */
export function watchNetns(first: MonitorListener, netns?: number): NetnsWatch {
  const listeners = new Set([first]);
  const everybody: MonitorListener = {
    onEvents: (events) => {
      for (const listener of listeners) listener.onEvents(events);
    },
    onResync: (reason) => {
      for (const listener of listeners) listener.onResync(reason);
    },
  };
  const kinds = ["link", "address", "route", "neighbour", "rule", "netconf", "tc"] as const;
  const monitor = Monitor.open({ ...(netns !== undefined && { netns }), kinds, ...everybody });
  let parameters: ParameterWatch;
  try {
    parameters = new ParameterWatch(everybody, netns);
  } catch (error) {
    void monitor.close();
    throw error;
  }
  return {
    also: (listener) => {
      listeners.add(listener);
      return {
        passOver: (rtnl, ifindex) => monitor.passOver(rtnl, ifindex),
        close: async () => void listeners.delete(listener),
      };
    },
    close: () => {
      parameters.close();
      return monitor.close();
    },
  };
}
