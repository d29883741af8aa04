/**
 * What of this machine decides whether there can be a fast path, and by which devices: pure look-ups, each answer in words where it is no.
 */
import { familyOf } from "../../addr/index.ts";
import type { Rtnl } from "../../netlink/index.ts";
import type { LocalNetwork } from "../../peers/index.ts";
import type { Clsact } from "./clsact.ts";
import { readSysctl, withNetns } from "../../sys/index.ts";
import type { Lifetimes, TunnelSettings } from "./programs/settings.ts";
import { hasXfrmPolicies } from "./xfrm.ts";

/** Queueing disciplines that see what a device receives. */
const AT_INGRESS: ReadonlySet<string> = new Set(["ingress", "clsact"]);
/** What a pod's host end has unless somebody limits the pod. */
const NO_QUEUE = "noqueue";
/** The kernel's own values, where a parameter cannot be read. */
const DEFAULTS = { hops: 64, ports: [32_768, 60_999], tcpSeconds: 432_000, udpSeconds: 120 } as const;

/** Where there can be a fast path, and how. */
export interface Surroundings {
  /** All of it but what follows from peers. */
  tunnel: Omit<TunnelSettings, "lengths" | "direct" | "outlives">;
  lifetimes: Lifetimes;
  /** Why what comes from the wire is left to the ordinary path; absent where it is not. */
  wireSlow?: string;
  /** The same of what would leave without the tunnel. */
  directSlow?: string;
  /** Queueing disciplines of host ends that are more than none, by device. */
  shaped: ReadonlyMap<number, string>;
}

/** @returns in words why there can be none. @throws NetlinkError, SysError when the kernel cannot be read */
export function lookAround(
  rtnl: Rtnl,
  clsact: Pick<Clsact, "isFree" | "isOwn">,
  local: LocalNetwork,
  netns?: number | string,
): Surroundings | string {
  if (local.encryption) return "what goes between nodes is encrypted (encryption), which only the ordinary path does";
  const device = rtnl.link(local.device);
  if (!device?.up) return `${local.device} is not there, or down`;
  const shaped = new Map<number, string>();
  const atIngress = new Map<number, string>();
  for (const { ifindex, kind } of rtnl.qdiscs()) {
    // The programs' own is nobody else's; an empty one is no limit.
    if (kind === "clsact" && clsact.isOwn(ifindex)) continue;
    if (AT_INGRESS.has(kind)) atIngress.set(ifindex, kind);
    if (kind !== NO_QUEUE && !(kind === "clsact" && clsact.isFree(ifindex))) shaped.set(ifindex, kind);
  }
  const ipsec = hasXfrmPolicies(netns)
    ? "the kernel has IPsec policies, which only the ordinary path heeds"
    : undefined;
  const { lifetimes, ...parameters } = netns === undefined ? readParameters() : withNetns(netns, readParameters);
  const { vni, port, mac, underlayIp } = local;
  const tunnel = { vni, port, mac, underlayIp, mtu: device.mtu, device: device.index, ...parameters };
  if (local.isolated)
    return ipsec ?? { tunnel: { ...tunnel, inbound: "device", uplink: 0, encapsulate: false }, lifetimes, shaped };
  const address = rtnl.addresses({ family: familyOf(underlayIp) }).find(({ ip }) => ip === underlayIp);
  const uplink = address && rtnl.link(address.ifindex);
  if (!uplink?.up) return `no device that is up has the underlay address ${underlayIp}`;
  const { name, index } = uplink;
  if (uplink.loopback || uplink.mac === undefined || uplink.noArp)
    return `the underlay address ${underlayIp} is on ${name}, which is no Ethernet device`;
  if (uplink.master !== undefined) return `the underlay's device ${name} is a port of another one (a VRF, a bridge)`;
  const there = atIngress.get(index);
  const wireSlow =
    ipsec ?? (there === undefined ? undefined : `${name} has traffic control of its own at its ingress (${there})`);
  // Over IPv6 the tunnel's UDP checksum may not be left out, and only the device can make it.
  // What somebody queues at the device is queued there.
  const encapsulate = familyOf(underlayIp) === 4 && ipsec === undefined && !shaped.has(device.index);
  return {
    tunnel: { ...tunnel, inbound: "underlay", uplink: index, encapsulate },
    lifetimes,
    ...(wireSlow !== undefined && { wireSlow }),
    ...(ipsec !== undefined && { directSlow: ipsec }),
    shaped,
  };
}

/** The kernel's parameters of the namespace that the thread is in. */
function readParameters(): Pick<TunnelSettings, "hops" | "ports"> & { lifetimes: Lifetimes } {
  const [first = DEFAULTS.ports[0], last = DEFAULTS.ports[1]] =
    readSysctl("net.ipv4.ip_local_port_range")?.split(/\s+/).map(Number) ?? [];
  return {
    hops: number("net.ipv4.ip_default_ttl", DEFAULTS.hops),
    ports: [first, last],
    lifetimes: {
      tcp: 1_000 * number("net.netfilter.nf_conntrack_tcp_timeout_established", DEFAULTS.tcpSeconds),
      udp: 1_000 * number("net.netfilter.nf_conntrack_udp_timeout_stream", DEFAULTS.udpSeconds),
    },
  };
}

function number(key: string, otherwise: number): number {
  const value = Number(readSysctl(key));
  return Number.isInteger(value) && value > 0 ? value : otherwise;
}
