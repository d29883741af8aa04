/**
 * Who of two Nodes that claim the same has the better claim. It is the same on every node, since it follows from what the
 * API server says of the two (an agent that has just begun to look at a lease may be behind by as long as that lasts), and one order
 * for all that can be claimed, so that three Nodes never beat each other in a ring:
 *
 * 1. who publishes what is its own for sure: an address that its kubelet reports (`status.addresses`), and the MAC that follows from
 *    its name. An agent's token alone writes neither;
 * 2. whose kubelet is heard, which renews a lease: of a machine that is gone the Node object may stay, and its address be another's by now;
 * 3. whose Node is older, and at last whose name comes first.
 */
import { derivedMac } from "../addr/index.ts";
import type { Granted, Peer } from "./types.ts";

/** What decides. */
export interface Standing {
  readonly node: string;
  /** How much of what it publishes is its own for sure. */
  readonly sure: number;
  /** 2 where its kubelet is heard, 0 where it is not, 1 where nobody has said. */
  readonly heard: number;
  /** When its Node was made, RFC 3339 in UTC as the API server writes it, which sorts as text. */
  readonly since: string;
}

/** How a Node stands with what it publishes. */
export function standingOf(
  { node, mac, underlayIp }: Pick<Peer, "node" | "mac" | "underlayIp">,
  vni: number,
  since: string,
  granted: Granted | undefined,
): Standing {
  const sure = Number(granted?.addresses.includes(underlayIp) ?? false) + Number(mac === derivedMac(`${node}/${vni}`));
  const heard = granted?.heard === undefined ? 1 : granted.heard ? 2 : 0;
  return { node, sure, heard, since };
}

/** Better claims first. */
export function byStanding(a: Standing, b: Standing): number {
  if (a.sure !== b.sure) return b.sure - a.sure;
  if (a.heard !== b.heard) return b.heard - a.heard;
  if (a.since !== b.since) return a.since < b.since ? -1 : 1;
  return a.node < b.node ? -1 : Number(a.node > b.node);
}

/** Why the first of two has the better claim, in words that go between "the" and "node …". */
export function advantage(better: Standing, worse: Standing): string {
  if (better.sure !== worse.sure) return better.since < worse.since ? "confirmed older" : "confirmed";
  if (better.heard !== worse.heard) return "live";
  return "older";
}
