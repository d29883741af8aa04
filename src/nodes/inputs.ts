/**
 * What a pod network of this node is made from: our own Node's facts and every Node's annotation, as plain
 * data. They come from the API server or, while that is away, from the cache on disk; nobody after this
 * point can tell the difference.
 */
import type { NodeVtep } from "../peers/index.ts";

/** What our own Node object says, as far as a pod network needs it. */
export interface OwnFacts {
  name: string;
  /** Absent while only the cache knows the Node, and while it does not exist any more. */
  uid?: string;
  /** Canonical pod CIDRs, at most one a family; empty while none is assigned. */
  podCidrs: string[];
  /** Addresses of type InternalIP, canonical, in the Node's order. */
  internalIps: string[];
  /** Addresses of type ExternalIP, canonical, in the Node's order. */
  externalIps?: string[];
  /** Text of the operator's `skylane.dev/underlay-ip`. */
  underlayOverride?: string;
  /** Text of the operator's `skylane.dev/public-ip`. */
  publicOverride?: string;
  /** Text of our own `skylane.dev/vtep` as the API server has it. */
  vtepAnnotation?: string;
  /** Text of our own `skylane.dev/policy-faults` as the API server has it. */
  policyFaults?: string;
}

/**
 * Whether two say the same but for what we have said ourselves: each of hundreds of networks that a node joins is an annotation
 * of our own Node more, from which nothing follows for the others.
 */
export function sameBesideOurWord(one: OwnFacts, other: OwnFacts): boolean {
  const facts = (own: OwnFacts): string =>
    JSON.stringify({ ...own, vtepAnnotation: undefined, policyFaults: undefined });
  return one === other || facts(one) === facts(other);
}

/** Our own Node, to which our objects belong: always as it is now, since a node may be registered again while its agent runs. */
export interface NodeIdentity {
  readonly name: string;
  /** Undefined while the API server has no such Node. */
  readonly uid: string | undefined;
}

/** @param uid asked whenever somebody wants to know */
export const identityOf = (name: string, uid: () => string | undefined): NodeIdentity => ({
  name,
  get uid() {
    return uid();
  },
});

/** What another Node object says, and what the API server says of it ({@link NodeVtep}). */
export interface NodeFacts extends NodeVtep {
  uid: string;
  /** Text of the `skylane.dev/policy-faults` of a node that has published its VTEP. */
  policyFaults?: string;
}

/** All inputs of a network. */
export interface Inputs {
  /** Another object only when it says something else. */
  own: OwnFacts;
  /** Every Node of the cluster as it is when this is gone through, our own among them. */
  nodes: Iterable<NodeFacts>;
}

/** Nodes that have changed, by name; undefined for those that are gone. */
export type NodeChanges = ReadonlyMap<string, NodeFacts | undefined>;
