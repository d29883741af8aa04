/**
 * Neighbours and FDB entries as netlink messages: both are RTM_NEWNEIGH with struct ndmsg (linux/neighbour.h); an
 * FDB entry of a VXLAN device has family AF_BRIDGE, its MAC as the key and the remote VTEP as its value.
 */
import { familyOf, ipToBytes, macToBytes } from "../../addr/index.ts";
import {
  AF_BRIDGE,
  AF_INET,
  AF_INET6,
  NDA,
  NTF_EXT_LEARNED,
  NTF_MASTER,
  NTF_SELF,
  NUD_NOARP,
  NUD_PERMANENT,
} from "../constants.ts";
import type { BridgeFdbEntry, FdbEntry, Neighbour } from "../types.ts";
import type { MessageWriter } from "../transport/writer.ts";

/** struct ndmsg. */
export function ndmsg(w: MessageWriter, family: number, ifindex: number, state: number, flags: number): void {
  w.u8(family);
  w.u8(0);
  w.u16(0);
  w.u32(ifindex);
  w.u16(state);
  w.u8(flags);
  w.u8(0);
}

/** The body of a message about a neighbour. */
export function neighbour(w: MessageWriter, n: Neighbour): void {
  ndmsg(
    w,
    familyOf(n.ip) === 4 ? AF_INET : AF_INET6,
    n.ifindex,
    n.state ?? NUD_PERMANENT,
    n.external ? NTF_EXT_LEARNED : 0,
  );
  w.attribute(NDA.DST, ipToBytes(n.ip));
  if (n.mac !== undefined) w.attribute(NDA.LLADDR, macToBytes(n.mac));
}

/** The body of a message about an FDB entry of the device itself (NTF_SELF), not of a bridge above it. */
export function fdb(w: MessageWriter, e: FdbEntry): void {
  ndmsg(w, AF_BRIDGE, e.ifindex, e.state ?? NUD_PERMANENT, NTF_SELF);
  w.attribute(NDA.LLADDR, macToBytes(e.mac));
  w.attribute(NDA.DST, ipToBytes(e.dst));
  if (e.port !== undefined) w.attributeU16be(NDA.PORT, e.port);
  if (e.vni !== undefined) w.attributeU32(NDA.VNI, e.vni);
}

/** The body of a message about an entry of the bridge that a device is a port of (NTF_MASTER). */
export function bridgeFdb(w: MessageWriter, e: BridgeFdbEntry): void {
  ndmsg(w, AF_BRIDGE, e.ifindex, e.state ?? NUD_NOARP, NTF_MASTER | NTF_EXT_LEARNED);
  w.attribute(NDA.LLADDR, macToBytes(e.mac));
}
