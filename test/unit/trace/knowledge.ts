/** What two nodes know of two pods, and a kernel in which all is as it should be; a test changes what it is about. */
import type { KnownNetwork, KnownPeer, Knowledge, LocalPod } from "../../../src/cli/trace/plan/knowledge.ts";
import type { Step } from "../../../src/cli/trace/plan/step.ts";
import type { Found } from "../../../src/cli/trace/read/found.ts";

export const MACS = { node1: "02:00:00:00:00:01", node2: "02:00:00:00:00:02", pod: "02:00:00:00:00:aa" };

const podOf = (name: string, number: number): LocalPod => ({
  name: `default/${name}`,
  netns: `/run/netns/${name}`,
  ifname: "eth0",
  hostIfname: `sky${name}`,
  ips: [`10.244.${number}.5`, `fd00:${number}::5`],
  mac: MACS.pod,
});

const networkOf = (number: number): KnownNetwork => ({
  name: "default",
  mode: "Routed",
  device: "sky.759",
  vni: 759,
  port: 4789,
  mac: number === 1 ? MACS.node1 : MACS.node2,
  underlayIp: `172.30.0.1${number}`,
  podCidrs: [`10.244.${number}.0/24`, `fd00:${number}::/64`],
});

export const peerOf = (number: 1 | 2): KnownPeer => ({
  node: `node${number}`,
  mac: number === 1 ? MACS.node1 : MACS.node2,
  underlayIp: `172.30.0.1${number}`,
  podCidrs: networkOf(number).podCidrs,
});

/** Of the node of the sender (1) or of the receiver (2). */
export function knowledge(number: 1 | 2, family: 4 | 6, more: Partial<Knowledge> = {}): Knowledge {
  const [a, c] = [podOf("a", 1), podOf("c", 2)];
  const at = family === 4 ? 0 : 1;
  return {
    node: `node${number}`,
    source: "agent",
    family,
    traffic: { protocol: "tcp", port: 80 },
    network: networkOf(number),
    from: { ip: a.ips[at] as string, ...(number === 1 && { local: a }) },
    to: { ip: c.ips[at] as string, ...(number === 2 && { local: c }) },
    other: peerOf(number === 1 ? 2 : 1),
    peerIps: [peerOf(number === 1 ? 2 : 1).underlayIp],
    refused: [],
    ...more,
  };
}

/** What of a step is in a kernel that is as it should be. */
export function healthy(step: Step): Found {
  switch (step.kind) {
    case "link":
      return {
        link: {
          up: true,
          lowerUp: true,
          ...(step.mac !== undefined && { mac: step.mac }),
          ...(step.master !== undefined && { master: step.master }),
          ...(step.vxlan && {
            vxlan: {
              vni: step.vxlan.vni,
              port: step.vxlan.port ?? 4789,
              local: step.vxlan.local ?? "",
              learning: false,
            },
          }),
        },
      };
    case "address":
      return { ips: ["fe80::5", step.ip] };
    case "route":
      return {
        route: {
          ...(step.gateway !== undefined && { gateway: step.gateway }),
          ifindex: typeof step.device === "string" ? 7 : step.device.index,
        },
        device: typeof step.device === "string" ? step.device : "eth0",
      };
    case "neighbour":
      return { entry: { mac: step.mac ?? MACS.pod, state: 0x80 } };
    case "fdb":
      return {
        entry: {
          dst: step.dst[0] as string,
          ...(step.vni !== undefined && { vni: step.vni }),
          ...(step.port !== undefined && { port: step.port }),
        },
      };
    case "bridgeFdb":
      return { device: step.device };
    case "forwarding":
      return { on: true, dropping: [] };
    case "policy":
      return { message: "there are no policies" };
    case "underlay":
      return {
        route: { ifindex: 2 },
        device: { name: "eth0", up: true, lowerUp: true, loopback: false, group: 0 },
        neighbour: { mac: "02:00:00:00:01:02", state: 0x02 },
        answers: "echo",
      };
    case "tunnel":
      return { answered: true };
    case "peerSet":
      return { known: true };
    case "service":
      return { targets: [] };
    case "conntrack":
      return { connections: [] };
    default:
      return {};
  }
}
