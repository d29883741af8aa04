/**
 * The program at the underlay device for what peers send without the tunnel: packets of settled connections go straight to their pods. Whatever is not from a
 * prefix of such a peer is none of its business and not counted.
 */
import { FAMILIES } from "../../../addr/index.ts";
import { Assembly, R1, R7 } from "../../bpf/index.ts";
import {
  begin,
  count,
  deliver,
  end,
  ETHER_TYPE,
  ETHERNET,
  findPeer,
  findPod,
  IP,
  pull,
  readable,
  reachedBy,
  readPacket,
} from "./packet.ts";
import { settled } from "./settled.ts";
import type { Lifetimes, Offsets, TunnelSettings } from "./settings.ts";

const AT = ETHERNET.bytes;

export function fromSegment(tunnel: TunnelSettings, lifetimes: Lifetimes, offsets: Offsets): Assembly {
  const { lengths } = tunnel;
  const a = new Assembly();
  begin(a, "next", tunnel);
  pull(a, AT, "next");
  readable(a, AT, "next");
  a.load(2, R1, R7, ETHERNET.type).jumpIf(R1, "==", ETHER_TYPE[4], "ip4").jumpIf(R1, "!=", ETHER_TYPE[6], "next");
  for (const family of FAMILIES.toReversed()) {
    a.label(`ip${family}`);
    readable(a, AT + IP[family].bytes, "next");
    findPeer(a, family, AT, "source", { lengths, else_: "next" });
    reachedBy(a, "direct", "next");
    readPacket(a, family, AT);
    findPod(a, family, AT, "destination");
    settled(a, family, AT, { offsets, lifetimes, label: `in${family}` });
    count(a, "wire", "delivered");
    deliver(a, family, `in${family}`);
  }
  end(a, "wire");
  return a;
}
