/** Reads what a step is about: from this node's kernel by netlink, from its packet filter, from its agent. Changes nothing. */
import { familyOf } from "../../../addr/index.ts";
import { Conntrack } from "../../../dataplane/conntrack/index.ts";
import { forwardChains, knownPeers, NftError, toolRunner } from "../../../dataplane/nft/index.ts";
import type { Explanation } from "../../../enforcement/index.ts";
import { type Link, type Neighbour, NetlinkError, type Route, type Rtnl } from "../../../netlink/index.ts";
import { probe, probePaths } from "../../../network/index.ts";
import { answersTcp } from "../../../probes/index.ts";
import { Echo, readSysctl, SysError, withNetns } from "../../../sys/index.ts";
import { askAgentForJson } from "../../agent/client.ts";
import { CommandError } from "../../command.ts";
import { describeError } from "../../main.ts";
import type {
  BridgeFdbStep,
  ConntrackStep,
  FdbStep,
  ForwardingStep,
  LinkStep,
  NeighbourStep,
  PeerSetStep,
  PolicyStep,
  RouteStep,
  ServiceStep,
  Step,
  TunnelStep,
  UnderlayStep,
} from "../plan/step.ts";
import type { Found, FoundOf, Unseen } from "./found.ts";
import { type Kernel, Unreachable } from "./kernel.ts";

/** A lost packet is no verdict. */
const TRIES = 2;
const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, sctp: 132 };
const ICMP_V6 = 58;

/** Whom to ask. */
export interface Sources {
  kernel: Kernel;
  socket: string;
  /** Why the agent is not asked: it has been silent once. */
  silent?: string | undefined;
  /** How long an answer of another node is waited for, in milliseconds. */
  timeoutMs: number;
}

/** Looks at one step. What cannot be looked at from here is said as such. @throws NetlinkError, SysError when the kernel cannot be asked */
export async function read(step: Step, sources: Sources): Promise<Found> {
  try {
    return await found(step, sources);
  } catch (error) {
    if (error instanceof Unreachable || error instanceof NftError || error instanceof CommandError)
      return { unseen: describeError(error) };
    throw error;
  }
}

function found(step: Step, sources: Sources): Found | Promise<Found> {
  const { kernel } = sources;
  switch (step.kind) {
    case "link":
      return readLink(kernel.in(step.netns), step);
    case "address": {
      const rtnl = kernel.in(step.netns);
      const link = rtnl.link(step.device);
      const ips = link ? rtnl.addresses({ family: familyOf(step.ip), ifindex: link.index }).map(({ ip }) => ip) : [];
      return { ips };
    }
    case "route":
      return readRoute(kernel.in(step.netns), step);
    case "neighbour":
      return readNeighbour(kernel.in(step.netns), step);
    case "fdb":
      return readFdb(kernel.in(step.netns), step);
    case "bridgeFdb":
      return readBridgeFdb(kernel.in(step.netns), step);
    case "forwarding":
      return readForwarding(step);
    case "policy":
      return readPolicy(step, sources);
    case "underlay":
      return readUnderlay(kernel.in(step.netns), step, sources.timeoutMs);
    case "tunnel":
      return readTunnel(kernel.in(undefined), step, sources.timeoutMs);
    case "peerSet":
      return readPeerSet(step);
    case "conntrack":
      return readConntrack(step);
    case "service":
      return readService(step);
    default:
      // What is known needs no look.
      return {};
  }
}

function readLink(rtnl: Rtnl, { name }: LinkStep): FoundOf["link"] {
  const link = rtnl.link(name);
  if (!link) return {};
  const { up, lowerUp, mac, vxlan } = link;
  const master = link.master === undefined ? undefined : rtnl.link(link.master)?.name;
  return {
    link: {
      up,
      lowerUp,
      ...(mac !== undefined && { mac }),
      ...(vxlan && { vxlan }),
      ...(master !== undefined && { master }),
    },
  };
}

function readRoute(rtnl: Rtnl, { to, from }: RouteStep): FoundOf["route"] {
  const way = ask(rtnl, to, from);
  if ("refused" in way) return way;
  const device = way.route.ifindex === undefined ? undefined : rtnl.link(way.route.ifindex)?.name;
  return { route: way.route, ...(device !== undefined && { device }) };
}

