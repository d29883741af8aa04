/**
 * Why a packet passes or not: what the policies of both ends say of it, in words. It is the semantics in plain loops that answer, not the compiled
 * rules; what those say is put beside it for pods of this node, so that a difference would be seen.
 */
import { familyOf } from "../../addr/index.ts";
import {
  type Decision,
  isAudited,
  type Packet,
  policiesOf,
  type Pod,
  type Policy,
  policyKeyOf,
  type Verdict,
  verdictOf,
  type World,
} from "../../policy/index.ts";
import type { AskedPolicy, ExplainedEnd, ExplainedPacket, ExplainedPod, ExplainedVerdict } from "./documents.ts";
import { keyOf } from "../../json/index.ts";

export type Direction = "ingress" | "egress";

/** One end of a packet: a pod, or an address that no pod is known to have. */
export type End = { pod: Pod } | { ip: string };

/** What is asked besides. */
export interface ExplainContext {
  world: World;
  /** What the rules of this node say of a packet at a pod of it; undefined where they are not in force. */
  ruled: (direction: Direction, packet: Packet) => boolean | undefined;
  isHere: (pod: Pod) => boolean;
}

/** Which policies a pod has. */
export function explainPod({ world }: ExplainContext, pod: Pod): ExplainedPod {
  const asked = (direction: Direction): AskedPolicy[] =>
    policiesOf(world, direction, pod).map((policy) => ({
      policy: policyKeyOf(policy),
      tier: policy.tier,
      ...(policy.tier !== "NetworkPolicy" && { priority: policy.priority }),
      mode: isAudited(world, policy) ? "audit" : "enforce",
      rules: policy[direction]?.length ?? 0,
    }));
  return { pod: keyOf(pod), node: pod.node, ips: pod.ips, ingress: asked("ingress"), egress: asked("egress") };
}

/** What comes of a packet from one end to the other, in each family that both have. */
export function explainPackets(
  context: ExplainContext,
  from: End,
  to: End,
  { protocol, port }: Pick<Packet, "protocol" | "port">,
): ExplainedPacket[] {
  return ipsOf(from).flatMap((source) => {
    const destination = ipsOf(to).find((ip) => familyOf(ip) === familyOf(source));
    return destination === undefined ? [] : explainPacket(context, { source, destination, protocol, port });
  });
}

const ipsOf = (end: End): readonly string[] => ("pod" in end ? end.pod.ips : [end.ip]);

function explainPacket(context: ExplainContext, packet: Packet): ExplainedPacket {
  const { world } = context;
  const { allowed, egress, ingress } = verdictOf(world, packet);
  const { source, destination, protocol, port } = packet;
  return {
    source: endOf(world, source),
    destination: endOf(world, destination),
    protocol: protocol === "other" ? "ICMP" : protocol,
    ...(protocol !== "other" && { port }),
    allowed,
    ...(egress && { egress: verdict(context, "egress", packet, egress) }),
    ...(ingress && { ingress: verdict(context, "ingress", packet, ingress) }),
  };
}

const podAt = ({ pods }: World, ip: string): Pod | undefined => pods.find(({ ips }) => ips.includes(ip));

function endOf(world: World, ip: string): ExplainedEnd {
  const pod = podAt(world, ip);
  const node = world.nodes.find(({ ips }) => ips.includes(ip));
  const who = pod ? `pod ${keyOf(pod)}` : node ? `node ${node.name}` : "neither a pod nor a node that is known";
  return { ip, who };
}

function verdict(context: ExplainContext, direction: Direction, packet: Packet, found: Verdict): ExplainedVerdict {
  const { world, ruled, isHere } = context;
  const pod = podAt(world, direction === "ingress" ? packet.destination : packet.source) as Pod;
  const selecting = policiesOf(world, direction, pod);
  const said = isHere(pod) ? ruled(direction, packet) : undefined;
  return {
    pod: keyOf(pod),
    allowed: found.allowed,
    why: inWords(
      found,
      direction,
      selecting.filter((policy) => !isAudited(world, policy)),
    ),
    ...(found.audit && { audit: inWords(found.audit, direction, selecting) }),
    rules: !isHere(pod)
      ? "on another node"
      : said === undefined
        ? "not in force"
        : said === found.allowed
          ? "the same"
          : "something else",
  };
}

function inWords({ by, allowed, policy, rule }: Decision, direction: Direction, selecting: readonly Policy[]): string {
  if (by === "rule" && policy && rule !== undefined) {
    const name = policy[direction]?.[rule]?.name;
    return `${policyKeyOf(policy)} ${allowed ? "allows" : "denies"} it by ${direction}[${rule}]${name === undefined ? "" : ` "${name}"`}`;
  }
  const isolating = selecting.filter(({ tier }) => tier === "NetworkPolicy").map((one) => keyOf(one));
  if (by === "isolated")
    return `default deny: the pod is isolated by NetworkPolicy ${isolating.join(", ")}, and no rule for ${direction} allows it`;
  return isolating.length > 0
    ? "no NetworkPolicy keeps a pod from its own node"
    : `no policy says anything about it, so it passes`;
}
