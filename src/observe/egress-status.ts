/** How egress gateways stand on a node, for people and programs. */

/** A gateway, for people and programs. */
export interface EgressGatewayStatus {
  gateway: string;
  /** The PodNetwork whose packets these are; absent: the default network. */
  network?: string;
  /** Why it is not in force, or not whole. */
  why?: string;
  /** Why its pods have no way out of their network. */
  noWayOut?: string;
  addresses: { address: string; node?: string; pods: number }[];
  /** Pods of this node that leave by it. */
  pods: { pod: string; ip: string; address?: string; node?: string }[];
}

/** How egress gateways stand on this node. */
export interface EgressStatus {
  /** What the API server has not said yet, or nothing. */
  message?: string;
  gateways: EgressGatewayStatus[];
  /** Egress addresses that this node has. */
  addresses: string[];
  /** What is not in place, and why. */
  faults: { entry: string; why: string }[];
}
