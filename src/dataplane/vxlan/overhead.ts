/**
 * What the tunnel costs. Encapsulation is an outer IP header, UDP 8, VXLAN 8 and the inner Ethernet 14 bytes (RFC 7348, section 5), so 50
 * bytes over IPv4 and 70 over IPv6.
 */
import type { Family } from "../../addr/index.ts";

/** What encapsulation adds to an inner packet, in bytes, by the family of the underlay. */
export const vxlanOverhead = (family: Family): 50 | 70 => (family === 4 ? 50 : 70);
