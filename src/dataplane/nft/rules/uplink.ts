/**
 * The rules of pod networks' ways out. A network that masquerades has an uplink: a veth pair from its namespace to the host's. What
 * leaves by it has the address of its end in the network's namespace, which is no other network's, and gets the node's
 * address on the host: so two networks with the same addresses do not meet.
 *
 * A way for packets is a hole in a wall, so all that may pass is said here and everything else is dropped, at both ends. Outwards
 * goes what a pod of this node begins, to what is neither its own network, nor this node, nor a pod, a Service or another
 * network. Inwards go answers to that. VXLAN never passes: with the node's address it would be taken for a peer's.
 *
 * What an egress gateway leads out has another address instead, a transit of its own, and at the host's end a mark by the rules that know it
 * (dataplane/egress): it goes to the gateway's node through the tunnel, or leaves here. The same is dropped of it.
 *
 * The devices are told by link group, so all uplinks of a host have one set of rules.
 */
import { FAMILIES, type Family } from "../../../addr/index.ts";
import { EGRESS_MARK, isEgressMark } from "./egress-answers.ts";
import { OVERLAY_LINK_GROUP, POD_LINK_GROUP, UPLINK_LINK_GROUP } from "../../../netlink/index.ts";

/**
 * Addresses of uplinks' ends in the networks' namespaces. They are seen on their own node alone: a part of the link-local prefix (RFC
 * 3927) that has none of the well-known addresses, and a prefix of local addresses (RFC 4193) of our own.
 */
export const UPLINK_CIDRS: Readonly<Record<Family, string>> = { 4: "169.254.64.0/18", 6: "fd53:4b59:4c41:4e45::/112" };

/** Which end is in a namespace: that of the pod network, or the host's. */
export type UplinkEnd = "network" | "host";

/** Rules by chain of the table, each to stand before the chain's others. */
export interface UplinkRules {
  /** Sets and chains, as text. */
  parts: string[];
  prerouting: string[];
  input: string[];
  forward: string[];
  postrouting: string[];
}

const hex = (number: number): string => `0x${number.toString(16).padStart(8, "0")}`;
const group = (number: number): string => `0x${number.toString(16)}`;
const UPLINK = group(UPLINK_LINK_GROUP);
const PODS = group(POD_LINK_GROUP);
const OVERLAY = group(OVERLAY_LINK_GROUP);
const IP: Record<Family, string> = { 4: "ip", 6: "ip6" };

const drop = (comment: string): string => `counter drop comment "${comment}"`;
const chain = (name: string, rules: readonly string[]): string[] => [
  `  chain ${name} {`,
  ...rules.map((rule) => `    ${rule}`),
  "  }",
];

/** Only answers come in, whichever end it is. */
const INWARDS = ["ct state established,related accept", drop("not an answer to a pod of this network")];

/** No end is there for its namespace's own programs. */
const INPUT = [`iifgroup ${UPLINK} ${drop("from an uplink, to this namespace itself")}`];

export const NO_UPLINK: UplinkRules = { parts: [], prerouting: [], input: [], forward: [], postrouting: [] };

/** Names of the sets that the rules need: at the network's end the addresses of the network, at the host's those of the cluster. */
export const INSIDE: Readonly<Record<Family, string>> = { 4: "inside4", 6: "inside6" };

/** Rules for the table of a namespace that has one end or the other. @param vxlan what tells VXLAN to a node. @param masquerade the verdict */
export function uplinkRules(end: UplinkEnd, vxlan: readonly string[], masquerade: string): UplinkRules {
  const toInside = FAMILIES.map((family) => `${IP[family]} daddr @${INSIDE[family]} ${drop("not outside")}`);
  const forward = [`iifgroup ${UPLINK} goto from_uplink`, `oifgroup ${UPLINK} goto to_uplink`];
  if (end === "network") {
    return {
      parts: [
        ...chain("from_uplink", INWARDS),
        ...chain("to_uplink", [`iifgroup != ${PODS} ${drop("not from a pod of this node")}`, ...toInside, "accept"]),
      ],
      prerouting: [`iifgroup ${UPLINK} goto from_outside`],
      input: INPUT,
      forward,
      postrouting: [`oifgroup ${UPLINK} ${masquerade}`],
    };
  }
  return {
    parts: [
      ...chain("by_gateway", [
        `ct status dnat ${drop("to a Service")}`,
        `oifgroup { ${[PODS, UPLINK].join(", ")} } ${drop("to a pod or another network")}`,
        ...vxlan.map((what) => `${what} ${drop("VXLAN from a pod")}`),
        ...toInside,
        `${isEgressMark(EGRESS_MARK.here)} oifgroup != ${OVERLAY} goto next_hop`,
        `oifgroup ${OVERLAY} accept`,
        drop("no way to the gateway"),
      ]),
      ...chain("from_uplink", [
        `meta mark & ${hex(EGRESS_MARK.mask)} != 0 goto by_gateway`,
        ...FAMILIES.map(
          (family) => `${IP[family]} saddr != ${UPLINK_CIDRS[family]} ${drop("not an uplink's address")}`,
        ),
        `ct status dnat ${drop("to a Service")}`,
        `oifgroup { ${[PODS, OVERLAY, UPLINK].join(", ")} } ${drop("to a pod or another network")}`,
        ...vxlan.map((what) => `${what} ${drop("VXLAN from a pod")}`),
        ...toInside,
        "goto next_hop",
      ]),
      ...chain("to_uplink", INWARDS),
    ],
    prerouting: [`iifgroup ${UPLINK} goto from_pod`],
    input: INPUT,
    forward,
    postrouting: FAMILIES.map((family) => `${IP[family]} saddr ${UPLINK_CIDRS[family]} ${masquerade}`),
  };
}
