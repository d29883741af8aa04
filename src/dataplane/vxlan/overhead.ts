/**
 * What the tunnel costs. Encapsulation is an outer IP header, UDP 8, VXLAN 8 and the inner Ethernet 14 bytes (RFC 7348, section 5), so 50
 * bytes over IPv4 and 70 over IPv6. Where it is encrypted, WireGuard's outer IP header, UDP 8, its own header 16 and its tag 16 bytes come to that
 * (drivers/net/wireguard/messages.h).
 */
import { type Family, familyOf } from "../../addr/index.ts";
import type { LocalNetwork } from "../../peers/index.ts";

/** What encapsulation adds to an inner packet, in bytes, by the family of the underlay. */
export const vxlanOverhead = (family: Family): 50 | 70 => (family === 4 ? 50 : 70);

/** What WireGuard adds to a packet, in bytes, by the family of the underlay. */
export const wireguardOverhead = (family: Family): 60 | 80 => (family === 4 ? 60 : 80);

/** What all that is around an inner packet of a network adds to it, in bytes. */
export const tunnelOverhead = ({ underlayIp, encryption }: Pick<LocalNetwork, "underlayIp" | "encryption">): number => {
  const family = familyOf(underlayIp);
  return vxlanOverhead(family) + (encryption ? wireguardOverhead(family) : 0);
};
