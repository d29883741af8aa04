/**
 * Neighbours and FDB entries out of the kernel's messages (RTM_NEWNEIGH, RTM_DELNEIGH), told apart by the family.
 */
import {
  AF_BRIDGE,
  AF_INET,
  AF_INET6,
  NDA,
  NTF_EXT_LEARNED,
  NTF_EXT_LOCKED,
  NTF_PROXY,
  NTF_SELF,
} from "../constants.ts";
import type { BridgeFdbEntry, FdbEntry, Neighbour } from "../types.ts";
import { eachAttribute, ip, mac, need, u16At, u16be, u32, u32At } from "./attributes.ts";

/** Length of struct ndmsg. */
const HEADER = 12;

/** What a neighbour message can be. */
export type NeighbourMessage =
  | { kind: "neighbour"; neighbour: Neighbour }
  | { kind: "fdb"; fdb: FdbEntry }
  | { kind: "bridgeFdb"; bridgeFdb: BridgeFdbEntry };

/**
 * `undefined` for what Skylane has no word for: other families, proxy entries, FDB entries of devices
 * that have no remote VTEP, and those of nexthop groups. @throws MalformedMessage
 */
export function decodeNeighbour(data: Buffer): NeighbourMessage | undefined {
  need(data, HEADER);
  const family = data[0] as number;
  const flags = data[10] as number;
  const ifindex = u32At(data, 4);
  const state = u16At(data, 8);
  if (family === AF_BRIDGE) return fdbEntry(data, ifindex, state, flags);
  if ((family !== AF_INET && family !== AF_INET6) || flags & NTF_PROXY) return undefined;
  let address: string | undefined;
  let hardware: string | undefined;
  eachAttribute(data, HEADER, (type, value) => {
    if (type === NDA.DST) address = ip(value);
    else if (type === NDA.LLADDR) hardware = mac(value);
  });
  if (address === undefined) return undefined;
  const neighbour: Neighbour = { ifindex, ip: address, state };
  if (hardware !== undefined) neighbour.mac = hardware;
  if (flags & NTF_EXT_LEARNED) neighbour.external = true;
  return { kind: "neighbour", neighbour };
}

function fdbEntry(data: Buffer, ifindex: number, state: number, flags: number): NeighbourMessage | undefined {
  let dst: string | undefined;
  let hardware: string | undefined;
  let port: number | undefined;
  let vni: number | undefined;
  let master: number | undefined;
  let vlan: number | undefined;
  let extended = 0;
  eachAttribute(data, HEADER, (type, value) => {
    if (type === NDA.DST) dst = ip(value);
    else if (type === NDA.LLADDR) hardware = mac(value);
    else if (type === NDA.VLAN) vlan = u16At(value, 0);
    else if (type === NDA.PORT) port = u16be(value);
    else if (type === NDA.VNI) vni = u32(value);
    else if (type === NDA.MASTER) master = u32(value);
    else if (type === NDA.FLAGS_EXT) extended = u32(value);
  });
  if (hardware !== undefined && master !== undefined && !(flags & NTF_SELF)) {
    const bridgeFdb: BridgeFdbEntry = { ifindex, mac: hardware, master, state };
    if (vlan !== undefined) bridgeFdb.vlan = vlan;
    if (flags & NTF_EXT_LEARNED) bridgeFdb.external = true;
    if (extended & NTF_EXT_LOCKED) bridgeFdb.locked = true;
    return { kind: "bridgeFdb", bridgeFdb };
  }
  if (!(flags & NTF_SELF)) return undefined;
  if (dst === undefined || hardware === undefined) return undefined;
  const fdb: FdbEntry = { ifindex, mac: hardware, dst, state };
  if (port !== undefined) fdb.port = port;
  if (vni !== undefined) fdb.vni = vni;
  return { kind: "fdb", fdb };
}
