/**
 * The table by which packets are marked for tracing (`meta nftrace set 1`), in nfnetlink's own bytes. It belongs to the socket that makes it
 * (NFT_TABLE_F_OWNER, Linux 5.12): nobody else may change it, and the kernel removes it when the socket is closed, however its process ends. That is
 * why nft, which ends at once, cannot make it.
 *
 * Packets meet the marking chains before all others, and the chains in which they are seen behind all others: what is seen there was let through.
 */
import { NF_FLAG, NF_SUBSYSTEM, nfAttribute, nfMessage, nfNested, nfNumber, nfText } from "../../netlink/index.ts";

/** What a packet must have to be marked: the number of its family or protocol, or bytes behind the beginning of its network or transport header. */
export type Match =
  | { meta: "nfproto" | "l4proto"; value: number }
  | { header: "network" | "transport"; offset: number; bytes: Uint8Array };

/** Which packets are marked, and the name by which traces tell. */
export interface MarkingRule {
  /** A chain's name. */
  name: string;
  /** Where it is looked for: what arrives at the node, or what the node itself sends. */
  hook: "prerouting" | "output";
  /** All of these. */
  matches: readonly Match[];
}

/** Base chains behind all others of their hook, through which marked packets are seen to come. */
export const SEEN_CHAINS = ["input", "forward", "postrouting"] as const;

/** linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h */
const BATCH = { BEGIN: 0x10, END: 0x11 } as const;
const message = (number: number): number => (NF_SUBSYSTEM.NFTABLES << 8) | number;
const NEW = { table: message(0), chain: message(3), rule: message(6) } as const;
const INET = 1;
/** NLM_F_APPEND: behind the rules that a chain has; NLM_F_EXCL. */
const APPEND = 0x800;
const EXCLUSIVE = 0x200;
const OWNER = 2;
/** NFTA_TABLE_NAME, _FLAGS; NFTA_CHAIN_TABLE, _NAME, _HOOK, _POLICY, _TYPE; NFTA_HOOK_HOOKNUM, _PRIORITY; NFTA_RULE_TABLE, _CHAIN, _EXPRESSIONS. */
const TABLE = { NAME: 1, FLAGS: 2 } as const;
const CHAIN = { TABLE: 1, NAME: 3, HOOK: 4, TYPE: 7 } as const;
const HOOK = { NUMBER: 1, PRIORITY: 2 } as const;
const RULE = { TABLE: 1, CHAIN: 2, EXPRESSIONS: 4 } as const;
/** NFTA_LIST_ELEM { NFTA_EXPR_NAME, _DATA } */
const EXPRESSION = { ELEMENT: 1, NAME: 1, DATA: 2 } as const;
/** NFTA_META_DREG, _KEY, _SREG; NFT_META_NFTRACE, _NFPROTO, _L4PROTO. */
const META = { TO: 1, KEY: 2, FROM: 3 } as const;
const KEY = { nftrace: 12, nfproto: 15, l4proto: 16 } as const;
/** NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN; NFT_PAYLOAD_NETWORK_HEADER, _TRANSPORT_HEADER. */
const PAYLOAD = { TO: 1, BASE: 2, OFFSET: 3, LENGTH: 4 } as const;
const BASE = { network: 1, transport: 2 } as const;
/** NFTA_CMP_SREG, _OP, _DATA; NFT_CMP_EQ. */
const CMP = { FROM: 1, OPERATION: 2, DATA: 3, EQUAL: 0 } as const;
/** NFTA_IMMEDIATE_DREG, _DATA; NFTA_DATA_VALUE, _VERDICT; NFTA_VERDICT_CODE, _CHAIN; NFT_GOTO. */
const IMMEDIATE = { TO: 1, DATA: 2 } as const;
const DATA = { VALUE: 1, VERDICT: 2 } as const;
const VERDICT = { CODE: 1, CHAIN: 2, GOTO: -4 } as const;
const REGISTER = { VERDICT: 0, FIRST: 1 } as const;

/** linux/netfilter.h: numbers of the hooks of IPv4, IPv6 and inet. */
const HOOKS = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;
/** Before and behind everything that has a reason to be early or late: connection tracking ends at the highest number. */
const PRIORITY = { first: -0x7fff_ffff, last: 0x7fff_fffe } as const;

const expression = (name: string, data: readonly Buffer[]): Buffer =>
  nfNested(EXPRESSION.ELEMENT, [nfAttribute(EXPRESSION.NAME, nfText(name)), nfNested(EXPRESSION.DATA, data)]);

