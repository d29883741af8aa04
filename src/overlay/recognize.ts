/** Which devices are Skylane's, and which of those that are not are in the way of one. */
import type { Link } from "../netlink/index.ts";
import { DEVICE_ALIAS_PREFIX } from "./desired.ts";
import { DeviceConflict } from "./errors.ts";
import type { DesiredDevice } from "./types.ts";

/** Names of VXLAN devices of Skylane: `sky.<vni>`. */
const OURS = /^sky\.(\d+)$/;

/** Whether a link is a VXLAN device of Skylane's, of whatever network. */
export const isOverlayDevice = (link: Link): boolean =>
  link.kind === "vxlan" && (OURS.test(link.name) || (link.alias?.startsWith(DEVICE_ALIAS_PREFIX) ?? false));

/** Whether a device has the desired one's VNI and port, of which the kernel has no two. */
export const sameVxlan = (desired: DesiredDevice, { vxlan }: Link): boolean =>
  vxlan !== undefined && vxlan.vni === desired.vni && vxlan.port === desired.port;

/** A VXLAN device with the same VNI and port is in the way. */
export function vxlanConflict({ name, vni, port }: DesiredDevice, { name: other }: Link): DeviceConflict {
  return new DeviceConflict(
    other,
    `device ${other} uses VNI ${vni} on UDP port ${port} already, so the kernel cannot make ${name}; ` +
      `delete ${other} if nothing uses it (another CNI plugin's leftover?), or configure another vni or port`,
  );
}
