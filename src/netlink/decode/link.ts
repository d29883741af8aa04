/**
 * Devices out of the kernel's messages (RTM_NEWLINK, RTM_DELLINK).
 */
import { AF_INET6, IFF, IFLA, IFLA_INET6_ADDR_GEN_MODE, IFLA_INFO, IFLA_VXLAN } from "../constants.ts";
import type { Link, VxlanInfo } from "../types.ts";
import { bridgeSettings, portSettings } from "./bridge.ts";
import { eachAttribute, ip, mac, text, u8, u16be, u32, u32At } from "./attributes.ts";

/** Length of struct ifinfomsg. */
const HEADER = 16;
/** The attributes that {@link attribute} reads. */
const WANTED: ReadonlySet<number> = new Set([
  IFLA.IFNAME,
  IFLA.ADDRESS,
  IFLA.MTU,
  IFLA.LINK,
  IFLA.LINK_NETNSID,
  IFLA.MASTER,
  IFLA.TXQLEN,
  IFLA.IFALIAS,
  IFLA.GROUP,
  IFLA.LINKINFO,
  IFLA.AF_SPEC,
]);
const INET6_ONLY: ReadonlySet<number> = new Set([AF_INET6]);
const ADDR_GEN_MODE_ONLY: ReadonlySet<number> = new Set([IFLA_INET6_ADDR_GEN_MODE]);
const UNSPECIFIED = new Set(["0.0.0.0", "::"]);

/** @throws MalformedMessage */
export function decodeLink(data: Buffer): Link {
  const flags = u32At(data, 8);
  const link: Link = {
    index: u32At(data, 4) | 0,
    name: "",
    mtu: 0,
    up: (flags & IFF.UP) !== 0,
    lowerUp: (flags & IFF.LOWER_UP) !== 0,
    loopback: (flags & IFF.LOOPBACK) !== 0,
    group: 0,
  };
  if ((flags & IFF.NOARP) !== 0) link.noArp = true;
  if ((flags & IFF.MULTICAST) === 0 && !link.loopback) link.noMulticast = true;
  eachAttribute(data, HEADER, (type, value) => attribute(link, type, value), WANTED);
  return link;
}

function attribute(link: Link, type: number, value: Buffer): void {
  switch (type) {
    case IFLA.IFNAME:
      link.name = text(value);
      break;
    case IFLA.ADDRESS: {
      const address = mac(value);
      if (address !== undefined) link.mac = address;
      break;
    }
    case IFLA.MTU:
      link.mtu = u32(value);
      break;
    case IFLA.LINK:
      // 0: it stands on nothing (a tunnel), which is the same as no attribute.
      if (u32(value) !== 0) link.peerIndex = u32(value);
      break;
    case IFLA.LINK_NETNSID:
      // Signed: -1 is a namespace without an identifier here.
      link.peerNetnsId = u32(value) | 0;
      break;
    case IFLA.MASTER:
      link.master = u32(value);
      break;
    case IFLA.TXQLEN:
      link.txQueueLen = u32(value);
      break;
    case IFLA.IFALIAS:
      link.alias = text(value);
      break;
    case IFLA.GROUP:
      link.group = u32(value);
      break;
    case IFLA.LINKINFO:
      linkInfo(link, value);
      break;
    case IFLA.AF_SPEC:
      eachAttribute(value, 0, (_family, options) => inet6Options(link, options), INET6_ONLY);
      break;
    default:
  }
}

function inet6Options(link: Link, value: Buffer): void {
  const read = (_type: number, option: Buffer): void => {
    const mode = u8(option);
    link.addrGenMode = mode === 0 ? "eui64" : mode === 1 ? "none" : "other";
  };
  eachAttribute(value, 0, read, ADDR_GEN_MODE_ONLY);
}

function linkInfo(link: Link, value: Buffer): void {
  let data: Buffer | undefined;
  let portKind: string | undefined;
  let portData: Buffer | undefined;
  eachAttribute(value, 0, (type, info) => {
    if (type === IFLA_INFO.KIND) link.kind = text(info);
    else if (type === IFLA_INFO.DATA) data = info;
    else if (type === IFLA_INFO.SLAVE_KIND) portKind = text(info);
    else if (type === IFLA_INFO.SLAVE_DATA) portData = info;
  });
  if (link.kind === "vxlan" && data) link.vxlan = vxlan(data);
  else if (link.kind === "bridge" && data) link.bridge = bridgeSettings(data);
  if (portKind === "bridge" && portData) link.port = portSettings(portData);
}

function vxlan(data: Buffer): VxlanInfo {
  const info: VxlanInfo = { vni: 0, port: 0, learning: false };
  eachAttribute(data, 0, (type, value) => {
    switch (type) {
      case IFLA_VXLAN.ID:
        info.vni = u32(value);
        break;
      case IFLA_VXLAN.PORT:
        info.port = u16be(value);
        break;
      case IFLA_VXLAN.LEARNING:
        info.learning = u8(value) !== 0;
        break;
      case IFLA_VXLAN.LINK:
        if (u32(value) !== 0) info.link = u32(value);
        break;
      case IFLA_VXLAN.LOCAL:
      case IFLA_VXLAN.LOCAL6:
        if (!UNSPECIFIED.has(ip(value))) info.local = ip(value);
        break;
      case IFLA_VXLAN.GROUP:
      case IFLA_VXLAN.GROUP6:
        if (!UNSPECIFIED.has(ip(value))) info.group = ip(value);
        break;
      default:
    }
  });
  return info;
}
