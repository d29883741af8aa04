/**
 * A transaction of nftables in the kernel's own bytes (nfnetlink's batch), written into one buffer: tens of thousands of elements are some megabytes, and
 * making each of a few small buffers would cost ten times what the kernel needs for them.
 */
import { NF_FLAG, NF_SUBSYSTEM, NFNETLINK_HEADER, NETLINK_HEADER } from "../../../netlink/index.ts";

/** An element of any set or map, in the kernel's own bytes; concatenated parts are padded to 4 bytes each. */
export interface RawElement {
  key: Uint8Array;
  /** The last key of a range, in sets of concatenated ranges. */
  keyEnd?: Uint8Array;
  /** What a map has for it: bytes, or a verdict, which is to go to a chain or, without one, to return. */
  value?: Uint8Array | { goto: string | undefined };
  /** How long it lasts, in milliseconds, in a set with timeouts. */
  timeoutMs?: number;
}

/** A change of a set or map of one of our tables of family inet. */
export interface RawChange {
  table: string;
  set: string;
  come: readonly RawElement[];
  gone: readonly RawElement[];
}

/** Something that goes: all rules of a chain, a chain, or a set or map. */
export interface RawRemoval {
  table: string;
  remove: "rules" | "chain" | "set";
  name: string;
}

/**
 * A rule at the end of a chain that hands packets to a queue of user space (NFQUEUE), and lets them pass where nobody listens to it: by the expression of
 * nftables, or by the target of iptables, which kernels have that leave the other out.
 */
export interface RawQueueRule {
  table: string;
  chain: string;
  queue: number;
  by: "queue" | "target";
}

/** What a transaction does, one after the other. */
export type RawStep = RawChange | RawRemoval | RawQueueRule;

/** linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h */
const BATCH = { BEGIN: 0x10, END: 0x11 } as const;
const message = (number: number): number => (NF_SUBSYSTEM.NFTABLES << 8) | number;
const MESSAGE = {
  come: message(12),
  gone: message(14),
  rule: message(6),
  rules: message(8),
  chain: message(5),
  set: message(11),
} as const;
const INET = 1;
const NESTED = 0x8000;
/** NFTA_SET_ELEM_LIST_TABLE, _SET, _ELEMENTS. */
const LIST = { TABLE: 1, SET: 2, ELEMENTS: 3 } as const;
/** NFTA_LIST_ELEM; NFTA_SET_ELEM_KEY, _DATA, _TIMEOUT, _KEY_END; NFTA_DATA_VALUE, _VERDICT; NFTA_VERDICT_CODE, _CHAIN. */
const ELEMENT = 1;
const PART = { KEY: 1, DATA: 2, TIMEOUT: 4, KEY_END: 10 } as const;
const DATA = { VALUE: 1, VERDICT: 2 } as const;
const VERDICT = { CODE: 1, CHAIN: 2, GOTO: -4, RETURN: -5 } as const;
/** Attribute with the name of what goes: NFTA_RULE_CHAIN, NFTA_CHAIN_NAME, NFTA_SET_NAME. */
const NAME = { rules: 2, chain: 3, set: 2 } as const;
const TABLE = 1;
/** NLM_F_APPEND. */
const APPEND = 0x800;
/** NFTA_RULE_CHAIN, _EXPRESSIONS; NFTA_LIST_ELEM; NFTA_EXPR_NAME, _DATA. */
const RULE = { CHAIN: 2, EXPRESSIONS: 4, EXPRESSION: 1, NAME: 1, DATA: 2 } as const;
/** NFTA_QUEUE_NUM, _TOTAL, _FLAGS; NFTA_TARGET_NAME, _REV, _INFO (struct xt_NFQ_info_v3). */
const QUEUE = { NUMBER: 1, TOTAL: 2, FLAGS: 3 } as const;
const TARGET = { NAME: 1, REVISION: 2, INFO: 3 } as const;
const NFQUEUE_REVISION = 3;
const BYPASS = 1;

/** The list of a message has 16 bits for its length. */
const MOST_IN_LIST = 60_000;
/** More than any element, and than the header and the names of any message. */
const ROOM = 2_048;
/** Enough for what one pod changes; it grows with what there is. */
const FIRST_SIZE = 4 * ROOM;

/** The messages of one transaction, numbered from 1, of which the last is acknowledged; its number, 0 where there is nothing to do. */
export function encodeSteps(steps: readonly RawStep[]): { bytes: Buffer; last: number } {
  const writer = new Writer();
  writer.batch(BATCH.BEGIN, 0);
  for (const step of steps) {
    if ("remove" in step) writer.removal(step);
    else if ("queue" in step) writer.queueRule(step);
    else {
      // What goes, goes first: a key may get another value.
      writer.elements(step, "gone");
      writer.elements(step, "come");
    }
  }
  return writer.end();
}

class Writer {
  #bytes = Buffer.allocUnsafe(FIRST_SIZE);
  #at = 0;
  #sequence = 0;
  /** Where the last request begins. */
  #last = 0;

  batch(type: number, sequence: number): void {
    this.#room();
    this.#close(this.#message(type, NF_FLAG.REQUEST, sequence, 0, NF_SUBSYSTEM.NFTABLES));
  }

