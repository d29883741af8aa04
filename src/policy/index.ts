/**
 * Network policies: what they mean, and which rules of the packet filter follow. The model is pure; the agent feeds it, and keeps its table.
 *
 *   const model = new PolicyModel(nodeName);
 *   model.replace({ pods, namespaces, nodes, policies })   what lists of the API say; policies by readNetworkPolicy, readClusterNetworkPolicy, readMultiNetworkPolicy
 *   using table = new PolicyTable({ netns });
 *   await table.put(model.ruleset)                         at the start, and whenever the table is not as it should be
 *   const { rules, revocations } = model.change({ pods: { set: [pod] } })
 *   await table.apply(model.ruleset, rules)                elements alone in a fraction of a millisecond, or one transaction of nft's
 *   await table.remove()                                   while model.idle
 *   judge connections of `revocations` by model.passes(packet), and end those that do not pass
 *   verdictOf(world, packet)                               why, for people
 */
export { readClusterNetworkPolicy } from "./api/cluster-network-policy.ts";
export { POLICY_FOR_ANNOTATION, readMultiNetworkPolicy } from "./api/multi-network-policy.ts";
export { readNetworkPolicy } from "./api/network-policy.ts";
export { POLICY_FAULTS_ANNOTATION, readNamesFault, writePolicyFaults } from "./api/node-faults.ts";
export {
  ACCEPTED,
  acceptedFor,
  type Condition,
  type ConditionChanges,
  DOMAIN_NAMES,
  domainNamesFor,
  hasNames,
  saidIn,
  says,
  withConditions,
} from "./api/policy-condition.ts";
export { isInAudit, MODE_ANNOTATION, type ReadPolicy } from "./api/policy-object.ts";
export type { Change, Changes, Revocation } from "./compile/changes.ts";
export { PolicyModel } from "./compile/model.ts";
export { HELD_CHAIN, type Outcome, type Place, type Ruleset, type RulesetChange } from "./compile/ruleset.ts";
export {
  DEFAULT_DENY,
  LOG_GROUP,
  nameOfOutcome,
  outcomeOfPrefix,
  POLICY_TABLE,
  renderChange,
  type RenderOptions,
  renderTable,
} from "./nft/render.ts";
export { ANSWER_QUEUE, type AppliedAs, PolicyTable, type PolicyTableOptions } from "./nft/table.ts";
export type { NamedAddress } from "./semantics/domain-names.ts";
export {
  type Decision,
  isAudited,
  type Packet,
  type PacketVerdict,
  policiesOf,
  type Verdict,
  verdictOf,
} from "./semantics/oracle.ts";
export { type Labels, selects } from "./semantics/selector.ts";
export {
  type ClusterNode,
  namedBy,
  type NamedPort,
  type Namespace,
  type Pod,
  type Policy,
  policyKeyOf,
  type Protocol,
  type World,
} from "./semantics/types.ts";
