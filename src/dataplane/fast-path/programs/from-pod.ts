/**
 * The program at a pod's host end, for what the pod sends: to another pod here straight into that one's namespace, to a pod of a peer into the tunnel.
 */
import { FAMILIES, type Family, familyOf } from "../../../addr/index.ts";
import { Assembly, R0, R1, R2, R6, R7, R8, R9, SKB } from "../../bpf/index.ts";
import { PEER, POD, WAY } from "./maps.ts";
import {
  begin,
  copyMac,
  count,
  deliver,
  end,
  ETHER_TYPE,
  ETHERNET,
  findPeer,
  findPod,
  fits,
  hop,
  IP,
  reachedBy,
  readable,
  readPacket,
  writeMac,
} from "./packet.ts";
import { settled } from "./settled.ts";
import type { Lifetimes, Offsets, TunnelSettings } from "./settings.ts";
import { cut, encapsulate } from "./tunnel.ts";
import { findWay, leave } from "./way.ts";

const AT = ETHERNET.bytes;

/** @throws RangeError when the tunnel's header is to be made over IPv6, whose checksum a program cannot make */
export function fromPod(tunnel: TunnelSettings, lifetimes: Lifetimes, offsets: Offsets): Assembly {
  if (tunnel.encapsulate && familyOf(tunnel.underlayIp) === 6)
    throw new RangeError("over IPv6 the tunnel's header is made by the VXLAN device");
  const a = new Assembly();
  begin(a, "frame", tunnel);
  readable(a, ETHERNET.bytes, "frame");
  a.load(2, R1, R7, ETHERNET.type).jumpIf(R1, "==", ETHER_TYPE[4], "ip4").jumpIf(R1, "!=", ETHER_TYPE[6], "frame");
  for (const family of FAMILIES.toReversed()) {
    a.label(`ip${family}`);
    readPacket(a, family, AT);
    ownSource(a, family);
    findPod(a, family, AT, `elsewhere${family}`);
    // What a pod sends to itself by way of its node goes that way.
    a.load(4, R1, R8, POD.ifindex).load(4, R2, R6, SKB.ifindex).jumpIf(R1, "==", R2, "destination");
    settled(a, family, AT, { offsets, lifetimes, label: `here${family}` });
    count(a, "pod", "delivered");
    deliver(a, family, `here${family}`);
    a.label(`elsewhere${family}`);
    findPeer(a, family, AT, "destination", { lengths: tunnel.lengths, else_: "destination" });
    a.move(R8, R0);
    reachedBy(a, "tunnel", tunnel.direct ? `direct${family}` : "destination");
    measured(a);
    a.jumpIf(R9, "<=", tunnel.mtu, `measured${family}`).move(R9, tunnel.mtu).label(`measured${family}`);
    fits(a, family, AT, `peer${family}`);
    settled(a, family, AT, { offsets, lifetimes, label: `away${family}` });
    if (tunnel.encapsulate) encapsulate(a, family, tunnel, "pod");
    else byDevice(a, family, tunnel);
    if (!tunnel.direct) continue;
    a.label(`direct${family}`);
    // What fits the way besides is asked of the kernel.
    measured(a);
    fits(a, family, AT, `direct${family}`);
    settled(a, family, AT, { offsets, lifetimes, label: `direct${family}` });
    sendDirectly(a, family, tunnel);
  }
  end(a, "pod");
  return tunnel.encapsulate ? cut(a) : a;
}

/** R9 = what was measured to pass the way to the peer of the entry in R8. Larger packets are the ordinary path's, whose route tells the pod. */
const measured = (a: Assembly): void => void a.load(2, R9, R8, PEER.mtu);

/** Goes on if the packet's source is an address of the pod behind this very device. */
function ownSource(a: Assembly, family: Family): void {
  a.move(R2, R7)
    .alu(R2, "+=", AT + IP[family].source)
    .map(R1, `pods${family}`)
    .call("map_lookup_elem")
    .jumpIf(R0, "==", 0, "source")
    .load(4, R1, R0, POD.ifindex)
    .load(4, R2, R6, SKB.ifindex)
    .jumpIf(R1, "!=", R2, "source");
}

/** Sends the packet as it is to the next hop of the entry in R8. */
function sendDirectly(a: Assembly, family: Family, { uplink }: TunnelSettings): void {
  findWay(a, `direct${family}`, {
    family,
    source: (at) => void a.load(4, R1, R7, AT + IP[family].source + at),
    overhead: 0,
    uplink,
  });
  hop(a, family, AT, `direct${family}`);
  copyMac(a, ETHERNET.destination, WAY.hop);
  copyMac(a, ETHERNET.source, WAY.own);
  count(a, "pod", "sent");
  leave(a, `direct${family}`, uplink, family);
}

/** Hands the frame to the VXLAN device, addressed to the peer of the entry in R8, as routing would. */
function byDevice(a: Assembly, family: Family, { mac, device }: TunnelSettings): void {
  count(a, "pod", "sent");
  hop(a, family, AT, `away${family}`);
  copyMac(a, ETHERNET.destination, PEER.mac);
  writeMac(a, ETHERNET.source, mac);
  a.move(R1, device).move(R2, 0).call("redirect").exit();
}
