/** What the model is told, and what it answers. */
import type { NamedAddress } from "../semantics/domain-names.ts";
import type { ClusterNode, Namespace, Pod, Policy } from "../semantics/types.ts";
import type { RulesetChange } from "./ruleset.ts";

/** What came or is different, and the names of what is gone. */
export interface Changes {
  pods?: { set?: readonly Pod[]; gone?: readonly { namespace: string; name: string }[] };
  namespaces?: { set?: readonly Namespace[]; gone?: readonly string[] };
  nodes?: { set?: readonly ClusterNode[]; gone?: readonly string[] };
  policies?: { set?: readonly Policy[]; gone?: readonly Pick<Policy, "kind" | "namespace" | "name">[] };
  /** Addresses of domain names, until then in milliseconds since the epoch; 0: no longer, but connections may have begun before. */
  names?: { set?: readonly (NamedAddress & { until: number })[]; gone?: readonly NamedAddress[] };
  /** All DNS servers whose answers are believed, beside the cluster's own; canonical addresses. */
  servers?: readonly string[];
}

/** Connections of a pod here that may not be allowed any more: with one peer, or with anybody. */
export interface Revocation {
  ip: string;
  peer: string | undefined;
}

export interface Change {
  rules: RulesetChange;
  /** Whose established connections are to be judged anew. Every connection that is not allowed any more is among them. */
  revocations: Revocation[];
}
