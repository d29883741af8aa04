/** Which policies are in force on this node, and what is not, and why. */
import {
  DEFAULT_DENY,
  hasNames,
  isAudited,
  type PolicyModel,
  type Policy,
  policyKeyOf,
  type World,
} from "../../policy/index.ts";
import type { PolicyList, PolicyReport, PolicyState, RuleReport } from "./documents.ts";
import { NO_CONNECTION, type RuleCount } from "./rule-counters.ts";

/** A policy's object as the API server has it. */
export interface ListedPolicy {
  kind: string;
  namespace?: string | undefined;
  name: string;
  generation?: number | undefined;
  /** Undefined where not even the pods that it is about could be read. */
  policy: Policy | undefined;
  faults: readonly string[];
}

export interface ListContext {
  node: string;
  state: PolicyState;
  policies: Iterable<ListedPolicy>;
  namespaces: World["namespaces"];
  /** Undefined while there are no rules. */
  model: Pick<PolicyModel, "selected" | "overloaded"> | undefined;
  counts: readonly RuleCount[];
  /** Why rules with domain names allow nothing; undefined where they do. */
  namesFault?: string | undefined;
}

/** See the header. */
export function listPolicies(context: ListContext): PolicyList {
  const { node, state, policies, namespaces, model, counts, namesFault } = context;
  const selected = model?.selected() ?? new Map<string, Set<string>>();
  const tooMuch = new Set(model?.overloaded().flatMap((profile) => profile.policies.map(policyKeyOf)));
  const world = { pods: [], nodes: [], policies: [], namespaces };
  const countOf = new Map(
    counts.filter(({ rule }) => rule !== undefined).map((one) => [ruleKey(one.policy, one.direction, one.rule), one]),
  );
  const report = ({ kind, namespace, name, generation, policy, faults }: ListedPolicy): PolicyReport => {
    const key = policyKeyOf({ kind: kind as Policy["kind"], namespace, name });
    const pods = [...(selected.get(key) ?? [])].sort();
    const closed = tooMuch.has(key) && pods.length > 0;
    return {
      kind,
      ...(namespace !== undefined && { namespace }),
      name,
      ...(generation !== undefined && policy && { generation }),
      ...(policy && { tier: policy.tier }),
      ...(policy && policy.tier !== "NetworkPolicy" && { priority: policy.priority }),
      mode: policy && isAudited(world, policy) ? "audit" : "enforce",
      state:
        !policy || !state.inForce
          ? "not in force"
          : closed
            ? "too much"
            : pods.length > 0
              ? "in force"
              : "no pods here",
      why: [
        ...faults,
        ...(policy && !state.inForce ? [state.message] : []),
        ...(namesFault !== undefined && policy && hasNames(policy)
          ? [`its rules with domainNames allow nothing: ${namesFault}`]
          : []),
        ...(closed
          ? ["its pods have more rules than a node takes, and are closed: they are reached by their node alone"]
          : []),
      ],
      pods,
      rules: policy ? rulesOf(policy, key, countOf) : [],
    };
  };
  return {
    ...state,
    node,
    policies: [...policies].map(report).sort((a, b) => compare(nameOf(a), nameOf(b))),
    others: counts
      .filter(({ policy }) => policy === DEFAULT_DENY || policy === NO_CONNECTION)
      .map(({ policy, direction, verdict, packets, bytes }) => ({ what: policy, direction, verdict, packets, bytes })),
  };
}

const nameOf = ({ kind, namespace = "", name }: PolicyReport): string => `${kind} ${namespace}/${name}`;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const ruleKey = (policy: string, direction: string, rule: number | undefined): string =>
  `${policy} ${direction} ${rule}`;

function rulesOf(policy: Policy, key: string, counts: ReadonlyMap<string, RuleCount>): RuleReport[] {
  return (["ingress", "egress"] as const).flatMap((direction) =>
    (policy[direction] ?? []).flatMap(({ action, name }, index) => {
      // Pass decides nothing, so nothing is counted.
      if (action === "Pass") return [];
      const { packets, bytes, verdict } = counts.get(ruleKey(key, direction, index)) ?? {
        packets: 0,
        bytes: 0,
        verdict: action === "Accept" ? ("allow" as const) : ("deny" as const),
      };
      return { direction, index, ...(name !== undefined && { name }), verdict, packets, bytes };
    }),
  );
}
