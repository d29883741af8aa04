/**
 * The steps of a packet's way on one node, in the order in which the packet meets them: a pure function of what the node knows. The half of the
 * source ends where the packet leaves the node, that of the destination begins where it arrives.
 */
import { type Family, socketAddress } from "../../../addr/index.ts";
import { GATEWAY, HOST_MAC } from "../../../dataplane/pod-link/index.ts";
import type { Half, Traffic, Way } from "../types.ts";
import type { KnownPeer, Knowledge, LocalPod } from "./knowledge.ts";
import type { Step } from "./step.ts";

/** A half before anything was looked at. */
export type PlannedHalf = Omit<Half, "hops"> & { steps: Step[] };

/** The VTEP address of a node: the network address of its first pod CIDR of the family (dataplane/vxlan). */
const vtepOf = (podCidrs: readonly string[], family: Family): string | undefined =>
  podCidrs.find((cidr) => cidr.includes(":") === (family === 6))?.replace(/\/.*/, "");

/** @throws RangeError when neither end is on this node */
export function planHalf(known: Knowledge): PlannedHalf {
  const { from, to, node, source, family, network, other } = known;
  const { local: sender } = from;
  const ends = { from: endOf(from), to: endOf(to) };
  const role = sender && to.local ? "both" : sender ? "source" : "destination";
  const way = wayOf(known, role);
  const steps = [
    ...(sender ? sourceSteps(known, sender, way) : []),
    ...(sender ? [] : arrival(known, way)),
    ...(role === "source" ? [] : destinationSteps(known, way)),
  ];
  const { mac, vni, port } = network;
  const self = { node, underlayIp: network.publicIp ?? network.underlayIp, mac, vni, port };
  return {
    version: 1,
    node,
    role,
    network: network.name,
    family,
    ...ends,
    way,
    knowledge: source,
    self: network.mode === "Bridged" && to.local ? { ...self, mac: to.local.mac } : self,
    ...(other && { other: { node: other.node, underlayIp: other.underlayIp, ...theirs(known, other) } }),
    steps,
  };
}

/** What of the other node this one's entries say. In a bridged network the MAC is the pod's. */
function theirs(
  { network, toMac }: Knowledge,
  { mac, vni = network.vni, port = network.port }: KnownPeer,
): { mac: string | undefined; vni: number; port: number | undefined } {
  return { mac: network.mode === "Bridged" ? toMac : mac, vni, port };
}

const endOf = ({ ip, pod, local }: Knowledge["from"]): Half["from"] => {
  const name = local?.name ?? pod;
  return name === undefined ? { ip } : { ip, pod: name };
};

function wayOf({ network, other, family }: Knowledge, role: Half["role"]): Way {
  if (role === "both") return "here";
  if (network.mode === "Bridged") return "bridge";
  return directOf(other, family) ? "direct" : "tunnel";
}

const directOf = (other: KnownPeer | undefined, family: Family) =>
  other?.direct?.find(({ gateway }) => gateway.includes(":") === (family === 6));

const inWords = ({ protocol, port }: Traffic): string => (port === undefined ? protocol : `${protocol} port ${port}`);

