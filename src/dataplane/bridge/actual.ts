/**
 * What the kernel holds of a bridged network, in the shape of what it should hold, so that the two are compared as they are.
 * Ours are: every entry of the VXLAN device, every permanent neighbour of the bridge, and every FDB entry of the
 * bridge but the addresses of its own ports and those that it keeps locked.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { BridgeFdbEntry, FdbEntry, Neighbour, Rtnl } from "../../netlink/index.ts";
import { isMadeNeighbour } from "../vxlan/index.ts";
import type { BridgeEntry } from "./types.ts";

/** NUD_PERMANENT (linux/neighbour.h). */
const PERMANENT = 0x80;

/** The devices that entries lie on. */
export interface Devices {
  /** Index of the bridge. */
  bridge: number;
  /** Index of the VXLAN device, and what it leaves out of entries that have the same. */
  vxlan: number;
  vni: number;
  port: number;
  /** Indexes of the bridge's ports by name, the VXLAN device's included. */
  ports: ReadonlyMap<string, number>;
}

/** What a dump showed. */
export interface BridgeActual {
  entries: BridgeEntry[];
  /** Addresses that were seen at locked ports and are not let in. */
  locked: BridgeFdbEntry[];
}

/** Dumps it, letting the event loop turn between the dumps. @throws NetlinkError */
export async function readBridge(
  rtnl: Pick<Rtnl, "fdb" | "bridgeFdb" | "neighbours">,
  devices: Devices,
): Promise<BridgeActual> {
  const entries: BridgeEntry[] = [];
  const put = (entry: BridgeEntry | undefined) => entry && entries.push(entry);
  for (const fdb of rtnl.fdb({ ifindex: devices.vxlan })) put(fdbEntry(fdb, devices));
  await nextTurn();
  const locked: BridgeFdbEntry[] = [];
  const names = new Map([...devices.ports].map(([name, index]) => [index, name]));
  for (const found of rtnl.bridgeFdb({ master: devices.bridge })) {
    if (found.locked) locked.push(found);
    else put(bridgeFdbEntry(found, names.get(found.ifindex)));
  }
  await nextTurn();
  for (const neighbour of rtnl.neighbours({ ifindex: devices.bridge })) put(neighbourEntry(neighbour));
  return { entries, locked };
}

/** An entry of the VXLAN device. */
export const fdbEntry = ({ mac, dst, vni, port, state }: FdbEntry, on: { vni: number; port: number }): BridgeEntry => ({
  kind: "fdb",
  mac,
  dst,
  ...(vni !== undefined && vni !== on.vni && { vni }),
  ...(port !== undefined && port !== on.port && { port }),
  ...((state ?? PERMANENT) !== PERMANENT && { wrong: true }),
});

/**
 * An entry of the bridge; undefined for those that are not ours, among them the kernel's own copies for VLANs (br_fdb_add in net/bridge/br_fdb.c), which
 * come and go with ours and are looked at by nobody where VLANs are not told apart. `ifname`: its port, where that is known. */
export function bridgeFdbEntry(
  { mac, ifindex, state = 0, external, locked, vlan }: BridgeFdbEntry,
  ifname: string | undefined,
): BridgeEntry | undefined {
  if (locked || vlan !== undefined || state & PERMANENT) return undefined;
  return { kind: "bridgeFdb", mac, ifname: ifname ?? `if${ifindex}`, ...(!external && { wrong: true }) };
}

/** A neighbour of the bridge; undefined for those that the kernel makes and forgets by itself. */
export function neighbourEntry(neighbour: Neighbour): BridgeEntry | undefined {
  const { ip, mac, state = PERMANENT } = neighbour;
  if (!isMadeNeighbour(neighbour)) return undefined;
  return { kind: "neighbour", ip, mac: mac ?? "none", ...(state !== PERMANENT && { wrong: true }) };
}
