/**
 * Elements of a set of our table put in and taken out by a message of our own, in a fraction of a millisecond: a program
 * that is started for it and a table that is replaced whole take tens, for which a new peer would not be let in.
 * The message is a transaction like any other (nfnetlink's batch), all of it or nothing. Who watches the packet filter in this process is not
 * told of it (watched/own-transactions.ts).
 */
import { constants } from "node:os";
import { addressBits, bigIntToIp, cidrOf, ipToBytes } from "../../../addr/index.ts";
import {
  eachNfAttribute,
  NETLINK_HEADER,
  NETLINK_NETFILTER,
  NF_ANSWER,
  NF_FLAG,
  NF_SUBSYSTEM,
  NFNETLINK_HEADER,
  nfAttribute,
  nfErrno,
  nfMessage,
  nfMessages,
  nfNested,
  nfText,
} from "../../../netlink/index.ts";
import { errnoName, errnoText, KernelSocket, SysError, withNetns } from "../../../sys/index.ts";
import { bytesOfPair } from "./inner-source.ts";
import { encodeSteps, type RawStep } from "./raw-batch.ts";
import { TABLE } from "./ruleset.ts";
import { keepBack } from "../watched/own-transactions.ts";

/**
 * A change of one set: addresses that come into it and that go; prefixes where it is one of intervals; pairs of an address and a prefix where it
 * is one of inner sources.
 */
export interface SetChange {
  /** The set's name in our table. */
  set: string;
  come: readonly string[];
  gone: readonly string[];
}

/** linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h */
const BATCH = { BEGIN: 0x10, END: 0x11 } as const;
const ELEMENT = {
  come: (NF_SUBSYSTEM.NFTABLES << 8) | 12,
  get: (NF_SUBSYSTEM.NFTABLES << 8) | 13,
  gone: (NF_SUBSYSTEM.NFTABLES << 8) | 14,
} as const;
const INET = 1;
const LIST = { TABLE: 1, SET: 2, ELEMENTS: 3 } as const;
const DATAGRAM = 64 * 1024;
/** Room for errors, each of which repeats the message that it is about. */
const RECEIVE_BUFFER = 4 * 1024 * 1024;
/** The list of a message has 16 bits for its length, and an element takes 44 bytes at most: two IPv6 addresses. */
const MOST_IN_MESSAGE = 1_400;

/** The kernel refused a change of elements; the table is as it was. */
export class ElementsRefused extends Error {
  /** "ENOENT" where a table, set or element is not there, "EEXIST" where one has another value. */
  readonly code: string;

  constructor(errno: number) {
    super(`the kernel refuses a change of a set's elements: ${errnoText(errno)} (${errnoName(errno)})`);
    this.name = "ElementsRefused";
    this.code = errnoName(errno);
  }
}

/** NFTA_LIST_ELEM { NFTA_SET_ELEM_KEY { NFTA_DATA_VALUE } }, of which each is number 1. */
const element = (key: Uint8Array, ...more: Buffer[]): Buffer =>
  nfNested(1, [nfNested(1, [nfAttribute(1, Buffer.from(key))]), ...more]);

/** NFTA_SET_ELEM_FLAGS: NFT_SET_ELEM_INTERVAL_END. */
const INTERVAL_END = nfAttribute(3, Buffer.from([0, 0, 0, 1]));

/** An address is one element, as is a pair; a prefix is its first address and, as the end of an interval, the one behind its last. */
function elementsOf(what: string): Buffer[] {
  if (what.includes(" ")) return [element(bytesOfPair(what))];
  if (!what.includes("/")) return [element(ipToBytes(what))];
  const { family, first, last } = cidrOf(what);
  const bytes = (address: bigint): Uint8Array => ipToBytes(bigIntToIp(address, family));
  const start = element(bytes(first));
  return last + 1n === 1n << BigInt(addressBits(family)) ? [start] : [start, element(bytes(last + 1n), INTERVAL_END)];
}

/** Elements of one set that come or go with one message. */
interface Part {
  table: string;
  set: string;
  what: "come" | "gone";
  elements: readonly Buffer[];
}

/** The messages of one transaction, numbered from 1, of which the last is acknowledged; its number. @throws RangeError when a change is too long for one message */
function encodeChanges(changes: readonly SetChange[]): { bytes: Buffer; last: number } {
  return encode(
    // What goes, goes first: an address may move from one peer to another.
    changes.flatMap(({ set, ...change }) =>
      (["gone", "come"] as const).map((what) => {
        const elements = change[what].flatMap(elementsOf);
        if (elements.length > MOST_IN_MESSAGE)
          throw new RangeError(`${elements.length} elements are too many for one message`);
        return { table: TABLE, set, what, elements };
      }),
    ),
  );
}

function encode(all: readonly Part[]): { bytes: Buffer; last: number } {
  const batch = { family: 0, resource: NF_SUBSYSTEM.NFTABLES };
  const parts = [nfMessage(BATCH.BEGIN, NF_FLAG.REQUEST, 0, batch, Buffer.alloc(0))];
  const some = all.filter(({ elements }) => elements.length > 0);
  let seq = 0;
  for (const { table, set, what, elements } of some) {
    // An error is told of whichever message it is about.
    const acknowledged = seq === some.length - 1 ? NF_FLAG.ACK : 0;
    const flags = NF_FLAG.REQUEST | acknowledged | (what === "come" ? NF_FLAG.CREATE : 0);
    const body = [
      nfAttribute(LIST.TABLE, nfText(table)),
      nfAttribute(LIST.SET, nfText(set)),
      nfNested(LIST.ELEMENTS, elements),
    ];
    parts.push(nfMessage(ELEMENT[what], flags, ++seq, { family: INET, resource: 0 }, Buffer.concat(body)));
  }
  parts.push(nfMessage(BATCH.END, NF_FLAG.REQUEST, seq + 1, batch, Buffer.alloc(0)));
  return { bytes: Buffer.concat(parts), last: seq };
}

