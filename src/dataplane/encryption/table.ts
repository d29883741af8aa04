/**
 * The table `inet skylane_encryption`: what comes in the clear from a node that is known to encrypt is not that node's. With `strict` no VXLAN
 * packet of ours is let in or out but through a WireGuard device, whatever becomes of routes, rules and the devices themselves; so the table is in
 * place before anything else of the network is.
 */
import { FAMILIES, type Family, familyOf } from "../../addr/index.ts";
import type { Encryption } from "../../peers/index.ts";
import { DEVICES, LANES } from "./lanes.ts";

/** Name of the table, of family inet. */
export const ENCRYPTION_NFT_TABLE = "skylane_encryption";

/** What the table is made of. */
export interface EncryptionRules {
  mode: Encryption;
  /** This node's VXLAN port. */
  port: number;
  /** Those of peers that have another one. */
  peerPorts: readonly number[];
  /** Underlay addresses of nodes that are known to encrypt: this node and they have agreed on keys. */
  keyed: readonly string[];
}

/** All that there can be: what comes by one whose lane is not in use was agreed on as well. */
const OURS = `{ ${LANES.map((lane) => `"${DEVICES[lane]}"`).join(", ")} }`;

const IP: Record<Family, string> = { 4: "ip", 6: "ip6" };

/** The transaction that puts the table in place, whatever is there. */
export function renderEncryption({ mode, port, peerPorts, keyed }: EncryptionRules): string {
  const table = `inet ${ENCRYPTION_NFT_TABLE}`;
  const strict = mode === "strict";
  const sets = FAMILIES.flatMap((family) => {
    const elements = [...new Set(keyed.filter((ip) => familyOf(ip) === family))].sort();
    return [
      `  set keyed${family} {`,
      `    type ipv${family}_addr`,
      ...(elements.length > 0 ? [`    elements = { ${elements.join(", ")} }`] : []),
      "  }",
    ];
  });
  const input = [
    `iifname ${OURS} accept`,
    ...(strict
      ? [`udp dport ${port} counter drop comment "VXLAN in the clear"`]
      : FAMILIES.map(
          (family) =>
            `udp dport ${port} ${IP[family]} saddr @keyed${family} counter drop comment "VXLAN in the clear from a node that encrypts"`,
        )),
  ];
  const ports = [...new Set([port, ...peerPorts])].sort((a, b) => a - b).join(", ");
  const output = [`oifname ${OURS} accept`, `udp dport { ${ports} } counter drop comment "VXLAN in the clear"`];
  const chain = (hook: string, rules: readonly string[]): string[] => [
    `  chain ${hook} {`,
    `    type filter hook ${hook} priority raw; policy accept;`,
    ...rules.map((rule) => `    ${rule}`),
    "  }",
  ];
  const parts = [...sets, ...chain("input", input), ...(strict ? chain("output", output) : [])];
  return `add table ${table}\ndelete table ${table}\ntable ${table} {\n${parts.join("\n")}\n}\n`;
}
