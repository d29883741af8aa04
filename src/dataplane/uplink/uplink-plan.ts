/** What one end of an uplink lacks: compared with what is there, so that an end which is right sees no change and no event. */
import { addressBits, bigIntToIp, cidrOf, type Family, familyOf } from "../../addr/index.ts";
import { type Link, type Operation, ROUTE_PROTOCOL, type Route, type Rtnl } from "../../netlink/index.ts";
import { UPLINK_CIDRS } from "../nft/index.ts";

/** RT_TABLE_MAIN and NUD_PERMANENT (linux/rtnetlink.h, linux/neighbour.h). */
const MAIN_TABLE = 254;
const PERMANENT = 0x80;
const SCOPE_LINK = 253;

const gatewayOf = (family: Family): string => bigIntToIp(cidrOf(UPLINK_CIDRS[family]).first + 1n, family);
/**
 * The host, as networks' ends see it. It is nobody's address: that of pods' gateways would be one of the network's namespace, whose
 * host ends have it.
 */
export const UPLINK_GATEWAY: Readonly<Record<Family, string>> = { 4: gatewayOf(4), 6: gatewayOf(6) };

/** What an end should be. */
export interface Wanted {
  link: Link;
  /** In bytes. */
  mtu: number;
  addresses?: readonly string[];
  neighbours: readonly { ip: string; mac: string }[];
  /** Addresses of the other end that are on this link. */
  reached?: readonly string[];
  /** Whether everything else is reached through it, in the families of its addresses. */
  gateways?: boolean;
}

/** The operations that make it so. @throws NetlinkError when the kernel cannot be read */
export function endOperations(
  rtnl: Pick<Rtnl, "addresses" | "neighbours" | "routes">,
  { link, mtu, addresses = [], neighbours, reached = [], gateways }: Wanted,
): Operation[] {
  const { index: ifindex } = link;
  const operations: Operation[] = [];
  if (!link.up || link.mtu !== mtu)
    operations.push({ op: "set", kind: "link", link: { index: ifindex, mtu, up: true } });
  const has = rtnl.addresses({ ifindex }).map(({ ip }) => ip);
  for (const ip of addresses) {
    if (has.includes(ip)) continue;
    const nodad = familyOf(ip) === 6 && { nodad: true };
    operations.push({
      op: "add",
      kind: "address",
      address: { ifindex, ip, prefix: addressBits(familyOf(ip)), ...nodad },
    });
  }
  const knows = rtnl.neighbours({ ifindex });
  for (const { ip, mac } of neighbours) {
    if (knows.some((one) => one.ip === ip && one.mac === mac && ((one.state ?? 0) & PERMANENT) !== 0)) continue;
    operations.push({ op: "replace", kind: "neighbour", neighbour: { ifindex, ip, mac } });
  }
  const routes = rtnl.routes({ ifindex, table: MAIN_TABLE });
  for (const route of wantedRoutes(ifindex, reached, gateways ? addresses : [])) {
    const there = ({ dst, gateway, protocol }: Route): boolean =>
      dst === route.dst && gateway === route.gateway && protocol === ROUTE_PROTOCOL;
    if (!routes.filter(({ family }) => family === route.family).some(there))
      operations.push({ op: "replace", kind: "route", route });
  }
  return operations;
}

const wantedRoutes = (ifindex: number, reached: readonly string[], through: readonly string[]): Route[] => [
  ...reached.map((ip): Route => {
    const family = familyOf(ip);
    return { family, dst: `${ip}/${addressBits(family)}`, ifindex, scope: SCOPE_LINK };
  }),
  ...through.map((ip): Route => {
    const family = familyOf(ip);
    return { family, dst: "default", gateway: UPLINK_GATEWAY[family], ifindex, onlink: true };
  }),
];
