/** A fast path by filters in a process of its own, which ends by being killed; says so once it is on. */
import { FastPath } from "../../../src/dataplane/fast-path/index.ts";
import { createLogger } from "../../../src/log/index.ts";
import { Monitor } from "../../../src/netlink/index.ts";
import type { LocalNetwork, Peer } from "../../../src/peers/index.ts";

const { netns, local, peers } = JSON.parse(process.argv[2] as string) as {
  netns: string;
  local: LocalNetwork;
  peers: Peer[];
};
const path = new FastPath({
  log: createLogger({ level: "error", format: "text" }),
  netns,
  attachBy: "clsact",
  watch: (listener) =>
    Monitor.open({
      netns,
      kinds: ["link", "address", "route", "neighbour", "netconf", "tc"],
      onEvents: (events) => listener.onEvents(events),
      onResync: (reason) => listener.onResync(reason),
    }),
  onRepair: () => {},
});
path.setLocal(local);
path.setPeers(peers);
await path.settled();
const { on, message } = path.status();
process.stdout.write(on ? "on\n" : `off: ${message}\n`);
