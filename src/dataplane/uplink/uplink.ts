/**
 * The way of a pod network to what is outside of it: a veth pair from its namespace to the host's. What may pass and under which
 * address is the packet filter's business (src/dataplane/nft/rules/uplink.ts), whose rules must be in place before.
 *
 * Addresses by which an egress gateway knows the network's packets (transits) are reached through it as well; in the namespace no device has them,
 * as the packet filter there translates to and from them.
 *
 * Both ends know each other's MAC from the start, so nothing is asked and nothing of the host need be open for it. The network's
 * end has addresses that no other network on this node has; they are kept there, and found again by the next agent.
 */
import { bigIntToIp, cidrOf, derivedMac, type Family, familyOf, ipToBigInt } from "../../addr/index.ts";
import {
  describeOperation,
  type Link,
  type Operation,
  ROUTE_PROTOCOL,
  type Rtnl,
  UPLINK_LINK_GROUP,
} from "../../netlink/index.ts";
import { UPLINK_CIDRS } from "../nft/index.ts";
import { HOST_MAC } from "../pod-link/index.ts";
import { settleSysctls, type WantedSysctls, withNetns } from "../../sys/index.ts";
import { endOperations, UPLINK_GATEWAY, type Wanted } from "./uplink-plan.ts";

/** The end in the network's namespace. */
const NETWORK_END = "uplink";
/** The host's end of the network with a VNI; fifteen characters at most. */
const hostEndName = (vni: number): string => `skyout.${vni}`;

/** Number of the first address that a network's end can have; before it is the gateway. */
const FIRST_NUMBER = 2n;

/** What an uplink belongs to. */
export interface UplinkOptions {
  network: string;
  vni: number;
  /** Of the network's CIDRs. */
  families: readonly Family[];
  /** Conversations with the host's namespace, which is this process's own, and with the network's; and the latter itself. */
  host: Rtnl;
  rtnl: Rtnl;
  netns: number;
}

/** One network's uplink. */
export class Uplink {
  readonly #options: UplinkOptions;
  readonly #name: string;
  #hostIndex: number | undefined;

  constructor(options: UplinkOptions) {
    this.#options = options;
    this.#name = hostEndName(options.vni);
  }

  /** The host's end, as it was last seen. */
  get hostIndex(): number | undefined {
    return this.#hostIndex;
  }