  end(): { bytes: Buffer; last: number } {
    const last = this.#sequence;
    // An error is told of whichever message it is about.
    if (last > 0) this.#bytes.writeUInt16LE(this.#bytes.readUInt16LE(this.#last + 6) | NF_FLAG.ACK, this.#last + 6);
    this.batch(BATCH.END, last + 1);
    return { bytes: this.#bytes.subarray(0, this.#at), last };
  }

  removal({ table, remove, name }: RawRemoval): void {
    this.#room();
    const start = this.#request(MESSAGE[remove], 0);
    this.#text(TABLE, table);
    this.#text(NAME[remove], name);
    this.#close(start);
  }

  queueRule({ table, chain, queue, by }: RawQueueRule): void {
    this.#room();
    const start = this.#request(MESSAGE.rule, NF_FLAG.CREATE | APPEND);
    this.#text(TABLE, table);
    this.#text(RULE.CHAIN, chain);
    const all = this.#open(RULE.EXPRESSIONS);
    const expression = this.#open(RULE.EXPRESSION);
    this.#text(RULE.NAME, by);
    const data = this.#open(RULE.DATA);
    if (by === "queue") {
      for (const [type, value] of [
        [QUEUE.NUMBER, queue],
        [QUEUE.TOTAL, 1],
        [QUEUE.FLAGS, BYPASS],
      ] as const)
        this.#bytesOf(type, Uint8Array.of(value >> 8, value & 0xff));
    } else {
      this.#text(TARGET.NAME, "NFQUEUE");
      this.#bytesOf(TARGET.REVISION, Uint8Array.of(0, 0, 0, NFQUEUE_REVISION));
      this.#bytesOf(TARGET.INFO, new Uint8Array(Uint16Array.of(queue, 1, BYPASS, 0).buffer));
    }
    this.#closeAttribute(data);
    this.#closeAttribute(expression);
    this.#closeAttribute(all);
    this.#close(start);
  }

  elements({ table, set, ...change }: RawChange, what: "come" | "gone"): void {
    const all = change[what];
    for (let next = 0; next < all.length; ) {
      this.#room();
      const start = this.#request(MESSAGE[what], what === "come" ? NF_FLAG.CREATE : 0);
      this.#text(LIST.TABLE, table);
      this.#text(LIST.SET, set);
      const list = this.#open(LIST.ELEMENTS);
      for (; next < all.length && this.#at - list < MOST_IN_LIST; next++) {
        this.#room();
        this.#element(all[next] as RawElement, what);
      }
      this.#closeAttribute(list);
      this.#close(start);
    }
  }

  #element({ key, keyEnd, value, timeoutMs }: RawElement, what: "come" | "gone"): void {
    const start = this.#open(ELEMENT);
    this.#data(PART.KEY, key);
    if (keyEnd) this.#data(PART.KEY_END, keyEnd);
    if (what === "come" && value !== undefined) this.#value(value);
    if (what === "come" && timeoutMs !== undefined) {
      this.#head(PART.TIMEOUT, 8);
      this.#at = this.#bytes.writeBigUInt64BE(BigInt(Math.ceil(timeoutMs)), this.#at);
    }
    this.#closeAttribute(start);
  }

  #value(value: NonNullable<RawElement["value"]>): void {
    if (value instanceof Uint8Array) return this.#data(PART.DATA, value);
    const start = this.#open(PART.DATA);
    const verdict = this.#open(DATA.VERDICT);
    this.#head(VERDICT.CODE, 4);
    this.#at = this.#bytes.writeInt32BE(value.goto === undefined ? VERDICT.RETURN : VERDICT.GOTO, this.#at);
    if (value.goto !== undefined) this.#text(VERDICT.CHAIN, value.goto);
    this.#closeAttribute(verdict);
    this.#closeAttribute(start);
  }

  /** An attribute with one value in it. */
  #data(type: number, value: Uint8Array): void {
    const start = this.#open(type);
    this.#bytesOf(DATA.VALUE, value);
    this.#closeAttribute(start);
  }

  #bytesOf(type: number, value: Uint8Array): void {
    this.#head(type, value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
    this.#pad();
  }

  #text(type: number, text: string): void {
    const length = Buffer.byteLength(text) + 1;
    this.#head(type, length);
    this.#at += this.#bytes.write(text, this.#at);
    this.#bytes[this.#at++] = 0;
    this.#pad();
  }

  #request(type: number, flags: number): number {
    this.#last = this.#at;
    return this.#message(type, NF_FLAG.REQUEST | flags, ++this.#sequence, INET, 0);
  }

  #message(type: number, flags: number, sequence: number, family: number, resource: number): number {
    const start = this.#at;
    const bytes = this.#bytes;
    bytes.fill(0, start, start + NFNETLINK_HEADER);
    bytes.writeUInt16LE(type, start + 4);
    bytes.writeUInt16LE(flags, start + 6);
    bytes.writeUInt32LE(sequence, start + 8);
    bytes[start + NETLINK_HEADER] = family;
    bytes.writeUInt16BE(resource, start + NETLINK_HEADER + 2);
    this.#at += NFNETLINK_HEADER;
    return start;
  }

  #close(start: number): void {
    this.#bytes.writeUInt32LE(this.#at - start, start);
  }

  /** Begins an attribute of attributes. */
  #open(type: number): number {
    const start = this.#at;
    this.#head(type | NESTED, 0);
    return start;
  }

  #closeAttribute(start: number): void {
    this.#bytes.writeUInt16LE(this.#at - start, start);
  }

  #head(type: number, length: number): void {
    this.#at = this.#bytes.writeUInt16LE(length + 4, this.#at);
    this.#at = this.#bytes.writeUInt16LE(type, this.#at);
  }

  #pad(): void {
    while (this.#at & 3) this.#bytes[this.#at++] = 0;
  }

  /** Sees that the next element, or the head of a message, has room. */
  #room(): void {
    if (this.#bytes.length - this.#at >= ROOM) return;
    const bigger = Buffer.allocUnsafe(this.#bytes.length * 2);
    this.#bytes.copy(bigger, 0, 0, this.#at);
    this.#bytes = bigger;
  }
}
