/**
 * The agent's metrics, each declared once with its meaning. Counters and histograms are fed as things happen;
 * gauges are set from a fresh look right before a scrape, so that they can never be stale.
 */
import type { EncryptionStatus } from "../dataplane/encryption/index.ts";
import type { FastPathStatus } from "../dataplane/fast-path/index.ts";
import type { WatchState } from "../kube/index.ts";
import type { EgressStatus } from "./egress-status.ts";
import type { FlowCount, FlowsStatus } from "../flows/index.ts";
import { FAULTS, type ProbeCount, type ProbesStatus } from "../probes/index.ts";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

/** Whom a data path tells what it does. */
export interface DataPathListener {
  /** Something was repaired: `count` entries of a kind. */
  onRepair: (kind: string, count: number) => void;
  /** A pass could not be made at all; it is tried again. */
  onError: (error: unknown) => void;
  /** A pass has ended: the status may be another. */
  onPass: (report: { planSeconds?: number; applySeconds: number; failures: number }) => void;
}

/** Buckets for work on the kernel: 0.1 ms to 10 s. */
const WORK_BUCKETS = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];
/** Buckets for a CNI request, by the agent or by a plugin of its own: 1 ms to 10 s. */
const CNI_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** Buckets for a packet's way to another node and back: 50 µs to 1 s. */
const ROUND_TRIP_BUCKETS = [0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1];

/** How often the event loop's lag is measured, in milliseconds: each time wakes a process that does nothing otherwise. */
const LAG_PRECISION_MS = 500;

const ENCRYPTION_STATES = ["encrypted", "waiting", "plaintext", "blocked"] as const;

/** All of the agent's metrics. */
export class Metrics {
  readonly registry = new Registry();
  readonly #samplers: (() => void | Promise<void>)[] = [];
  readonly #in = { registers: [this.registry] };