function ask(
  rtnl: Rtnl,
  to: string,
  from?: string,
): { route: Pick<Route, "gateway" | "ifindex"> } | { refused: string } {
  try {
    const { gateway, ifindex } = rtnl.routeTo(to, from);
    return {
      route: { ...(gateway !== undefined && { gateway }), ...(ifindex !== undefined && { ifindex }) },
    };
  } catch (error) {
    if (error instanceof NetlinkError) return { refused: error.code };
    throw error;
  }
}

function neighbourOf(rtnl: Rtnl, ip: string, ifindex: number): Pick<Neighbour, "mac" | "state"> | undefined {
  const entry = rtnl.neighbours({ family: familyOf(ip), ifindex }).find((one) => one.ip === ip);
  if (!entry) return undefined;
  const { mac, state } = entry;
  return { ...(mac !== undefined && { mac }), ...(state !== undefined && { state }) };
}

function readNeighbour(rtnl: Rtnl, { device, ip }: NeighbourStep): FoundOf["neighbour"] {
  const link = rtnl.link(device);
  const entry = link && neighbourOf(rtnl, ip, link.index);
  return entry ? { entry } : {};
}

function readFdb(rtnl: Rtnl, { device, mac }: FdbStep): FoundOf["fdb"] {
  const link = rtnl.link(device);
  const entry = link && rtnl.fdb({ ifindex: link.index }).find((one) => one.mac === mac);
  return entry ? { entry } : {};
}

function readBridgeFdb(rtnl: Rtnl, { bridge, mac }: BridgeFdbStep): FoundOf["bridgeFdb"] {
  const master = rtnl.link(bridge);
  const entry = master && rtnl.bridgeFdb({ master: master.index }).find((one) => one.mac === mac);
  const device = entry && rtnl.link(entry.ifindex)?.name;
  return device === undefined ? {} : { device };
}

async function readForwarding({ family, netns }: ForwardingStep): Promise<FoundOf["forwarding"] | Unseen> {
  const key = family === 4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
  const value = netns === undefined ? readSysctl(key) : inNetns(netns, () => readSysctl(key));
  if (value === undefined) return { unseen: `${key} cannot be read from here` };
  const chains = await forwardChains(toolRunner({ netns }), netns);
  const dropping = chains
    .filter((chain) => chain.family === family && chain.policyDrop && !chain.accepts)
    .map(({ backend }) => `the policy of FORWARD (${backend} iptables)`);
  return { on: value === "1", dropping };
}

function inNetns<T>(netns: string, fn: () => T): T {
  try {
    return withNetns(netns, fn);
  } catch (cause) {
    if (!(cause instanceof SysError)) throw cause;
    throw new Unreachable(netns, cause);
  }
}

async function readPolicy(
  { direction, network, from, to, traffic }: PolicyStep,
  { socket, silent }: Sources,
): Promise<FoundOf["policy"] | Unseen> {
  if (silent !== undefined) return { unseen: `only the agent can tell: ${silent}` };
  const question = new URLSearchParams({
    from,
    to,
    protocol: traffic.protocol,
    ...(traffic.port !== undefined && { port: String(traffic.port) }),
    ...(network !== "default" && { network }),
  });
  const { presence, message, packets } = await askAgentForJson<Explanation>(
    `/policies/explain?${question.toString()}`,
    socket,
  );
  if (presence === "unknown") return { unseen: message };
  const verdict = packets?.[0]?.[direction];
  if (!verdict) return { message: presence === "none" ? "there are no policies" : "no policy says anything" };
  const { allowed, why, rules } = verdict;
  return { verdict: { allowed, why, rules } };
}

async function readUnderlay(rtnl: Rtnl, { to, from }: UnderlayStep, timeoutMs: number): Promise<FoundOf["underlay"]> {
  const first = ask(rtnl, to, from);
  if ("refused" in first) return first;
  // Asking fills the table of neighbours as well.
  const answers = await answersAt(to, timeoutMs);
  const { route } = first;
  const device = route.ifindex === undefined ? undefined : rtnl.link(route.ifindex);
  const neighbour = route.ifindex === undefined ? undefined : neighbourOf(rtnl, route.gateway ?? to, route.ifindex);
  return { route, ...(device && { device: shown(device) }), ...(neighbour && { neighbour }), answers };
}

