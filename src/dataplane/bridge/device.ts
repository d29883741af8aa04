/**
 * The bridge and its ports. Compared setting by setting and put right in place; a port joins the bridge while it is down, so
 * that no frame passes before its settings hold.
 *
 * The settings are the network's protection. Nothing is learned: addresses are known. A frame for an unknown address goes
 * nowhere. Every port is locked (Linux 5.16): a frame comes in only where its source address is known to be behind that
 * port, so no pod can send from another one's address, and no node from that of a pod here. At pods' ports an unknown address is
 * announced where the kernel can (MAB, Linux 6.2, which for its own sake wants `learning` on). Frames to link-local
 * groups would teach addresses in spite of the lock (Documentation/networking/bridge.rst, no_linklocal_learn), so
 * they must not. Announced addresses count as learned ones, whose number is bounded: a pod that makes up addresses
 * fills no memory.
 */
import { derivedMac } from "../../addr/index.ts";
import {
  type BridgeSettings,
  type Link,
  NetlinkError,
  type Operation,
  type PortSettings,
  type Rtnl,
} from "../../netlink/index.ts";
import type { LinkNetns } from "../kernel/index.ts";
import { deviceAlias, deviceOf, ensureDevice } from "../vxlan/index.ts";
import { DeviceConflict } from "../../peers/index.ts";
import { POD_PORT } from "../pod-link/index.ts";
import type { Devices } from "./actual.ts";
import { BRIDGE_NAME, type BridgedNetwork } from "./types.ts";

/** Addresses that are announced and not let in at one time; the kernel forgets each after five minutes of silence. */
const MAX_SEEN = 1_024;

/** The bridge's own settings. */
const SETTINGS: Required<BridgeSettings> = { mcastSnooping: false, linkLocalLearning: false, fdbMaxLearned: MAX_SEEN };

/** The VXLAN device as a port. */
export const tunnelPort = ({ broadcast }: Pick<BridgedNetwork, "broadcast">): PortSettings => ({
  learning: false,
  unicastFlood: false,
  mcastFlood: broadcast === "Replicate",
  bcastFlood: broadcast === "Replicate",
  neighSuppress: true,
  isolated: false,
  locked: true,
  mab: false,
});

/** Settings that differ from what is wanted; one that this kernel does not show it does not know. */
function differences<T extends object>(wanted: Required<T>, actual: Partial<T> | undefined): Partial<T> {
  const keys = Object.keys(wanted) as (keyof T)[];
  const differing = keys.filter((key) => !actual || (actual[key] !== undefined && actual[key] !== wanted[key]));
  return Object.fromEntries(differing.map((key) => [key, wanted[key]])) as Partial<T>;
}

const isEmpty = (object: object): boolean => Object.keys(object).length === 0;

/** What makes a device the port that it should be; nothing when it is. `up`: it is to be up in the end. */
export function planPort(link: Link, bridge: number, wanted: PortSettings): Operation[] {
  const { index } = link;
  const set = (change: object): Operation => ({ op: "set", kind: "link", link: { index, ...change } });
  if (link.master !== bridge)
    return [set({ up: false }), set({ master: bridge }), set({ port: wanted }), set({ up: true })];
  // Without a carrier the kernel has every port disabled, and enables it when there is one.
  const isStopped = link.up && link.lowerUp && link.port?.forwarding === false;
  const port = { ...differences<PortSettings>(wanted, link.port), ...(isStopped && { forwarding: true }) };
  return [...(isEmpty(port) ? [] : [set({ port })]), ...(link.up ? [] : [set({ up: true })])];
}

/** What makes the bridge what it should be, once it is there. */
export function planBridgeDevice(link: Link, local: BridgedNetwork): Operation[] {
  const { index } = link;
  const settings = differences(SETTINGS, link.bridge);
  const change = {
    ...(link.mac !== bridgeMac(local) && { mac: bridgeMac(local) }),
    ...(link.alias !== deviceAlias(local.network) && { alias: deviceAlias(local.network) }),
    ...(link.addrGenMode !== undefined && link.addrGenMode !== "none" && { addrGenMode: "none" as const }),
    ...(!isEmpty(settings) && { bridge: settings }),
    ...(!link.up && { up: true }),
  };
  return isEmpty(change) ? [] : [{ op: "set", kind: "link", link: { index, ...change } }];
}

const bridgeMac = ({ node, vni }: BridgedNetwork): string => derivedMac(`${node}/${vni}/bridge`);

