/**
 * Makes a pod's link, whole or not at all. The pair is made first, in one step that also claims both names; from then
 * on any failure takes the pair away, and with it everything that was put on it.
 *
 * ADD is what a pod's start waits for: one message makes the pair and tells its indexes, each end is set up by one
 * batch; then the kernel is given the moment that it needs to carry the first packet (ready.ts), and packets are led there.
 */
import { familyOf, parseIp, parseMac, hostPrefix } from "../../addr/index.ts";
import {
  type Creation,
  isPodLinkGroup,
  type Link,
  NetlinkError,
  NetlinkTimeout,
  type Operation,
  type OperationFailure,
  Rtnl,
} from "../../netlink/index.ts";
import {
  closeFd,
  initSysctlIfAny,
  netnsIdentity,
  openNetns,
  sameNetns,
  withNetns,
  writeSysctl,
} from "../../sys/index.ts";
import { bridgedHostOperations, bridgedPodOperations } from "./bridged.ts";
import { removeSourceRules, SOURCE_TABLE } from "./by-source.ts";
import { PodLinkError } from "./errors.ts";
import { settleHostEnd } from "./host-end/host-end.ts";
import { sourcesOf } from "./host-end/host-sources.ts";
import { GATEWAY, HOST_MAC, hostIfname, podMacOf } from "./names.ts";
import { hostOperations, pairOperation, podOperations, wayOperations } from "./plan.ts";
import { Arrival, settleCarrier } from "./ready.ts";
import type { PodLink, PodLinkSpec } from "./types.ts";

const OWN_NETNS = "/proc/thread-self/ns/net";
const MAIN_TABLE = 254;
/** RFC 8200, section 5: a device with a smaller MTU has no IPv6. */
const MIN_IPV6_MTU = 1280;

/**
 * How long to wait for the kernel, in milliseconds. All changes of a node's network go through one lock, and removing many
 * pods at once holds it for seconds; giving up then would only make the runtime do everything again.
 */
export const PATIENCE_MS = 30_000;

/** Indexes of the two ends, each in its namespace. */
interface Pair {
  index: number;
  peer: number;
}

/** Everything that the steps need; `Rtnl` sockets of both namespaces. */
interface Work {
  spec: PodLinkSpec;
  hostName: string;
  podMac: string;
  hostFd: number;
  podFd: number;
  host: Rtnl;
  pod: Rtnl;
}

/**
 * Makes the link between a sandbox and the namespace for the host end: that of the calling thread, or of a pod network.
 * @throws PodLinkError, with nothing left behind; SysError when one of the two cannot be opened; NetlinkError.
 */
export function attachPod(spec: PodLinkSpec): PodLink {
  using work = begin(spec);
  using arrival = new Arrival();
  const made = makePair(work);
  try {
    setUp(work, made, arrival);
    arrival.wait();
    return leadThere(work, made);
  } catch (error) {
    throw rollBack(work, error);
  }
}

/**
 * The same for a process that makes many and has other things to do: the kernel's own time is waited for in the
 * background.
 * @param host a conversation with the namespace for the host end, as patient as {@link PATIENCE_MS}
 * @param before what must be so before a packet passes: the pair is made meanwhile, and both ends stay down. @throws what it rejects with
 */
export async function attachPodAsync(spec: PodLinkSpec, host: Rtnl, before?: Promise<unknown>): Promise<PodLink> {
  using work = begin(spec, host);
  using arrival = new Arrival();
  const made = before ? await makePairInBackground(work) : makePair(work);
  try {
    if (before) await before;
    setUp(work, made, arrival);
    await arrival.come();
    return leadThere(work, made);
  } catch (error) {
    throw rollBack(work, error);
  }
}

