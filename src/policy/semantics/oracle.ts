/**
 * What policies mean, written down as plainly as possible: for one packet, walk over everything. It is what the compiled rules are held
 * against in tests, and what explains a verdict to people; no packet waits for it.
 *
 * - NetworkPolicy: a pod that some policy selects in a direction is isolated in it; then exactly what any of those policies allows passes.
 * - ClusterNetworkPolicy: tiers in order, policies by priority, rules as written; the first that matches decides, and Pass leads to the next tier.
 * - What nobody decides passes.
 * - A pod reaches itself. A node reaches its own pods, and no NetworkPolicy keeps a pod from its own node (kubernetes.io, "Network Policies").
 */
import { cidrContains, familyOf } from "../../addr/index.ts";
import { isAmong } from "./domain-names.ts";
import { selects } from "./selector.ts";
import {
  byPrecedence,
  type Direction,
  isSelectable,
  type Peer,
  type Pod,
  type PodSelection,
  type Policy,
  type PortMatch,
  type Protocol,
  type Rule,
  TIERS,
  type World,
} from "./types.ts";

/** A packet that begins a connection. Where Services are translated, its real ends. */
export interface Packet {
  source: string;
  destination: string;
  /** `other`: a protocol without ports, such as ICMP. */
  protocol: Protocol | "other";
  /** Of the destination; of no meaning for `other`. */
  port: number;
}

/** Who decided, and how. */
export interface Decision {
  allowed: boolean;
  /** `rule`: a policy's; `isolated`: policies select the pod and none allows it; `open`: nobody says anything about it. */
  by: "rule" | "isolated" | "open";
  policy?: Policy;
  /** Index among the policy's rules of the direction. */
  rule?: number;
}

/** What is enforced for a pod in one direction, and what would be if policies in audit mode were enforced as well. */
export interface Verdict extends Decision {
  audit: Decision | undefined;
}

/** Both ends' say; undefined where no pod is at that end, or it is none of policies' business. */
export interface PacketVerdict {
  allowed: boolean;
  egress: Verdict | undefined;
  ingress: Verdict | undefined;
}

/** The pod that an address is; of several that claim it the last. */
export const podAt = (world: World, ip: string): Pod | undefined =>
  world.pods.findLast((pod) => isSelectable(pod) && pod.ips.includes(ip));

/** What happens to a packet on its whole way. */
export function verdictOf(world: World, packet: Packet): PacketVerdict {
  const [from, to] = [podAt(world, packet.source), podAt(world, packet.destination)];
  if (packet.source === packet.destination) return { allowed: true, egress: undefined, ingress: undefined };
  const ownNode = (pod: Pod | undefined, ip: string): boolean =>
    pod !== undefined && world.nodes.some(({ name, ips }) => name === pod.node && ips.includes(ip));
  const egress = from && directed(world, "egress", from, packet, ownNode(from, packet.destination));
  const ingress = to && !ownNode(to, packet.source) ? directed(world, "ingress", to, packet, false) : undefined;
  return { allowed: (egress?.allowed ?? true) && (ingress?.allowed ?? true), egress, ingress };
}

/** Policies that say something of a pod in one direction, in the order in which they are asked. */
export const policiesOf = (world: World, direction: Direction, pod: Pod): Policy[] =>
  world.policies
    .filter((policy) => policy[direction] !== undefined && selectsPod(world, policy.subject, pod))
    .sort(byPrecedence);

/** What a pod's policies say of a packet in one direction. @param toOwnNode it goes to the node that the pod is on */
export function directed(world: World, direction: Direction, pod: Pod, packet: Packet, toOwnNode: boolean): Verdict {
  const selecting = policiesOf(world, direction, pod);
  const enforced = decide(
    world,
    selecting.filter((policy) => !isAudited(world, policy)),
    direction,
    pod,
    packet,
    toOwnNode,
  );
  const audit = decide(world, selecting, direction, pod, packet, toOwnNode);
  return { ...enforced, audit: enforced.allowed && !audit.allowed ? audit : undefined };
}

/** Whether a policy is in audit mode, by itself or by its namespace. */
export const isAudited = (world: World, { audit, namespace }: Policy): boolean =>
  audit || world.namespaces.some((one) => one.name === namespace && one.audit);

function decide(
  world: World,
  policies: readonly Policy[],
  direction: Direction,
  pod: Pod,
  packet: Packet,
  toOwnNode: boolean,
): Decision {
  for (const tier of TIERS) {
    const those = policies.filter((policy) => policy.tier === tier);
    // What the node of a pod says or hears is no matter of NetworkPolicies.
    if (tier === "NetworkPolicy" && those.length > 0 && toOwnNode) return { allowed: true, by: "open" };
    const match = firstMatch(world, those, direction, pod, packet);
    if (match && match.action !== "Pass")
      return { allowed: match.action === "Accept", by: "rule", policy: match.policy, rule: match.rule };
    if (tier === "NetworkPolicy" && those.length > 0) return { allowed: false, by: "isolated" };
  }
  return { allowed: true, by: "open" };
}

function firstMatch(
  world: World,
  policies: readonly Policy[],
  direction: Direction,
  pod: Pod,
  packet: Packet,
): { action: Rule["action"]; policy: Policy; rule: number } | undefined {
  for (const policy of policies) {
    const rules = policy[direction] ?? [];
    const rule = rules.findIndex((one) => matches(world, one, direction, pod, packet));
    if (rule >= 0) return { action: (rules[rule] as Rule).action, policy, rule };
  }
  return undefined;
}

function matches(world: World, { peers, ports }: Rule, direction: Direction, pod: Pod, packet: Packet): boolean {
  const other = direction === "ingress" ? packet.source : packet.destination;
  // A port has the name that the pod at which the traffic arrives gives it.
  const target = direction === "ingress" ? pod : podAt(world, other);
  return (
    (peers?.some((peer) => isPeer(world, peer, other)) ?? true) &&
    (ports?.some((port) => isPort(port, target, packet)) ?? true)
  );
}

function isPeer(world: World, peer: Peer, ip: string): boolean {
  switch (peer.kind) {
    case "pods": {
      const pod = podAt(world, ip);
      return pod !== undefined && selectsPod(world, peer.pods, pod);
    }
    case "nodes":
      return world.nodes.some((node) => node.ips.includes(ip) && selects(peer.nodes, node.labels));
    case "names":
      return world.named?.some((one) => one.ip === ip && isAmong(peer.names, one.name)) ?? false;
    default: {
      const { cidr, except } = peer.block;
      return familyOf(cidr) === familyOf(ip) && cidrContains(cidr, ip) && !except.some((one) => cidrContains(one, ip));
    }
  }
}

/** Whether a selection has a pod in it. A namespace that is not known (yet) has no labels that could be selected. */
export function selectsPod(world: World, { namespace, namespaces, pods }: PodSelection, pod: Pod): boolean {
  if (!isSelectable(pod) || !selects(pods, pod.labels)) return false;
  if (namespaces === undefined) return pod.namespace === namespace;
  const found = world.namespaces.find(({ name }) => name === pod.namespace);
  return found !== undefined && selects(namespaces, found.labels);
}

function isPort(match: PortMatch, target: Pod | undefined, { protocol, port }: Packet): boolean {
  if (protocol === "other" || (match.protocol !== undefined && match.protocol !== protocol)) return false;
  if (match.name === undefined) return port >= match.first && port <= match.last;
  return (
    target?.ports.some((one) => one.name === match.name && one.protocol === protocol && one.port === port) ?? false
  );
}