  readonly buildInfo = new Gauge({
    name: "skylane_build_info",
    help: "1, with the versions as labels",
    labelNames: ["version", "node_version"] as const,
    ...this.#in,
  });
  readonly peers = new Gauge({
    name: "skylane_peers",
    help: "Accepted peers (other nodes of the overlay)",
    labelNames: ["network"] as const,
    ...this.#in,
  });
  readonly refusedPeers = new Gauge({
    name: "skylane_refused_peers",
    help: "Nodes whose published VTEP is refused, by reason",
    labelNames: ["network", "reason"] as const,
    ...this.#in,
  });
  readonly entries = new Gauge({
    name: "skylane_entries",
    help: "Kernel entries of the overlay by kind: expected, and present in the kernel",
    labelNames: ["network", "kind", "state"] as const,
    ...this.#in,
  });
  readonly planSeconds = new Histogram({
    name: "skylane_plan_duration_seconds",
    help: "Time to compare desired and actual state",
    labelNames: ["network"] as const,
    buckets: WORK_BUCKETS,
    ...this.#in,
  });
  readonly applySeconds = new Histogram({
    name: "skylane_apply_duration_seconds",
    help: "Time to apply a plan to the kernel",
    labelNames: ["network"] as const,
    buckets: WORK_BUCKETS,
    ...this.#in,
  });
  readonly repairs = new Counter({
    name: "skylane_repairs_total",
    help: "Objects of ours that somebody else removed or changed and that were put right, by kind",
    labelNames: ["network", "kind"] as const,
    ...this.#in,
  });
  readonly kernelErrors = new Counter({
    name: "skylane_kernel_errors_total",
    help: "Operations that the kernel refused",
    labelNames: ["network"] as const,
    ...this.#in,
  });
  readonly nftApplies = new Counter({
    name: "skylane_nft_applies_total",
    help: "Transactions of the nftables table by result",
    labelNames: ["result"] as const,
    ...this.#in,
  });
  readonly apiSynced = new Gauge({
    name: "skylane_api_synced",
    help: "1 while the watch of that resource is in step with the API server",
    labelNames: ["watch"] as const,
    ...this.#in,
  });
  readonly apiRelists = new Counter({
    name: "skylane_api_relists_total",
    help: "Full lists taken from the API server",
    labelNames: ["watch"] as const,
    ...this.#in,
  });
  readonly apiErrors = new Counter({
    name: "skylane_api_errors_total",
    help: "Failed requests and broken watches",
    labelNames: ["watch"] as const,
    ...this.#in,
  });
  readonly cniSeconds = new Histogram({
    name: "skylane_cni_duration_seconds",
    help: "CNI requests served on this node by verb and result (ok, or the CNI error code), by the agent or by a plugin of their own",
    labelNames: ["verb", "result", "by"] as const,
    buckets: CNI_BUCKETS,
    ...this.#in,
  });
  readonly ready = new Gauge({
    name: "skylane_ready_check",
    help: "1 for each readiness check that holds",
    labelNames: ["check"] as const,
    ...this.#in,
  });
  readonly selfTests = new Counter({
    name: "skylane_selftests_total",
    help: "Self-tests of the data path by outcome: answered by a peer, unanswered, failed",
    labelNames: ["outcome"] as const,
    ...this.#in,
  });
  readonly policyPackets = new Counter({
    name: "skylane_policy_packets_total",
    help: "Packets that network policies decided about on this node, by policy (or default deny), direction and verdict: all that were denied (deny) or would be in audit mode (audit), and those that began an allowed connection (allow)",
    labelNames: ["network", "policy", "direction", "verdict"] as const,
    ...this.#in,
  });
  readonly policyBytes = new Counter({
    name: "skylane_policy_bytes_total",
    help: "Bytes of those packets",
    labelNames: ["network", "policy", "direction", "verdict"] as const,
    ...this.#in,
  });
  readonly policySeconds = new Histogram({
    name: "skylane_policy_change_duration_seconds",
    help: "Time from the news of a change of policies, pods or namespaces to rules in the kernel that have it",
    labelNames: ["network"] as const,
    buckets: WORK_BUCKETS,
    ...this.#in,
  });
  readonly hostPorts = new Gauge({
    name: "skylane_host_ports",
    help: "Ports of this node that lead to pods on it",
    ...this.#in,
  });
  readonly egressPods = new Gauge({
    name: "skylane_egress_pods",
    help: "Addresses of pods of this node that leave the cluster by an egress gateway",
    labelNames: ["gateway"] as const,
    ...this.#in,
  });
  readonly egressAddresses = new Gauge({
    name: "skylane_egress_addresses",
    help: "Egress addresses by gateway: on this node (here), on another one (elsewhere), or on none (nowhere)",
    labelNames: ["gateway", "where"] as const,
    ...this.#in,
  });
  readonly egressFaults = new Gauge({
    name: "skylane_egress_faults",
    help: "Parts of egress gateways that are not in place on this node",
    ...this.#in,
  });
  readonly fastPathOn = new Gauge({
    name: "skylane_fast_path_on",
    help: "1 while a network's fast path is on, 0 while it is configured and something is in its way",
    labelNames: ["network"] as const,
    ...this.#in,
  });
  readonly fastPathPackets = new Counter({
    name: "skylane_fast_path_packets_total",
    help: "Packets at the fast path's programs, out of pods (pod), out of the tunnel (wire), or by the ordinary path to the VXLAN device (device): those that took it (fast), and those that went by the ordinary path (slow) and why, or that a program made the tunnel's header of (tunnelled). Packets of other protocols and ports from the wire are not counted",
    labelNames: ["network", "from", "path", "outcome"] as const,
    ...this.#in,
  });
  readonly probePackets = new Counter({
    name: "skylane_probe_packets_total",
    help: "Packets by which this node has measured its peers, through the tunnel (tunnel) or beside it (underlay), by family and by what became of them: answered, lost, or refused by this node's own kernel",
    labelNames: ["path", "family", "outcome"] as const,
    ...this.#in,
  });
  readonly probeSeconds = new Histogram({
    name: "skylane_probe_round_trip_seconds",
    help: "Time from a packet to a peer to its answer, through the tunnel or beside it",
    labelNames: ["path"] as const,
    buckets: ROUND_TRIP_BUCKETS,
    ...this.#in,
  });
  readonly probeRound = new Gauge({
    name: "skylane_probe_round_seconds",
    help: "Time in which this node measures each of its peers once",
    ...this.#in,
  });
  readonly probePeers = new Gauge({
    name: "skylane_probe_peers",
    help: "Peers by whether they were measured: measured, and of these faulty",
    labelNames: ["state"] as const,
    ...this.#in,
  });
  readonly probeFaults = new Gauge({
    name: "skylane_probe_faults",
    help: "Faults between nodes that stand as this node judges them, by kind; skylanectl probes names the nodes",
    labelNames: ["fault"] as const,
    ...this.#in,
  });
  readonly encryptionPeers = new Gauge({
    name: "skylane_encryption_peers",
    help: "Other nodes by what becomes of what goes there: encrypted, waiting (for the first handshake), plaintext, blocked",
    labelNames: ["state"] as const,
    ...this.#in,
  });
  readonly oldestHandshake = new Gauge({
    name: "skylane_encryption_oldest_handshake_seconds",
    help: "How long ago this node and the one with which it is longest have agreed on keys; under 3 minutes where there is traffic with all",
    ...this.#in,
  });
  readonly keyAge = new Gauge({
    name: "skylane_encryption_key_age_seconds",
    help: "Age of this node's key of WireGuard",
    ...this.#in,
  });
  readonly nextKeyAge = new Gauge({
    name: "skylane_encryption_next_key_age_seconds",
    help: "Since when this node goes over to another key of WireGuard, whatever agents there were meanwhile; 0: it does not",
    ...this.#in,
  });
  readonly keyAwaited = new Gauge({
    name: "skylane_encryption_key_awaited_nodes",
    help: "Other nodes for which the change of this node's key waits; of a few for minutes, it stands still",
    ...this.#in,
  });
  readonly keyRotations = new Counter({
    name: "skylane_encryption_key_rotations_total",
    help: "How often this node has gone over to another key of WireGuard",
    ...this.#in,
  });
  readonly flows = new Counter({
    name: "skylane_flows_total",
    help: "Flows of the default network's pods by namespace of both ends ((node), (outside) and (other) are none) and verdict, about, where not all are read: allowed ones that start at this node, and packets' kinds that its policies denied",
    labelNames: ["source_namespace", "destination_namespace", "verdict"] as const,
    ...this.#in,
  });
  readonly flowBytes = new Counter({
    name: "skylane_flow_bytes_total",
    help: "Bytes of those flows that have ended, of both directions, as far as connection tracking has seen them",
    labelNames: ["source_namespace", "destination_namespace", "verdict"] as const,
    ...this.#in,
  });
  readonly flowsLeftOut = new Counter({
    name: "skylane_flows_left_out_total",
    help: "What flows leave out: events that were not read (sampled, about), for which the kernel had no room (dropped), flows that were forgotten before their end (table)",
    labelNames: ["reason"] as const,
    ...this.#in,
  });
  readonly collected = new Counter({
    name: "skylane_ipam_collected_total",
    help: "Address reservations freed because their pod is provably gone",
    labelNames: ["network"] as const,
    ...this.#in,
  });

