/**
 * Compares a pod's link with what it should be and says each difference in words: what is wrong, where, and what was
 * expected. Things that others may add (further addresses, routes) are no difference.
 */
import { addressBits, type Family, familyOf, hostPrefix } from "../../addr/index.ts";
import { type Link, OVERLAY_LINK_GROUP, type Route, ROUTE_PROTOCOL, Rtnl } from "../../netlink/index.ts";
import { closeFd, openNetns, readSysctl, SysError, withNetns } from "../../sys/index.ts";
import { isPair } from "./attach.ts";
import { type HostEnd, hostEndFaults, hostEndSettings, wrongSettings } from "./host-end/host-end.ts";
import { SOURCE_TABLE, sourceRule } from "./by-source.ts";
import { GATEWAY, HOST_MAC, hostIfname } from "./names.ts";
import { GATEWAY_ADDRESS, routeTo } from "./plan.ts";
import type { PodBridge, PodLinkExpectation } from "./types.ts";

/** NUD_PERMANENT (linux/neighbour.h). */
const PERMANENT = 0x80;
const MAIN_TABLE = 254;
const OWN_NETNS = "/proc/thread-self/ns/net";

/**
 * The differences between the link and what is expected of it; none means that it is fine.
 * @throws NetlinkError, SysError when the kernel cannot be asked.
 */
export function checkPod(expected: PodLinkExpectation): string[] {
  const fd = openIfThere(expected.netns);
  if (fd === undefined) return [`sandbox ${expected.netns} is gone`];
  let hostFd: number | undefined;
  try {
    hostFd = openIfThere(expected.hostNetns ?? OWN_NETNS);
    if (hostFd === undefined) return [`the pod network's namespace ${expected.hostNetns} is gone`];
    using host = Rtnl.open({ netns: hostFd });
    using pod = Rtnl.open({ netns: fd });
    const hostName = expected.hostIfname ?? hostIfname(expected.containerId, expected.ifname);
    const inPod = pod.link(expected.ifname);
    const onHost = host.link(hostName);
    if (!inPod || !onHost) {
      return [
        ...(inPod ? [] : [`interface ${expected.ifname} is missing in sandbox ${expected.netns}`]),
        ...(onHost ? [] : [`host interface ${hostName} is missing`]),
      ];
    }
    return [
      ...checkLinks(expected, inPod, onHost),
      ...(expected.bridge ? checkPort(expected.bridge, host, onHost) : checkHostEnd(expected, host, onHost)),
      ...withNetns(hostFd, () => checkHostSysctls(expected, onHost)),
      ...checkPodEnd(expected, pod, inPod),
      ...withNetns(fd, () => checkPodSysctls(expected)),
    ];
  } finally {
    closeFd(fd);
    if (hostFd !== undefined) closeFd(hostFd);
  }
}

function openIfThere(netns: string): number | undefined {
  try {
    return openNetns(netns);
  } catch (error) {
    if (error instanceof SysError && (error.code === "ENOENT" || error.code === "EINVAL")) return undefined;
    throw error;
  }
}

function checkLinks(expected: PodLinkExpectation, inPod: Link, onHost: Link): string[] {
  const { ifname, mtu, mac, mtuLowered, addresses, bridge } = expected;
  const found: string[] = [];
  if (!isPair(inPod, onHost))
    return [`${ifname} in the sandbox and host interface ${onHost.name} are not one veth pair`];
  const what = `${ifname} in the sandbox`;
  if (!inPod.up) found.push(`${what} is down`);
  const lowered = mtuLowered === true && mtu !== undefined && inPod.mtu < mtu;
  if (mtu !== undefined && inPod.mtu !== mtu && !lowered) found.push(`${what} has MTU ${inPod.mtu}, expected ${mtu}`);
  if (inPod.noArp) found.push(`${what} does not ask for neighbours (NOARP)`);
  if (mac !== undefined && inPod.mac !== mac) {
    found.push(`${ifname} in the sandbox has MAC address ${inPod.mac ?? "none"}, expected ${mac}`);
  }
  const end = endOf({ addresses, bridge, ...(mtu !== undefined && { mtu }) }, onHost.name);
  for (const { words } of hostEndFaults(onHost, end)) found.push(`host interface ${onHost.name} ${words}`);
  if (bridge && !onHost.up) found.push(`host interface ${onHost.name} is down`);
  return found;
}

