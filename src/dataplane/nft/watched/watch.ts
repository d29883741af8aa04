/**
 * Seeing changes of nftables: a member of the kernel's multicast group for them (NFNLGRP_NFTABLES). Of each transaction
 * only its generation and what it touched is read; what is there now is asked of nft.
 *
 * What our sockets do to elements is not announced to us (own-transactions.ts). What nft does for us is told from others' by its generation, a number
 * that the kernel gives every transaction. The kernel announces a transaction before nft's system call returns, so a second socket that is open while our nft
 * runs has its generation when nft has ended. No process id is compared: a container's are not the kernel's.
 */
import { constants } from "node:os";
import { NETLINK_NETFILTER, NF_SUBSYSTEM, nfFamilyName } from "../../../netlink/index.ts";
import { attachFilter, type MulticastGroups, MulticastReader, openMulticast } from "../../../sys/index.ts";
import { hearOthers } from "./own-transactions.ts";

/** linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h */
const GROUP_NFTABLES = 1 << (7 - 1);
const MSG = { NEWTABLE: 0, DELTABLE: 2, NEWCHAIN: 3, DELCHAIN: 5, NEWRULE: 6, DELRULE: 8, NEWGEN: 15 } as const;
const NETLINK_HEADER = 16;
const GENERIC_HEADER = 4;
const ATTRIBUTE_TYPE = 0x3fff;

const DATAGRAM = 256 * 1024;

/** A transaction, as far as it matters here. */
export interface NftTransaction {
  /** 32 bits that count transactions and wrap around. */
  generation: number;
  /** "inet skylane": tables in which anything changed. */
  tables: Set<string>;
  /** "ip filter FORWARD": chains that changed, or whose rules did; "ip filter" alone when a table came or went. */
  chains: Set<string>;
}

/** Puts notifications together into transactions. */
export class TransactionReader {
  #tables = new Set<string>();
  #chains = new Set<string>();
  #last: { family: number; name: Buffer; table: string } | undefined;

  /** Takes a datagram and returns the transactions that end in it. Bytes that make no sense end the datagram. */
  take(datagram: Buffer): NftTransaction[] {
    const done: NftTransaction[] = [];
    for (let at = 0; at + NETLINK_HEADER + GENERIC_HEADER <= datagram.length; ) {
      const length = datagram.readUInt32LE(at);
      if (length < NETLINK_HEADER + GENERIC_HEADER || at + length > datagram.length) break;
      const type = datagram.readUInt16LE(at + 4);
      if (type >> 8 === NF_SUBSYSTEM.NFTABLES) {
        const finished = this.#message(type & 0xff, datagram.subarray(at + NETLINK_HEADER, at + length));
        if (finished) done.push(finished);
      }
      at += (length + 3) & ~3;
    }
    return done;
  }

  #message(kind: number, body: Buffer): NftTransaction | undefined {
    if (kind === MSG.NEWGEN) {
      const id = attributeOf(body, 1);
      const generation = id && id.length >= 4 ? id.readUInt32BE(0) : 0;
      const transaction = { generation, tables: this.#tables, chains: this.#chains };
      this.#tables = new Set();
      this.#chains = new Set();
      return transaction;
    }
    // The first attribute of every other kind is the table's name.
    const first = attributeOf(body, 1);
    if (!first) return undefined;
    const table = this.#tableOf(body[0] as number, first);
    this.#tables.add(table);
    if (kind === MSG.NEWTABLE || kind === MSG.DELTABLE) this.#chains.add(table);
    const place = kind === MSG.NEWCHAIN || kind === MSG.DELCHAIN ? 3 : isRule(kind) ? 2 : undefined;
    const chain = place === undefined ? undefined : attributeOf(body, place);
    if (chain) this.#chains.add(`${table} ${text(chain)}`);
    return undefined;
  }

  /** Thousands of elements of one table come one after the other: the name is made once. */
  #tableOf(family: number, name: Buffer): string {
    if (this.#last?.family !== family || !this.#last.name.equals(name)) {
      const table = `${nfFamilyName(family)} ${text(name)}`;
      this.#last = { family, name: Buffer.from(name), table };
    }
    return this.#last.table;
  }
}

const isRule = (kind: number): boolean => kind === MSG.NEWRULE || kind === MSG.DELRULE;
const text = (value: Buffer): string =>
  value.toString("utf8", 0, value.indexOf(0) < 0 ? value.length : value.indexOf(0));

/** An attribute of a message's body; the last one of its type. */
function attributeOf(body: Buffer, wanted: number): Buffer | undefined {
  let found: Buffer | undefined;
  for (let at = GENERIC_HEADER; at + 4 <= body.length; ) {
    const length = body.readUInt16LE(at);
    if (length < 4 || at + length > body.length) break;
    if ((body.readUInt16LE(at + 2) & ATTRIBUTE_TYPE) === wanted) found = body.subarray(at + 4, at + length);
    at += (length + 3) & ~3;
  }
  return found;
}

const groupsIn = (netns: number | string | undefined): MulticastGroups => ({
  protocol: NETLINK_NETFILTER,
  groups: GROUP_NFTABLES,
  netns,
});

/**
 * Runs something and tells which transactions were made meanwhile, by it or by others; undefined when the kernel had to
 * drop some of the news.
 * @throws SysError, and what `action` rejects with
 */
export async function recordTransactions(
  netns: number | string | undefined,
  action: () => Promise<void>,
): Promise<NftTransaction[] | undefined> {
  using socket = openMulticast(groupsIn(netns));
  using _ = hearOthers(netns, { filter: (instructions) => attachFilter(socket.fd, instructions) });
  await action();
  const reader = new TransactionReader();
  const seen: NftTransaction[] = [];
  const buffer = Buffer.allocUnsafe(DATAGRAM);
  for (;;) {
    const got = socket.receive(buffer, false);
    if (got === constants.errno.EAGAIN) return seen;
    if (got === constants.errno.EINTR) continue;
    if (typeof got === "number" || got.truncated) return undefined;
    seen.push(...reader.take(buffer.subarray(0, got.length)));
  }
}

export interface WatchOptions {
  netns?: number | string | undefined;
  onTransactions: (transactions: NftTransaction[]) => void;
  /** Transactions may have been missed, for the given reason. */
  onLost: (reason: string) => void;
}

/** Watches nftables of a namespace until it is closed; what this process does by an {@link ElementSocket} is not told. */
export class NftWatch {
  readonly #reader: MulticastReader;
  readonly #hearing: Disposable;

  private constructor(reader: MulticastReader, netns: number | string | undefined) {
    this.#reader = reader;
    this.#hearing = hearOthers(netns, reader);
  }

  /** Starts to watch. @throws SysError */
  static open({ netns, onTransactions, onLost }: WatchOptions): NftWatch {
    let reader = new TransactionReader();
    let transactions: NftTransaction[] = [];
    return new NftWatch(
      MulticastReader.open("nftables", groupsIn(netns), {
        onDatagram(datagram) {
          transactions.push(...reader.take(datagram));
          return undefined;
        },
        onDrained() {
          const done = transactions;
          transactions = [];
          if (done.length > 0) onTransactions(done);
        },
        onLost(reason) {
          reader = new TransactionReader();
          transactions = [];
          onLost(reason);
        },
      }),
      netns,
    );
  }

  /** Stops; no handler is called after this. Resolves when the reader has left and the socket is closed. */
  close(): Promise<void> {
    this.#hearing[Symbol.dispose]();
    return this.#reader.close();
  }
}