/** What {@link ensureBridge} found and did. */
export interface EnsuredBridge {
  devices: Devices;
  /** For the log: what was done, in words. */
  did: string[];
  problems: string[];
  /** Pods' ports that had to be changed. */
  changed: Set<string>;
  /** Why ports cannot be what they should be, by name. */
  refused: Map<string, string>;
}

/**
 * Makes VXLAN device, bridge and ports what they should be.
 * @throws DeviceConflict, NetlinkError, SysError
 */
export function ensureBridge(
  rtnl: Rtnl,
  local: BridgedNetwork,
  ports: Iterable<string>,
  where: { netns?: number | string | undefined; linkNetns?: LinkNetns | undefined },
): EnsuredBridge {
  const device = { ...deviceOf(local), bridged: true };
  const how = tunnelPreparation(where.netns);
  const { link: vxlan, did, problems } = ensureDevice(rtnl, device, how, where.linkNetns);
  const bridge = makeBridge(rtnl, local, did);
  const joined = applyAll(rtnl, planPort(vxlan, bridge, tunnelPort(local)));
  if (joined > 0) did.push(`made ${vxlan.name} a port`);
  mustBeLocked(rtnl.link(vxlan.index));
  const devices = { bridge, vxlan: vxlan.index, vni: local.vni, port: local.port };
  const indexes = new Map([[local.device, vxlan.index]]);
  const links = new Map(rtnl.links().map((link) => [link.name, link]));
  const found = ensurePorts(rtnl, ports, (ifname) => links.get(ifname), bridge, indexes);
  return { devices: { ...devices, ports: indexes }, did, problems, ...found };
}

/** How the VXLAN device of a bridge is prepared: a port has no use for IPv6 of its own. */
export const tunnelPreparation = (netns: number | string | undefined) => ({ netns, ipv6: false });

function makeBridge(rtnl: Rtnl, local: BridgedNetwork, did: string[]): number {
  let link = rtnl.link(BRIDGE_NAME);
  if (link && link.kind !== "bridge") {
    const message = `there is a ${link.kind ?? "physical"} device called ${BRIDGE_NAME}, a name that Skylane needs for its bridge; rename or delete it`;
    throw new DeviceConflict(BRIDGE_NAME, message);
  }
  if (!link) {
    const spec = { kind: "bridge" as const, name: BRIDGE_NAME, mac: bridgeMac(local), settings: SETTINGS };
    rtnl.execute({ op: "add", kind: "link", link: { ...spec, addrGenMode: "none" } });
    did.push(`made ${BRIDGE_NAME}`);
    link = rtnl.link(BRIDGE_NAME);
  }
  if (!link) throw new Error(`device ${BRIDGE_NAME} went away while it was being set up`);
  if (applyAll(rtnl, planBridgeDevice(link, local)) > 0) did.push(`set up ${BRIDGE_NAME}`);
  return link.index;
}

/** Makes pods' host ends ports, and notes the indexes of those that are; one that is not there is no error. */
export function ensurePorts(
  rtnl: Rtnl,
  ports: Iterable<string>,
  linkOf: (ifname: string) => Link | undefined,
  bridge: number,
  indexes: Map<string, number>,
): Pick<EnsuredBridge, "changed" | "refused"> {
  const changed = new Set<string>();
  const refused = new Map<string, string>();
  for (const ifname of ports) {
    const link = linkOf(ifname);
    if (!link) continue;
    try {
      if (link.kind !== "veth") throw new DeviceConflict(ifname, `${ifname} is no end of a veth pair`);
      if (applyAll(rtnl, planPort(link, bridge, POD_PORT)) > 0) {
        changed.add(ifname);
        mustBeLocked(rtnl.link(link.index));
      }
      indexes.set(ifname, link.index);
    } catch (error) {
      if (!(error instanceof NetlinkError || error instanceof DeviceConflict)) throw error;
      if (!(error instanceof NetlinkError && error.code === "ENODEV")) refused.set(ifname, error.message);
    }
  }
  return { changed, refused };
}

function applyAll(rtnl: Rtnl, operations: readonly Operation[]): number {
  const [failure] = rtnl.executeAll(operations);
  if (failure) throw failure.error;
  return operations.length;
}

/** @throws DeviceConflict where the kernel has no locked ports: without them the network would be open to spoofing. */
function mustBeLocked(link: Link | undefined): void {
  if (!link || link.port?.locked) return;
  throw new DeviceConflict(
    link.name,
    `the kernel cannot lock ${link.name} as a bridge port, so pods could send from each other's addresses; bridged networks need Linux 5.16 or later`,
  );
}
