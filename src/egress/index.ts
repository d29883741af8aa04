/** Egress gateways: which pods leave the cluster through which nodes and behind which addresses, and who has an address. */
export { EgressGateways, type EgressGatewaysOptions } from "./egress-gateways.ts";
export type { EgressNetwork, EgressOfNetwork } from "./networks.ts";
export { EGRESS_ANNOTATION, readTransits, writeTransits } from "./transit-word.ts";
export { Transits } from "./transits.ts";
export { Beats } from "./beats.ts";
export { planNode } from "./node-plan.ts";
export { assign, distribute, ranked } from "./rendezvous.ts";
export { select, type Taken } from "./selection.ts";
export { egressStatus } from "./statuses.ts";
