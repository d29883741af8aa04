/**
 * The WireGuard device. It has no address: what it carries are the tunnel's own packets, from and to the nodes' underlay addresses. A device of its
 * name and kind is ours whatever else is true of it; one of our link group under another name is one that somebody has renamed.
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
import { settleSysctls, type WantedSysctls, withNetns, wrongSysctls } from "../../sys/index.ts";
import type { NodeKey } from "./key.ts";

/** Its name: there is one a node. */
export const DEVICE = "skylane-wg";
const ALIAS = "skylane encryption between nodes";
const KIND = "wireguard";

/** The device as it should be. */
export interface DesiredWireguard {
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

const parameters = (family: Family): WantedSysctls => [
  // The way back of what it hands over leads into it (entries.ts); 2 beats 1 of `all`, should anything else ever come out of it.
  [`net.ipv4.conf.${DEVICE}.rp_filter`, "2"],
  ...(family === 6 ? [[`net.ipv6.conf.${DEVICE}.disable_ipv6`, "0"] as const] : []),
  [`net.ipv6.conf.${DEVICE}.accept_ra`, "0"],
];

const inside = <T>(netns: number | string | undefined, action: () => T): T =>
  netns === undefined ? action() : withNetns(netns, action);

/** Whether a link is the device, or what is left of it under another name. */
export const isEncryptionDevice = ({ name, kind, group }: Link): boolean =>
  kind === KIND && (name === DEVICE || group === ENCRYPTION_LINK_GROUP);

/** Whether a link that has the device's name is not what it should be. */
export const isWrong = ({ kind, mtu, up, group }: Link, desired: DesiredWireguard): boolean =>
  kind !== KIND || mtu !== desired.mtu || !up || group !== ENCRYPTION_LINK_GROUP;

/** Whether kernel parameters of the device are otherwise. @throws SysError */
export const hasWrongParameters = (family: Family, netns?: number | string): boolean =>
  inside(netns, () => wrongSysctls(parameters(family)).length > 0);

/** Plans the device from all links, but for setting it up. @throws DeviceConflict */
export function planWireguard(desired: DesiredWireguard, links: readonly Link[]): Operation[] {
  const operations = links
    .filter((link) => isEncryptionDevice(link) && link.name !== DEVICE)
    .map(({ index, name }): Operation => ({ op: "del", kind: "link", link: { index, name } }));
  const { mtu } = desired;
  const there = links.find(({ name }) => name === DEVICE);
  if (!there) {
    const link = {
      kind: KIND,
      name: DEVICE,
      mtu,
      group: ENCRYPTION_LINK_GROUP,
      alias: ALIAS,
      addrGenMode: "none",
    } as const;
    return [...operations, { op: "add", kind: "link", link }];
  }
  if (there.kind !== KIND) {
    const message = `there is a ${there.kind ?? "physical"} device called ${DEVICE}, a name that Skylane needs for its WireGuard device; rename or delete it`;
    throw new DeviceConflict(DEVICE, message);
  }
  const change = {
    ...(there.mtu !== mtu && { mtu }),
    ...(there.group !== ENCRYPTION_LINK_GROUP && { group: ENCRYPTION_LINK_GROUP }),
  };
  if (Object.keys(change).length > 0)
    operations.push({ op: "set", kind: "link", link: { index: there.index, ...change } });
  return operations;
}

/**
 * Makes the device what it should be, with key and port, and sets it up.
 * @returns it, and what was done, in words. @throws NoWireguard, DeviceConflict, NetlinkError, SysError
 */
export function ensureWireguard(
  rtnl: Pick<Rtnl, "links" | "link" | "execute">,
  wireguard: Pick<Wireguard, "known" | "device" | "configure">,
  desired: DesiredWireguard,
  netns?: number | string,
): { link: Link; did: string[] } {
  const did: string[] = [];
  for (const operation of planWireguard(desired, rtnl.links())) {
    execute(rtnl, wireguard, operation);
    did.push(
      operation.op === "add" ? "made it" : operation.op === "del" ? "deleted a renamed one" : "set MTU or group",
    );
  }
  const made = did.includes("made it");
  const parametersSet = inside(netns, () => settleSysctls(parameters(desired.family)));
  if (!made) did.push(...parametersSet);
  const now = wireguard.device(DEVICE);
  const { key, port } = desired;
  if (now?.publicKey !== key.publicKey || now.listenPort !== port || now.fwmark !== 0) {
    wireguard.configure(DEVICE, { privateKey: key.secret, listenPort: port, fwmark: 0 });
    if (!made) did.push(now?.publicKey === key.publicKey ? "set its port" : "gave it its key");
  }
  let link = mustBeThere(rtnl);
  if (!link.up) {
    rtnl.execute({ op: "set", kind: "link", link: { index: link.index, up: true } });
    if (!made) did.push("set it up");
    link = mustBeThere(rtnl);
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

function mustBeThere(rtnl: Pick<Rtnl, "link">): Link {
  const link = rtnl.link(DEVICE);
  if (!link) throw new Error(`device ${DEVICE} went away while it was being set up`);
  return link;
}
