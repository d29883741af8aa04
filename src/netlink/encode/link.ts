/**
 * Devices as netlink messages (RTM_NEWLINK, RTM_DELLINK; linux/if_link.h).
 *
 * A new device takes its name, MAC, MTU and group at birth. Its alias and the way it makes link-local addresses are only
 * heeded by a change of a device that is there, so a device that wants them needs a second message: see
 * {@link afterBirth}.
 */
import { familyOf, ipToBytes, macToBytes } from "../../addr/index.ts";
import {
  AF_INET6,
  AF_UNSPEC,
  IFF,
  IFLA,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO,
  IFLA_VXLAN,
  VETH_INFO_PEER,
} from "../constants.ts";
import { bridgeSettings, portSettings } from "./bridge.ts";
import type { LinkChange, LinkSpec, VxlanSpec } from "../types.ts";
import type { MessageWriter } from "../transport/writer.ts";

/** struct ifinfomsg: `change` says which of the `flags` count. */
export function ifinfomsg(w: MessageWriter, index: number, flags = 0, change = 0): void {
  w.u8(AF_UNSPEC);
  w.u8(0);
  w.u16(0);
  w.u32(index);
  w.u32(flags);
  w.u32(change);
}

/** What can be said of a device at its birth as well as later. */
interface Properties {
  name?: string;
  mac?: string;
  mtu?: number;
  group?: number;
  netnsFd?: number;
  txQueueLen?: number;
  queues?: number;
}

function properties(w: MessageWriter, link: Properties): void {
  if (link.name !== undefined) w.attributeString(IFLA.IFNAME, link.name);
  if (link.mac !== undefined) w.attribute(IFLA.ADDRESS, macToBytes(link.mac));
  if (link.mtu !== undefined) w.attributeU32(IFLA.MTU, link.mtu);
  if (link.group !== undefined) w.attributeU32(IFLA.GROUP, link.group);
  if (link.txQueueLen !== undefined) w.attributeU32(IFLA.TXQLEN, link.txQueueLen);
  if (link.netnsFd !== undefined) w.attributeU32(IFLA.NET_NS_FD, link.netnsFd);
  if (link.queues !== undefined) {
    w.attributeU32(IFLA.NUM_TX_QUEUES, link.queues);
    w.attributeU32(IFLA.NUM_RX_QUEUES, link.queues);
  }
}

/** The body of a message that creates a device. The namespace that `link` names is the device's, not that of the message. */
export function newLink(w: MessageWriter, link: LinkSpec): void {
  ifinfomsg(w, 0);
  properties(w, link);
  w.nest(IFLA.LINKINFO, () => {
    w.attributeString(IFLA_INFO.KIND, link.kind);
    if (link.kind === "ifb" || link.kind === "wireguard") return;
    w.nest(IFLA_INFO.DATA, () => {
      if (link.kind === "bridge") return bridgeSettings(w, link.settings ?? {});
      if (link.kind === "vxlan") return vxlanData(w, link);
      w.nest(VETH_INFO_PEER, () => {
        ifinfomsg(w, 0);
        properties(w, link.queues === undefined ? link.peer : { ...link.peer, queues: link.queues });
      });
    });
  });
}

/**
 * UDP checksums stay as the kernel has them by default: none over IPv4, where the inner packets have their own, and
 * full ones over IPv6, where a zero checksum is only allowed where both ends agree to it (RFC 6935).
 */
function vxlanData(w: MessageWriter, link: VxlanSpec): void {
  w.attributeU32(IFLA_VXLAN.ID, link.vni);
  if (link.local !== undefined) {
    w.attribute(familyOf(link.local) === 4 ? IFLA_VXLAN.LOCAL : IFLA_VXLAN.LOCAL6, ipToBytes(link.local));
  }
  w.attributeU16be(IFLA_VXLAN.PORT, link.port);
  w.attributeU8(IFLA_VXLAN.LEARNING, link.learning ? 1 : 0);
  if (link.link !== undefined) w.attributeU32(IFLA_VXLAN.LINK, link.link);
}

/** The body of a message that changes a device. An index of 0 stands for the device that has the name. */
export function setLink(w: MessageWriter, link: LinkChange): void {
  const { up, arp, multicast } = link;
  const change = (up === undefined ? 0 : IFF.UP) | (arp ? IFF.NOARP : 0) | (multicast ? IFF.MULTICAST : 0);
  ifinfomsg(w, link.index, (up ? IFF.UP : 0) | (multicast ? IFF.MULTICAST : 0), change);
  properties(w, link);
  if (link.alias !== undefined) w.attributeString(IFLA.IFALIAS, link.alias);
  if (link.master !== undefined) w.attributeU32(IFLA.MASTER, link.master);
  const { bridge, port, addrGenMode: mode } = link;
  if (bridge) {
    w.nest(IFLA.LINKINFO, () => {
      w.attributeString(IFLA_INFO.KIND, "bridge");
      w.nest(IFLA_INFO.DATA, () => bridgeSettings(w, bridge));
    });
  } else if (port) {
    w.nest(IFLA.LINKINFO, () => {
      w.attributeString(IFLA_INFO.SLAVE_KIND, "bridge");
      w.nest(IFLA_INFO.SLAVE_DATA, () => portSettings(w, port));
    });
  }
  if (mode === undefined) return;
  w.nest(IFLA.AF_SPEC, () => {
    w.nest(AF_INET6, () => w.attributeU8(IFLA_INET6_ADDR_GEN_MODE, mode === "none" ? 1 : 0));
  });
}

/** The change, by name, that a device needs after its birth (see the header), if any. */
export function afterBirth(link: {
  name: string;
  alias?: string;
  addrGenMode?: "eui64" | "none";
}): LinkChange | undefined {
  const { name, alias, addrGenMode } = link;
  if (alias === undefined && addrGenMode === undefined) return undefined;
  return { index: 0, name, ...(alias !== undefined && { alias }), ...(addrGenMode !== undefined && { addrGenMode }) };
}
