/**
 * The plan of a bridge's entries: what turns those that are there into those that should be, and nothing else. What comes is
 * made from the far end to the near one (behind which node, behind which port, who has the address), so that
 * the bridge never answers for an address to which there is no way yet; what goes, goes the other way round. An
 * address that moves is replaced in place.
 */
import type { Operation } from "../../netlink/index.ts";
import type { Devices } from "./actual.ts";
import { type BridgeEntry, type BridgeEntryKind, EVERYBODY, sameBridgeEntry } from "./types.ts";

/** A step of a plan and the entry that it is about. */
export interface Step {
  key: string;
  operation: Operation;
}

export interface BridgePlan {
  steps: Step[];
  /** Entries that cannot be made yet: their port is not there. */
  waiting: string[];
}

const ORDER: readonly BridgeEntryKind[] = ["fdb", "bridgeFdb", "neighbour"];

/** Plans the entries of `keys`; ports are not among what is planned here. */
export function planBridge(
  keys: Iterable<string>,
  wanted: ReadonlyMap<string, BridgeEntry>,
  actual: ReadonlyMap<string, BridgeEntry>,
  devices: Devices,
): BridgePlan {
  const put = new Map<BridgeEntryKind, Step[]>(ORDER.map((kind) => [kind, []]));
  const remove = new Map<BridgeEntryKind, Step[]>(ORDER.map((kind) => [kind, []]));
  const waiting: string[] = [];
  for (const key of keys) {
    const [want, have] = [wanted.get(key), actual.get(key)];
    if (sameBridgeEntry(want, have) || (want ?? have)?.kind === "port") continue;
    if (!want) {
      if (have) remove.get(have.kind)?.push(...removal(key, have, devices));
      continue;
    }
    if (want.kind === "bridgeFdb" && !devices.ports.has(want.ifname)) {
      waiting.push(key);
      continue;
    }
    // An entry for everybody is one of several, which cannot be replaced.
    if (have && want.kind === "fdb" && want.mac === EVERYBODY) put.get("fdb")?.push(...removal(key, have, devices));
    put.get(want.kind)?.push(...addition(key, want, devices));
  }
  const all = (of: Map<BridgeEntryKind, Step[]>, order: readonly BridgeEntryKind[]) =>
    order.flatMap((kind) => of.get(kind) ?? []);
  return { steps: [...all(put, ORDER), ...all(remove, ORDER.toReversed())], waiting };
}

function addition(key: string, entry: BridgeEntry, { bridge, vxlan, ports }: Devices): Step[] {
  switch (entry.kind) {
    case "port":
      return [];
    case "fdb": {
      const { mac, dst, vni, port } = entry;
      const fdb = { ifindex: vxlan, mac, dst, ...(vni !== undefined && { vni }), ...(port !== undefined && { port }) };
      return [{ key, operation: { op: mac === EVERYBODY ? "append" : "replace", kind: "fdb", fdb } }];
    }
    case "bridgeFdb": {
      const bridgeFdb = { ifindex: ports.get(entry.ifname) ?? 0, mac: entry.mac };
      return [{ key, operation: { op: "replace", kind: "bridgeFdb", bridgeFdb } }];
    }
    default: {
      const neighbour = { ifindex: bridge, ip: entry.ip, mac: entry.mac };
      return [{ key, operation: { op: "replace", kind: "neighbour", neighbour } }];
    }
  }
}

function removal(key: string, entry: BridgeEntry, { bridge, vxlan, vni, port, ports }: Devices): Step[] {
  switch (entry.kind) {
    case "port":
      return [];
    case "fdb": {
      const { mac, dst } = entry;
      const fdb = { ifindex: vxlan, mac, dst, vni: entry.vni ?? vni, port: entry.port ?? port };
      return [{ key, operation: { op: "del", kind: "fdb", fdb } }];
    }
    case "bridgeFdb": {
      // With its port an entry goes by itself.
      const ifindex = ports.get(entry.ifname) ?? Number(/^if(\d+)$/.exec(entry.ifname)?.[1] ?? 0);
      if (ifindex === 0) return [];
      return [{ key, operation: { op: "del", kind: "bridgeFdb", bridgeFdb: { ifindex, mac: entry.mac } } }];
    }
    default:
      return [{ key, operation: { op: "del", kind: "neighbour", neighbour: { ifindex: bridge, ip: entry.ip } } }];
  }
}