function sourceSteps(known: Knowledge, pod: LocalPod, way: Way): Step[] {
  const { network, from, to, node, family } = known;
  const bridged = network.mode === "Bridged";
  const inPod = { netns: pod.netns, where: `pod ${pod.name}` };
  const onNode = { netns: network.hostNetns, where: node };
  const gateway = GATEWAY[family];
  const steps: Step[] = [
    podLink(known, pod, "pod.link"),
    {
      kind: "address",
      hop: "pod.address",
      ...inPod,
      device: pod.ifname,
      ip: from.ip,
      should: `${pod.ifname} in the pod has ${from.ip}`,
    },
    {
      kind: "route",
      hop: "pod.route",
      ...inPod,
      to: to.ip,
      from: from.ip,
      device: pod.ifname,
      gateway: bridged ? undefined : gateway,
      should: `${to.ip} ${bridged ? "" : `via ${gateway} `}dev ${pod.ifname} in the pod`,
    },
    bridged
      ? {
          kind: "neighbour",
          hop: "pod.neighbour",
          ...inPod,
          device: pod.ifname,
          ip: to.ip,
          mac: known.to.local?.mac ?? known.toMac,
          mayBeAbsent: true,
          should: `${to.ip} lladdr ${known.to.local?.mac ?? known.toMac ?? "of its pod"} in the pod, or asked for when needed`,
        }
      : {
          kind: "neighbour",
          hop: "pod.neighbour",
          ...inPod,
          device: pod.ifname,
          ip: gateway,
          mac: HOST_MAC,
          mayBeAbsent: true,
          should: `${gateway} lladdr ${HOST_MAC} in the pod`,
        },
    hostEnd(known, pod, "source.host-end"),
    ...service(known),
    policy(known, "egress"),
  ];
  if (!bridged)
    steps.push({
      kind: "forwarding",
      hop: "source.forwarding",
      ...onNode,
      family,
      should: `${node} forwards IPv${family}`,
    });
  if (way === "here") return steps;
  steps.push({
    kind: "conntrack",
    hop: "source.conntrack",
    ...onNode,
    from: from.ip,
    to: to.ip,
    traffic: known.traffic,
    should: "connections keep both addresses",
  });
  if (bridged) return [...steps, ...bridgeSteps(known)];
  if (!known.other) return [...steps, noPeer(known, to.ip)];
  return [...steps, ...overlaySteps(known, known.other, way)];
}

/** Where the sender uses a Service: its address is translated on the sender's node, before routes and policies see the packet. */
function service({ node, network, from, to, traffic, service: used }: Knowledge): Step[] {
  if (!used) return [];
  return [
    {
      kind: "service",
      hop: "source.service",
      netns: network.hostNetns,
      where: node,
      from: from.ip,
      service: used,
      protocol: traffic.protocol,
      should: `${node} sends what is for ${socketAddress(used)} to a pod, such as ${to.ip}`,
    },
  ];
}

/** From a node to the other, in a routed network. */
function overlaySteps(known: Knowledge, other: KnownPeer, way: Way): Step[] {
  const { network, to, node, family } = known;
  const { device } = network;
  const onNode = { netns: network.hostNetns, where: node };
  const peer: Step = {
    kind: "known",
    hop: "peer",
    should: `${to.ip} is a pod's of ${other.node}, a peer of ${node}`,
    is: other.error === undefined ? `${other.node} is a peer` : `the kernel refuses an entry of it: ${other.error}`,
    ...(other.error !== undefined && {
      wrong: {
        means: `${node} cannot send to ${other.node}.`,
        cure: "See what the kernel says, and skylanectl doctor on this node.",
      },
    }),
  };
  const hop = directOf(other, family);
  if (way === "direct" && hop) {
    const route: Step = {
      kind: "route",
      hop: "route",
      ...onNode,
      to: to.ip,
      device: { index: hop.ifindex },
      gateway: hop.gateway,
      should: `${to.ip} via ${hop.gateway} on the underlay of ${node} (direct routing)`,
    };
    return [peer, route, underlay(known, hop.gateway, false)];
  }
  const vtep = vtepOf(other.podCidrs, family);
  if (vtep === undefined) return [noPeer(known, to.ip)];
  return [
    peer,
    tunnelDevice(known, "source.device"),
    {
      kind: "route",
      hop: "route",
      ...onNode,
      to: to.ip,
      device,
      gateway: vtep,
      should: `${to.ip} via ${vtep} dev ${device} on ${node}`,
    },
    {
      kind: "neighbour",
      hop: "neighbour",
      ...onNode,
      device,
      ip: vtep,
      mac: other.mac,
      should: `${vtep} lladdr ${other.mac} dev ${device} on ${node}`,
    },
    fdb(known, other.mac, [other.underlayIp], other),
    ...toNode(known, other),
  ];
}