const shown = ({ name, up, lowerUp, loopback, group }: Link) => ({ name, up, lowerUp, loopback, group });

/** How a node answers beside the tunnel. */
async function answersAt(to: string, timeoutMs: number): Promise<"echo" | "tcp" | "no"> {
  let echo: Echo | undefined;
  try {
    echo = Echo.open(familyOf(to));
    for (let i = 0; i < TRIES; i++) if ((await echo.ask({ to, timeoutMs })).answered) return "echo";
  } catch (error) {
    // Without CAP_NET_RAW there is no echo.
    if (!(error instanceof SysError)) throw error;
  } finally {
    await echo?.close();
  }
  return (await answersTcp(to, timeoutMs)) ? "tcp" : "no";
}

async function readTunnel(
  rtnl: Rtnl,
  { node, podCidrs, peerPodCidrs, device, vtep }: TunnelStep,
  timeoutMs: number,
): Promise<FoundOf["tunnel"] | Unseen> {
  const [path] = probePaths(podCidrs, [{ node, podCidrs: [...peerPodCidrs] }]);
  if (!path) return { unseen: "the two have no family in common" };
  // It is sent again and again for so long.
  const { answered, error } = await probe(path, timeoutMs);
  const bytes = answered && vtep !== undefined ? rtnl.link(device)?.mtu : undefined;
  const passes = bytes === undefined ? undefined : await fullPasses(vtep as string, bytes, timeoutMs);
  return {
    answered,
    ...(error === undefined ? {} : { error: describeError(error) }),
    ...(bytes !== undefined && passes !== undefined && { full: { bytes, passes } }),
  };
}

/** Whether a packet of that size comes there and back; undefined where small ones do not either. */
async function fullPasses(to: string, size: number, timeoutMs: number): Promise<boolean | undefined> {
  let echo: Echo | undefined;
  const passes = async (request: { size?: number }): Promise<boolean> => {
    for (let i = 0; i < TRIES; i++) if ((await echo?.ask({ to, timeoutMs, ...request }))?.answered) return true;
    return false;
  };
  try {
    echo = Echo.open(familyOf(to));
    if (await passes({ size })) return true;
    return (await passes({})) ? false : undefined;
  } catch (error) {
    // Without CAP_NET_RAW there is no echo.
    if (!(error instanceof SysError)) throw error;
    return undefined;
  } finally {
    await echo?.close();
  }
}

async function readPeerSet({ vni, ip }: PeerSetStep): Promise<FoundOf["peerSet"]> {
  return { known: (await knownPeers(toolRunner(), vni, familyOf(ip))).has(ip) };
}

async function readConntrack({ netns, from, to, traffic }: ConntrackStep): Promise<FoundOf["conntrack"]> {
  using table = inNetnsOr(netns);
  const family = familyOf(from);
  const protocol = family === 6 && traffic.protocol === "icmp" ? ICMP_V6 : PROTOCOLS[traffic.protocol];
  const all = await table.select(
    (connection) =>
      connection.protocol === protocol &&
      connection.original.source === from &&
      connection.original.destination === to &&
      (traffic.port === undefined || connection.original.destinationPort === traffic.port),
  );
  const translated = all.find(({ reply }) => reply.destination !== from);
  return {
    connections: all.map(
      ({ original }) =>
        `${traffic.protocol} from port ${original.sourcePort}${original.destinationPort === 0 ? "" : ` to ${original.destinationPort}`}`,
    ),
    ...(translated && { translated: `what ${from} sends to ${to} leaves with source ${translated.reply.destination}` }),
  };
}

async function readService({ netns, from, service, protocol }: ServiceStep): Promise<FoundOf["service"]> {
  using table = inNetnsOr(netns);
  const all = await table.select(
    (connection) =>
      connection.protocol === PROTOCOLS[protocol] &&
      connection.original.source === from &&
      connection.original.destination === service.ip &&
      connection.original.destinationPort === service.port,
  );
  return { targets: all.map(({ reply }) => ({ ip: reply.source, port: reply.sourcePort })) };
}

const inNetnsOr = (netns: string | undefined): Conntrack =>
  netns === undefined ? Conntrack.open() : inNetns(netns, () => Conntrack.open());