  /** Figures of networks that are set for each scrape: of one that the node has left there is none. */
  readonly #ofNetworks = [this.peers, this.refusedPeers, this.entries, this.policyPackets, this.policyBytes];

  /** Counts what a network's data path tells. */
  ofPasses(network: string): DataPathListener {
    return {
      onRepair: (kind, count) => this.repairs.inc({ network, kind }, count),
      onError: () => this.kernelErrors.inc({ network }),
      onPass: ({ planSeconds, applySeconds, failures }) => {
        if (planSeconds !== undefined) this.planSeconds.observe({ network }, planSeconds);
        this.applySeconds.observe({ network }, applySeconds);
        if (failures > 0) this.kernelErrors.inc({ network }, failures);
      },
    };
  }

  /** Takes over how the fast path of each network stands; its counters are the kernel's own. */
  sampleFastPaths(networks: Iterable<{ network: string; fastPath?: FastPathStatus }>): void {
    this.fastPathOn.reset();
    this.fastPathPackets.reset();
    for (const { network, fastPath } of networks) {
      if (!fastPath) continue;
      this.fastPathOn.set({ network }, Number(fastPath.on));
      for (const { from, path, outcome, packets: count } of fastPath.packets)
        this.fastPathPackets.inc({ network, from, path, outcome }, count);
    }
  }

