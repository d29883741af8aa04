/**
 * What the probes to the peers say together. Beside the tunnel and inside it, small and large: the combination tells
 * a dead node from a closed port, and a closed port from a path that is too narrow.
 */
import { tunnelOverhead, vxlanOverhead } from "../../../dataplane/vxlan/index.ts";
import type { NetworkStatus } from "../../../observe/index.ts";
import { type Facts, networkOf, type PeerProbe } from "../facts.ts";
import { fail, type Finding, ok, skip, some, warn } from "../finding.ts";

const names = (peers: readonly PeerProbe[]): string =>
  some(
    peers.map(({ node }) => node),
    10,
  );

function reachable(facts: Facts): Finding[] {
  const network = networkOf(facts);
  const { peers } = facts;
  if (!network) return [skip("peers", "the peers are the agent's knowledge, and it does not answer")];
  if (peers.length === 0) return [ok("peers", "this node has no peers")];
  const silent = peers.filter(({ tunnel }) => !tunnel);
  const found: Finding[] = [];
  const blocked = silent.filter(({ beside, tunnelError }) => beside !== "no" && tunnelError === undefined);
  if (blocked.length > 0)
    found.push(
      fail(
        "peers.udp",
        `${names(blocked)}: the node answers, but not through the tunnel`,
        `UDP port ${network.port} is blocked on the way, or the other node's agent does not know this node: pods there are not reached.`,
        `Open UDP ${network.port} in both directions between the nodes (security groups, firewalls, ${blocked[0]?.underlayIp} and the others). Then run skylanectl doctor there: its agent must run, not refuse this node, and have the same vni and port.`,
      ),
    );
  const down = silent.filter(({ beside, tunnelError }) => beside === "no" && tunnelError === undefined);
  if (down.length > 0)
    found.push(
      fail(
        "peers.down",
        `${names(down)}: no answer through the tunnel nor beside it (ICMP echo, TCP port 10250)`,
        "The machine is off or cut off from this one: its pods are not reached.",
        `Look at the machine and at the network between (ping ${down[0]?.underlayIp}). Where it is gone for good: kubectl delete node ${down[0]?.node}.`,
      ),
    );
  const local = silent.filter(({ tunnelError }) => tunnelError !== undefined);
  if (local.length > 0)
    found.push(
      fail(
        "peers.local",
        some(local.map(({ node, tunnelError }) => `${node}: ${tunnelError}`)),
        "This node's own kernel does not send the packet.",
        "skylanectl status: the device, routes and entries of this node are not as they should be.",
      ),
    );
  const answering = peers.length - silent.length;
  if (answering > 0) found.unshift(ok("peers", `${answering} of ${peers.length} answer through the tunnel`));
  return found;
}

function sizes(facts: Facts): Finding[] {
  const { peers } = facts;
  if (peers.length === 0) return [];
  const network = networkOf(facts);
  const narrow = peers.filter(({ inside }) => inside.passes === false);
  const widest = (probes: readonly PeerProbe[], side: "inside" | "outside"): number | undefined =>
    probes
      .map((probe) => probe[side].largest)
      .reduce((a, b) => (a === undefined || (b !== undefined && b < a) ? b : a));
  if (narrow.length > 0) {
    const { wanted } = (narrow[0] as PeerProbe).inside;
    const passes = widest(narrow, "inside");
    return [
      fail(
        "peers.mtu",
        `${names(narrow)}: packets of ${wanted} bytes are lost in the tunnel${passes ? `, ${passes} pass` : ""}`,
        "Small packets pass and large ones hang: connections of pods open and then stall.",
        passes
          ? `Let the underlay carry ${wanted + overhead(network)} bytes, or set mtu: ${rounded(passes)} on all nodes.`
          : `Let the underlay carry ${wanted + overhead(network)} bytes, or set a smaller mtu on all nodes.`,
      ),
    ];
  }
  const fragmented = peers.filter(({ inside, outside }) => inside.passes && outside.passes === false);
  if (fragmented.length > 0) {
    const passes = widest(fragmented, "outside");
    return [
      warn(
        "peers.mtu",
        `${names(fragmented)}: packets of ${fragmented[0]?.outside.wanted} bytes pass in fragments only${passes ? ` (${passes} pass whole)` : ""}`,
        "Every full packet of a pod becomes two on the way: slow, and firewalls may drop fragments.",
        passes
          ? `Raise the MTU on the path, or set mtu: ${rounded(passes - overhead(network))} on all nodes.`
          : "Raise the MTU on the path, or set a smaller mtu on all nodes.",
      ),
    ];
  }
  const asked = peers.filter(({ inside }) => inside.passes);
  if (asked.length === 0)
    return [
      skip("peers.mtu", `no peer answers ${peers.some(({ tunnel }) => tunnel) ? "ICMP echo " : ""}through the tunnel`),
    ];
  return [
    ok(
      "peers.mtu",
      `packets of ${asked[0]?.inside.wanted} bytes come through the tunnel to ${asked.length} of ${peers.length}`,
    ),
  ];
}

/** A value to configure: a round one, since the search is that exact only. */
const rounded = (bytes: number): number => Math.floor(bytes / 10) * 10;

const overhead = (network: NetworkStatus | undefined): number => (network ? tunnelOverhead(network) : vxlanOverhead(4));

/** All about the peers. */
export const judgePeers = (facts: Facts): Finding[] => [...reachable(facts), ...sizes(facts)];
