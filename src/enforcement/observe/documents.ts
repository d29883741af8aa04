/** What the agent answers about policies on its Unix socket, as JSON: documents for skylanectl and for scripts. */

/** How things stand: whether there are policies, and whether their rules are in the kernel. */
export interface PolicyState {
  presence: "none" | "some" | "unknown";
  inForce: boolean;
  /** The same in words, with the reason where they are not. */
  message: string;
}

/** How one policy stands on this node. */
export interface PolicyReport {
  kind: string;
  /** Absent for policies of the cluster. */
  namespace?: string;
  name: string;
  /** `metadata.generation` of what is in force; absent where the server does not count, or nothing of it could be read. */
  generation?: number;
  tier?: string;
  /** Of policies of the cluster. */
  priority?: number;
  mode: "enforce" | "audit";
  state: "in force" | "no pods here" | "too much" | "not in force";
  /** What of it is not in force, and why. */
  why: string[];
  /** Pods of this node that it selects, as namespace/name. */
  pods: string[];
  rules: RuleReport[];
}

/** What a rule has counted since the agent started: packets that begin a connection. */
export interface RuleReport {
  direction: "ingress" | "egress";
  index: number;
  /** As its author calls it. */
  name?: string;
  verdict: "allow" | "deny" | "audit";
  packets: number;
  bytes: number;
}

/** The answer to `GET /policies`. */
export interface PolicyList extends PolicyState {
  node: string;
  policies: PolicyReport[];
  /** Packets that no rule of a policy decided: of isolated pods, and TCP in the middle of no connection. */
  others: { what: string; direction: "ingress" | "egress"; verdict: string; packets: number; bytes: number }[];
}

/** A policy that is asked about a pod. */
export interface AskedPolicy {
  policy: string;
  tier: string;
  /** Of policies of the cluster. */
  priority?: number;
  mode: "enforce" | "audit";
  rules: number;
}

/** The answer to `GET /policies/explain?pod=`. */
export interface ExplainedPod {
  pod: string;
  node: string;
  ips: readonly string[];
  ingress: AskedPolicy[];
  egress: AskedPolicy[];
}

/** One end of a packet. */
export interface ExplainedEnd {
  ip: string;
  /** "pod shop/front", "node node1", or that nobody that is known has the address. */
  who: string;
}

/** What one end's policies say. */
export interface ExplainedVerdict {
  pod: string;
  allowed: boolean;
  /** Who says so: the policy and its rule, or that nobody does. */
  why: string;
  /** What would be said if policies in audit mode were enforced; absent where that is the same. */
  audit?: string;
  /** What the rules in the kernel say: they are asked on the pod's own node. */
  rules: "the same" | "something else" | "not in force" | "on another node";
}

/** The answer to `GET /policies/explain?from=&to=`: one for each family that both ends have. */
export interface ExplainedPacket {
  source: ExplainedEnd;
  destination: ExplainedEnd;
  protocol: string;
  port?: number;
  allowed: boolean;
  /** Absent where the source is no pod, or it is no matter of policies. */
  egress?: ExplainedVerdict;
  ingress?: ExplainedVerdict;
}

/** The whole answer. */
export interface Explanation extends PolicyState {
  pod?: ExplainedPod;
  packets?: ExplainedPacket[];
}