  /**
   * Makes it what it should be; what is right is left alone. Returns what was not, in words.
   * @param mtu of the network's pods, in bytes: what is too large for them is refused by the host, which has an address to say so
   * @param transits addresses of the node's that are reached through it; where nobody has said which, those that are there stay
   * @throws NetlinkError, SysError; Error when the host has a device of that name which is not ours
   */
  ensure(mtu: number, transits?: readonly string[]): string[] {
    const { host, rtnl, netns } = this.#options;
    const found = this.#find();
    const [hostEnd, networkEnd] = found ?? this.#make(mtu);
    this.#hostIndex = hostEnd.index;
    const addresses = this.#addresses(hostEnd, networkEnd);
    const settled = [
      ...settleSysctls(this.#parameters(this.#name)),
      ...withNetns(netns, () => settleSysctls(this.#parameters(NETWORK_END))),
    ];
    const did: string[] = found ? settled : [`veth pair ${this.#name} and ${NETWORK_END}`];
    const mac = networkEnd.mac ?? "";
    const reached = [...addresses, ...(transits ?? [])];
    const ends: [Rtnl, Wanted][] = [
      [host, { link: hostEnd, mtu, neighbours: reached.map((ip) => ({ ip, mac })), reached }],
      [rtnl, { link: networkEnd, mtu, addresses, neighbours: gatewaysOf(addresses), gateways: true }],
    ];
    for (const [where, wanted] of ends) {
      const operations = endOperations(where, wanted);
      const [failure] = where.executeAll(operations);
      if (failure) throw failure.error;
      if (found) did.push(...operations.map((operation) => describeOperation(operation, () => wanted.link.name)));
    }
    if (transits) this.#forgetOthers(hostEnd.index, new Set(reached));
    return did;
  }

  /** Takes away what leads to addresses that are transits no more. */
  #forgetOthers(ifindex: number, reached: ReadonlySet<string>): void {
    const { host } = this.#options;
    const others = host
      .routes({ ifindex, protocol: ROUTE_PROTOCOL })
      .filter(({ dst }) => !reached.has(dst.split("/")[0] as string));
    const operations = others.flatMap((route): Operation[] => [
      { op: "del", kind: "route", route },
      { op: "del", kind: "neighbour", neighbour: { ifindex, ip: route.dst.split("/")[0] as string } },
    ]);
    const [failure] = host.executeAll(operations);
    if (failure) throw failure.error;
  }

  /** Takes it away, if it is there. @throws NetlinkError */
  remove(): void {
    const { host } = this.#options;
    const link = host.link(this.#name);
    if (link && isUplink(link)) host.execute(deletion(link));
  }

  /** Both ends, where they are one pair of ours. */
  #find(): [Link, Link] | undefined {
    const { host, rtnl } = this.#options;
    const [a, b] = [host.link(this.#name), rtnl.link(NETWORK_END)];
    const whole = a && b && isUplink(a) && isUplink(b) && a.peerIndex === b.index && b.peerIndex === a.index;
    return whole && b.mac === this.#mac && a.mac === HOST_MAC ? [a, b] : undefined;
  }

  #make(mtu: number): [Link, Link] {
    const { network, host, rtnl, netns } = this.#options;
    for (const [where, link] of [
      [host, host.link(this.#name)],
      [rtnl, rtnl.link(NETWORK_END)],
    ] as const) {
      if (!link) continue;
      if (where === host && !isUplink(link))
        throw new Error(`the host has an interface ${this.#name} that is not Skylane's; it was left alone, rename it`);
      where.execute(deletion(link));
    }
    const common = { mtu, group: UPLINK_LINK_GROUP, addrGenMode: "none" as const };
    const peer = { ...common, name: NETWORK_END, mac: this.#mac, netnsFd: netns };
    const alias = `uplink of pod network ${network}`;
    const link = { ...common, kind: "veth" as const, name: this.#name, mac: HOST_MAC, alias, queues: 1, peer };
    host.execute({ op: "add", kind: "link", link });
    const made = this.#find();
    if (!made) throw new Error(`interface ${this.#name} vanished while it was set up`);
    return made;
  }

  /**
   * Kernel parameters of an end. It forwards, and IPv6 is on where the network has it, also where hosts switch that off for new
   * devices; no router shall ever give it anything.
   */
  #parameters(name: string): WantedSysctls {
    const { families } = this.#options;
    return [
      ...(families.includes(4) ? [[`net.ipv4.conf.${name}.forwarding`, "1"] as const] : []),
      [`net.ipv6.conf.${name}.accept_ra`, "0"],
      ...(families.includes(6)
        ? ([
            [`net.ipv6.conf.${name}.disable_ipv6`, "0"],
            [`net.ipv6.conf.${name}.forwarding`, "1"],
          ] as const)
        : []),
    ];
  }

  get #mac(): string {
    return derivedMac(`uplink/${this.#options.network}`);
  }

  /** The addresses of the network's end: those that it has, or that the host knows of, or else new ones. */
  #addresses(hostEnd: Link, networkEnd: Link): string[] {
    const { host, rtnl, families } = this.#options;
    const there = [
      ...rtnl.addresses({ ifindex: networkEnd.index }).map(({ ip }) => ip),
      ...host.routes({ ifindex: hostEnd.index }).map(({ dst }) => dst.split("/")[0] as string),
    ];
    const number = there.flatMap((ip) => numberOf(ip) ?? [])[0] ?? this.#freeNumber();
    return families.map((family) => bigIntToIp(cidrOf(UPLINK_CIDRS[family]).first + number, family));
  }

  #freeNumber(): bigint {
    const used = new Set(
      this.#options.host
        .routes({ protocol: ROUTE_PROTOCOL })
        .flatMap(({ dst }) => numberOf(dst.split("/")[0] as string) ?? []),
    );
    const { first, last } = cidrOf(UPLINK_CIDRS[4]);
    for (let number = FIRST_NUMBER; number < last - first; number++) if (!used.has(number)) return number;
    throw new Error(`this node has no address left for uplinks of pod networks (${UPLINK_CIDRS[4]})`);
  }
}

/** Takes away all uplinks of the host. Returns what was removed, in words. @throws NetlinkError */
export function removeUplinks(host: Pick<Rtnl, "links" | "execute">): string[] {
  const ours = host.links().filter((link) => isUplink(link) && link.name.startsWith("skyout."));
  for (const link of ours) host.execute(deletion(link));
  return ours.map(({ name }) => `link ${name}`);
}

/** Whether a device is an end of an uplink. */
export const isUplink = ({ kind, group }: Pick<Link, "kind" | "group">): boolean =>
  kind === "veth" && group === UPLINK_LINK_GROUP;

const deletion = ({ index, name }: Link): Operation => ({ op: "del", kind: "link", link: { index, name } });

const gatewaysOf = (addresses: readonly string[]) =>
  addresses.map((ip) => ({ ip: UPLINK_GATEWAY[familyOf(ip)], mac: HOST_MAC }));

/** The number of an uplink's address; undefined for any other address. */
function numberOf(ip: string): bigint | undefined {
  if (ip === "default") return undefined;
  const { first, last } = cidrOf(UPLINK_CIDRS[familyOf(ip)]);
  const value = ipToBigInt(ip);
  return value >= first + FIRST_NUMBER && value < last ? value - first : undefined;
}
