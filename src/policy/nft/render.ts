/**
 * The compiled rules as an nftables table of our own. What a packet meets with:
 *
 * 1. `established`: what belongs to a connection that is known passes. This is the one place where that is asked.
 * 2. By the pod's address, its profile's chain; a pod that no policy selects goes on after this one look-up.
 * 3. The class of the other address: one look-up among blocks, one among addresses, and on the way out one among those that domain names have. The kernel keeps it where a packet's queueing priority
 *    is, since that is nobody's at this point (a forwarded packet has just got the one that follows from its type of
 *    service), and it gets that one again. A packet's mark would be the obvious place, but kube-proxy and policy routing have it.
 * 4. By class, protocol and port the chain of the outcome: three look-ups at most, one of which finds it.
 *
 * Hooks are those where a packet has its real addresses: after the translation of Services, before masquerading. What a node sends to its own
 * pods is in none of them, so its probes always pass. Answers of DNS servers to pods that have rules with domain names are held before all that, by chains that
 * are there as long as such pods are.
 */
import { type Family, FAMILIES } from "../../addr/index.ts";
import { POD_LINK_GROUP } from "../../netlink/index.ts";
import { HELD_CHAIN } from "../compile/ruleset.ts";
import type {
  Chain,
  ElementsOfMap,
  MapChange,
  MapSpec,
  Outcome,
  ProfileChain,
  Ruleset,
  RulesetChange,
  Value,
} from "../compile/ruleset.ts";
import { keyOf } from "../../json/index.ts";

/** Name of the table, of family inet. */
export const POLICY_TABLE = "skylane_policy";

export interface RenderOptions {
  /** Group of NFLOG to which denied packets go. */
  logGroup?: number;
  /** What says the protocol where a port is looked up; {@link PROTOCOLS}, the first one by default. */
  protocol?: (typeof PROTOCOLS)[number];
}

/**
 * Selectors of a packet's protocol, the better one first. nft 1.0.6 turns a number of one byte round in a key with ranges, which changes nothing, and
 * later kernels refuse to (7.2 does: "Operation not supported"). Connection tracking's is in the other byte order, and is left as it is; packets
 * that it does not follow have none.
 */
export const PROTOCOLS = ["meta l4proto", "ct original protocol"] as const;

/** Between others' groups and ours there is nothing but convention. */
export const LOG_GROUP = 83;
const PREFIX = "skylane";

const PODS = `0x${POD_LINK_GROUP.toString(16)}`;
const IP: Record<Family, string> = { 4: "ip", 6: "ip6" };
const ADDRESS: Record<Family, string> = { 4: "ipv4_addr", 6: "ipv6_addr" };
/** Before the host's own rules, which have their say about what passes here. */
const PRIORITY = "filter - 5";
const PRIORITY_OF_ANSWERS = "filter - 6";
/** How often one rule, and all of them, may log: a flood is counted, and told of now and then. */
const RULE_RATE = "limit rate 10/second burst 20 packets";
const LOG_LIMIT = "denied";
const ALL_RATE = "rate 200/second burst 400 packets";
/** The most that nft takes as a comment, in bytes, is 128. */
const COMMENT = 120;

/** How long an element lasts that is there only to be taken away. */
export const PASSING_MS = 60_000;

/** Elements that nft takes in one command; its parser takes its time with longer ones. */
const ELEMENTS_AT_ONCE = 10_000;

