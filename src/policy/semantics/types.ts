/**
 * Network policies, and what they speak of, in our words: what `NetworkPolicy` (networking.k8s.io/v1) and `ClusterNetworkPolicy`
 * (policy.networking.k8s.io/v1alpha2) have in common once they are read. Compiler and oracle know no other form.
 */
import type { NamedAddress } from "./domain-names.ts";
import type { Labels, Selector } from "./selector.ts";
import { keyOf } from "../../json/index.ts";

export const DIRECTIONS = ["ingress", "egress"] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** Protocols that have ports in policies. */
export const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** In the order in which they are asked. */
export const TIERS = ["Admin", "NetworkPolicy", "Baseline"] as const;
export type Tier = (typeof TIERS)[number];

export type Action = "Accept" | "Deny" | "Pass";

/** Pods of one namespace, or of all namespaces that a selector selects. Never pods of the host's network, never ended ones. */
export interface PodSelection {
  /** The one namespace; undefined where `namespaces` selects them. */
  namespace: string | undefined;
  namespaces: Selector | undefined;
  pods: Selector;
}

/** An address range without some ranges in it; canonical prefixes of one family. */
export interface Block {
  cidr: string;
  except: readonly string[];
}

/** Who may be at the other end. */
export type Peer =
  | { kind: "pods"; pods: PodSelection }
  | { kind: "nodes"; nodes: Selector }
  | { kind: "block"; block: Block }
  /** Addresses that these names have, as DNS servers that are believed have told pods of this node. */
  | { kind: "names"; names: readonly string[] };

/**
 * A port at which traffic arrives: numbers, or the name that a container of the pod gives it. Without a protocol a name means that of
 * any protocol.
 */
export type PortMatch =
  | { name?: undefined; protocol: Protocol; first: number; last: number }
  | { name: string; protocol: Protocol | undefined };

/** What some traffic meets with. */
export interface Rule {
  action: Action;
  /** The name that its author gave it; any text. */
  name?: string;
  /** Any of these; undefined: everybody. An empty list is nobody. */
  peers: readonly Peer[] | undefined;
  /** Any of these; undefined: everything, also protocols without ports. An empty list is nothing. */
  ports: readonly PortMatch[] | undefined;
}

export type PolicyKind = "NetworkPolicy" | "ClusterNetworkPolicy" | "MultiNetworkPolicy";

/** A policy that was read. */
export interface Policy {
  kind: PolicyKind;
  /** Undefined for policies of the cluster. */
  namespace: string | undefined;
  name: string;
  tier: Tier;
  /** Within the tier, the lower the earlier; 0 in the tier of NetworkPolicies, which have no order. */
  priority: number;
  subject: PodSelection;
  /** Of a MultiNetworkPolicy the NetworkAttachmentDefinitions whose networks it is about, as "namespace/name"; undefined: the default network. */
  networks?: readonly string[];
  /** Undefined where the policy says nothing about the direction. Of NetworkPolicies an empty list is "nothing is allowed". */
  ingress: readonly Rule[] | undefined;
  egress: readonly Rule[] | undefined;
  /** Counted and logged, not enforced. */
  audit: boolean;
}

/** A named port of a container. */
export interface NamedPort {
  name: string;
  protocol: Protocol;
  port: number;
}

/** What is known of a pod. */
export interface Pod {
  /** {@link keyOf} it, where somebody has that at hand: one text for all who keep it. */
  key?: string;
  namespace: string;
  name: string;
  labels: Labels;
  /** Canonical addresses; empty before it has any. */
  ips: readonly string[];
  ports: readonly NamedPort[];
  /** The node it is on. */
  node: string;
  /** In the host's network: it has the node's addresses, and policies know it as the node. */
  hostNetwork: boolean;
  /** Its phase is Succeeded or Failed: its address may be another pod's by now. */
  ended: boolean;
}

export interface Namespace {
  name: string;
  labels: Labels;
  /** Its NetworkPolicies are in audit mode. */
  audit: boolean;
}

export interface ClusterNode {
  name: string;
  labels: Labels;
  /** Canonical addresses, those that it has in the overlay included. */
  ips: readonly string[];
}

/** Everything that decides about traffic. */
export interface World {
  pods: readonly Pod[];
  namespaces: readonly Namespace[];
  nodes: readonly ClusterNode[];
  policies: readonly Policy[];
  /** Addresses that names have at present. */
  named?: readonly NamedAddress[];
}

/** The object of a namespace that {@link keyOf} names. */
export function namedBy(key: string): { namespace: string; name: string } {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Names a policy among those of all kinds. */
export const policyKeyOf = (policy: Pick<Policy, "kind" | "namespace" | "name">): string =>
  `${policy.kind} ${keyOf(policy)}`;

/** Whether policies can select a pod, as subject or as peer. */
export const isSelectable = ({ hostNetwork, ended }: Pod): boolean => !hostNetwork && !ended;

/**
 * The order in which policies are asked: tier, priority, and name, which the API leaves open for equal priorities and which
 * is here the same on every node.
 */
export function byPrecedence(a: Policy, b: Policy): number {
  const tier = TIERS.indexOf(a.tier) - TIERS.indexOf(b.tier);
  if (tier !== 0) return tier;
  if (a.priority !== b.priority) return a.priority - b.priority;
  const [x, y] = [policyKeyOf(a), policyKeyOf(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}
