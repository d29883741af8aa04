/**
 * The VXLAN device. Compared setting by setting: MTU, MAC, alias and link group are set in place, everything else belongs
 * to the device's making, so a device that differs there is made anew, once, and what lay on it is planned anew.
 *
 * A device is ours by kind, and by name or alias: whoever renames ours leaves the alias, and the kernel would let us
 * make no second one beside it. One of our name but another kind is somebody's, and so is a VXLAN device with our VNI
 * on our port that does not carry our alias: both are named, not touched.
 */
import { type Link, type Operation, OVERLAY_LINK_GROUP, type Rtnl } from "../../../netlink/index.ts";
import type { LinkNetns } from "../../kernel/index.ts";
import { createInNetns, planLinkNetns } from "./link-netns.ts";
import { type DesiredDevice, DeviceConflict } from "../../../peers/index.ts";
import { fixedDifferences, liveDifferences } from "../plan/match.ts";
import { prepareDevice, type Preparation } from "./prepare.ts";
import { isOverlayDevice, sameVxlan, vxlanConflict, whoIsInTheWay } from "./recognize.ts";

/** What has to be done about the device itself, but for setting it up. */
export interface DevicePlan {
  operations: Operation[];
  /** Why it is made anew, in words; empty when it is not. */
  remade: string[];
}

/**
 * Plans the device from all links of the namespace.
 * @throws DeviceConflict when something that is not ours is in the way.
 */
export function planDevice(desired: DesiredDevice, links: readonly Link[]): DevicePlan {
  const operations: Operation[] = [];
  for (const link of links) {
    const stale = isOverlayDevice(link) && link.name !== desired.name && link.alias === desired.alias;
    if (stale) operations.push({ op: "del", kind: "link", link: { index: link.index, name: link.name } });
    else if (link.name !== desired.name && sameVxlan(desired, link)) throw vxlanConflict(desired, link);
  }
  const existing = links.find(({ name }) => name === desired.name);
  const { name, vni, port, local, mac, mtu, alias } = desired;
  const add: Operation = {
    op: "add",
    kind: "link",
    link: {
      kind: "vxlan",
      name,
      vni,
      port,
      local,
      mac,
      mtu,
      alias,
      group: OVERLAY_LINK_GROUP,
      learning: false,
      addrGenMode: "none",
    },
  };
  if (!existing) return { operations: [...operations, add], remade: [] };
  if (existing.kind !== "vxlan") {
    const kind = existing.kind ?? "physical";
    const message = `there is a ${kind} device called ${name}, a name that Skylane needs for its VXLAN device; rename or delete it`;
    throw new DeviceConflict(name, message);
  }
  const remade = fixedDifferences(desired, existing);
  if (remade.length > 0) {
    operations.push({ op: "del", kind: "link", link: { index: existing.index, name } }, add);
    return { operations, remade };
  }
  const change = liveDifferences(desired, existing);
  if (Object.keys(change).length > 0) {
    operations.push({ op: "set", kind: "link", link: { index: existing.index, ...change } });
  }
  return { operations, remade };
}

/** What {@link ensureDevice} found and did. */
export interface EnsuredDevice {
  link: Link;
  /** Whether anything of the device had to be changed. */
  changed: boolean;
  /** For the log: what was done, in words. */
  did: string[];
  /** Settings that could not be made, each in words; the device works without them, if less well. */
  problems: string[];
}

/**
 * Makes the device what it should be and sets it up. An unchanged device sees no operation.
 * @param linkNetns where the device is made when that is not where it shall be.
 * @throws DeviceConflict, NetlinkError, SysError
 */
export function ensureDevice(
  rtnl: Pick<Rtnl, "links" | "link" | "execute">,
  desired: DesiredDevice,
  how: Preparation,
  linkNetns?: LinkNetns,
): EnsuredDevice {
  const before = linkNetns ? planLinkNetns(desired, linkNetns.rtnl.links()) : [];
  const { operations, remade } = planDevice(desired, rtnl.links());
  const did = [...before, ...operations].map((operation) => inWords(operation, remade));
  for (const operation of before) linkNetns?.rtnl.execute(operation);
  for (const operation of operations) {
    const made = linkNetns && operation.kind === "link" && operation.op === "add";
    if (made) createInNetns(linkNetns, desired, operation);
    else execute(rtnl, desired, operation);
  }
  let link = mustBeThere(rtnl, desired);
  const wrong = fixedDifferences(desired, link);
  if (wrong.length > 0) {
    throw new DeviceConflict(
      desired.name,
      `the kernel made ${desired.name} with another ${wrong.join(", ")} than asked for`,
    );
  }
  const prepared = prepareDevice(desired, how);
  // What a new device is given goes without saying.
  if (!operations.some(({ op }) => op === "add")) did.push(...prepared.did);
  if (!link.up) {
    execute(rtnl, desired, { op: "set", kind: "link", link: { index: link.index, up: true } });
    if (did.length === 0) did.push("set it up");
    link = mustBeThere(rtnl, desired);
  }
  return { link, changed: did.length > 0, did, problems: prepared.problems };
}

/** @throws DeviceConflict, NetlinkError */
function execute(rtnl: Pick<Rtnl, "execute">, desired: DesiredDevice, operation: Operation): void {
  try {
    rtnl.execute(operation);
  } catch (error) {
    throw whoIsInTheWay(error, desired);
  }
}

function mustBeThere(rtnl: Pick<Rtnl, "link">, { name }: DesiredDevice): Link {
  const link = rtnl.link(name);
  if (!link) throw new Error(`device ${name} went away while it was being set up`);
  return link;
}

function inWords(operation: Operation, remade: string[]): string {
  if (operation.kind !== "link") return operation.kind;
  switch (operation.op) {
    case "add":
      return remade.length > 0 ? `made it anew (other ${remade.join(", ")})` : "made it";
    case "del":
      return `deleted ${operation.link.name ?? "it"}`;
    default: {
      const { index: _, bridge: _bridge, port: _port, ...changes } = operation.link;
      return `set ${Object.entries(changes)
        .map(([key, value]) => `${key} ${String(value)}`)
        .join(", ")}`;
    }
  }
}
