/** The agent's configuration for a pod network beside the default one. */
import type { AgentConfig } from "../config/index.ts";
import type { PodNetworkInfo } from "../crd/index.ts";

/** The agent's configuration as one network's: what is said of the default network replaced by what this one is. */
export const configOf = (config: AgentConfig, { name, vni, mtu, cidrs }: PodNetworkInfo): AgentConfig => ({
  ...config,
  network: name,
  vni,
  mtu: mtu ?? "auto",
  clusterCidrs: [...cidrs],
  masquerade: { enabled: false, exclude: [] },
  // In a namespace of its own there is no underlay to which a plain route could lead.
  directRouting: "off",
});
