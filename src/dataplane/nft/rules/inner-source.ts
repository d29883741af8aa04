/**
 * What a peer may send from inside the tunnel: the inner source address is held against the outer one, before the VXLAN device takes the
 * packet and forgets who sent it. So one node cannot send in the name of another one's pods.
 *
 * A pair of a peer's underlay address and the first bits of its prefix is one element of a set, exact, so that a lookup
 * is one hash however many peers there are, and a peer that comes is a few elements more. There is one set for each length of
 * prefix that occurs. Those of single addresses are always there: claims' addresses come and go.
 *
 * nftables knows nothing of VXLAN's inside, so it is asked for bits by their place. The key ends with whole bytes; where the length of a
 * prefix is none of these, the rule masks the rest. Frames that are neither IPv4 nor IPv6 are nobody's: ARP and ND have no part in
 * the overlay, where all neighbours are permanent.
 */
import { addressBits, FAMILIES, type Family, familyOf, ipToBytes, parseIp } from "../../../addr/index.ts";
import { answerParts, type EgressAnswer } from "./egress-answers.ts";
import type { SetChange } from "./elements.ts";
import type { NetworkRules, NftFeatures } from "./ruleset.ts";
import { addressOf, setName } from "./sets.ts";

/** A peer, and all that its packets may come from inside the tunnel. */
export interface PeerSource {
  /** Its Node's name. */
  node: string;
  /** Its underlay address. */
  ip: string;
  /** Prefixes, canonical. */
  cidrs: readonly string[];
}

/** Pairs that came and that went, as {@link pairOf} writes them. */
export interface SourceChange {
  come: readonly string[];
  gone: readonly string[];
}

/** A peer's underlay address and one of its prefixes, as one word of a change. */
export const pairOf = (ip: string, cidr: string): string => `${ip} ${cidr}`;

const IP: Record<Family, string> = { 4: "ip", 6: "ip6" };
/** Where the inner Ethernet frame says what is in it: behind UDP (8 bytes), VXLAN (8, RFC 7348) and two MAC addresses. */
const TYPE = "@th,224,16";
const ETHER_TYPE: Record<Family, string> = { 4: "0x0800", 6: "0x86dd" };
/** Where the inner source address begins, in bits: 14 bytes of Ethernet, and 12 of IPv4 (RFC 791) or 8 of IPv6 (RFC 8200) further. */
const SOURCE_AT: Record<Family, number> = { 4: 336, 6: 304 };

/** What the packets of one set have in common. There is one object for each. */
interface Kind {
  outer: Family;
  inner: Family;
  /** Length of the prefix, in bits. */
  prefix: number;
}

const kinds = new Map<number, Kind>();

function kindOf(outer: Family, inner: Family, prefix: number): Kind {
  const key = (outer * 8 + inner) * 256 + prefix;
  const known = kinds.get(key);
  if (known) return known;
  const kind: Kind = { outer, inner, prefix };
  kinds.set(key, kind);
  return kind;
}

/** The key takes whole bytes, and at least one. */
const bytesOf = (prefix: number): number => Math.max(1, Math.ceil(prefix / 8));
const nameOf = ({ outer, inner, prefix }: Kind, { vni }: NetworkRules): string =>
  `source${inner}_${prefix}_over${outer}_${vni}`;

