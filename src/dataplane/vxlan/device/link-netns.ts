/**
 * Devices that are made from one namespace into another. A VXLAN device keeps the namespace of the request that made it: its
 * UDP socket is there, and what it encapsulates leaves there (vxlan_newlink in drivers/net/vxlan/vxlan_core.c, `net`). So
 * the device of a pod network with a namespace of its own is made from the host's, and nothing of the
 * underlay is to be found in the pod network's namespace. The kernel has one device a VNI and port for all that
 * were made from one namespace, wherever they are.
 */
import type { Link, Operation } from "../../../netlink/index.ts";
import { closeFd, openNetns } from "../../../sys/index.ts";
import type { LinkNetns } from "../../kernel/index.ts";
import { type DesiredDevice, DeviceConflict } from "../../../peers/index.ts";
import { isOverlayDevice, sameVxlan, vxlanConflict, whoIsInTheWay } from "./recognize.ts";

/** Making a device. */
export type Creation = Extract<Operation, { op: "add"; kind: "link" }>;

/**
 * What of the link netns's links must go before the device can be made: one of this network's that somebody has moved
 * there.
 * @throws DeviceConflict when something that is not this network's is in the way.
 */
export function planLinkNetns(desired: DesiredDevice, links: readonly Link[]): Operation[] {
  const operations: Operation[] = [];
  for (const link of links) {
    const { index, name } = link;
    if (isOverlayDevice(link) && link.alias === desired.alias)
      operations.push({ op: "del", kind: "link", link: { index, name } });
    else if (sameVxlan(desired, link)) throw vxlanConflict(desired, link);
    else if (name === desired.name) {
      const message = `the host has a device called ${name}, a name that Skylane needs for its VXLAN device; rename or delete it`;
      throw new DeviceConflict(name, message);
    }
  }
  return operations;
}

/** Makes a device from the link netns. @throws DeviceConflict, NetlinkError, SysError when the device's namespace is gone */
export function createInNetns({ rtnl, netns }: LinkNetns, desired: DesiredDevice, { link }: Creation): void {
  const netnsFd = typeof netns === "number" ? netns : openNetns(netns);
  try {
    const there = link.kind === "vxlan" ? { ...link, netnsFd } : link;
    rtnl.execute({ op: "add", kind: "link", link: there });
  } catch (error) {
    throw whoIsInTheWay(error, desired);
  } finally {
    if (typeof netns === "string") closeFd(netnsFd);
  }
}
