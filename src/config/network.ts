/** What is configured of one pod network, whichever it is: the default one has it from the agent's configuration, any other from its definition. */
import type { AgentConfig } from "./agent.ts";

/** Where what is written down of a network's pods on this node is. */
export type NetworkRecords = Readonly<Pick<AgentConfig, "network" | "dataDir">>;

/** See the header. An agent's configuration is the default network's. */
export interface NetworkConfig
  extends NetworkRecords,
    Readonly<
      Pick<
        AgentConfig,
        | "vni"
        | "mtu"
        | "port"
        | "underlay"
        | "clusterCidrs"
        | "masquerade"
        | "directRouting"
        | "encryption"
        | "txChecksum"
      >
    > {}
