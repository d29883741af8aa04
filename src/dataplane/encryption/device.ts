/**
 * The WireGuard devices, one for each lane (lanes.ts). They have no address: what they carry are the tunnel's own packets, from and to the nodes' underlay
 * addresses. A device of such a name and kind is ours whatever else is true of it; one of our link group under another name is one that somebody has
 * renamed.
 */
import { type Family } from "../../addr/index.ts";
import {
  ENCRYPTION_LINK_GROUP,
  type Link,
  NetlinkError,
  type Operation,
  type Rtnl,
  type Wireguard,
} from "../../netlink/index.ts";
import { DeviceConflict } from "../../peers/index.ts";
import { errorText } from "../../log/index.ts";
import { settleSysctls, type WantedSysctls, withNetns, wrongSysctls } from "../../sys/index.ts";
import type { NodeKey } from "./key.ts";
import { DEVICES, type Lane, laneOfDevice } from "./lanes.ts";

const ALIAS = "skylane encryption between nodes";
const KIND = "wireguard";

/** A device as it should be. */
export interface DesiredWireguard {
  lane: Lane;
  mtu: number;
  port: number;
  key: NodeKey;
  family: Family;
}

/** This kernel cannot encrypt. */
class NoWireguard extends Error {
  override readonly name = "NoWireguard";
  constructor(options?: ErrorOptions) {
    super(
      "this kernel has no WireGuard (CONFIG_WIREGUARD, in Linux since 5.6; module wireguard): install a kernel that has it, or set encryption: off on all nodes",
      options,
    );
  }
}

const parameters = (device: string, family: Family): WantedSysctls => [
  // The way back of what it hands over leads into it (entries.ts); 2 beats 1 of `all`, should anything else ever come out of it.
  [`net.ipv4.conf.${device}.rp_filter`, "2"],
  ...(family === 6 ? [[`net.ipv6.conf.${device}.disable_ipv6`, "0"] as const] : []),
  [`net.ipv6.conf.${device}.accept_ra`, "0"],
];

const inside = <T>(netns: number | string | undefined, action: () => T): T =>
  netns === undefined ? action() : withNetns(netns, action);

/** Whether a link is one of the devices, or what is left of one under another name. */
export const isEncryptionDevice = ({ name, kind, group }: Link): boolean =>
  kind === KIND && (laneOfDevice(name) !== undefined || group === ENCRYPTION_LINK_GROUP);

/** Whether a link that has a device's name is not what it should be. */
export const isWrong = ({ kind, mtu, up, group }: Link, desired: DesiredWireguard): boolean =>
  kind !== KIND || mtu !== desired.mtu || !up || group !== ENCRYPTION_LINK_GROUP;

/** Whether kernel parameters of the device are otherwise. @throws SysError */
export const hasWrongParameters = (device: string, family: Family, netns?: number | string): boolean =>
  inside(netns, () => wrongSysctls(parameters(device, family)).length > 0);

/** Plans a device from all links, but for setting it up. @throws DeviceConflict */
export function planWireguard({ lane, mtu }: DesiredWireguard, links: readonly Link[]): Operation[] {
  const name = DEVICES[lane];
  const there = links.find((link) => link.name === name);
  if (!there) {
    const link = { kind: KIND, name, mtu, group: ENCRYPTION_LINK_GROUP, alias: ALIAS, addrGenMode: "none" } as const;
    return [{ op: "add", kind: "link", link }];
  }
  if (there.kind !== KIND) {
    const message = `there is a ${there.kind ?? "physical"} device called ${name}, a name that Skylane needs for its WireGuard device; rename or delete it`;
    throw new DeviceConflict(name, message);
  }
  const change = {
    ...(there.mtu !== mtu && { mtu }),
    ...(there.group !== ENCRYPTION_LINK_GROUP && { group: ENCRYPTION_LINK_GROUP }),
  };
  return Object.keys(change).length > 0 ? [{ op: "set", kind: "link", link: { index: there.index, ...change } }] : [];
}

type Kernel = Pick<Rtnl, "links" | "link" | "execute">;
type Conversation = Pick<Wireguard, "known" | "device" | "configure">;

/** What became of the devices. */
export interface EnsuredDevices {
  devices: Map<Lane, Link>;
  /** Why one cannot be made, while another can. */
  errors: Map<Lane, string>;
  /** What was done, in words. */
  did: string[];
  /** Those of lanes that nobody uses any more: to be removed once nothing is led into them. */
  surplus: Link[];
}

