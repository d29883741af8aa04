/** What can become of a packet at a program, in words that metrics, status and doctor use, each with its place among the counters. */

/** Whence a packet came: out of a pod here, from the wire, or by the ordinary path to the VXLAN device. */
export const DIRECTIONS = ["pod", "wire", "device"] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** How a packet went on: quickly, or by the ordinary path and why. A closed list. */
export const OUTCOMES = [
  /** By the fast path: to a pod here. */
  "delivered",
  /** By the fast path: to another node. */
  "sent",
  /** By the ordinary path to the VXLAN device, whose header a program made. */
  "tunnelled",
  /** Neither IPv4 nor IPv6, with a VLAN tag, or not to this node's MAC. */
  "frame",
  /** Cut short, with options, a fragment, at the end of its hops; segments of a UDP datagram. */
  "shape",
  /** Neither TCP nor UDP. */
  "protocol",
  /** A DNS answer, which the packet filter may hold until the rules of policies have its addresses. */
  "names",
  /** TCP that begins or ends a connection. */
  "flags",
  /** Its source is not this pod's, or not one of the node that sent it. */
  "source",
  /** To nobody that the fast path leads to. */
  "destination",
  /** The pod's device is gone. */
  "gone",
  /** Larger than the way allows. */
  "mtu",
  /** The kernel follows no such connection. */
  "unknown",
  /** The connection is not established, is translated, or somebody has a hand in it. */
  "unsettled",
  /** The kernel has no way to the other node over the underlay device. */
  "route",
  /** It met with congestion on the way, which the tunnel has to tell the receiver. */
  "congestion",
  /** The kernel could not make or take off the tunnel's header. */
  "kernel",
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Those by the fast path. */
export const FAST: ReadonlySet<Outcome> = new Set(["delivered", "sent"]);

const PLACES = 32;
/** How many counters there are. */
export const COUNTERS = DIRECTIONS.length * PLACES;
/** The place of a counter. */
export const counterOf = (direction: Direction, outcome: Outcome): number =>
  DIRECTIONS.indexOf(direction) * PLACES + OUTCOMES.indexOf(outcome);
