/**
 * The overlay's MTU. Encapsulation costs an outer Ethernet-less header: IP, UDP 8, VXLAN 8 and the inner
 * Ethernet 14 bytes (RFC 7348, section 5), so 50 bytes over IPv4 and 70 over IPv6. A packet that does not
 * fit is lost in silence on most underlays, so an explicit value that is too large earns a warning.
 */
import { type Family, familyOf } from "../addr/index.ts";

/** What encapsulation adds to an inner packet, in bytes, by the family of the underlay. */
export const vxlanOverhead = (family: Family): 50 | 70 => (family === 4 ? 50 : 70);

/** The least MTU of a link that carries IPv6 (RFC 8200, section 5); the kernel takes IPv6 off a device below it. */
const IPV6_MIN_MTU = 1280;

/** The MTU for the VXLAN device and the pods, with what an operator should know about it. */
export interface OverlayMtu {
  mtu: number;
  warnings: string[];
}

/**
 * The MTU of the overlay over an underlay device.
 * @param configured "auto", or bytes that win whatever the underlay's MTU is.
 */
export function overlayMtu(
  configured: "auto" | number,
  underlay: { ip: string; mtu: number; device: string },
  podFamilies: readonly Family[],
): OverlayMtu {
  const family = familyOf(underlay.ip);
  const fitting = underlay.mtu - vxlanOverhead(family);
  const mtu = configured === "auto" ? fitting : configured;
  const warnings: string[] = [];
  if (mtu > fitting) {
    warnings.push(
      `mtu ${mtu} is over ${fitting}, the most that fits into ${underlay.device}'s MTU of ${underlay.mtu} ` +
        `(VXLAN over IPv${family} adds ${vxlanOverhead(family)} bytes): larger packets of pods will be lost`,
    );
  }
  if (mtu < IPV6_MIN_MTU && podFamilies.includes(6)) {
    warnings.push(
      `mtu ${mtu} is under ${IPV6_MIN_MTU}, the least that IPv6 works with: raise the MTU of ${underlay.device}, ` +
        "or pods will have no IPv6",
    );
  }
  return { mtu, warnings };
}
