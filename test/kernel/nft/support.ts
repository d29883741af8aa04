/** What the tests of the packet filter need besides a cluster: the rules of a node, counters, and packets made by hand. */
import type { TestNamespace } from "../support/netns.ts";
import type { NetworkRules } from "../../../src/dataplane/nft/index.ts";
import type { TestCluster, TestNode } from "../overlay/cluster.ts";

/** A node's rules in a cluster. */
export const rulesOf = (
  { nodes }: TestCluster,
  { local }: TestNode,
  other: Partial<NetworkRules> = {},
): NetworkRules => ({
  network: local.network,
  vni: local.vni,
  port: local.port,
  peers: nodes.filter((node) => node.local !== local).map(({ peer }) => peer.underlayIp),
  podCidrs: local.podCidrs,
  clusterCidrs: local.clusterCidrs,
  masquerade: { enabled: true, exclude: [] },
  ...other,
});

interface Listed {
  rule?: { chain: string; comment?: string; expr: { counter?: { packets: number } }[] };
}

/** How many packets the rules with a comment have counted. */
export function counted(ns: TestNamespace, comment: string): number {
  const { nftables } = JSON.parse(ns.exec("nft", "-j", "list", "table", "inet", "skylane")) as { nftables: Listed[] };
  return nftables
    .flatMap(({ rule }) => (rule?.comment === comment ? rule.expr : []))
    .reduce((sum, { counter }) => sum + (counter?.packets ?? 0), 0);
}

/** What nft shows of our table, without what only counts and what rules have put into sets by themselves. */
export const table = (ns: TestNamespace): string =>
  ns
    .exec("nft", "-s", "list", "table", "inet", "skylane")
    .replaceAll(/(flags dynamic,timeout\n\s+timeout \S+\n)\s+elements = \{[^}]*\}\n/g, "$1");

/** Sends datagrams to an address and port, from whatever the namespace is. */
export function send(from: TestNamespace, to: string, port: number, ...payloads: Buffer[]): void {
  const program = `
    import { createSocket } from "node:dgram";
    const socket = createSocket(${JSON.stringify(to.includes(":") ? "udp6" : "udp4")});
    for (const payload of ${JSON.stringify(payloads.map((payload) => payload.toString("hex")))})
      await new Promise((sent) => socket.send(Buffer.from(payload, "hex"), ${port}, ${JSON.stringify(to)}, sent));
    socket.close();
  `;
  from.exec(process.execPath, "--input-type=module", "-e", program);
}

/** The beginning of a VXLAN packet of a VNI (RFC 7348), with an empty Ethernet frame in it. */
export function vxlan(vni: number): Buffer {
  const packet = Buffer.alloc(8 + 14 + 46);
  packet[0] = 0x08;
  packet.writeUIntBE(vni, 4, 3);
  return packet;
}