/**
 * Makes the devices what they should be, with key and port, and sets them up. One that cannot be made keeps no other from it.
 * @throws NoWireguard, DeviceConflict, NetlinkError, SysError where there is none in the end
 */
export function ensureDevices(
  rtnl: Kernel,
  wireguard: Conversation,
  desired: readonly DesiredWireguard[],
  netns?: number | string,
): EnsuredDevices {
  const did: string[] = [];
  const { links, strays } = sorted(rtnl.links(), wireguard, (desired[0]?.port ?? 0) - (desired[0]?.lane ?? 0));
  for (const { index, name } of strays) {
    rtnl.execute({ op: "del", kind: "link", link: { index, name } });
    did.push(`deleted ${name}, which was renamed or has another one's port`);
  }
  const devices = new Map<Lane, Link>();
  const errors = new Map<Lane, unknown>();
  for (const one of desired) {
    try {
      const ensured = ensureWireguard(rtnl, wireguard, one, links, netns);
      devices.set(one.lane, ensured.link);
      did.push(...ensured.did.map((what) => `${what} (${DEVICES[one.lane]})`));
    } catch (error) {
      if (error instanceof NoWireguard) throw error;
      errors.set(one.lane, error);
    }
  }
  if (devices.size === 0) for (const error of errors.values()) throw error;
  const surplus = links.filter(
    (link) => isEncryptionDevice(link) && !desired.some(({ lane }) => DEVICES[lane] === link.name),
  );
  return {
    devices,
    errors: new Map(Array.from(errors, ([lane, error]) => [lane, errorText(error)] as const)),
    did,
    surplus,
  };
}

/**
 * Devices of ours that were renamed are not what they seem, and may have the port of one that is to be made.
 * @param port of the first lane
 */
function sorted(links: readonly Link[], wireguard: Conversation, port: number): { links: Link[]; strays: Link[] } {
  const ours = links.filter(isEncryptionDevice);
  const isStray = (link: Link): boolean => {
    const lane = laneOfDevice(link.name);
    if (lane === undefined) return true;
    // The only one can be set right in its place.
    return ours.length > 1 && wireguard.device(link.name)?.listenPort !== port + lane;
  };
  const strays = ours.filter(isStray);
  return { links: links.filter((link) => !strays.includes(link)), strays };
}

function ensureWireguard(
  rtnl: Kernel,
  wireguard: Conversation,
  desired: DesiredWireguard,
  links: readonly Link[],
  netns?: number | string,
): { link: Link; did: string[] } {
  const did: string[] = [];
  const name = DEVICES[desired.lane];
  for (const operation of planWireguard(desired, links)) {
    execute(rtnl, wireguard, operation);
    did.push(operation.op === "add" ? "made it" : "set MTU or group");
  }
  const made = did.includes("made it");
  const parametersSet = inside(netns, () => settleSysctls(parameters(name, desired.family)));
  if (!made) did.push(...parametersSet);
  const now = wireguard.device(name);
  const { key, port } = desired;
  if (now?.publicKey !== key.publicKey || now.listenPort !== port || now.fwmark !== 0) {
    wireguard.configure(name, { privateKey: key.secret, listenPort: port, fwmark: 0 });
    if (!made) did.push(now?.publicKey === key.publicKey ? "set its port" : "gave it its key");
  }
  let link = mustBeThere(rtnl, name);
  if (!link.up) {
    rtnl.execute({ op: "set", kind: "link", link: { index: link.index, up: true } });
    if (!made) did.push("set it up");
    link = mustBeThere(rtnl, name);
  }
  return { link, did };
}

function execute(rtnl: Pick<Rtnl, "execute">, wireguard: Pick<Wireguard, "known">, operation: Operation): void {
  try {
    rtnl.execute(operation);
  } catch (error) {
    const unknown = error instanceof NetlinkError && error.code === "EOPNOTSUPP" && !wireguard.known;
    throw unknown ? new NoWireguard({ cause: error }) : error;
  }
}

function mustBeThere(rtnl: Pick<Rtnl, "link">, name: string): Link {
  const link = rtnl.link(name);
  if (!link) throw new Error(`device ${name} went away while it was being set up`);
  return link;
}