/** Opens what the steps need. @throws PodLinkError where the link is none that could be made, SysError */
function begin(spec: PodLinkSpec, host?: Rtnl): Work & Disposable {
  validate(spec);
  using opened = new DisposableStack();
  const open = (path: string): number => opened.adopt(openNetns(path), closeFd);
  const [hostFd, podFd] = [open(spec.hostNetns ?? OWN_NETNS), open(spec.netns)];
  const sandbox = netnsIdentity(podFd);
  if (sameNetns(netnsIdentity(OWN_NETNS), sandbox)) {
    throw new PodLinkError("invalid", `sandbox ${spec.netns} is the host's own network namespace`);
  }
  if (sameNetns(netnsIdentity(hostFd), sandbox)) {
    throw new PodLinkError("invalid", `sandbox ${spec.netns} is the network namespace of its pod network`);
  }
  const pod = opened.use(Rtnl.open({ netns: podFd, timeoutMs: PATIENCE_MS }));
  const there = host ?? opened.use(Rtnl.open({ ...elsewhere(spec, hostFd), timeoutMs: PATIENCE_MS }));
  const hostName = spec.hostIfname ?? hostIfname(spec.containerId, spec.ifname);
  const podMac = spec.mac ?? podMacOf(spec.containerId, spec.ifname);
  const all = opened.move();
  return { spec, hostName, podMac, hostFd, podFd, host: there, pod, [Symbol.dispose]: () => all.dispose() };
}

/** The namespace for the host end where that is not the thread's own, which nobody has to enter. */
const elsewhere = ({ hostNetns }: PodLinkSpec, hostFd: number): { netns?: number } =>
  hostNetns === undefined ? {} : { netns: hostFd };

/** Has packets to the pod's addresses go there. @throws PodLinkError, NetlinkError */
function leadThere(work: Work, made: Pair): PodLink {
  const { spec, hostName, podMac, host } = work;
  const { addresses, standby, hostSources = [], bridge } = spec;
  if (!bridge) {
    const sources = sourcesOf(hostSources);
    apply(work, host, "the host", wayOperations({ index: made.peer, addresses, podMac, standby, sources }));
  }
  const gateways = bridge ? [] : addresses.map((ip) => GATEWAY[familyOf(ip)]);
  return {
    hostIfname: hostName,
    hostMac: HOST_MAC,
    ifname: spec.ifname,
    podMac,
    addresses: [...addresses],
    gateways,
  };
}

function validate({ addresses, mtu, mac, ifname, bridge }: PodLinkSpec): void {
  const families = addresses.map((ip) => familyOf(parseIp(ip)));
  if (mac !== undefined && parseMac(mac) === HOST_MAC)
    throw new PodLinkError(
      "invalid",
      `interface ${ifname} would get ${mac}, the MAC address of the node's end of every pod's link`,
    );
  if (families.length === 0) throw new PodLinkError("invalid", `interface ${ifname} would get no address`);
  if (new Set(families).size < families.length) {
    throw new PodLinkError(
      "invalid",
      `interface ${ifname} would get two addresses of one family: ${addresses.join(", ")}`,
    );
  }
  const bare = bridge && families.find((family) => bridge.prefixLengths[family] === undefined);
  if (bare) {
    const message = `interface ${ifname} would be a port of bridge ${bridge.name}, whose network has no IPv${bare} subnet`;
    throw new PodLinkError("invalid", message);
  }
  if (families.includes(6) && mtu < MIN_IPV6_MTU) {
    throw new PodLinkError(
      "invalid",
      `an MTU of ${mtu} is under the ${MIN_IPV6_MTU} bytes that IPv6 needs (${addresses.join(", ")})`,
    );
  }
}

/** Makes the pair; what a crashed ADD of the same attachment left on the host is cleared away once. */
function makePair(work: Work): Pair {
  try {
    return bothEnds(work, work.pod.create(pairOf(work)));
  } catch (error) {
    return makePairAfter(work, error);
  }
}

async function makePairInBackground(work: Work): Promise<Pair> {
  try {
    return bothEnds(work, await work.pod.createInBackground(pairOf(work)));
  } catch (error) {
    return makePairAfter(work, error);
  }
}

const pairOf = ({ spec: { ifname, mtu }, hostName: hostIfname, podMac, hostFd }: Work): Creation =>
  pairOperation({ ifname, podMac, hostIfname, hostFd, mtu });

function makePairAfter(work: Work, error: unknown): Pair {
  // Without an answer the pair may have been made: nobody else could have made one by both names.
  if (error instanceof NetlinkTimeout) throw rollBack(work, error);
  if (!(error instanceof NetlinkError) || error.code !== "EEXIST") throw error;
  makeRoom(work);
  return bothEnds(work, work.pod.create(pairOf(work)));
}

function bothEnds({ spec: { ifname, netns } }: Work, made: Link | undefined): Pair {
  const { index, peerIndex: peer } = made ?? {};
  if (index === undefined || peer === undefined)
    throw new PodLinkError("kernel", `interface ${ifname} vanished from sandbox ${netns} while it was set up`);
  return { index, peer };
}

