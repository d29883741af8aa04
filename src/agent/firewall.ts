/**
 * The node's packet filter as the networks see it: each hands in its own rules, and all of them stand in one table.
 * Nothing is touched before the first network knows its peers, so that an agent that restarts does not lock
 * out, for a moment, the peers that are there.
 */
import { familyOf } from "../addr/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import { Firewall, type NetworkRules } from "../nft/index.ts";
import type { LocalNetwork, Peer } from "../overlay/index.ts";
import { Task } from "../task/index.ts";
import { aggregate } from "./aggregate.ts";
import type { Metrics } from "./metrics.ts";

/** What a network's rules are made of. */
export function rulesOf(local: LocalNetwork, peers: readonly Peer[], config: AgentConfig): NetworkRules {
  const { network, vni, port, podCidrs, clusterCidrs } = local;
  // Of a family without configured cluster CIDRs, what is known of the cluster are the nodes in it.
  const known = peers
    .flatMap((peer) => peer.podCidrs)
    .filter((cidr) => !clusterCidrs.some((one) => familyOf(one) === familyOf(cidr)));
  const ports = peers.flatMap((peer) => (peer.port === undefined ? [] : [peer.port]));
  return {
    network,
    vni,
    port,
    peers: peers.map(({ underlayIp }) => underlayIp),
    peerPorts: [...new Set(ports)],
    podCidrs,
    clusterCidrs: [...clusterCidrs, ...aggregate(known)],
    masquerade: config.masquerade,
  };
}

/** The rules of all networks of the node. */
export class NodeFirewall {
  readonly #firewall: Firewall;
  readonly #start: Task;
  readonly #networks = new Map<string, NetworkRules>();
  #started = false;

  /** @param onApplied the rules in force have changed. */
  constructor(log: Logger, metrics: Metrics, onApplied: () => void) {
    this.#firewall = new Firewall({
      logger: log,
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

  /** Whether the rules in force are those of the networks as they are now. */
  get verdict(): { ok: boolean; message: string } {
    const { ready, error, degraded } = this.#firewall.status();
    if (!this.#started) return { ok: false, message: "not set up yet" };
    return { ok: ready, message: ready ? ["in place", ...degraded].join("; ") : (error ?? "being put in place") };
  }

  /** Leaves the rules as they are. */
  async stop(): Promise<void> {
    await this.#start.stop();
    await this.#firewall.stop();
  }
}
