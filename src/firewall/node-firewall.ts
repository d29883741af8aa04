/**
 * The node's packet filter as the networks see it: each hands in its own rules, and all of them stand in one table.
 * Nothing is touched before the first network knows its peers, so that an agent that restarts does not lock
 * out, for a moment, the peers that are there.
 */
import { familyOf, hostPrefix, networkAddress } from "../addr/index.ts";
import type { NetworkConfig } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import {
  type EgressAnswer,
  Firewall,
  type FirewallOptions,
  type NetworkRules,
  pairOf,
  type PeerSource,
} from "../dataplane/nft/index.ts";
import type { LocalNetwork, Peer } from "../peers/index.ts";
import { Task } from "../reconcile/index.ts";
import { aggregate } from "./aggregate.ts";
import type { Metrics } from "../observe/index.ts";

/**
 * What a peer may send from inside the tunnel: its pods' addresses, its VTEP's being the first of them, those of claims that it has,
 * and where its programs' packets come through the tunnel its own.
 */
const sourcesOf = ({ isolated }: LocalNetwork, { underlayIp, podCidrs, hosts = [] }: Peer): string[] => [
  ...podCidrs,
  ...(isolated ? hosts : [underlayIp, ...hosts]).map(hostPrefix),
];

const sourceOf = (local: LocalNetwork, peer: Peer): PeerSource => ({
  node: peer.node,
  ip: peer.underlayIp,
  cidrs: sourcesOf(local, peer),
});

/** What a network's rules are made of, read whenever they are rendered: peers come and go in between. */
export function rulesOf(
  local: LocalNetwork,
  peers: ReadonlyMap<string, Peer>,
  config: NetworkConfig,
  directOver: readonly number[] = [],
): NetworkRules {
  const { network, vni, port, podCidrs, clusterCidrs } = local;
  return {
    network,
    vni,
    port,
    get peers() {
      return Array.from(peers.values(), ({ underlayIp }) => underlayIp);
    },
    get peerPorts() {
      return Array.from(peers.values()).flatMap(({ underlayIp: ip, port }) => (port === undefined ? [] : { ip, port }));
    },
    sources: () => Array.from(peers.values(), (peer) => sourceOf(local, peer)),
    podCidrs,
    get clusterCidrs() {
      const configured = new Set(clusterCidrs.map(familyOf));
      const known: string[] = [];
      for (const { podCidrs: cidrs } of peers.values())
        for (const cidr of cidrs) if (!configured.has(familyOf(cidr))) known.push(cidr);
      return [...clusterCidrs, ...aggregate(known)];
    },
    masquerade: config.masquerade,
    directOver,
    get directVteps() {
      if (directOver.length === 0) return [];
      return Array.from(peers.values()).flatMap((peer) =>
        peer.receivesAt?.length ? peer.podCidrs.map(networkAddress) : [],
      );
    },
  };
}

/** A peer's pod CIDRs of families without configured cluster CIDRs: of those, what is known of the cluster are the nodes in it. */
const unconfigured = (clusterCidrs: readonly string[], { podCidrs }: Peer): string[] =>
  podCidrs.filter((cidr) => !clusterCidrs.some((one) => familyOf(one) === familyOf(cidr)));

/** The rules of all networks of the node. */
export class NodeFirewall {
  readonly #firewall: Firewall;
  readonly #start: Task;
  readonly #networks = new Map<string, NetworkRules>();
  readonly #answers = new Map<string, readonly EgressAnswer[]>();
  #started = false;