/** Finds what has one of the two names. @throws PodLinkError unless it was a leftover of ours, which is gone then. */
function makeRoom({ spec, hostName, host, pod }: Work): void {
  const inPod = pod.link(spec.ifname);
  const onHost = host.link(hostName);
  if (inPod && onHost && isPair(inPod, onHost)) {
    throw new PodLinkError(
      "attached",
      `interface ${spec.ifname} of container ${spec.containerId} is attached already ` +
        `(host end ${hostName}${onHost.alias ? `, ${onHost.alias}` : ""}); a DEL must come first`,
    );
  }
  if (inPod) {
    throw new PodLinkError(
      "occupied",
      `sandbox ${spec.netns} has an interface ${spec.ifname} already that is not Skylane's (${describeLink(inPod)}); it was left alone`,
    );
  }
  if (!onHost) return;
  if (!isHostEnd(onHost)) {
    throw new PodLinkError(
      "occupied",
      `the host has an interface ${hostName} that is not Skylane's (${describeLink(onHost)}); it was left alone`,
    );
  }
  host.execute({ op: "del", kind: "link", link: { index: onHost.index, name: hostName } });
}

/** Whether two devices in the two namespaces are each other's peer. */
export const isPair = (inPod: Link, onHost: Link): boolean =>
  inPod.kind === "veth" &&
  onHost.kind === "veth" &&
  inPod.peerIndex === onHost.index &&
  onHost.peerIndex === inPod.index;

/** Whether a device of the host is the end of a pod's link, one whose removal was cut short included. */
export const isHostEnd = ({ kind, group }: Link): boolean => kind === "veth" && isPodLinkGroup(group);

const describeLink = ({ kind, mac }: Link): string => [kind ?? "physical", mac].filter(Boolean).join(" ");

/** Makes both ends whole. @throws PodLinkError, NetlinkError, SysError */
function setUp(work: Work, { index, peer }: Pair, arrival: Arrival): void {
  const { spec, hostName, podMac, podFd, host, pod } = work;
  const { addresses, alias, ifname, destinations, bySource, sourceTable, bridge } = spec;
  const wantsIpv6 = addresses.some((ip) => familyOf(ip) === 6);
  const there = elsewhere(spec, work.hostFd).netns;
  const families = new Set(addresses.map(familyOf));
  const prepareHostEnd = (): boolean => {
    const hasIpv6 = prepareIpv6(hostName, wantsIpv6);
    settleHostEnd({ name: hostName, families, bridged: bridge !== undefined });
    return hasIpv6;
  };
  const hostIpv6 = there === undefined ? prepareHostEnd() : withNetns(there, prepareHostEnd);
  const podIpv6 = withNetns(podFd, () => prepareIpv6(ifname, wantsIpv6));
  if (wantsIpv6 && !(hostIpv6 && podIpv6)) {
    throw new PodLinkError("invalid", `this node's kernel has no IPv6, but the pod is to have ${addresses.join(", ")}`);
  }
  if (wantsIpv6 && !bridge) arrival.expect(GATEWAY[6], peer, there);
  for (const ip of addresses) if (familyOf(ip) === 6) arrival.expect(ip, index, podFd);
  const hostEnd = { index: peer, addresses, alias, ipv6: hostIpv6 };
  const podEnd = { index, addresses, mac: podMac, ipv6: podIpv6 };
  const sandbox = `sandbox ${spec.netns}`;
  if (bridge) {
    const { index: master, kind } = host.link(bridge.name) ?? {};
    if (master === undefined || kind !== "bridge") {
      throw new PodLinkError(
        "invalid",
        `there is no bridge ${bridge.name} that ${ifname} of ${alias} could be a port of`,
      );
    }
    apply(work, host, "the host", bridgedHostOperations({ ...hostEnd, bridge: master }));
    apply(work, pod, sandbox, bridgedPodOperations({ ...podEnd, bridge }));
  } else {
    apply(work, host, "the host", hostOperations(hostEnd));
    apply(work, pod, sandbox, podOperations({ ...podEnd, destinations, bySource, sourceTable }));
  }
  settleCarrier(host, peer);
}

/**
 * Before an end goes up: no router advertisement shall ever give it addresses or routes, and IPv6 is on where the pod
 * is to have it, also on nodes that switch it off for new devices. Returns whether the device has IPv6 at all.
 */