const number = (type: number, value: number): Buffer => nfAttribute(type, nfNumber(value));
const value = (type: number, bytes: Uint8Array): Buffer => nfNested(type, [nfAttribute(DATA.VALUE, bytes)]);

function signed(integer: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(integer);
  return bytes;
}

/** Loads what is looked at into a register and compares it. */
function matching(match: Match): Buffer[] {
  const [load, wanted] =
    "meta" in match
      ? [
          expression("meta", [number(META.KEY, KEY[match.meta]), number(META.TO, REGISTER.FIRST)]),
          Uint8Array.of(match.value),
        ]
      : [
          expression("payload", [
            number(PAYLOAD.TO, REGISTER.FIRST),
            number(PAYLOAD.BASE, BASE[match.header]),
            number(PAYLOAD.OFFSET, match.offset),
            number(PAYLOAD.LENGTH, match.bytes.length),
          ]),
          match.bytes,
        ];
  return [
    load,
    expression("cmp", [number(CMP.FROM, REGISTER.FIRST), number(CMP.OPERATION, CMP.EQUAL), value(CMP.DATA, wanted)]),
  ];
}

const goTo = (chain: string): Buffer =>
  expression("immediate", [
    number(IMMEDIATE.TO, REGISTER.VERDICT),
    nfNested(IMMEDIATE.DATA, [
      nfNested(DATA.VERDICT, [
        nfAttribute(VERDICT.CODE, signed(VERDICT.GOTO)),
        nfAttribute(VERDICT.CHAIN, nfText(chain)),
      ]),
    ]),
  ]);

/** `meta nftrace set 1` */
const SET_TRACE = [
  expression("immediate", [number(IMMEDIATE.TO, REGISTER.FIRST), value(IMMEDIATE.DATA, Uint8Array.of(1))]),
  expression("meta", [number(META.KEY, KEY.nftrace), number(META.FROM, REGISTER.FIRST)]),
];

/** The base chain in which packets of a hook are looked at. */
const markingChain = (hook: MarkingRule["hook"]): string => `mark_${hook}`;

/** The transaction that makes the table, and how many of its messages are acknowledged. */
export function encodeTable(table: string, rules: readonly MarkingRule[]): { bytes: Buffer; requests: number } {
  const batch = { family: 0, resource: NF_SUBSYSTEM.NFTABLES };
  const messages = [nfMessage(BATCH.BEGIN, NF_FLAG.REQUEST, 0, batch, Buffer.alloc(0))];
  let seq = 0;
  const add = (type: number, flags: number, body: readonly Buffer[]): void => {
    const all = NF_FLAG.REQUEST | NF_FLAG.ACK | NF_FLAG.CREATE | flags;
    messages.push(nfMessage(type, all, ++seq, { family: INET, resource: 0 }, Buffer.concat(body)));
  };
  const addChain = (name: string, hook?: keyof typeof HOOKS, priority: number = 0): void =>
    add(NEW.chain, 0, [
      nfAttribute(CHAIN.TABLE, nfText(table)),
      nfAttribute(CHAIN.NAME, nfText(name)),
      ...(hook === undefined
        ? []
        : [
            nfNested(CHAIN.HOOK, [number(HOOK.NUMBER, HOOKS[hook]), nfAttribute(HOOK.PRIORITY, signed(priority))]),
            nfAttribute(CHAIN.TYPE, nfText("filter")),
          ]),
    ]);
  const addRule = (chain: string, expressions: readonly Buffer[]): void =>
    add(NEW.rule, APPEND, [
      nfAttribute(RULE.TABLE, nfText(table)),
      nfAttribute(RULE.CHAIN, nfText(chain)),
      nfNested(RULE.EXPRESSIONS, expressions),
    ]);

  add(NEW.table, EXCLUSIVE, [nfAttribute(TABLE.NAME, nfText(table)), number(TABLE.FLAGS, OWNER)]);
  for (const name of new Set(rules.map((rule) => rule.name))) {
    addChain(name);
    addRule(name, SET_TRACE);
  }
  for (const hook of new Set(rules.map((rule) => rule.hook))) addChain(markingChain(hook), hook, PRIORITY.first);
  for (const { name, hook, matches } of rules) addRule(markingChain(hook), [...matches.flatMap(matching), goTo(name)]);
  for (const hook of SEEN_CHAINS) addChain(hook, hook, PRIORITY.last);
  messages.push(nfMessage(BATCH.END, NF_FLAG.REQUEST, seq + 1, batch, Buffer.alloc(0)));
  return { bytes: Buffer.concat(messages), requests: seq };
}
