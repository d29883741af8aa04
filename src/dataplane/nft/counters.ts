/**
 * Counters of a table's rules, by chain. Rules alone are asked of the kernel: `nft list` would print every element of every map as well, of which a
 * table may have hundreds of thousands.
 */
import { constants } from "node:os";
import {
  eachNfAttribute,
  NETLINK_HEADER,
  NETLINK_NETFILTER,
  NF_ANSWER,
  NF_FLAG,
  NF_SUBSYSTEM,
  nfAttribute,
  nfErrno,
  nfMessage,
  nfMessages,
  NFNETLINK_HEADER,
  nfText,
} from "../../netlink/index.ts";
import { KernelSocket, SysError, withNetns } from "../../sys/index.ts";

/** linux/netfilter/nf_tables.h */
const GET_RULE = (NF_SUBSYSTEM.NFTABLES << 8) | 7;
const INET = 1;
const RULE = { TABLE: 1, CHAIN: 2, EXPRESSIONS: 4 } as const;
const ELEMENT = 1;
const EXPRESSION = { NAME: 1, DATA: 2 } as const;
const COUNTER = { BYTES: 1, PACKETS: 2 } as const;

const DATAGRAM = 64 * 1024;
/** Answers that are read before other work has its turn. */
const PER_TURN = 8;
/** How often a table that changed under our eyes is read again. */
const ATTEMPTS = 5;

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
  for (let attempt = 1; ; attempt++) {
    const counts = await dump(socket, table, attempt);
    if (counts) return counts;
    if (attempt === ATTEMPTS)
      throw new SysError(
        constants.errno.EINTR,
        "recvfrom",
        `reading the rules of table ${table}, which change too fast`,
      );
  }
}

/** @returns undefined where not all rules were seen as they were at one moment */
async function dump(socket: KernelSocket, table: string, seq: number): Promise<Map<string, Count> | undefined> {
  const counts = new Map<string, Count>();
  const about = { family: INET, resource: 0 };
  const request = nfMessage(
    GET_RULE,
    NF_FLAG.REQUEST | NF_FLAG.DUMP,
    seq,
    about,
    nfAttribute(RULE.TABLE, nfText(table)),
  );
  socket.send(request, request.length);
  const buffer = Buffer.allocUnsafe(DATAGRAM);
  let whole = true;
  for (let turn = 1; ; turn++) {
    const got = socket.receive(buffer, false);
    if (got === constants.errno.EINTR) continue;
    if (typeof got === "number") throw new SysError(got, "recvfrom", `reading the rules of table ${table}`);
    const datagram = buffer.subarray(0, got.length);
    for (const message of nfMessages(datagram)) {
      // What is left of a dump that was given up.
      if (message.seq !== seq) continue;
      if ((message.flags & NF_FLAG.DUMP_INTR) !== 0) whole = false;
      if (message.type === NF_ANSWER.DONE || message.type === NF_ANSWER.ERROR) {
        const errno = nfErrno(datagram, message);
        if (errno !== 0) throw new SysError(errno, "recvfrom", `reading the rules of table ${table}`);
        return whole ? counts : undefined;
      }
      add(counts, datagram, message.from + NFNETLINK_HEADER - NETLINK_HEADER, message.to);
    }
    if (turn % PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
  }
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
