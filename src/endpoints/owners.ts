/**
 * Whose an address is. Every node publishes the endpoints that it has; a MAC or an IP address that is bound to no node may
 * be in two lists for a while, since a workload moved, or for good, since somebody errs or lies. All nodes
 * must send its frames to the same place without asking each other, so the owner is a pure function of the lists and of what is to
 * be said for each endpoint (standing.ts). Of two claims' with the same standing that with more `moves` wins; of two that have nothing but
 * their nodes' word the one that was there before another came, then the one of the node that has been in the network for longer.
 *
 * An endpoint is one claim: it holds all of its addresses or none. One that loses a single address to another
 * endpoint would leave its peers with a MAC here and an IP address there. Endpoints are taken in the order of
 * precedence, and one that overlaps with one taken before is out, so the outcome is the same whatever order the lists
 * came in.
 */

import { STANDING, type Standing } from "./standing.ts";

/** Addresses of one endpoint, canonical. */
export interface EndpointAddresses {
  mac: string;
  /** At most one a family. */
  ips: readonly string[];
}

/** An endpoint as a node publishes it. */
export interface Endpoint extends EndpointAddresses {
  /** How often it changed nodes; a take-over writes the highest number seen and one more. 0 at first. */
  moves: number;
  /** What there is to say for it beside the node's word; the best of claims' by default. */
  standing?: Standing;
  /** When its node's object was made, RFC 3339: of two with nothing else to say for them, the older one counts. */
  since?: string;
}

/** Highest number of moves: it has to survive JSON, and nobody may write one above which there is none. */
const MAX_MOVES = Number.MAX_SAFE_INTEGER - 1;

/** An endpoint and where it is. */
export interface OwnedEndpoint extends Endpoint {
  node: string;
}

/** Lists by node. */
export type EndpointLists = ReadonlyMap<string, readonly Endpoint[]>;

/** Who has what. */
export interface Owners {
  /** The endpoints that hold their addresses, by MAC. */
  byMac: ReadonlyMap<string, OwnedEndpoint>;
  /** The same by IP address. */
  byIp: ReadonlyMap<string, OwnedEndpoint>;
  /** Endpoints that lost to another one, which is given; each node withdraws its own. */
  lost: readonly { endpoint: OwnedEndpoint; to: OwnedEndpoint }[];
}

const textOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const standingOf = ({ standing = STANDING.claim }: Endpoint): Standing => standing;
/** Moves are of claims': nobody else can move, whatever he says. */
const movesOf = (one: Endpoint): number => (isClaimed(one) ? one.moves : 0);
const isClaimed = (one: Endpoint): boolean => standingOf(one) === STANDING.claim || standingOf(one) === STANDING.former;

/**
 * The order of precedence, total over all that endpoints can differ in. @param present who has had a MAC so far: where nothing but the
 * nodes' own word tells, that one keeps it
 */
function precedence(a: OwnedEndpoint, b: OwnedEndpoint, present: Present): number {
  const had = (one: OwnedEndpoint): number =>
    Number(standingOf(one) === STANDING.word && present.get(one.mac)?.node === one.node);
  return (
    standingOf(b) - standingOf(a) ||
    had(b) - had(a) ||
    movesOf(b) - movesOf(a) ||
    textOrder(a.since ?? "", b.since ?? "") ||
    textOrder(a.node, b.node) ||
    textOrder(a.mac, b.mac) ||
    textOrder([...a.ips].sort().join(), [...b.ips].sort().join())
  );
}

/** Who has had a MAC so far, by MAC. */
export type Present = ReadonlyMap<string, Pick<OwnedEndpoint, "node">>;

/** Finds the owners of everything that is in the lists. */
export function ownersOf(lists: EndpointLists, present: Present = new Map()): Owners {
  const all: OwnedEndpoint[] = [];
  for (const [node, endpoints] of lists) for (const endpoint of endpoints) all.push({ ...endpoint, node });
  all.sort((a, b) => precedence(a, b, present));
  const byMac = new Map<string, OwnedEndpoint>();
  const byIp = new Map<string, OwnedEndpoint>();
  const lost: { endpoint: OwnedEndpoint; to: OwnedEndpoint }[] = [];
  for (const endpoint of all) {
    const rival = byMac.get(endpoint.mac) ?? firstOf(endpoint.ips, byIp);
    if (rival) {
      lost.push({ endpoint, to: rival });
      continue;
    }
    byMac.set(endpoint.mac, endpoint);
    for (const ip of endpoint.ips) byIp.set(ip, endpoint);
  }
  return { byMac, byIp, lost };
}

function firstOf(ips: readonly string[], byIp: ReadonlyMap<string, OwnedEndpoint>): OwnedEndpoint | undefined {
  for (const ip of ips) {
    const owner = byIp.get(ip);
    if (owner) return owner;
  }
  return undefined;
}

/** What a node should take out of its own list, since another one has it: by MAC, each with its owner. */
export function withdrawals(owners: Owners, node: string): Map<string, OwnedEndpoint> {
  const own = owners.lost.filter(({ endpoint, to }) => endpoint.node === node && to.node !== node);
  return new Map(own.map(({ endpoint, to }) => [endpoint.mac, to]));
}

/** A local port whose pod sends from a MAC. */
export interface Sighting {
  mac: string;
  /** What this node's records allow the pod to be: its claim's MAC and addresses. Absent: nothing but what it has. */
  entitled?: { mac: string; ips: readonly string[] };
}

/** What to do about it: nothing, refuse it, or publish this endpoint as one's own. */
export type OwnershipDecision =
  | { kind: "ours" }
  | { kind: "refused"; reason: string }
  | { kind: "transfer"; endpoint: Endpoint; from: OwnedEndpoint | undefined };

/**
 * Judges a MAC that appeared at a port of this node. Only a pod whose own records entitle it to the MAC may take it
 * over; whoever merely sends from it is refused, and the owner loses nothing.
 * @param lists all nodes' endpoints, ours included; `moves` of every claim to one of the addresses count, of lost ones too
 */
export function judgeSighting(
  lists: EndpointLists,
  owners: Owners,
  node: string,
  { mac, entitled }: Sighting,
): OwnershipDecision {
  const owner = owners.byMac.get(mac);
  if (entitled?.mac !== mac) {
    const whose = owner ? `belongs to an endpoint on node ${owner.node}` : "is no endpoint's";
    return {
      kind: "refused",
      reason: `MAC address ${mac} ${whose}, and the pod that sends from it has no claim to it`,
    };
  }
  if (owner?.node === node && holds(owner, entitled.ips)) return { kind: "ours" };
  let highest = -1;
  const ips = new Set(entitled.ips);
  for (const endpoints of lists.values()) {
    for (const other of endpoints) {
      if (other.mac === mac || other.ips.some((ip) => ips.has(ip))) highest = Math.max(highest, other.moves);
    }
  }
  return {
    kind: "transfer",
    endpoint: { mac, ips: [...entitled.ips], moves: Math.min(highest + 1, MAX_MOVES) },
    from: owner,
  };
}

const holds = (owner: Endpoint, ips: readonly string[]): boolean =>
  owner.ips.length === ips.length && ips.every((ip) => owner.ips.includes(ip));
