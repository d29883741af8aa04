/**
 * The program at the VXLAN device, for what comes to it by the ordinary path: routed, judged and translated as ever, and to a peer. It makes the
 * tunnel's header in the device's stead, which saves the outer packet's own way through the host; what it does not know is the device's.
 */
import { FAMILIES, type Family } from "../../../addr/index.ts";
import { Assembly, R0, R1, R6, R7, R8, R9, R10, SKB } from "../../bpf/index.ts";
import {
  atPeer,
  begin,
  end,
  ETHER_TYPE,
  ETHERNET,
  findPeer,
  fits,
  IP,
  PROTOCOL,
  reachedBy,
  readable,
  STACK,
  TCP,
} from "./packet.ts";
import type { TunnelSettings } from "./settings.ts";
import { cut, encapsulate } from "./tunnel.ts";

const AT = ETHERNET.bytes;

/** @throws RangeError when the header is to be made over IPv6 */
export function toDevice(tunnel: TunnelSettings): Assembly {
  const a = new Assembly();
  begin(a, "frame", tunnel);
  readable(a, ETHERNET.bytes, "frame");
  a.load(2, R1, R7, ETHERNET.type).jumpIf(R1, "==", ETHER_TYPE[4], "ip4").jumpIf(R1, "!=", ETHER_TYPE[6], "frame");
  for (const family of FAMILIES.toReversed()) {
    a.label(`ip${family}`);
    readable(a, AT + IP[family].bytes, "shape");
    segments(a, family);
    findPeer(a, family, AT, "destination", { lengths: tunnel.lengths, else_: "destination" });
    reachedBy(a, "tunnel", "destination");
    // Routing has addressed it to the very peer that has the destination.
    atPeer(a, "destination");
    a.move(R8, R0).move(R9, tunnel.mtu);
    fits(a, family, AT, `peer${family}`);
    encapsulate(a, family, tunnel, "device");
  }
  end(a, "device");
  return cut(a);
}

/** Goes on if it is one packet, or stands for segments of TCP, and notes the length of their header. */
function segments(a: Assembly, family: Family): void {
  const { bytes, next } = IP[family];
  a.load(4, R1, R6, SKB.gso_size).jumpIf(R1, "==", 0, `one${family}`);
  if (family === 4) a.load(1, R1, R7, AT).jumpIf(R1, "!=", 0x45, "shape");
  a.load(1, R1, R7, AT + next).jumpIf(R1, "!=", PROTOCOL.TCP, "protocol");
  readable(a, AT + bytes + TCP.bytes, "shape");
  a.load(1, R1, R7, AT + bytes + TCP.offset)
    .alu(R1, ">>=", 4)
    .alu(R1, "<<=", 2)
    .store(8, R10, STACK.headerBytes, R1)
    .jump(`many${family}`)
    .label(`one${family}`)
    .store(8, R10, STACK.headerBytes, 0)
    .label(`many${family}`);
}
