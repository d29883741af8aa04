/**
 * Where packets with addresses of pods may come from: a source whose way back leads elsewhere is not believed.
 *
 * - A pod of this node is heard on its own link alone (ruleset.ts), so what comes with its address over any other device is dropped.
 *   Pods that another plugin still has in the same CIDR are on devices to which their routes lead, and are left alone.
 * - A pod of a node that is reached through the tunnel is heard through the tunnel. What comes without it is dropped, but for
 *   answers to what was sent from here: a program that is bound to this node's underlay address gets them so. And
 *   where pods keep their addresses on their way to nodes, since masquerading excludes those, it is dropped only on its way to a pod.
 * - Through the tunnel come the pods of nodes to which the tunnel leads, and their nodes; with direct routing also those of the
 *   others, since of two nodes one switches first.
 *
 * It is asked of the routing table (`fib`), which follows every peer that comes, goes or is routed directly. What is asked of every new
 * connection alone is asked after the kernel knows connections (priority mangle).
 */
import { FAMILIES, type Family, familyOf, parseIp } from "../../../addr/index.ts";
import { OVERLAY_LINK_GROUP, POD_LINK_GROUP, UPLINK_LINK_GROUP } from "../../../netlink/index.ts";
import type { NetworkRules } from "./ruleset.ts";
import { hasPods, ofFamily, setName } from "./sets.ts";

const IP: Record<Family, string> = { 4: "ip", 6: "ip6" };
const OURS = [POD_LINK_GROUP, OVERLAY_LINK_GROUP, UPLINK_LINK_GROUP].map((group) => `0x${group.toString(16)}`);
const drop = (comment: string): string => `counter drop comment "${comment}"`;

/** Networks whose pods and overlay device are in the namespace of the underlay. */
const inTheOpen = (networks: readonly NetworkRules[]): NetworkRules[] =>
  networks.filter((network) => hasPods(network) && !network.hostRoutes);

/** Rules at the end of the prerouting hook, for packets that come over no device of ours. */
export const notFromOutside = (
  networks: readonly NetworkRules[],
  podsOf: (network: NetworkRules, family: Family) => string,
): string[] =>
  inTheOpen(networks).flatMap((network) =>
    FAMILIES.filter((family) => ofFamily(network.podCidrs, family).length > 0).map(
      (family) =>
        `${IP[family]} saddr ${podsOf(network, family)} meta iiftype != loopback fib saddr . iif oif missing ${drop("a pod of this node, from outside")}`,
    ),
  );

/** Rules for what comes through the tunnel, after those about this node's own pods. */
export const fromPeersAlone = (networks: readonly NetworkRules[]): string[] => {
  const open = inTheOpen(networks);
  if (open.length === 0) return [];
  return [
    "fib saddr . iif oif exists accept",
    ...open.flatMap((network) =>
      FAMILIES.flatMap((family) => [
        `${IP[family]} saddr @${setName("peers", network, family)} accept`,
        ...(network.directOver?.length ? [`${IP[family]} saddr @${setName("direct", network, family)} accept`] : []),
      ]),
    ),
    drop("not from a peer"),
  ];
};

/** With direct routing a peer's own IPv6 address has a route through the tunnel beside the direct one of its pods (ADR 17). */
function directVteps({ directOver = [], directVteps: vteps = [] }: NetworkRules): string[] {
  const ips = vteps.filter((ip) => familyOf(ip) === 6).map(parseIp);
  if (directOver.length === 0 || ips.length === 0) return [];
  return [`iif { ${directOver.join(", ")} } ip6 saddr { ${[...new Set(ips)].sort().join(", ")} } accept`];
}

/** A chain of its own, for new connections with pods' addresses that come over no device of ours. */
export function notBesideTheTunnel(networks: readonly NetworkRules[]): string[] {
  const rules = inTheOpen(networks).flatMap((network) => [
    ...directVteps(network),
    ...FAMILIES.flatMap((family) => {
      const [pods, direct] = [setName("pods", network, family), setName("direct", network, family)];
      const spoofed = `fib saddr oifname "sky.${network.vni}" ${drop("a pod of another node, not through the tunnel")}`;
      return [
        `${IP[family]} daddr @${pods} ${spoofed}`,
        ...(network.masquerade.enabled ? [`${IP[family]} daddr != @${direct} ${spoofed}`] : []),
      ];
    }),
  ]);
  if (rules.length === 0) return [];
  return [
    "  chain beside_the_tunnel {",
    "    type filter hook prerouting priority mangle; policy accept;",
    `    iifgroup { ${OURS.join(", ")} } accept`,
    "    meta iiftype loopback accept",
    "    ct state established,related accept",
    ...rules.map((rule) => `    ${rule}`),
    "  }",
  ];
}
