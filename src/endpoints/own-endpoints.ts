/**
 * What a node publishes for the pods that it has. A pod has the addresses that the node's own records say, but those of a claim
 * may be in use by another pod, which runs until this one takes over, or again once that one has gone: such a pod is on
 * standby. A pod without a claim takes nothing over: a MAC address that it was given by name may be another pod's, here or
 * elsewhere, and is that one's then. Pure, so that a start, a new pod, a move to here and a move away are the same.
 */
import {
  type Endpoint,
  type EndpointAddresses,
  type EndpointLists,
  judgeSighting,
  type OwnedEndpoint,
  type Owners,
  ownersOf,
  type Present,
  withdrawals,
} from "./owners.ts";
import { STANDING, type Standing } from "./standing.ts";

/** A pod's port by this node's records. */
export interface PortFacts extends EndpointAddresses {
  ifname: string;
  /** The addresses are a claim's: another node's pod may have them, too. */
  claimed: boolean;
}

/** What a node knows. */
export interface OwnInput {
  node: string;
  ports: Iterable<PortFacts>;
  /** All nodes' endpoints, ours as they are published now included. */
  lists: EndpointLists;
  /** MACs that are to be taken over now, whoever has them. */
  taking: ReadonlySet<string>;
  /** Which port has had a MAC so far, by MAC: of two pods here with one MAC, the other one is refused. */
  holders?: ReadonlyMap<string, string>;
  /** What is to be said for one of ours; the best of claims' by default. */
  standing?: (endpoint: EndpointAddresses, claimed: boolean) => Standing;
  /** Which node has had a MAC so far, by MAC. */
  present?: Present;
}

/** Who has what a pod was refused: a port of this node, or an endpoint of another one. */
export type Holder = { port: string } | { endpoint: OwnedEndpoint };

/** What follows. */
export interface OwnOutcome {
  /** What to publish, by MAC. */
  own: Map<string, Endpoint>;
  /** Which port has it, by MAC. */
  holders: Map<string, string>;
  /** Of those, the ones that another node publishes as well, and which. */
  from: Map<string, OwnedEndpoint>;
  /**
   * MACs of claims' that are ours though nobody asked for them now: whoever had them has gone, and this pod is what is left; or a claim's
   * status names another node, which does not have them.
   */
  left: Set<string>;
  /** Claims' that another node has taken over from us, and which. */
  lost: Map<string, OwnedEndpoint>;
  /** Those of ours that another node has, though no claim says that it may. */
  disputed: Map<string, OwnedEndpoint>;
  /** Ports whose pods have a MAC address that is another's already, and may use nothing. */
  refused: Map<string, Holder>;
  /** Who has what once ours is published. */
  owners: Owners;
}

/** Decides. Endpoints of pods that are no longer here are not published any more. */
export function ownEndpoints(input: OwnInput): OwnOutcome {
  const { node, ports, lists, taking, holders: before = new Map(), present = new Map() } = input;
  const published = new Map(lists.get(node)?.map((one) => [one.mac, one]));
  const others = ownersOf(new Map([...lists].filter(([name]) => name !== node)), present);
  // Of ten thousand endpoints that takes a while, and as a rule nobody asks.
  let all: Owners | undefined;
  const own = new Map<string, Endpoint>();
  const holders = new Map<string, string>();
  const from = new Map<string, OwnedEndpoint>();
  const left = new Set<string>();
  const claimed = new Set<string>();
  const refused = new Map<string, Holder>();
  for (const { ifname, mac, ips, claimed: byClaim } of inTurn(ports, before)) {
    const holder = holders.get(mac);
    if (holder !== undefined) {
      refused.set(ifname, { port: holder });
      continue;
    }
    if (byClaim) claimed.add(mac);
    const sameMac = others.byMac.get(mac);
    const rival = sameMac ?? ips.map((ip) => others.byIp.get(ip)).find((one) => one !== undefined);
    const known = published.get(mac);
    if (!byClaim && !known && sameMac) {
      refused.set(ifname, { endpoint: sameMac });
      continue;
    }
    const same = known && known.ips.length === ips.length && ips.every((ip) => known.ips.includes(ip));
    if (byClaim && !known && rival && !taking.has(mac)) continue;
    const endpoint =
      same && !taking.has(mac) ? known : entitled(lists, (all ??= ownersOf(lists, present)), node, { mac, ips }, known);
    if (!endpoint) continue;
    const standing = input.standing?.(endpoint, byClaim);
    own.set(mac, standing === undefined ? endpoint : { ...endpoint, standing });
    holders.set(mac, ifname);
    const strayed = standing === STANDING.former && !rival;
    if (byClaim && (!known || strayed) && !taking.has(mac)) left.add(mac);
    if (rival) from.set(mac, rival);
  }
  const lost = new Map<string, OwnedEndpoint>();
  const disputed = new Map<string, OwnedEndpoint>();
  // One that is given up below has lost: without it nobody has anything else.
  const owners = ownersOf(new Map([...lists, [node, [...own.values()]]]), present);
  for (const [mac, to] of withdrawals(owners, node)) {
    // One that the node gave out itself stays published: it has no other place to be, and is had again when the other one goes.
    (claimed.has(mac) ? lost : disputed).set(mac, to);
    if (!claimed.has(mac)) continue;
    own.delete(mac);
    holders.delete(mac);
  }
  return { own, holders, from, left, lost, disputed, refused, owners };
}

/** Ports in the order in which they may have a MAC: by a claim, then who had it, then by name, the same after every start. */
function inTurn(ports: Iterable<PortFacts>, before: ReadonlyMap<string, string>): PortFacts[] {
  const place = ({ ifname, mac, claimed }: PortFacts): number => (claimed ? 0 : before.get(mac) === ifname ? 1 : 2);
  return [...ports].sort((a, b) => place(a) - place(b) || (a.ifname < b.ifname ? -1 : 1));
}

function entitled(
  lists: EndpointLists,
  owners: Owners,
  node: string,
  endpoint: EndpointAddresses,
  known: Endpoint | undefined,
): Endpoint | undefined {
  const verdict = judgeSighting(lists, owners, node, { mac: endpoint.mac, entitled: endpoint });
  return verdict.kind === "transfer" ? verdict.endpoint : known;
}
