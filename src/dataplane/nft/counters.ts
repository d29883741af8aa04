/**
 * Counters of a table's rules, by chain. Rules alone are asked of the kernel: `nft list` would print every element of every map as well, of which a
 * table may have hundreds of thousands.
 */
import { eachNfAttribute, NETLINK_NETFILTER, NF_SUBSYSTEM, nfAttribute, nfDump, nfText } from "../../netlink/index.ts";
import { KernelSocket, withNetns } from "../../sys/index.ts";

/** linux/netfilter/nf_tables.h */
const GET_RULE = (NF_SUBSYSTEM.NFTABLES << 8) | 7;
const INET = 1;
const RULE = { TABLE: 1, CHAIN: 2, EXPRESSIONS: 4 } as const;
const ELEMENT = 1;
const EXPRESSION = { NAME: 1, DATA: 2 } as const;
const COUNTER = { BYTES: 1, PACKETS: 2 } as const;

/** What has met with the rules of a chain that count. */
export interface Count {
  packets: number;
  /** Bytes of those packets, with their IP headers. */
  bytes: number;
}

/**
 * Counters of one table of family inet, those of a chain added up; chains whose rules do not count are not among them. A table that is not there has none.
 * @param netns path or descriptor of the network namespace; the process's own by default
 * @throws SysError when the rules cannot be read, or change under every attempt
 */
export async function countsByChain(table: string, netns?: number | string): Promise<Map<string, Count>> {
  const open = (): KernelSocket => KernelSocket.open(NETLINK_NETFILTER);
  using socket = netns === undefined ? open() : withNetns(netns, open);
  return await nfDump(
    socket,
    { type: GET_RULE, family: INET, body: nfAttribute(RULE.TABLE, nfText(table)), what: `the rules of table ${table}` },
    () => new Map<string, Count>(),
    (counts, datagram, { from, to }) => add(counts, datagram, from, to),
  );
}

/** Adds what a rule counts to its chain's. */
function add(counts: Map<string, Count>, data: Buffer, from: number, to: number): void {
  let chain = "";
  let [found, packets, bytes] = [false, 0, 0];
  eachNfAttribute(data, from, to, (type, start, end) => {
    if (type === RULE.CHAIN) chain = textOf(data, start, end);
    else if (type === RULE.EXPRESSIONS)
      eachNfAttribute(data, start, end, (kind, at, until) => {
        const count = kind === ELEMENT ? counterOf(data, at, until) : undefined;
        if (!count) return;
        found = true;
        packets += count.packets;
        bytes += count.bytes;
      });
  });
  if (!found) return;
  const before = counts.get(chain) ?? { packets: 0, bytes: 0 };
  counts.set(chain, { packets: before.packets + packets, bytes: before.bytes + bytes });
}

function counterOf(data: Buffer, from: number, to: number): Count | undefined {
  let name = "";
  const count: Count = { packets: 0, bytes: 0 };
  eachNfAttribute(data, from, to, (type, start, end) => {
    if (type === EXPRESSION.NAME) name = textOf(data, start, end);
    else if (type === EXPRESSION.DATA && name === "counter")
      eachNfAttribute(data, start, end, (what, at) => {
        if (what === COUNTER.BYTES) count.bytes = Number(data.readBigUInt64BE(at));
        else if (what === COUNTER.PACKETS) count.packets = Number(data.readBigUInt64BE(at));
      });
  });
  return name === "counter" ? count : undefined;
}

/** A text with its terminating zero. */
const textOf = (data: Buffer, from: number, to: number): string =>
  data.toString("latin1", from, Math.max(from, to - 1));
