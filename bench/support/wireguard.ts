/** Places between which WireGuard carries traffic, as others use it: flannel, and two nodes as they are. */
import { NodeKey } from "../../src/dataplane/encryption/key.ts";
import { Wireguard } from "../../src/netlink/index.ts";
import type { Context } from "./context.ts";
import type { Namespace } from "./namespace.ts";
import { flannelPod, type Path } from "./paths.ts";

const PORT = 51_820;
/** What both make of a wire of 1500: WireGuard's headers over an IPv6 underlay. */
const MTU = "1420";
const NAME = "wg0";

type Nodes = readonly [Namespace, Namespace];

/** A device on each node, with the other one for its peer. @param octets of the nodes' addresses @param allowed what of addresses each node has */
function devices(nodes: Nodes, octets: readonly [number, number], allowed: (at: number) => string): void {
  const keys = nodes.map(() => NodeKey.make());
  for (const [at, node] of nodes.entries()) {
    node.exec("ip", "link", "add", NAME, "mtu", MTU, "type", "wireguard");
    using wireguard = Wireguard.open(node.path);
    const [own, other] = [keys[at] as NodeKey, keys[1 - at] as NodeKey];
    wireguard.configure(NAME, { privateKey: own.secret, listenPort: PORT, fwmark: 0 });
    const endpoint = { ip: `172.30.0.${octets[1 - at]}`, port: PORT };
    const peer = { publicKey: other.publicKey, endpoint, allowedIps: [allowed(1 - at)] };
    const [refused] = wireguard.change(NAME, [{ op: "put", peer }]);
    if (refused) throw refused.error;
  }
}

/** Two nodes with a device each, and nothing behind it. */
export function bareWireguard(nodes: Nodes, octets: readonly [number, number]): Path {
  devices(nodes, octets, (at) => `10.98.0.${1 + at}/32`);
  for (const [at, node] of nodes.entries()) {
    node.exec("ip", "addr", "add", `10.98.0.${1 + at}/24`, "dev", NAME);
    node.exec("ip", "link", "set", NAME, "up");
  }
  return { name: "bare WireGuard between the nodes", from: nodes[0], to: nodes[1], address: "10.98.0.2", device: NAME };
}

/**
 * flannel's backend wireguard: pods on a bridge, and what is for other nodes' pods routed into a device that has these nodes' pod CIDRs for allowed addresses.
 * @see https://github.com/flannel-io/flannel/blob/master/pkg/backend/wireguard
 */
export function flannelWireguard(context: Context, nodes: Nodes, octets: readonly [number, number]): Path {
  devices(nodes, octets, (at) => `10.42.${at}.0/24`);
  const pods = nodes.map((node, at) => {
    node.exec("sysctl", "-qw", "net.ipv4.ip_forward=1");
    node.exec("ip", "addr", "add", `10.42.${at}.0/32`, "dev", NAME);
    node.exec("ip", "link", "set", NAME, "up");
    node.exec("ip", "route", "add", "10.42.0.0/16", "dev", NAME);
    return flannelPod(context, node, at, MTU, true);
  }) as [Namespace, Namespace];
  const name = "flannel: bridge + veth + WireGuard + its rules";
  return { name, from: pods[0], to: pods[1], address: "10.42.1.2", device: "eth0" };
}