/** A class as nft writes 32 bits of a queueing priority: two halves in hexadecimal. */
const classText = (id: number | string): string => {
  const value = Number(id);
  return `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
};

const verdict = (chain: string): string => (chain === "" ? "return" : `goto ${chain}`);

const typeOf = (spec: MapSpec): string => {
  switch (spec.kind) {
    case "peers":
      return `{ type ${ADDRESS[spec.family]} : classid; }`;
    case "blocks":
      return `{ type ${ADDRESS[spec.family]} : classid; flags interval; }`;
    case "pods":
      return `{ type ${ADDRESS[spec.family]} : verdict; }`;
    case "named":
      return `{ type ${ADDRESS[spec.family]} : classid; flags timeout; }`;
    case "asking":
    case "servers":
      return `{ type ${ADDRESS[spec.family]}; }`;
    case "self":
      return `{ type ${ADDRESS[spec.family]} . ${ADDRESS[spec.family]}; }`;
    case "ports":
      return "{ type classid . inet_proto . inet_service : verdict; flags interval; }";
    case "classes":
      return "{ type classid : verdict; }";
    default:
      return "{ type inet_proto . inet_service : verdict; flags interval; }";
  }
};

/**
 * A range also where it is one port: nft 1.0.6 writes the class in a key without a range in another byte order when it deletes than when it
 * adds, and does not find it.
 */
const ports = (first: string, last: string): string => `${first}-${last}`;

function keyText(spec: MapSpec, key: string): string {
  switch (spec.kind) {
    case "self":
      return `${key} . ${key}`;
    case "classes":
      return classText(key);
    case "ports": {
      const [id, protocol, first, last] = key.split(" ") as [string, string, string, string];
      return `${classText(id)} . ${protocol.toLowerCase()} . ${ports(first, last)}`;
    }
    case "all": {
      const [protocol, first, last] = key.split(" ") as [string, string, string];
      return `${protocol.toLowerCase()} . ${ports(first, last)}`;
    }
    default:
      return key;
  }
}

function elementText(spec: MapSpec, key: string, value: Value): string {
  const left = keyText(spec, key);
  if (value === true) return left;
  if (spec.kind === "named") {
    const { id, leftMs } = namedValue(value as string);
    return `${left} timeout ${leftMs}ms : ${classText(id)}`;
  }
  return `${left} : ${typeof value === "number" ? classText(value) : verdict(value)}`;
}

const SETS: ReadonlySet<MapSpec["kind"]> = new Set(["self", "asking", "servers"]);
const kindOf = ({ kind }: MapSpec): "set" | "map" => (SETS.has(kind) ? "set" : "map");

/** What an element of an address that domain names have says: its class, and how long it has it yet, in milliseconds. */
export function namedValue(value: string): { id: number; leftMs: number } {
  const [id, until] = value.split(" ").map(Number) as [number, number];
  return { id, leftMs: until - Date.now() };
}

/** Elements that the kernel has not let go of by itself by now. */
const lasting = (spec: MapSpec, all: Iterable<[string, Value]>): Iterable<[string, Value]> =>
  spec.kind === "named" ? [...all].filter(([, value]) => namedValue(value as string).leftMs > 0) : all;

/** Elements by some thousands, each part as `wrap` has it. */
function* elements(
  all: Iterable<[string, Value]>,
  text: (key: string, value: Value) => string,
  wrap: (elements: string) => string,
): Generator<string> {
  let part: string[] = [];
  for (const [key, value] of all) {
    part.push(text(key, value));
    if (part.length < ELEMENTS_AT_ONCE) continue;
    yield wrap(part.join(", "));
    part = [];
  }
  if (part.length > 0) yield wrap(part.join(", "));
}

/** A text in a comment: names of the API have no characters that nft would mind, and all others go. */
const commentText = (text: string): string => text.replaceAll(/[^\w ,./[\]:-]/g, "?").slice(0, COMMENT);

/** What decides where policies isolate a pod and none of them allows a packet. */
export const DEFAULT_DENY = "default deny";

/** How people call what decides. */
export function nameOfOutcome({ rule, direction }: Outcome): string {
  if (!rule) return `${DEFAULT_DENY}, ${direction}`;
  return `${rule.policy.kind} ${keyOf(rule.policy)} ${rule.direction}[${rule.index}]`;
}

function outcomeRules(outcome: Outcome, { logGroup = LOG_GROUP }: RenderOptions): string[] {
  const comment = `comment "${commentText(nameOfOutcome(outcome))}"`;
  const log = `${RULE_RATE} limit name "${LOG_LIMIT}" log prefix "${logPrefix(outcome)}" group ${logGroup}`;
  switch (outcome.kind) {
    case "deny":
      return [log, `counter drop ${comment}`];
    case "audit":
      return [log, `counter ${comment}`, ...(outcome.does?.chain ? [`goto ${outcome.does.chain}`] : [])];
    default:
      return [`counter ${comment}`];
  }
}

/** What a logged packet begins with; {@link outcomeOfPrefix} reads it. */
export const logPrefix = ({ kind, chain }: Outcome): string => `${PREFIX} ${kind} ${chain} `;

/** The outcome for which a packet was logged; undefined when it was not logged by these rules. */
export function outcomeOfPrefix({ chains }: Ruleset, prefix: string): Outcome | undefined {
  const [ours, , name] = prefix.split(" ");
  const chain = ours === PREFIX && name !== undefined ? chains.get(name) : undefined;
  return chain?.kind === "outcome" ? chain.outcome : undefined;
}

function profileRules(name: string, profile: ProfileChain): string[] {
  const peer = profile.place === "ingress" ? "class_of_source" : "class_of_destination";
  return [
    // A connection that was ended must not begin again in the middle, in whichever direction its next packet goes.
    ...(profile.guards
      ? ['tcp flags & (fin | syn | rst | ack) != syn counter drop comment "TCP that belongs to no connection"']
      : []),
    ...(profile.byClass ? [`jump ${peer}`] : []),
    `jump ${name}_rules`,
    ...(profile.byClass ? ["goto queueing"] : []),
  ];
}

function lookUps(
  name: string,
  { byPort, byClass, byPortAlone, fallback }: ProfileChain,
  { protocol = PROTOCOLS[0] }: RenderOptions,
): string[] {
  const withPorts = "meta l4proto { tcp, udp, sctp }";
  return [
    ...(byPort ? [`${withPorts} meta priority . ${protocol} . th dport vmap @${name}_port`] : []),
    ...(byClass ? [`meta priority vmap @${name}_class`] : []),
    ...(byPortAlone ? [`${withPorts} ${protocol} . th dport vmap @${name}_all`] : []),
    ...(fallback.chain === "" ? [] : [`goto ${fallback.chain}`]),
  ];
}

/** Answers of servers that are believed, to pods that asked them on port 53; what is behind a Service may listen on another one. */
const answersRules = (): string[] =>
  FAMILIES.map(
    (family) =>
      `meta l4proto { tcp, udp } ct direction reply ct original proto-dst 53 ${IP[family]} saddr @servers${family} ${IP[family]} daddr @asking${family} jump ${HELD_CHAIN}`,
  );

/** What a chain begins with: its hook, where it has one. Answers are held before anything else is done with them. */
const headOf = (chain: Chain): string =>
  chain.kind === "answers" ? `type filter hook ${chain.hook} priority ${PRIORITY_OF_ANSWERS}; policy accept;` : "";

/** The names of the chains that one of the model is in nftables; those that lead to others first. */
export const chainNames = (name: string, chain: Chain): string[] =>
  chain.kind === "profile" ? [`${name}_rules`, name] : [name];

/** The chains, by name, that one of the model is in nftables. */
function chainsOf(name: string, chain: Chain, options: RenderOptions): [string, string[]][] {
  if (chain.kind === "outcome") return [[name, outcomeRules(chain.outcome, options)]];
  if (chain.kind === "answers") return [[name, answersRules()]];
  // Its rule is one that not every kernel has; the table is put in place without it.
  if (chain.kind === "held") return [[name, []]];
  return [
    [`${name}_rules`, lookUps(name, chain, options)],
    [name, profileRules(name, chain)],
  ];
}

/**
 * rt_tos2priority of the kernel (net/ipv4/route.c, ip_tos2prio), which ip_forward has just asked; IPv6 has none. Three bits of the type of service count.
 */
const PRIORITY_BY_TOS = [0, 0, 2, 2, 6, 6, 4, 4];

function fixedChains(): [string, string, string[]][] {
  const classes = (name: string, field: "saddr" | "daddr"): [string, string, string[]] => [
    name,
    "",
    [
      "meta priority set 0:0",
      ...FAMILIES.flatMap((family) => [
        `meta priority set ${IP[family]} ${field} map @blocks${family}`,
        `meta priority set ${IP[family]} ${field} map @peers${family}`,
      ]),
      ...(field === "daddr"
        ? FAMILIES.map((family) => `meta priority set ${IP[family]} daddr map @named${family}`)
        : []),
    ],
  ];
  const byPod = (place: string, field: "saddr" | "daddr"): string[] =>
    FAMILIES.map((family) => `${IP[family]} ${field} vmap @${place}${family}`);
  const priorities = Array.from({ length: 64 }, (_, dscp) => `${dscp} : 0:${PRIORITY_BY_TOS[dscp & 7]}`);
  return [
    ["established", "", ["ct state established,related accept"]],
    ["queueing", "", ["meta priority set 0:0", `meta priority set ip dscp map { ${priorities.join(", ")} }`]],
    classes("class_of_source", "saddr"),
    classes("class_of_destination", "daddr"),
    ["egress", "", byPod("egress", "saddr")],
    ["ingress", "", byPod("ingress", "daddr")],
    ["node", "", byPod("node", "saddr")],
    [
      "forward",
      `type filter hook forward priority ${PRIORITY}; policy accept;`,
      [
        `iifgroup != ${PODS} oifgroup != ${PODS} accept`,
        "jump established",
        ...FAMILIES.map((family) => `${IP[family]} saddr . ${IP[family]} daddr @self${family} accept`),
        `iifgroup ${PODS} jump egress`,
        `oifgroup ${PODS} jump ingress`,
      ],
    ],
    [
      "input",
      `type filter hook input priority ${PRIORITY}; policy accept;`,
      [
        `iifgroup != ${PODS} accept`,
        "jump established",
        // The pod's link: who its gateway is, and who listens to what.
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report, mld-listener-report, mld-listener-done } accept",
        "goto node",
      ],
    ],
  ];
}

const chainText = (name: string, head: string, rules: readonly string[]): string =>
  `  chain ${name} {\n${[...(head ? [head] : []), ...rules].map((rule) => `    ${rule}\n`).join("")}  }`;

/** The table whole, in the place of whatever is there, in one transaction. */
export function renderTable({ maps, chains }: Pick<Ruleset, "maps" | "chains">, options: RenderOptions = {}): string {
  const table = `inet ${POLICY_TABLE}`;
  const lines = [`add table ${table}`, `delete table ${table}`, `add table ${table}`];
  lines.push(`add limit ${table} ${LOG_LIMIT} { ${ALL_RATE}; }`);
  const own = [...chains].flatMap(([name, chain]) => chainsOf(name, chain, options));
  const heads = new Map([...chains].map(([name, chain]) => [name, headOf(chain)]));
  for (const [name] of own) if (!heads.get(name)) lines.push(`add chain ${table} ${name}`);
  const declared: [string, ElementsOfMap][] = [...maps];
  lines.push(`table ${table} {`);
  for (const [name, { spec }] of declared) lines.push(`  ${kindOf(spec)} ${name} ${typeOf(spec)}`);
  for (const [name, rules] of own) lines.push(chainText(name, heads.get(name) ?? "", rules));
  for (const [name, head, rules] of fixedChains()) lines.push(chainText(name, head, rules));
  lines.push("}");
  for (const [name, { spec, elements: all }] of declared.sort(([, a], [, b]) => manyLast(a.spec, b.spec)))
    lines.push(...added(name, spec, all));
  return `${lines.join("\n")}\n`;
}

/**
 * The kernel looks for what a message refers to among all that came before it in the transaction: a hundred thousand elements before the
 * last message of a few hundred maps cost ten seconds, and behind it nothing.
 */
const manyLast = (a: MapSpec, b: MapSpec): number => Number(a.kind === "peers") - Number(b.kind === "peers");

const added = (map: string, spec: MapSpec, all: Iterable<[string, Value]>): Iterable<string> =>
  elements(
    lasting(spec, all),
    (key, value) => elementText(spec, key, value),
    (text) => `add element inet ${POLICY_TABLE} ${map} { ${text} }`,
  );

function* deleted(map: string, spec: MapSpec, all: readonly [string, Value][]): Generator<string> {
  // The kernel may have let go of an element by itself, and what is not there cannot be taken away: it is put there first.
  if (spec.kind === "named")
    yield* added(
      map,
      spec,
      all.map(([key, value]) => [key, `${namedValue(value as string).id} ${Date.now() + PASSING_MS}`]),
    );
  yield* elements(
    all,
    (key) => keyText(spec, key),
    (text) => `delete element inet ${POLICY_TABLE} ${map} { ${text} }`,
  );
}

/** What a change brings: chains, and maps with their elements, to which nothing leads yet. */
export function renderAdditions({ newChains, newMaps, maps }: RulesetChange, options: RenderOptions = {}): string {
  const isNew = new Set(newMaps.map(([name]) => name));
  const lines = additions(newChains, newMaps, options);
  for (const { map, spec, come } of maps) if (isNew.has(map)) lines.push(...added(map, spec, come));
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

function additions(
  newChains: RulesetChange["newChains"],
  newMaps: RulesetChange["newMaps"],
  options: RenderOptions,
): string[] {
  const table = `inet ${POLICY_TABLE}`;
  const own = newChains.flatMap(([name, chain]) => chainsOf(name, chain, options));
  const heads = new Map(newChains.map(([name, chain]) => [name, headOf(chain)]));
  return [
    ...own.map(([name]) => `add chain ${table} ${name}${heads.get(name) ? ` { ${heads.get(name)} }` : ""}`),
    ...newMaps.map(([name, spec]) => `add ${kindOf(spec)} ${table} ${name} ${typeOf(spec)}`),
    ...own.flatMap(([name, rules]) => rules.map((rule) => `add rule ${table} ${name} ${rule}`)),
  ];
}

/** A change as one transaction on the table that is there; "" where nothing differs. */
export function renderChange(ruleset: Ruleset, change: RulesetChange, options: RenderOptions = {}): string {
  if (change.whole) return renderTable(ruleset, options);
  const table = `inet ${POLICY_TABLE}`;
  const lines = additions(change.newChains, change.newMaps, options);
  const [many, few] = [true, false].map((many) => change.maps.filter(({ spec }) => (spec.kind === "peers") === many));
  for (const { map, spec, gone } of few as MapChange[]) lines.push(...deleted(map, spec, gone));
  for (const { map, spec, come } of few as MapChange[]) lines.push(...added(map, spec, come));
  // What nothing leads to any more goes, and what leads to others before those.
  const gone = change.goneChains.flatMap(([name, chain]) => chainNames(name, chain));
  for (const name of gone) lines.push(`flush chain ${table} ${name}`);
  for (const name of change.goneMaps) lines.push(`delete map ${table} ${name}`);
  for (const name of gone) lines.push(`delete chain ${table} ${name}`);
  for (const { map, spec, gone, come } of many as MapChange[])
    lines.push(...deleted(map, spec, gone), ...added(map, spec, come));
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}
