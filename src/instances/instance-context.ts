/** What a node's parts in pod networks have in common. */
import type { NetworkBlocks } from "../ipam/blocks/index.ts";
import type { ClaimPlaces } from "../ipam/claims/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { KubeClient, ObjectReflector } from "../kube/index.ts";
import type { MeasuredMtus } from "../data-path/index.ts";
import type { Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import type { NetworkBlock } from "../crd/index.ts";
import type { FlowNetwork, FlowsOfNetwork } from "../flows/index.ts";
import type { HostFirewall } from "../firewall/index.ts";
import type { EgressNetwork, EgressOfNetwork } from "../egress/index.ts";
import type { PolicyEngine } from "../enforcement/index.ts";
import type { Metrics, CheckResult } from "../observe/index.ts";
import type { Elsewhere } from "../nodes/index.ts";
import type { InstanceMachine } from "./instance-machine.ts";

/** What instances have in common. */
export interface InstanceContext {
  /** Resolves when the node has what its pods need, for the first time: what can wait begins then. */
  settled: Promise<void>;
  config: AgentConfig;
  log: Logger;
  metrics: Metrics;
  client: KubeClient;
  /** How long the start of a pod waits for its network's data path, in milliseconds; then its runtime asks again. */
  readyMs: number;
  /** For looking at the host. */
  rtnl: Rtnl;
  machine: InstanceMachine;
  firewall: HostFirewall;
  /** The blocks of this node, all networks'. */
  blocks: Pick<ObjectReflector<NetworkBlock>, "objects" | "whenSynced">;
  /** The API server's addresses and the Services' CIDRs. */
  elsewhere: () => Elsewhere;
  /** The blocks of all nodes in the networks that this node takes part in. */
  networkBlocks: Pick<NetworkBlocks, "follow">;
  /** Where claims are, by their status. */
  places: ClaimPlaces;
  /** Hears of networks that this node takes part in. */
  policies: Pick<PolicyEngine, "join">;
  /** The same, of those that can follow connections in their namespaces. */
  flows: { join: (network: FlowNetwork) => FlowsOfNetwork };
  /** What tunnels to nodes take, where this node measures that. */
  mtus?: MeasuredMtus | undefined;
  /** The same, of routed ones, whose pods may leave by gateways. */
  egress: { join: (network: EgressNetwork) => EgressOfNetwork };
  announce: () => void;
  announced: (network: string) => CheckResult;
  /** Hears of a file of a network that somebody had changed, and that is as it was. */
  repaired: (path: string, network: string) => void;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}
