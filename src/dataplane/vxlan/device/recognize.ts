/** Which devices are Skylane's, and which of those that are not are in the way of one. */
import { type Link, NetlinkError } from "../../../netlink/index.ts";
import { DEVICE_ALIAS_PREFIX } from "../desired/desired.ts";
import { type DesiredDevice, DeviceConflict } from "../../../peers/index.ts";

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

/**
 * An error of making a VXLAN device or setting it up, in words where something that this namespace's links do not show is in the
 * way: EEXIST is a device that was made here and moved into another namespace, as Docker Swarm does it; EADDRINUSE is a UDP
 * socket of a process, or one of the kernel's with other settings (vxlan_sock_add in drivers/net/vxlan/vxlan_core.c).
 */
export function whoIsInTheWay(error: unknown, { name, vni, port }: DesiredDevice): unknown {
  if (!(error instanceof NetlinkError)) return error;
  const look = "skylanectl doctor on this host says what it is";
  if (error.code === "EEXIST") {
    return new DeviceConflict(
      name,
      `a VXLAN device with VNI ${vni} on UDP port ${port} is in another network namespace of this host already, ` +
        `so the kernel cannot make ${name}; delete it there if nothing uses it, or configure another vni (${look})`,
      { cause: error },
    );
  }
  if (error.code === "EADDRINUSE") {
    return new DeviceConflict(
      name,
      `UDP port ${port} is taken by another socket, so ${name} cannot receive; end what has it, or configure another port (${look})`,
      { cause: error },
    );
  }
  return error;
}
