/** What a pod asks for: which networks it may have, its addresses of claims, its routes, and what it is told. */
export { askedObject, isStatic, sameAsHeard } from "./asking-pod.ts";
export { NetworkPresence, type Presence } from "./network-presence.ts";
export { type PreparedPod, requireJoinable } from "./network-selection.ts";
export { OutsidePods, podOfAlias } from "./outside-pods.ts";
export { claimFor, transferClaim } from "./pod-claims.ts";
export { NetworkStatusWriter } from "./pod-network-status.ts";
export { preparePod } from "./pod-preparation.ts";
export { UnservedPods } from "./unserved-pods.ts";
export { PATIENCE_MS, VerdictWait } from "./verdict-wait.ts";