/** From a node to the other, over the bridge of a bridged network. */
function bridgeSteps(known: Knowledge): Step[] {
  const { network, to, toMac, node, other, peerIps } = known;
  const { bridge = "", device } = network;
  const onNode = { netns: network.hostNetns, where: node };
  const answered: Step = {
    kind: "known",
    hop: "bridge.neighbour",
    should: `the bridge of ${node} answers for ${to.ip} with its pod's MAC`,
    is: toMac === undefined ? `${node} knows no pod of network ${network.name} with ${to.ip}` : `with ${toMac}`,
    ...(toMac === undefined && {
      wrong: {
        means: "Nobody answers the pod's question for the MAC (ARP, ND): its packets never leave it.",
        cure: `See that the pod runs and is in the network: kubectl get networkendpoints says what each node has. If the agent of ${node} does not answer, restart it.`,
      },
    }),
  };
  if (toMac === undefined) return [answered];
  return [
    answered,
    {
      kind: "bridgeFdb",
      hop: "bridge.fdb",
      ...onNode,
      bridge,
      mac: toMac,
      device,
      should: `${toMac} is behind ${device} on the bridge of ${node}`,
    },
    tunnelDevice(known, "source.device"),
    fdb(known, toMac, other ? [other.underlayIp] : peerIps, other),
    ...(other ? toNode(known, other) : []),
  ];
}

function fdb(known: Knowledge, mac: string, dst: readonly string[], peer: KnownPeer | undefined): Step {
  const { network, node } = known;
  const differing = (theirs: number | undefined, own: number | undefined) => (theirs === own ? undefined : theirs);
  return {
    kind: "fdb",
    hop: "fdb",
    netns: network.hostNetns,
    where: node,
    device: network.device,
    mac,
    dst,
    vni: differing(peer?.vni, network.vni),
    port: differing(peer?.port, network.port),
    should: `${mac} dev ${network.device} dst ${dst.length === 1 ? dst[0] : "of a peer"} on ${node}`,
  };
}

/** Over the underlay, and whether all of it works together. */
function toNode(known: Knowledge, { node, podCidrs, underlayIp, pathMtu }: KnownPeer): Step[] {
  const { network, family } = known;
  const steps = [underlay(known, underlayIp, true)];
  // Other networks' VTEPs are in namespaces in which the one who asks is not.
  if (network.mode === "Routed" && network.hostNetns === undefined)
    steps.push({
      kind: "tunnel",
      hop: "tunnel",
      node,
      podCidrs: network.podCidrs,
      peerPodCidrs: podCidrs,
      underlayIp,
      device: network.device,
      vtep: vtepOf(podCidrs, family),
      routes: pathMtu?.[family],
      should: `${node} answers in the tunnel`,
    });
  return steps;
}

const underlay = ({ node, network, other }: Knowledge, to: string, tunnelled: boolean): Step => ({
  kind: "underlay",
  hop: "underlay",
  netns: undefined,
  where: node,
  to,
  from: tunnelled ? network.underlayIp : undefined,
  should: `${node} has a way to ${other?.node ?? "the other node"} at ${to}`,
});

function tunnelDevice({ network, node }: Knowledge, hop: string): Step {
  const { device, vni, port, underlayIp, mac, hostNetns, bridge } = network;
  return {
    kind: "link",
    hop,
    netns: hostNetns,
    where: node,
    name: device,
    mac,
    vxlan: { vni, port, local: underlayIp },
    master: bridge,
    should: `${device} on ${node} is up, VNI ${vni}${port === undefined ? "" : `, UDP port ${port}`}${underlayIp === undefined ? "" : `, from ${underlayIp}`}`,
  };
}

/** No peer has an address. */
function noPeer({ node, network, refused }: Knowledge, ip: string): Step {
  const why = refused.map((one) => `${one.node} is refused: ${one.message}`).join("; ");
  return {
    kind: "known",
    hop: "peer",
    should: `${ip} is a pod's of a peer of ${node} in network ${network.name}`,
    is: `no peer of ${node} has it${why === "" ? "" : `; ${why}`}`,
    wrong: {
      means: `${node} sends it where its default route leads, or drops it.`,
      cure:
        why === ""
          ? "Look at where the address comes from: kubectl get pods -A -o wide. A Service's is traced at one of its pods (kubectl get endpointslices); one outside the cluster is no matter of the overlay. If the pod's node is in kubectl get nodes, see skylanectl status there."
          : "Put right what the reason says; skylanectl status lists all refusals.",
    },
  };
}