/** What the host end must be, as far as CHECK is told. */
const endOf = ({ addresses, bridge, mtu }: EndExpectation, name: string): HostEnd => ({
  name,
  families: new Set(addresses.map(familyOf)),
  bridged: bridge !== undefined,
  mtu,
});
type EndExpectation = Pick<PodLinkExpectation, "addresses" | "bridge" | "mtu">;

function checkHostEnd({ addresses, movable = false }: PodLinkExpectation, host: Rtnl, { index, name }: Link): string[] {
  const found: string[] = [];
  for (const ip of addresses) found.push(...checkHostRoute(host, ip, { index, name }, movable));
  for (const family of new Set(addresses.map(familyOf))) {
    const { prefix } = GATEWAY_ADDRESS[family];
    found.push(...checkAddress(host, index, `host interface ${name}`, GATEWAY[family], prefix));
  }
  return found;
}

/** The host end as a port of a bridge. */
function checkPort({ name }: PodBridge, host: Rtnl, { name: end, master, port }: Link): string[] {
  const bridge = host.link(name);
  if (!bridge) return [`bridge ${name} is missing`];
  if (master !== bridge.index) return [`host interface ${end} is no port of bridge ${name}`];
  return port?.locked ? [] : [`host interface ${end} is not locked, so the pod can send from any MAC address`];
}

/** Runs in the namespace of the host end. */
function checkHostSysctls(expected: PodLinkExpectation, { name }: Link): string[] {
  const end = endOf(expected, name);
  const found: string[] = [];
  // IPv6 is forwarded by the word of `all`, IPv4 by that of each device.
  if (!end.bridged && end.families.has(6))
    found.push(...checkSysctl("net.ipv6.conf.all.forwarding", "1", "the host forwards no IPv6"));
  for (const { key, value, now, meaning } of wrongSettings(hostEndSettings(end)))
    found.push(`${meaning} (${key} is ${now}, expected ${value})`);
  return found;
}

function checkHostRoute(
  host: Rtnl,
  ip: string,
  { index, name }: Pick<Link, "index" | "name">,
  movable: boolean,
): string[] {
  const dst = hostPrefix(ip);
  const here = mainRoutes(host, familyOf(ip), index).filter((route) => route.dst === dst);
  if (here.some((route) => route.protocol === ROUTE_PROTOCOL)) return [];
  const [other] = here;
  if (other) return [`the host's route ${dst} has protocol ${other.protocol ?? 0}, expected ${ROUTE_PROTOCOL}`];
  // All routes are listed only now: a node has as many as there are nodes.
  const elsewhere = mainRoutes(host, familyOf(ip)).find((route) => route.dst === dst);
  if (!elsewhere) return [`the host has no route ${dst} to ${name}`];
  const device = elsewhere.ifindex === undefined ? undefined : host.link(elsewhere.ifindex);
  if (movable && device?.group === OVERLAY_LINK_GROUP) return [];
  return [`the host's route ${dst} leads to ${device?.name ?? "no device"}, expected ${name}`];
}

function checkPodEnd(expected: PodLinkExpectation, pod: Rtnl, { index }: Link): string[] {
  const { addresses, ifname, neighboursForgotten, bySource, bridge } = expected;
  const found: string[] = [];
  for (const ip of addresses) {
    const family = familyOf(ip);
    const gateway = GATEWAY[family];
    const prefix = bridge?.prefixLengths[family] ?? addressBits(family);
    found.push(...checkAddress(pod, index, `${ifname} in the sandbox`, ip, prefix));
    if (bridge) continue;
    // Of every table: a later plugin may have moved them into one of its own (sbr and vrf do).
    const routes = pod.routes({ family, ifindex: index });
    found.push(...checkPodRoutes(routes, family, expected));
    if (bySource) found.push(...checkBySource(pod, index, ip, expected));
    const neighbour = pod.neighbours({ family, ifindex: index }).find((entry) => entry.ip === gateway);
    if (neighbour?.mac !== undefined && neighbour.mac !== HOST_MAC) {
      found.push(`the sandbox's neighbour entry for ${gateway} has MAC address ${neighbour.mac}, expected ${HOST_MAC}`);
    } else if (!neighboursForgotten && !neighbour) {
      found.push(`the sandbox has no neighbour entry for its gateway ${gateway} on ${ifname}`);
    } else if (!neighboursForgotten && ((neighbour?.state ?? 0) & PERMANENT) === 0) {
      found.push(`the sandbox's neighbour entry for ${gateway} is not permanent`);
    }
  }
  return found;
}