  /**
   * @param onApplied the rules in force have changed. @param where the network namespace, the agent's own by default, and whether
   * ends of uplinks are there already
   */
  constructor(
    log: Logger,
    metrics: Metrics,
    onApplied: () => void,
    where: Pick<FirewallOptions, "netns" | "uplinks"> = {},
  ) {
    this.#firewall = new Firewall({
      logger: log,
      answers: (network) => this.#answers.get(network) ?? [],
      ...where,
      // Nobody but us has chains in a namespace of our own.
      ...(where.netns !== undefined && { forwardPolicy: false }),
      onRepair: (kind) => metrics.repairs.inc({ network: "", kind }),
      onApply: (result) => {
        metrics.nftApplies.inc({ result });
        setImmediate(onApplied);
      },
    });
    this.#start = new Task(
      async () => {
        if (this.#started) return;
        await this.#firewall.start();
        this.#started = true;
        onApplied();
      },
      { baseMs: 1_000, maxMs: 30_000 },
      (error, attempt) => {
        if (attempt === 1) log.error("nftables cannot be watched; trying again", { error });
      },
    );
  }

  /** Replaces one network's rules. */
  set(rules: NetworkRules): void {
    this.#networks.set(rules.network, rules);
    this.#firewall.set([...this.#networks.values()]);
    if (!this.#started) this.#start.want();
  }

  /** Lets in what answers these pods of a network, which leave the cluster by other nodes, and no others any more. */
  setAnswers(network: string, answers: readonly EgressAnswer[]): void {
    const text = (list: readonly EgressAnswer[]): string => list.map(({ pod, gateway }) => `${pod} ${gateway}`).join();
    if (text(this.#answers.get(network) ?? []) === text(answers)) return;
    this.#answers.set(network, answers);
    this.#firewall.answersChanged();
  }

  /** Resolves when the rules are in place, or the attempt has failed; it is made again then. */
  async settled(): Promise<void> {
    await this.#start.settled();
    await this.#firewall.settled();
  }

  /** Takes one network's rules out. */
  remove(network: string): void {
    if (this.#networks.delete(network)) this.#firewall.set([...this.#networks.values()]);
  }

  /** Takes a change of a network's peers, of which the rules that were set know already. */
  changePeers(local: LocalNetwork, former: readonly Peer[], now: readonly Peer[]): void {
    const { network, clusterCidrs } = local;
    const rules = this.#networks.get(network);
    if (!rules) return;
    const news = (of: (peer: Peer) => readonly string[]): { come: string[]; gone: string[] } => {
      const [before, after] = [new Set(former.flatMap(of)), new Set(now.flatMap(of))];
      return { come: [...after.difference(before)], gone: [...before.difference(after)] };
    };
    const cidrs = news((peer) => unconfigured(clusterCidrs, peer));
    const direct = (of: readonly Peer[]): string =>
      of.flatMap(({ receivesAt, podCidrs }) => (receivesAt?.length ? podCidrs : [])).join();
    const follows =
      cidrs.gone.length > 0 ||
      [...former, ...now].some(({ port }) => port !== undefined) ||
      ((rules.directOver?.length ?? 0) > 0 && direct(former) !== direct(now));
    const sources = news((peer) => sourcesOf(local, peer).map((cidr) => pairOf(peer.underlayIp, cidr)));
    const addresses = news(({ underlayIp }) => [underlayIp]);
    this.#firewall.changePeers(rules, { ...addresses, prefixes: cidrs.come, sources }, follows);
  }

  /** Takes a change of single addresses that peers of a network may send from, of which the rules that were set know already. */
  changeHosts(local: LocalNetwork, former: readonly Peer[], now: readonly Peer[]): void {
    const rules = this.#networks.get(local.network);
    const pairs = (peers: readonly Peer[]): Set<string> =>
      new Set(peers.flatMap((peer) => sourcesOf(local, peer).map((cidr) => pairOf(peer.underlayIp, cidr))));
    const [before, after] = [pairs(former), pairs(now)];
    const sources = { come: [...after.difference(before)], gone: [...before.difference(after)] };
    if (rules) this.#firewall.changePeers(rules, { come: [], gone: [], sources }, false);
  }

  /** Whether a network's own rules are in force. */
  verdict(network: string): { ok: boolean; message: string } {
    const { error, degraded } = this.#firewall.status();
    if (!this.#started) return { ok: false, message: "not set up yet" };
    const ready = this.#firewall.isInPlace(network);
    return { ok: ready, message: ready ? ["in place", ...degraded].join("; ") : (error ?? "being put in place") };
  }

  /** Leaves the rules as they are. */
  async stop(): Promise<void> {
    await this.#start.stop();
    await this.#firewall.stop();
  }
}
