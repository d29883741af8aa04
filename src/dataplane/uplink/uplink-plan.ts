/** What one end of an uplink lacks: compared with what is there, so that an end which is right sees no change and no event. */
import { addressBits, bigIntToIp, cidrOf, type Family, familyOf } from "../../addr/index.ts";
import type { Link, Operation, Route, Rtnl } from "../../netlink/index.ts";
import { type KernelObject, planObjects } from "../kernel/index.ts";
import { UPLINK_CIDRS } from "../nft/index.ts";

/** RT_TABLE_MAIN (linux/rtnetlink.h). */
const MAIN_TABLE = 254;
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
  const wanted: KernelObject[] = [
    { kind: "link", link: { index: ifindex, mtu, up: true } },
    ...addresses.map((ip): KernelObject => {
      const family = familyOf(ip);
      const nodad = family === 6 && { nodad: true };
      return { kind: "address", address: { ifindex, ip, prefix: addressBits(family), ...nodad } };
    }),
    ...neighbours.map((one): KernelObject => ({ kind: "neighbour", neighbour: { ifindex, ...one } })),
    ...wantedRoutes(ifindex, reached, gateways ? addresses : []).map(
      (route): KernelObject => ({ kind: "route", route }),
    ),
  ];
  const { missing, different } = planObjects(wanted, [
    { kind: "link", link },
    ...rtnl.addresses({ ifindex }).map((address): KernelObject => ({ kind: "address", address })),
    ...rtnl.neighbours({ ifindex }).map((neighbour): KernelObject => ({ kind: "neighbour", neighbour })),
    ...rtnl.routes({ ifindex, table: MAIN_TABLE }).map((route): KernelObject => ({ kind: "route", route })),
  ]);
  return [...missing, ...different];
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