/** The pod's routes of a family through the interface: to its destinations, by default everything. */
function checkPodRoutes(routes: readonly Route[], family: Family, expected: PodLinkExpectation): string[] {
  const { ifname, destinations, bySource, sourceTable, turned = [], routes: further = [] } = expected;
  const gateway = GATEWAY[family];
  const found: string[] = [];
  const ownTable = (table: number | undefined): boolean => bySource === true && table === (sourceTable ?? SOURCE_TABLE);
  const wantsGateway = !destinations ? !turned.includes("default") : bySource && sourceTable === undefined;
  if (family === 4 && wantsGateway && !routes.some(({ dst }) => dst === hostPrefix(gateway))) {
    found.push(`the sandbox has no route to its gateway ${gateway} on ${ifname}`);
  }
  for (const wanted of destinations?.filter((one) => familyOf(one) === family).map(routeTo) ?? ["default"]) {
    if (turned.includes(wanted)) continue;
    const there = routes.filter(({ dst, table }) => dst === wanted && !ownTable(table));
    if (there.some((route) => route.gateway === gateway)) continue;
    const instead = there.map((route) => route.gateway ?? "no gateway").join(", ");
    const what = wanted === "default" ? `default IPv${family} route` : `route ${wanted}`;
    found.push(`the sandbox has no ${what} via ${gateway} on ${ifname}${instead && ` (it goes via ${instead})`}`);
  }
  for (const wanted of further.filter((one) => one.family === family)) {
    const there = routes.some(
      (route) => route.dst === wanted.dst && route.gateway === gateway && agrees(route, wanted),
    );
    if (!there) found.push(`the sandbox has no route ${wanted.dst} via ${gateway} on ${ifname}`);
  }
  return found;
}

/** Whether a route is what was asked for; what was not said may be anything. */
const agrees = (route: Route, { table, metric, mtu }: Pick<Route, "table" | "metric" | "mtu">): boolean =>
  (table === undefined || (route.table ?? MAIN_TABLE) === table) &&
  // the kernel has 1024 for the 0 of an IPv6 route
  (!metric || route.metric === metric) &&
  (!mtu || route.mtu === mtu);

/** The way of what is sent from an address of the interface. */
function checkBySource(
  pod: Rtnl,
  ifindex: number,
  ip: string,
  { ifname, sourceTable: table = SOURCE_TABLE }: PodLinkExpectation,
): string[] {
  const family = familyOf(ip);
  const found: string[] = [];
  const { src, priority } = sourceRule(ip, table);
  if (!pod.rules({ family }).some((rule) => rule.src === src && rule.table === table && rule.priority === priority))
    found.push(`the sandbox has no rule that sends what is from ${ip} by table ${table}`);
  const routes = pod.routes({ family, table, ifindex });
  if (!routes.some(({ dst, gateway }) => dst === "default" && gateway === GATEWAY[family]))
    found.push(`table ${table} of the sandbox has no default IPv${family} route via ${GATEWAY[family]} on ${ifname}`);
  return found;
}

/** Runs inside the sandbox. */
function checkPodSysctls({ addresses, ifname }: PodLinkExpectation): string[] {
  const conf = `net.ipv6.conf.${ifname}`;
  const found = checkSysctl(`${conf}.accept_ra`, "0", `${ifname} in the sandbox accepts router advertisements`);
  if (addresses.some((ip) => familyOf(ip) === 6)) {
    found.push(...checkSysctl(`${conf}.disable_ipv6`, "0", `IPv6 is off on ${ifname} in the sandbox`));
  }
  return found;
}

function checkAddress(rtnl: Rtnl, ifindex: number, where: string, ip: string, prefix: number): string[] {
  const address = rtnl.addresses({ family: familyOf(ip), ifindex }).find((entry) => entry.ip === ip);
  if (!address) return [`${where} lacks address ${ip}/${prefix}`];
  if (address.prefix !== prefix) return [`${where} has address ${ip}/${address.prefix}, expected /${prefix}`];
  if (address.dadFailed) return [`address ${ip} of ${where} failed duplicate address detection`];
  return [];
}

/** A parameter that this kernel lacks is no difference. */
function checkSysctl(key: string, expected: string, meaning: string): string[] {
  const value = readSysctl(key);
  return value === undefined || value === expected ? [] : [`${meaning} (${key} is ${value}, expected ${expected})`];
}

const mainRoutes = (rtnl: Rtnl, family: Family, ifindex?: number): Route[] =>
  rtnl.routes({ family, table: MAIN_TABLE, ...(ifindex !== undefined && { ifindex }) });
