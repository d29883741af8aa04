/**
 * Room for answers that come through the tunnel from a gateway's node, in the check of inner sources: they are from addresses outside of the
 * cluster, which no peer may send from otherwise. Let in is what the underlay address of the very node sends by which a pod of this node leaves,
 * and what is addressed inside to this pod. It gets a mark, by which the rules behind the tunnel know it (dataplane/egress): they hold its source
 * and its connection, and take the mark off.
 */
import { FAMILIES, type Family, familyOf, ipToBytes } from "../../../addr/index.ts";
import type { NetworkRules } from "./ruleset.ts";
import { addressOf } from "./sets.ts";

/** A pod of this node, and the node by which it leaves the cluster. */
export interface EgressAnswer {
  /** The pod's address. */
  pod: string;
  /** Underlay address of the gateway's node. */
  gateway: string;
}

/** Bits of a packet's mark that are egress gateways', and what they say; 0 says nothing. */
export const EGRESS_MARK = {
  mask: 0x3f00,
  /** One step between two gateways: the first is this, the next twice of it … */
  step: 0x0100,
  /** So many gateways at a time can be told apart. */
  most: 61,
  /** It leaves the cluster by this node, behind an egress address. */
  here: 0x3e00,
  /** It came through the tunnel from a gateway's node. */
  answer: 0x3f00,
} as const;

const hex = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;

/** In nft's words: the bits are these, and all others of the mark stay. */
export const setEgressMark = (bits: number): string =>
  `meta mark set meta mark & ${hex(~EGRESS_MARK.mask >>> 0)}${bits === 0 ? "" : ` | ${hex(bits)}`}`;
/** In nft's words: whether the bits are these. */
export const isEgressMark = (bits: number): string => `meta mark & ${hex(EGRESS_MARK.mask)} == ${hex(bits)}`;

const IP: Record<Family, string> = { 4: "ip", 6: "ip6" };
/**
 * What says in the inner frame which family it is of, and where its destination is, in bits behind UDP (8 bytes), VXLAN (8) and Ethernet (14): 16
 * bytes into IPv4 (RFC 791), 24 into IPv6 (RFC 8200).
 */
const INNER: Record<Family, { type: string; destination: string }> = {
  4: { type: "@th,224,16 0x0800", destination: "@th,368,32" },
  6: { type: "@th,224,16 0x86dd", destination: "@th,432,128" },
};

/** Sets and rules for the chain that a network's VXLAN packets go through; none where there are no answers. @throws RangeError */
export function answerParts(
  { vni }: Pick<NetworkRules, "vni">,
  answers: readonly EgressAnswer[],
): { sets: string[]; rules: string[] } {
  const [sets, rules]: [string[], string[]] = [[], []];
  for (const outer of FAMILIES)
    for (const inner of FAMILIES) {
      const those = answers.filter(({ pod, gateway }) => familyOf(gateway) === outer && familyOf(pod) === inner);
      if (those.length === 0) continue;
      const name = `answers${inner}_over${outer}_${vni}`;
      const key = `${IP[outer]} saddr . ${INNER[inner].destination}`;
      const elements = those.map(
        ({ pod, gateway }) => `${addressOf(gateway)} . 0x${Buffer.from(ipToBytes(pod)).toString("hex")}`,
      );
      sets.push(
        `  set ${name} {`,
        `    typeof ${key}`,
        `    elements = { ${[...new Set(elements)].sort().join(", ")} }`,
        "  }",
      );
      rules.push(`${INNER[inner].type} ${key} @${name} ${setEgressMark(EGRESS_MARK.answer)} accept`);
    }
  return { sets, rules };
}

/** The rule behind the tunnel, for what {@link answerParts} has let in. */
export const LET_ANSWERS_IN = `${isEgressMark(EGRESS_MARK.answer)} accept`;
