/** What is configured of a pod network beside the default one. */
import type { AgentConfig, NetworkConfig } from "../config/index.ts";
import type { PodNetworkInfo } from "../crd/index.ts";

/** By its definition, and where that says nothing as this node has it for all networks. */
export const configOf = (
  {
    port,
    underlay,
    txChecksum,
    dataDir,
    encryption,
  }: Pick<AgentConfig, "port" | "underlay" | "txChecksum" | "dataDir" | "encryption">,
  { name, vni, mtu, cidrs }: PodNetworkInfo,
): NetworkConfig => ({
  network: name,
  vni,
  mtu: mtu ?? "auto",
  port,
  underlay,
  txChecksum,
  dataDir,
  clusterCidrs: [...cidrs],
  // What leaves the network leaves by its uplink, whose rules see to that.
  masquerade: { enabled: false, exclude: [] },
  // In a namespace of its own there is no underlay to which a plain route could lead.
  directRouting: "off",
  // The tunnel's packets leave by the host's namespace, where they are encrypted whichever network they are of.
  encryption,
});
