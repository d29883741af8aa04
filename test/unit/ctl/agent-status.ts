/** What an agent says of itself when all is well; a test changes what it is about. */
import type { AgentStatus, NetworkStatus } from "../../../src/observe/index.ts";

/** Its only network, with one peer. */
export const networkStatus: NetworkStatus = {
  network: "default",
  mode: "Routed",
  vni: 4096,
  device: "sky.4096",
  mtu: 1450,
  mac: "02:00:00:00:00:01",
  underlayIp: "172.30.0.11",
  port: 4789,
  podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
  ready: true,
  peers: [
    {
      node: "node2",
      mac: "02:00:00:00:00:02",
      underlayIp: "172.30.0.12",
      podCidrs: ["10.244.2.0/24"],
      state: "programmed",
    },
  ],
  refused: [],
  entries: {},
  repairs: { total: 0, byKind: {} },
};

/** The whole of it. */
export const agentStatus: AgentStatus = {
  version: "0.1.0",
  node: "node1",
  networks: [networkStatus],
  api: { state: "synced", lastSync: null },
  ready: { ready: true, checks: [{ name: "device", ok: true, message: "up" }] },
  uptimeSeconds: 1,
};
