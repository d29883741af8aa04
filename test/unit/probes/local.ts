/** The node that measures, for tests that need no more of it than that there is one. */
export const LOCAL = {
  network: "default",
  node: "a",
  vni: 759,
  device: "sky.759",
  port: 4789,
  mtu: 1450,
  mac: "02:00:00:00:00:01",
  underlayIp: "192.0.2.1",
  podCidrs: ["10.0.1.0/24", "fd00:1::/64"],
  clusterCidrs: [],
};