/** What the packet meets first on the node of the destination. */
function arrival(known: Knowledge, way: Way): Step[] {
  const { network, other, from, node } = known;
  if (!other && network.mode === "Routed") return [noPeer(known, from.ip)];
  const steps: Step[] = [];
  if (other && way !== "direct")
    steps.push({
      kind: "peerSet",
      hop: "firewall",
      vni: network.vni,
      ip: other.underlayIp,
      node: other.node,
      should: `the packet filter of ${node} lets VXLAN of ${other.node} in: ${other.underlayIp} is in the set of peers`,
    });
  return way === "direct" ? steps : [...steps, tunnelDevice(known, "destination.device")];
}

function destinationSteps(known: Knowledge, way: Way): Step[] {
  const { network, to, node, family } = known;
  const pod = to.local;
  const onNode = { netns: network.hostNetns, where: node };
  const bridged = network.mode === "Bridged";
  const steps: Step[] = [];
  if (!bridged && way !== "here")
    steps.push({
      kind: "forwarding",
      hop: "destination.forwarding",
      ...onNode,
      family,
      should: `${node} forwards IPv${family}`,
    });
  steps.push({
    kind: "known",
    hop: "destination.pod",
    should: `a pod of ${node} has ${to.ip}`,
    is: pod ? `pod ${pod.name}` : `no pod of ${node} has ${to.ip}`,
    ...(!pod && {
      wrong: {
        means: `The packet ends on ${node}.`,
        cure: "The pod does not exist, has ended, or has another address now: kubectl get pods -A -o wide. Whoever sent there has an old address.",
      },
    }),
  });
  if (!pod) return steps;
  const inPod = { netns: pod.netns, where: `pod ${pod.name}` };
  if (bridged) {
    const { bridge = "" } = network;
    steps.push({
      kind: "bridgeFdb",
      hop: "destination.bridge-fdb",
      ...onNode,
      bridge,
      mac: pod.mac,
      device: pod.hostIfname,
      should: `${pod.mac} is behind ${pod.hostIfname} on the bridge of ${node}`,
    });
  } else
    steps.push({
      kind: "route",
      hop: "destination.route",
      ...onNode,
      to: to.ip,
      device: pod.hostIfname,
      should: `${to.ip} dev ${pod.hostIfname} on ${node}`,
    });
  steps.push(policy(known, "ingress"), hostEnd(known, pod, "destination.host-end"));
  if (!bridged)
    steps.push({
      kind: "neighbour",
      hop: "destination.neighbour",
      ...onNode,
      device: pod.hostIfname,
      ip: to.ip,
      mac: pod.mac,
      mayBeAbsent: true,
      should: `${to.ip} lladdr ${pod.mac} dev ${pod.hostIfname} on ${node}`,
    });
  return [
    ...steps,
    podLink(known, pod, "destination.link"),
    {
      kind: "address",
      hop: "destination.address",
      ...inPod,
      device: pod.ifname,
      ip: to.ip,
      should: `${pod.ifname} in the pod has ${to.ip}`,
    },
  ];
}

/** On a bridge a pod is held to the MAC that the others know it by. */
const podLink = ({ network }: Knowledge, { ifname, name, netns, mac }: LocalPod, hop: string): Step => ({
  kind: "link",
  hop,
  netns,
  where: `pod ${name}`,
  name: ifname,
  mac: network.mode === "Bridged" ? mac : undefined,
  should: `${ifname} in the pod is up${network.mode === "Bridged" ? ` with MAC ${mac}` : ""}`,
});

const hostEnd = ({ network, node }: Knowledge, { hostIfname, name }: LocalPod, hop: string): Step => ({
  kind: "link",
  hop,
  netns: network.hostNetns,
  where: node,
  name: hostIfname,
  master: network.bridge,
  should: `${hostIfname} on ${node}, the host end of ${name}, is up${network.bridge === undefined ? "" : ` and a port of ${network.bridge}`}`,
});

const policy = ({ network, from, to, traffic }: Knowledge, direction: "egress" | "ingress"): Step => ({
  kind: "policy",
  hop: `policy.${direction}`,
  direction,
  network: network.name,
  from: from.ip,
  to: to.ip,
  traffic,
  should: `policies let ${inWords(traffic)} pass (${direction})`,
});
