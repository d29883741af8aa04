/**
 * How a bridge's entries are compared, made and removed. What comes is made from the far end to the near one (behind which node,
 * behind which port, who has the address), so that the bridge never answers for an address to which there is no way yet; what goes,
 * goes the other way round. An address that moves is replaced in place. Ports are made with the bridge itself (device.ts).
 */
import type { Operation } from "../../netlink/index.ts";
import { type EntryOperations, sameEntry } from "../../reconcile/index.ts";
import type { Devices } from "./actual.ts";
import { type BridgeEntry, EVERYBODY, keyOf } from "./types.ts";

export const bridgeOperations: EntryOperations<BridgeEntry, BridgeEntry, Devices, Operation> = {
  order: ["port", "fdb", "bridgeFdb", "neighbour"],
  keyOf,
  isRight: (entry, there) => sameEntry(entry, there),
  applied: (entry) => entry,
  // An entry for everybody is one of several, which cannot be replaced.
  replaces: (entry) => entry.kind !== "fdb" || entry.mac !== EVERYBODY,

  put(entry, _there, { bridge, vxlan, ports }) {
    switch (entry.kind) {
      case "port":
        return ports.has(entry.ifname) ? undefined : "waits";
      case "fdb": {
        const { mac, dst, vni, port } = entry;
        const fdb = {
          ifindex: vxlan,
          mac,
          dst,
          ...(vni !== undefined && { vni }),
          ...(port !== undefined && { port }),
        };
        return { op: mac === EVERYBODY ? "append" : "replace", kind: "fdb", fdb };
      }
      case "bridgeFdb": {
        const ifindex = ports.get(entry.ifname);
        if (ifindex === undefined) return "waits";
        return { op: "replace", kind: "bridgeFdb", bridgeFdb: { ifindex, mac: entry.mac } };
      }
      default:
        return { op: "replace", kind: "neighbour", neighbour: { ifindex: bridge, ip: entry.ip, mac: entry.mac } };
    }
  },

  remove(entry, { bridge, vxlan, vni, port, ports }) {
    switch (entry.kind) {
      case "port":
        return undefined;
      case "fdb": {
        const { mac, dst } = entry;
        const fdb = { ifindex: vxlan, mac, dst, vni: entry.vni ?? vni, port: entry.port ?? port };
        return { op: "del", kind: "fdb", fdb };
      }
      case "bridgeFdb": {
        // With its port an entry goes by itself.
        const ifindex = ports.get(entry.ifname) ?? Number(/^if(\d+)$/.exec(entry.ifname)?.[1] ?? 0);
        return ifindex === 0 ? undefined : { op: "del", kind: "bridgeFdb", bridgeFdb: { ifindex, mac: entry.mac } };
      }
      default:
        return { op: "del", kind: "neighbour", neighbour: { ifindex: bridge, ip: entry.ip } };
    }
  },
};