function prepareIpv6(ifname: string, wanted: boolean): boolean {
  const conf = `net.ipv6.conf.${ifname}`;
  if (!initSysctlIfAny(`${conf}.accept_ra`, 0)) return false;
  if (wanted) writeSysctl(`${conf}.disable_ipv6`, 0);
  return true;
}

/** @throws PodLinkError when the kernel refused one of the steps in the namespace that `rtnl` talks to. */
function apply({ spec, host }: Work, rtnl: Rtnl, where: string, operations: readonly Operation[]): void {
  const failures = rtnl.executeAll(operations).filter((failure) => !isThere(rtnl, failure));
  const [first] = failures.flatMap((failure) => withoutSource(rtnl, failure));
  if (!first) return;
  const what = `interface ${spec.ifname} of ${spec.alias} could not be set up`;
  const conflict = conflictOf(rtnl, first);
  const options = { cause: first.error, code: first.error.code };
  if (conflict && rtnl !== host && isDefaultRoute(first.operation))
    throw new PodLinkError("routed", `${what}: ${where} ${conflict}`, options);
  if (conflict) throw new PodLinkError("occupied", `${what}: ${where} ${conflict}, which was left alone`, options);
  throw new PodLinkError("kernel", `${what} in ${where}`, options);
}

/**
 * Whether what could not be added is on the very device already. On a node so busy that an ADD takes many seconds, the
 * agent takes its half-made link for one that somebody has broken, and puts it right.
 */
function isThere(rtnl: Rtnl, { operation, error }: OperationFailure): boolean {
  if (error.code !== "EEXIST") return false;
  // A rule is its address's, and names no device.
  if (operation.kind === "address" || operation.kind === "rule") return true;
  if (operation.kind !== "route") return false;
  const { dst, family, ifindex, table = MAIN_TABLE } = operation.route;
  const there = rtnl.routes({ family, table }).filter((route) => route.dst === dst);
  return there.length > 0 && there.every((route) => route.ifindex === ifindex);
}

/**
 * A route whose source the host does not have for now, as while its device is made anew: the pod comes without, and the agent
 * sees to the rest. @returns what remains wrong
 */
function withoutSource(rtnl: Rtnl, failure: OperationFailure): OperationFailure[] {
  const { operation, error } = failure;
  if (operation.kind !== "route" || operation.op === "del" || error.code !== "EINVAL") return [failure];
  const { prefSrc, ...route } = operation.route;
  return prefSrc === undefined ? [failure] : [...rtnl.executeAll([{ ...operation, route }])];
}

/** Whether an operation makes the pod's default route, or the way to the gateway of that. */
function isDefaultRoute(operation: Operation): boolean {
  if (operation.kind !== "route") return false;
  const { dst, table = MAIN_TABLE } = operation.route;
  return table === MAIN_TABLE && (dst === "default" || dst === hostPrefix(GATEWAY[4]));
}

/** Who has the route that we wanted to add: another pod with this address, another plugin, or the operator. */
function conflictOf(rtnl: Rtnl, { operation, error }: OperationFailure): string | undefined {
  if (error.code !== "EEXIST" || operation.kind !== "route") return undefined;
  const { dst, family, table = MAIN_TABLE } = operation.route;
  const there = rtnl.routes({ family, table }).find((route) => route.dst === dst);
  if (there?.ifindex === undefined) return undefined;
  const link = rtnl.link(there.ifindex);
  return `has route ${dst} to ${link?.name ?? `device ${there.ifindex}`}${link?.alias ? ` (${link.alias})` : ""} already`;
}

/** Removes the pair after a failure and returns the error to throw, which says so when even that failed. */
function rollBack({ pod, host, spec, hostName }: Work, failure: unknown): unknown {
  try {
    const inPod = pod.link(spec.ifname);
    const onHost = host.link(hostName);
    if (spec.bySource) removeSourceRules(pod, spec.sourceTable ?? SOURCE_TABLE);
    if (inPod && onHost && isPair(inPod, onHost)) {
      pod.execute({ op: "del", kind: "link", link: { index: inPod.index, name: spec.ifname } });
    }
    return failure;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const message = `interface ${spec.ifname} is left in sandbox ${spec.netns} after a failed ADD: it could not be removed (${why})`;
    return new PodLinkError("kernel", message, { cause: failure });
  }
}
