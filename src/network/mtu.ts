/** The overlay's MTU. A packet that does not fit is lost in silence on most underlays, so an explicit value that is too large earns a warning. */
import { tunnelOverhead } from "../dataplane/vxlan/index.ts";
import { type Family, familyOf } from "../addr/index.ts";
import type { Encryption } from "../peers/index.ts";

/** The least MTU of a link that carries IPv6 (RFC 8200, section 5); the kernel takes IPv6 off a device below it. */
const IPV6_MIN_MTU = 1280;

/** The MTU for the VXLAN device and the pods, with what an operator should know about it. */
export interface OverlayMtu {
  mtu: number;
  warnings: string[];
  /** Why pods that should have IPv6 cannot have it, naming what has to be changed. */
  narrow?: string;
}

/**
 * The MTU of the overlay over an underlay device.
 * @param configured "auto", or bytes that win whatever the underlay's MTU is. @param encryption absent where it is off
 */
export function overlayMtu(
  configured: "auto" | number,
  underlay: { ip: string; mtu: number; device: string },
  podFamilies: readonly Family[],
  encryption?: Encryption,
): OverlayMtu {
  const family = familyOf(underlay.ip);
  const overhead = tunnelOverhead({ underlayIp: underlay.ip, ...(encryption && { encryption }) });
  const fitting = underlay.mtu - overhead;
  const mtu = configured === "auto" ? fitting : configured;
  const warnings: string[] = [];
  if (mtu > fitting) {
    warnings.push(
      `mtu ${mtu} is over ${fitting}, the most that fits into ${underlay.device}'s MTU of ${underlay.mtu} ` +
        `(VXLAN ${encryption ? "in WireGuard " : ""}over IPv${family} adds ${overhead} bytes): larger packets of pods will be lost`,
    );
  }
  if (mtu >= IPV6_MIN_MTU || !podFamilies.includes(6)) return { mtu, warnings };
  const least = IPV6_MIN_MTU + overhead;
  const cure =
    configured === "auto"
      ? `${underlay.device} has an MTU of ${underlay.mtu}; it must be ${least} at least`
      : `the configured mtu must be ${IPV6_MIN_MTU} at least` +
        (fitting < IPV6_MIN_MTU ? `, and that of ${underlay.device}, which is ${underlay.mtu}, ${least}` : "");
  const narrow = `an MTU of ${mtu} is under the ${IPV6_MIN_MTU} bytes that IPv6 needs, so the kernel takes IPv6 off the device: ${cure}`;
  return { mtu, warnings: [...warnings, narrow], narrow };
}
