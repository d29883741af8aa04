/** Facts of a node on which everything is well; a test changes what it is about. */
import type { Facts, PeerProbe } from "../../../src/cli/doctor/facts.ts";
import { linkOf } from "../../support/link.ts";
import { agentStatus } from "./agent-status.ts";

export const probe = (node: string, more: Partial<PeerProbe> = {}): PeerProbe => ({
  node,
  underlayIp: "172.30.0.12",
  vtep: "10.244.2.0",
  tunnel: true,
  beside: "echo",
  inside: { wanted: 1450, passes: true },
  outside: { wanted: 1500, passes: true },
  device: "eth0",
  onLink: true,
  ...more,
});

export const healthy = (more: Partial<Facts> = {}): Facts => ({
  installed: true,
  settings: {
    vni: 4096,
    port: 4789,
    listen: "127.0.0.1:9473",
    confDir: "/etc/cni/net.d",
    confName: "10-skylane.conflist",
    binDir: "/opt/cni/bin",
  },
  agent: { value: structuredClone(agentStatus) },
  release: "6.1.0-42-amd64",
  kernel: {
    value: {
      vxlan: { works: true },
      veth: { works: true },
      nftables: { works: true },
      fib: true,
      fullyRandom: true,
    },
  },
  links: [
    linkOf(1, "lo", { loopback: true }),
    linkOf(2, "eth0"),
    linkOf(3, "sky.4096", { kind: "vxlan", mtu: 1450, vxlan: { vni: 4096, port: 4789, learning: false } }),
  ],
  addresses: [{ ifindex: 2, ip: "172.30.0.11", prefix: 24 }],
  routes: [
    { family: 4, dst: "default", gateway: "172.30.0.1", ifindex: 2 },
    { family: 4, dst: "10.244.2.0/24", gateway: "10.244.2.0", ifindex: 3, protocol: 83 },
    { family: 4, dst: "10.0.0.0/8", gateway: "172.30.0.1", ifindex: 2, protocol: 4 },
  ],
  rules: [
    { family: 4, priority: 0, table: 255 },
    { family: 4, priority: 32_766, table: 254 },
    { family: 4, priority: 32_767, table: 253 },
  ],
  astray: [],
  lostHostPorts: { value: { all: 0, lost: [] } },
  ownHostPorts: { value: { all: 0, lost: [] } },
  limits: { value: { all: 0, lost: [] } },
  sysctls: {
    ipForward: "1",
    ipv6Forwarding: "1",
    pending: [],
    rpFilter: { eth0: "2" },
    bridgeNf: undefined,
    conntrackMax: "262144",
    conntrackCount: "10",
    gcThresh3: { 4: "1024", 6: "1024" },
  },
  neighbours: { 4: 3, 6: 1 },
  confFiles: { value: ["10-skylane.conflist"] },
  executable: true,
  chains: { value: [{ table: "inet skylane", name: "forward", hook: "forward", policy: "accept" }] },
  forward: { value: [] },
  udpHolders: [{ family: 4 }],
  vxlanElsewhere: [],
  listen: "agent",
  managers: { networkManager: false, networkd: true, managed: [], visible: true },
  peers: [probe("node2")],
  ...more,
});