/** Where the value of a list's one element is: NFTA_SET_ELEM_LIST_ELEMENTS, the element, NFTA_SET_ELEM_DATA, NFTA_DATA_VALUE. */
const VALUE_PATH = [LIST.ELEMENTS, 1, 2, 1] as const;

function valueIn(datagram: Buffer, from: number, to: number): Buffer | undefined {
  let at: { from: number; to: number } | undefined = { from, to };
  for (const wanted of VALUE_PATH) {
    const outer: { from: number; to: number } = at;
    at = undefined;
    eachNfAttribute(datagram, outer.from, outer.to, (type, start, end) => {
      if (type === wanted) at ??= { from: start, to: end };
    });
    if (!at) return undefined;
  }
  return Buffer.from(datagram.subarray(at.from, at.to));
}

/** A conversation with the kernel about elements. */
export class ElementSocket implements Disposable {
  readonly #socket: KernelSocket;
  readonly #buffer = Buffer.allocUnsafeSlow(DATAGRAM);
  /** The longest transaction that the socket takes for sure. */
  #sendBuffer = DATAGRAM;

  readonly #keptBack: Disposable;

  private constructor(socket: KernelSocket, netns: number | string | undefined) {
    this.#socket = socket;
    this.#keptBack = keepBack(netns, socket.port);
  }

  /** @throws SysError when the namespace cannot be entered or the socket not be opened */
  static open(netns: number | string | undefined): ElementSocket {
    const open = (): KernelSocket => {
      const socket = KernelSocket.open(NETLINK_NETFILTER);
      socket.setReceiveBuffer(RECEIVE_BUFFER);
      return socket;
    };
    const socket = netns === undefined ? open() : withNetns(netns, open);
    try {
      return new ElementSocket(socket, netns);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /**
   * Makes all changes in one transaction.
   * @throws ElementsRefused; SysError when the conversation itself fails; RangeError for too many elements
   */
  change(changes: readonly SetChange[]): void {
    this.#transact(encodeChanges(changes));
  }

  /** The same for elements of any of our tables, and what goes with them, in this order. @throws ElementsRefused, SysError */
  changeRaw(steps: readonly RawStep[]): void {
    this.#transact(encodeSteps(steps));
  }

  /**
   * What a map of one of our tables has for a key; undefined where there is no such element, map or table.
   * @throws ElementsRefused for any other reason, SysError when the conversation itself fails, MalformedMessage
   */
  valueOf(table: string, set: string, key: Uint8Array): Buffer | undefined {
    const body = [
      nfAttribute(LIST.TABLE, nfText(table)),
      nfAttribute(LIST.SET, nfText(set)),
      nfNested(LIST.ELEMENTS, [element(key)]),
    ];
    const about = { family: INET, resource: 0 };
    const request = nfMessage(ELEMENT.get, NF_FLAG.REQUEST, 1, about, Buffer.concat(body));
    this.#socket.send(request, request.length);
    const got = this.#socket.receive(this.#buffer, false);
    if (typeof got === "number")
      throw new SysError(got, "recvfrom", "waiting for the kernel's answer about an element");
    const datagram = this.#buffer.subarray(0, got.length);
    this.#drain();
    for (const message of nfMessages(datagram)) {
      if (message.type === ELEMENT.come)
        return valueIn(datagram, message.from + NFNETLINK_HEADER - NETLINK_HEADER, message.to);
      const errno = message.type === NF_ANSWER.ERROR ? nfErrno(datagram, message) : 0;
      if (errno !== 0 && errno !== constants.errno.ENOENT) throw new ElementsRefused(errno);
    }
    return undefined;
  }

  #transact({ bytes, last }: { bytes: Buffer; last: number }): void {
    if (last === 0) return;
    if (bytes.length > this.#sendBuffer) {
      this.#socket.setSendBuffer(bytes.length);
      this.#sendBuffer = bytes.length;
    }
    this.#socket.send(bytes, bytes.length);
    let refused = 0;
    // The kernel has done the work, and queued its answers, before sending returns.
    for (let acknowledged = false; !acknowledged && refused === 0; ) {
      const got = this.#socket.receive(this.#buffer, false);
      if (typeof got === "number")
        throw new SysError(got, "recvfrom", "waiting for the kernel's answer about elements");
      const datagram = this.#buffer.subarray(0, got.length);
      if (datagram.readUInt16LE(4) !== NF_ANSWER.ERROR) continue;
      refused = -datagram.readInt32LE(NETLINK_HEADER);
      acknowledged = datagram.readUInt32LE(8) === last;
    }
    this.#drain();
    if (refused !== 0) throw new ElementsRefused(refused);
  }

  /** Answers after the first error are of no interest, and must not be taken for another transaction's. */
  #drain(): void {
    while (typeof this.#socket.receive(this.#buffer, false) !== "number");
  }

  close(): void {
    this.#keptBack[Symbol.dispose]();
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
