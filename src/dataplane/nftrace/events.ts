/** What the kernel tells of marked packets (NFT_MSG_TRACE: linux/netfilter/nf_tables.h, kernel file net/netfilter/nf_tables_trace.c). */
import {
  eachNfAttribute,
  NETLINK_HEADER,
  NF_SUBSYSTEM,
  NFNETLINK_HEADER,
  nfFamilyName,
  nfMessages,
} from "../../netlink/index.ts";

/** One chain or rule that a marked packet has met. */
export interface TraceEvent {
  /** One packet's way through the node has the same; it changes where the packet comes out of a tunnel's device. */
  id: number;
  /** "inet", "ip", … */
  family: string;
  table: string;
  chain: string;
  /** The rule's handle; absent for a chain's policy. */
  rule?: number;
  /** What the rule, or the chain's policy, has decided; "on": nothing that ends its way through this hook. */
  verdict: "drop" | "accept" | "queue" | "on";
  /** Indexes of devices, and the packet from its network header on and its transport header on; with the first event of each base chain alone. */
  in?: number;
  out?: number;
  network?: Buffer;
  transport?: Buffer;
}

const TRACE = (NF_SUBSYSTEM.NFTABLES << 8) | 17;
/** NFTA_TRACE_* */
const ATTRIBUTE = {
  TABLE: 1,
  CHAIN: 2,
  RULE: 3,
  TYPE: 4,
  VERDICT: 5,
  ID: 6,
  NETWORK: 8,
  TRANSPORT: 9,
  IN: 10,
  OUT: 12,
  POLICY: 16,
} as const;
/** NFT_TRACETYPE_POLICY */
const OF_POLICY = 1;
const VERDICT_CODE = 1;
/** NF_DROP, NF_ACCEPT, NF_STOLEN (a packet that the kernel keeps goes on by itself), NF_QUEUE; the upper half of the last is the queue's number. */
const VERDICTS: Readonly<Record<number, TraceEvent["verdict"]>> = { 0: "drop", 1: "accept", 3: "queue" };

/** Events of a datagram. @throws MalformedMessage */
export function* traceEventsOf(datagram: Buffer): Generator<TraceEvent> {
  for (const { type, from, to } of nfMessages(datagram)) {
    if (type !== TRACE) continue;
    const found = new Map<number, Buffer>();
    eachNfAttribute(datagram, from + NFNETLINK_HEADER - NETLINK_HEADER, to, (kind, start, end) => {
      found.set(kind, Buffer.from(datagram.subarray(start, end)));
    });
    yield eventOf(nfFamilyName(datagram[from] as number), found);
  }
}

function eventOf(family: string, found: ReadonlyMap<number, Buffer>): TraceEvent {
  const number = (type: number): number | undefined => {
    const bytes = found.get(type);
    return bytes && bytes.length >= 4 ? bytes.readUInt32BE(0) : undefined;
  };
  const text = (type: number): string => (found.get(type)?.toString() ?? "").replace(/\0.*/s, "");
  const handle = found.get(ATTRIBUTE.RULE);
  const [incoming, outgoing] = [number(ATTRIBUTE.IN), number(ATTRIBUTE.OUT)];
  const [network, transport] = [found.get(ATTRIBUTE.NETWORK), found.get(ATTRIBUTE.TRANSPORT)];
  const code = number(ATTRIBUTE.TYPE) === OF_POLICY ? number(ATTRIBUTE.POLICY) : codeIn(found.get(ATTRIBUTE.VERDICT));
  return {
    id: number(ATTRIBUTE.ID) ?? 0,
    family,
    table: text(ATTRIBUTE.TABLE),
    chain: text(ATTRIBUTE.CHAIN),
    ...(handle && handle.length >= 8 && { rule: Number(handle.readBigUInt64BE(0)) }),
    verdict: (code !== undefined && code < 0x8000_0000 && VERDICTS[code & 0xffff]) || "on",
    ...(incoming !== undefined && { in: incoming }),
    ...(outgoing !== undefined && { out: outgoing }),
    ...(network && { network }),
    ...(transport && { transport }),
  };
}

/** NFTA_VERDICT_CODE of a nested attribute; those of nftables itself (jump, return, continue) are negative. */
function codeIn(verdict: Buffer | undefined): number | undefined {
  let code: number | undefined;
  if (verdict)
    eachNfAttribute(verdict, 0, verdict.length, (type, from, to) => {
      if (type === VERDICT_CODE && to - from >= 4) code = verdict.readUInt32BE(from);
    });
  return code;
}