/** What a rule compares with the elements of a set. */
function keyOf({ outer, inner, prefix }: Kind, masked: boolean): string {
  const bytes = bytesOf(prefix);
  const bits = `@th,${SOURCE_AT[inner]},${bytes * 8}`;
  const mask = ((1n << BigInt(prefix)) - 1n) << BigInt(bytes * 8 - prefix);
  return `${IP[outer]} saddr . ${masked && prefix < bytes * 8 ? `(${bits} & 0x${mask.toString(16)})` : bits}`;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** All digits of a canonical address. */
function digitsOf(ip: string, family: Family): string {
  if (family === 4) return ip.split(".").reduce((digits, byte) => digits + (HEX[Number(byte)] ?? ""), "");
  const [head = "", tail] = ip.split("::");
  const digits = (part: string): string =>
    part === "" ? "" : part.split(":").reduce((all, word) => all + word.padStart(4, "0"), "");
  const [first, last] = [digits(head), digits(tail ?? "")];
  return first + "0".repeat(32 - first.length - last.length) + last;
}

/** One pair: its set, and the first bytes of the prefix as digits. Of thousands of peers it is worked out for each. @throws RangeError */
function elementOf(ip: string, cidr: string): { kind: Kind; digits: string } {
  const slash = cidr.indexOf("/");
  const text = cidr.slice(0, slash);
  // The quickest strict parser knows a form of IPv6 that has no digits of its own.
  const first = text.includes(":") && text.includes(".") ? parseIp(text) : addressOf(text);
  const [inner, prefix] = [familyOf(first), Number(cidr.slice(slash + 1))];
  if (!/^.+\/\d{1,3}$/.test(cidr) || prefix > addressBits(inner)) throw new RangeError(`"${cidr}" is no CIDR`);
  return {
    kind: kindOf(familyOf(ip), inner, prefix),
    digits: digitsOf(first, inner).slice(0, 2 * bytesOf(prefix)),
  };
}

/** A network's sets with their elements. @throws RangeError for values that are none */
function elementsByKind(sources: readonly PeerSource[]): (readonly [kind: Kind, texts: string[]])[] {
  const texts = new Map<Kind, string[]>();
  const withKind = (kind: Kind): string[] => {
    const known = texts.get(kind) ?? [];
    if (known.length === 0) texts.set(kind, known);
    return known;
  };
  for (const source of sources) {
    const ip = addressOf(source.ip);
    for (const cidr of new Set(source.cidrs)) {
      const { kind, digits } = elementOf(ip, cidr);
      withKind(kind).push(`${ip} . 0x${digits}`);
    }
  }
  for (const outer of new Set(Array.from(texts.keys(), (kind) => kind.outer)))
    for (const inner of FAMILIES) withKind(kindOf(outer, inner, addressBits(inner)));
  return [...texts].sort(([a], [b]) => a.outer - b.outer || a.inner - b.inner || a.prefix - b.prefix);
}

const drop = (comment: string): string => `counter drop comment "${comment}"`;
const chain = ({ vni }: NetworkRules, rules: readonly string[]): string[] => [
  `  chain vxlan_${vni} {`,
  ...[...rules, drop("VXLAN from no known peer")].map((rule) => `    ${rule}`),
  "  }",
];

/** The chain that a network's VXLAN packets from the underlay go through, with the sets that it needs. @throws RangeError */
export function tunnelParts(
  network: NetworkRules,
  { innerSource }: NftFeatures,
  answers: readonly EgressAnswer[] = [],
): string[] {
  const fromPeers = (verdict: string): string[] =>
    FAMILIES.map((family) => `${IP[family]} saddr @${setName("peers", network, family)} ${verdict}`);
  const sources = innerSource ? network.sources?.() : undefined;
  if (!sources) return chain(network, fromPeers("accept"));
  const elements = elementsByKind(sources);
  const egress = answerParts(network, answers);
  return [
    ...egress.sets,
    ...elements.flatMap(([kind, texts]) => [
      `  set ${nameOf(kind, network)} {`,
      `    typeof ${keyOf(kind, false)}`,
      ...(texts.length > 0 ? [`    elements = { ${texts.join(", ")} }`] : []),
      "  }",
    ]),
    ...chain(network, [
      ...elements.map(
        ([kind]) => `${TYPE} ${ETHER_TYPE[kind.inner]} ${keyOf(kind, true)} @${nameOf(kind, network)} accept`,
      ),
      ...egress.rules,
      ...fromPeers(drop("not an address of the peer that sends it")),
    ]),
  ];
}

/** A change of what peers may send from, set by set. Of a length that is new there is no set: the kernel refuses it. */
export function sourceChanges(network: NetworkRules, { come, gone }: SourceChange): SetChange[] {
  const changes = new Map<string, { set: string; come: string[]; gone: string[] }>();
  for (const [what, pairs] of [
    ["come", come],
    ["gone", gone],
  ] as const)
    for (const pair of pairs) {
      const set = nameOf(elementOf(...partsOf(pair)).kind, network);
      const change = changes.get(set) ?? { set, come: [], gone: [] };
      change[what].push(pair);
      changes.set(set, change);
    }
  return [...changes.values()];
}

function partsOf(pair: string): [ip: string, cidr: string] {
  const space = pair.indexOf(" ");
  return [pair.slice(0, space), pair.slice(space + 1)];
}

/** A pair as the kernel has it: the address, then the first bytes of the prefix, each filled up to a multiple of four bytes. */
export function bytesOfPair(pair: string): Buffer {
  const [ip, cidr] = partsOf(pair);
  const bits = Buffer.from(elementOf(ip, cidr).digits, "hex");
  const key = Buffer.concat([bits, Buffer.alloc(-bits.length & 3)]);
  return Buffer.concat([ipToBytes(ip), key]);
}
