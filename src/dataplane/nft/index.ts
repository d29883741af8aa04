/** The packet filter: one nftables table of ours, and acceptance where a FORWARD policy drops; the only folder that runs nft and iptables. */
export { type Count, countsByChain } from "./counters.ts";
export { ElementSocket, ElementsRefused } from "./rules/elements.ts";
export { EGRESS_MARK, type EgressAnswer, isEgressMark, setEgressMark } from "./rules/egress-answers.ts";
export type { RawElement, RawStep } from "./rules/raw-batch.ts";
export { Firewall } from "./firewall.ts";
export type { FirewallOptions, FirewallStatus } from "./firewall-options.ts";
export {
  ensureForwarding,
  type ForwardChain,
  forwardChains,
  type ForwardReport,
} from "./forward-policy.ts";
export { type HostPortRules, hostPortRules } from "./rules/host-ports.ts";
export { pairOf, type PeerSource } from "./rules/inner-source.ts";
export { type IsolatedNetwork, namespaceRules, tunnelRules } from "./rules/isolated.ts";
export { knownPeers } from "./rules/peer-set.ts";
export { type PeerChange } from "./peer-changes.ts";
export type { PortAddresses, PortSecurity } from "./rules/port-security.ts";
export { removeFirewall } from "./remove.ts";
export { ALL_FEATURES, type NetworkRules, type NftFeatures, renderRuleset } from "./rules/ruleset.ts";
export { NftError, type RunTool, toolRunner, type ToolOptions } from "./run.ts";
export { type SurveyedChain, surveyChains } from "./survey.ts";
export { NOT_OUTSIDE, ofFamily, set as setOf, withoutCovered } from "./rules/sets.ts";
export { UPLINK_CIDRS } from "./rules/uplink.ts";
export { isThere } from "./presence.ts";
export { applyRuleset, probeFeatures, removeTables } from "./table.ts";
export { type NftTransaction, NftWatch } from "./watched/watch.ts";
export { KeptTable } from "./watched/kept-table.ts";
export { WatchedTable } from "./watched/watched-table.ts";
