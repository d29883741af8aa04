/**
 * The packet filter of a network with a namespace of its own, as its peers see it: what concerns the underlay stands in the
 * host's table, what concerns the pods in the namespace's.
 */
import { hostPrefix } from "../addr/index.ts";
import type { Logger } from "../log/index.ts";
import { namespaceRules, type NetworkRules, type PortSecurity, tunnelRules } from "../dataplane/nft/index.ts";
import type { LocalNetwork, Peer } from "../peers/index.ts";
import { NodeFirewall } from "./node-firewall.ts";
import type { Metrics } from "../observe/index.ts";

export type HostFirewall = Pick<NodeFirewall, "set" | "remove" | "changePeers" | "changeHosts" | "verdict">;

/** What it works on. */
export interface InstanceFirewallOptions {
  network: string;
  /** The host's table. */
  host: HostFirewall;
  /** The network's namespace. */
  netns: number;
  log: Logger;
  metrics: Metrics;
  onApplied: () => void;
  /** Connections between its pods are followed, for the fast path. */
  tracked: boolean;
  /** The network's CIDRs where it has an uplink, which leads to everything else. */
  outside: () => readonly string[] | undefined;
}

/** Both tables as one. */
export class InstanceFirewall implements Pick<NodeFirewall, "set" | "changePeers" | "verdict"> {
  readonly #options: InstanceFirewallOptions;
  readonly #own: NodeFirewall;
  #rules: NetworkRules | undefined;
  #security: PortSecurity | undefined;
  /** Single addresses that nodes may send from; undefined while they are not known, and in a bridged network, where each node holds its own pods. */
  #hostsOf: ((node: string) => readonly string[]) | undefined;

  constructor(options: InstanceFirewallOptions) {
    const { log, metrics, onApplied, netns } = options;
    this.#options = options;
    this.#own = new NodeFirewall(log, metrics, onApplied, { netns });
  }

  set(rules: NetworkRules): void {
    this.#rules = rules;
    const outside = this.#options.outside();
    const peers = () => ({ ips: rules.peers, ports: rules.peerPorts ?? [] });
    const [sources, hostsOf] = [rules.sources, this.#hostsOf];
    const held =
      sources &&
      hostsOf &&
      (() =>
        sources().map((one) => {
          const hosts = hostsOf(one.node);
          return hosts.length === 0 ? one : { ...one, cidrs: [...one.cidrs, ...hosts.map(hostPrefix)] };
        }));
    this.#options.host.set(tunnelRules(rules, peers, outside !== undefined, held));
    this.#setOwn(rules);
  }

  /** Holds ports of the network's bridge to these addresses; resolves when that is so, or could not be made so yet. */
  async secure(security: PortSecurity): Promise<void> {
    this.#security = security;
    if (!this.#rules) return;
    this.#setOwn(this.#rules);
    await this.#own.settled();
  }

  #setOwn(rules: NetworkRules): void {
    const own = namespaceRules(rules, rules.podCidrs, this.#options.outside(), this.#options.tracked);
    this.#own.set(this.#security ? { ...own, portSecurity: this.#security } : own);
  }

  /** The network has got an uplink, or has none any more. */
  refresh(): void {
    if (this.#rules) this.set(this.#rules);
  }

  /**
   * Holds peers to their prefixes and these addresses from now on. Before, they are held to nothing: an agent that starts again must not
   * cut off pods whose addresses it has not heard of yet. @param hostsOf asked whenever the rules are rendered
   */
  hold(hostsOf: (node: string) => readonly string[]): void {
    this.#hostsOf = hostsOf;
    this.refresh();
  }

  /** Peers concern the host's table alone. */
  changePeers(local: LocalNetwork, former: readonly Peer[], now: readonly Peer[]): void {
    const withHosts = (peer: Peer): Peer => ({ ...peer, hosts: this.#hostsOf?.(peer.node) ?? [] });
    this.#options.host.changePeers(local, former.map(withHosts), now.map(withHosts));
  }

  /** Peers may send from other single addresses than before: those that they are given with here. */
  changeHosts(local: LocalNetwork, former: readonly Peer[], now: readonly Peer[]): void {
    if (this.#hostsOf) this.#options.host.changeHosts(local, former, now);
  }

  verdict(network = this.#options.network): { ok: boolean; message: string } {
    const verdict = this.#own.verdict(network);
    return verdict.ok ? this.#options.host.verdict(network) : verdict;
  }

  /** Leaves both tables as they are. */
  stop(): Promise<void> {
    return this.#own.stop();
  }

  /** Takes the network's rules out of the host's table; the namespace takes its own along. */
  async remove(): Promise<void> {
    this.#options.host.remove(this.#options.network);
    await this.stop();
  }
}