  /** Takes over how the watches of the API server stand. */
  sampleWatches({ own, nodes }: Record<"own" | "nodes", WatchState>): void {
    this.apiRelists.reset();
    this.apiErrors.reset();
    for (const [watch, state] of [
      ["own_node", own],
      ["nodes", nodes],
    ] as const) {
      this.apiSynced.set({ watch }, state.synced && state.connected ? 1 : 0);
      this.apiRelists.inc({ watch }, state.relists);
      this.apiErrors.inc({ watch }, state.errors);
    }
  }

  /** Sets what encryption between nodes tells. */
  sampleEncryption({ peers, keySeconds, rotation }: EncryptionStatus): void {
    this.keyAge.set(keySeconds ?? 0);
    this.nextKeyAge.set(rotation?.keySeconds ?? 0);
    this.keyAwaited.set(rotation?.awaited.length ?? 0);
    for (const state of ENCRYPTION_STATES)
      this.encryptionPeers.set({ state }, peers.filter((peer) => peer.state === state).length);
    const ages = peers.flatMap(({ handshakeSeconds }) => handshakeSeconds ?? []);
    this.oldestHandshake.set(ages.length > 0 ? Math.max(...ages) : 0);
  }

  /** Takes over what flows have counted. */
  sampleFlows({ leftOut }: FlowsStatus, counts: Iterable<FlowCount>): void {
    for (const metric of [this.flows, this.flowBytes, this.flowsLeftOut]) metric.reset();
    for (const { source, destination, verdict, flows, bytes } of counts) {
      const labels = { source_namespace: source, destination_namespace: destination, verdict };
      this.flows.inc(labels, flows);
      this.flowBytes.inc(labels, bytes);
    }
    for (const [reason, count] of Object.entries(leftOut)) this.flowsLeftOut.inc({ reason }, count);
  }

  /** Takes over how egress gateways stand. */
  sampleEgress({ gateways, addresses: held, faults }: EgressStatus): void {
    for (const metric of [this.egressPods, this.egressAddresses]) metric.reset();
    for (const { gateway, addresses, pods } of gateways) {
      this.egressPods.set({ gateway }, pods.length);
      const where = addresses.map(({ address, node }) =>
        held.includes(address) ? "here" : node === undefined ? "nowhere" : "elsewhere",
      );
      for (const one of ["here", "elsewhere", "nowhere"])
        this.egressAddresses.set({ gateway, where: one }, where.filter((other) => other === one).length);
    }
    this.egressFaults.set(faults.length);
  }

  /** Takes over how the probes stand. */
  sampleProbes({ roundSeconds, peers, verdicts }: ProbesStatus, counts: readonly ProbeCount[]): void {
    this.probeRound.set(roundSeconds);
    this.probePeers.set({ state: "measured" }, peers.measured);
    this.probePeers.set({ state: "faulty" }, peers.faulty);
    for (const fault of FAULTS)
      this.probeFaults.set({ fault }, verdicts.filter((verdict) => verdict.fault === fault).length);
    this.probePackets.reset();
    for (const { path, family, outcome, packets } of counts) this.probePackets.inc({ path, family, outcome }, packets);
  }

  /** @param version Skylane's own. */
  constructor(version: string) {
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: LAG_PRECISION_MS });
    this.buildInfo.set({ version, node_version: process.version }, 1);
  }

  /** Registers a function that sets gauges before every scrape; those of networks are empty when it is called. */
  beforeScrape(sampler: () => void | Promise<void>): void {
    this.#samplers.push(sampler);
  }

  /** Everything in Prometheus' text format. */
  async text(): Promise<string> {
    for (const gauge of this.#ofNetworks) gauge.reset();
    for (const sampler of this.#samplers) await sampler();
    return await this.registry.metrics();
  }
}
