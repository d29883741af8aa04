/**
 * The program at the VXLAN device, for what that has taken out of the tunnel: packets of settled connections go straight to their pods. It is there where the underlay
 * device is in another network namespace, as in a pod network with one of its own: no program can hand a packet over from one to the other, but the device does.
 * That the outer packet came from the peer is for the rules of the host's namespace, which see it; the frame's MAC says which peer it was.
 */
import { FAMILIES } from "../../../addr/index.ts";
import { Assembly, R1, R7 } from "../../bpf/index.ts";
import {
  atPeer,
  begin,
  count,
  deliver,
  end,
  ETHER_TYPE,
  ETHERNET,
  findPeer,
  findPod,
  pull,
  readable,
  reachedBy,
  readPacket,
} from "./packet.ts";
import { settled } from "./settled.ts";
import type { Lifetimes, Offsets, TunnelSettings } from "./settings.ts";

const AT = ETHERNET.bytes;

export function fromDevice(tunnel: TunnelSettings, lifetimes: Lifetimes, offsets: Offsets): Assembly {
  const { lengths } = tunnel;
  const a = new Assembly();
  begin(a, "frame", tunnel);
  pull(a, AT, "kernel");
  readable(a, AT, "frame");
  a.load(2, R1, R7, ETHERNET.type).jumpIf(R1, "==", ETHER_TYPE[4], "ip4").jumpIf(R1, "!=", ETHER_TYPE[6], "frame");
  for (const family of FAMILIES.toReversed()) {
    a.label(`ip${family}`);
    readPacket(a, family, AT);
    findPeer(a, family, AT, "source", { lengths, else_: "source" });
    reachedBy(a, "tunnel", "source");
    // It came from the VTEP of the very peer that has the source.
    atPeer(a, "source");
    findPod(a, family, AT, "destination");
    settled(a, family, AT, { offsets, lifetimes, label: `in${family}` });
    count(a, "wire", "delivered");
    deliver(a, family, `in${family}`);
  }
  end(a, "wire");
  return a;
}
