/**
 * Connections that begin and end, as the kernel tells of them (ctnetlink's multicast groups; kernel file net/netfilter/nf_conntrack_netlink.c). There may be
 * more than anybody can read, so whoever listens says of which share it wants to hear: connections are chosen in the kernel, by the number that names each,
 * so that of one that is chosen both its beginning and its end are told. What finds no room is dropped by the kernel, and counted.
 */
import {
  eachNfAttribute,
  MalformedMessage,
  NETLINK_HEADER,
  NETLINK_NETFILTER,
  NF_FLAG,
  NF_SUBSYSTEM,
  nfMessages,
  NFNETLINK_HEADER,
} from "../../netlink/index.ts";
import { type FilterInstruction, type KernelSocket, MulticastReader } from "../../sys/index.ts";
import { type Connection, connectionOf } from "./conntrack.ts";

/** linux/netfilter/nfnetlink_compat.h: groups NFNLGRP_CONNTRACK_NEW and NFNLGRP_CONNTRACK_DESTROY as bits. */
const GROUPS = (1 << 0) | (1 << 2);
/** linux/netlink.h: no error for what is dropped; the count says it. */
const NETLINK_NO_ENOBUFS = 5;
const MESSAGE = { NEW: NF_SUBSYSTEM.CONNTRACK << 8, DELETE: (NF_SUBSYSTEM.CONNTRACK << 8) | 2 } as const;
/** enum ctattr_type, ctattr_counters, ctattr_tstamp */
const CTA = { COUNTERS_ORIG: 9, COUNTERS_REPLY: 10, ID: 12, TIMESTAMP: 20 } as const;
const COUNTER = { PACKETS: 1, BYTES: 2 } as const;
const STAMP = { START: 1, STOP: 2 } as const;

const RECEIVE_BUFFER = 2 * 1024 * 1024;
/** Who looks at flows waits for a tenth of a second (milliseconds). */
const REST_MS = 100;

/** Opcodes of classic BPF (linux/filter.h), and the place that asks for an attribute's place (SKF_AD_OFF + SKF_AD_NLATTR). */
const LOAD = { HALF: 0x28, BYTE: 0x30, NUMBER: 0x00, X: 0x01, WORD: 0x20, WORD_AT_X: 0x40 } as const;
const [IF_EQUAL, AND, A_TO_X, RETURN] = [0x15, 0x54, 0x07, 0x06];
const ATTRIBUTE = (-0x1000 + 12) >>> 0;
const EVERYTHING = 0xffff_ffff;
/** Where a message has its family, and the original direction's protocol and port of destination, by family: that attribute is the first. */
const FAMILY_AT = 16;
const [AF_INET, UDP] = [2, 17];
const PORT_AT = { 4: { protocol: 52, port: 68 }, 6: { protocol: 76, port: 92 } } as const;

/** A connection that has begun or ended. */
export interface ConnectionEvent extends Connection {
  /** Names it as long as it is there; another one may have it later. */
  id: number;
  ended: boolean;
  /** Both directions together; undefined where the kernel did not count, and of one that has just begun. */
  packets?: number;
  bytes?: number;
  /** Milliseconds since 1970; undefined where the kernel did not look at the clock. */
  start?: number;
  stop?: number;
}

export interface ConnectionEventsOptions {
  /** Path or descriptor of the network namespace; the process's own by default. */
  netns?: number | string | undefined;
  /** UDP port of the tunnel, whose own packets are nobody's. */
  tunnelPort: number;
  onEvent: (event: ConnectionEvent) => void;
  /** Something came that cannot be read. */
  onUnreadable: (reason: string) => void;
}

/** Listens from {@link ConnectionEvents.open} to {@link ConnectionEvents.close}. */
export class ConnectionEvents {
  readonly #reader: MulticastReader;
  readonly #tunnelPort: number;

  private constructor(reader: MulticastReader, tunnelPort: number) {
    this.#reader = reader;
    this.#tunnelPort = tunnelPort;
  }

  /** @throws SysError when the kernel follows no connections, or this process may not listen */
  static open({ netns, tunnelPort, onEvent, onUnreadable }: ConnectionEventsOptions): ConnectionEvents {
    const groups = {
      protocol: NETLINK_NETFILTER,
      groups: GROUPS,
      netns,
      receiveBufferBytes: RECEIVE_BUFFER,
      restMs: REST_MS,
      subscribe: (socket: KernelSocket) => socket.enable(NETLINK_NO_ENOBUFS),
    };
    const reader = MulticastReader.open("connections that begin and end", groups, {
      onDatagram(datagram) {
        try {
          for (const event of connectionEvents(datagram)) onEvent(event);
        } catch (error) {
          if (error instanceof MalformedMessage) return error.message;
          throw error;
        }
        return undefined;
      },
      onDrained: () => undefined,
      onLost: onUnreadable,
    });
    const events = new ConnectionEvents(reader, tunnelPort);
    events.share(0);
    return events;
  }

  /** Hears of one in 2^bits connections from now on. @throws SysError */
  share(bits: number): void {
    this.#reader.filter(shareOf(bits, this.#tunnelPort));
  }

  /** How many events the kernel had no room for since it was opened. @throws SysError */
  get dropped(): number {
    return this.#reader.dropped;
  }

  /** Stops; nobody is called after this. */
  close(): Promise<void> {
    return this.#reader.close();
  }
}

/** Whether a connection is among one in 2^bits. */
export const isChosen = (id: number, bits: number): boolean => (id & (2 ** bits - 1)) === 0;

/** The program that lets through what is told: of the tunnel's own packets nothing, of others the share. */
function shareOf(bits: number, tunnelPort: number): FilterInstruction[] {
  return [
    [LOAD.BYTE, 0, 0, FAMILY_AT],
    [IF_EQUAL, 0, 5, AF_INET],
    [LOAD.BYTE, 0, 0, PORT_AT[4].protocol],
    [IF_EQUAL, 0, 8, UDP],
    [LOAD.HALF, 0, 0, PORT_AT[4].port],
    [IF_EQUAL, 0, 6, tunnelPort],
    [RETURN, 0, 0, 0],
    [LOAD.BYTE, 0, 0, PORT_AT[6].protocol],
    [IF_EQUAL, 0, 3, UDP],
    [LOAD.HALF, 0, 0, PORT_AT[6].port],
    [IF_EQUAL, 0, 1, tunnelPort],
    [RETURN, 0, 0, 0],
    [LOAD.NUMBER, 0, 0, NFNETLINK_HEADER],
    [LOAD.X, 0, 0, CTA.ID],
    [LOAD.WORD, 0, 0, ATTRIBUTE],
    [IF_EQUAL, 4, 0, 0],
    [A_TO_X, 0, 0, 0],
    [LOAD.WORD_AT_X, 0, 0, 4],
    [AND, 0, 0, 2 ** bits - 1],
    [IF_EQUAL, 0, 1, 0],
    [RETURN, 0, 0, EVERYTHING],
    [RETURN, 0, 0, 0],
  ];
}

/** What a datagram tells of; what has no addresses is left out. @throws MalformedMessage */
function* connectionEvents(datagram: Buffer): Generator<ConnectionEvent> {
  for (const { type, flags, from, to } of nfMessages(datagram)) {
    const ended = type === MESSAGE.DELETE;
    // A message of group NEW is marked as such; others of its type tell of changes.
    if (!ended && (type !== MESSAGE.NEW || (flags & NF_FLAG.CREATE) === 0)) continue;
    const at = from + NFNETLINK_HEADER - NETLINK_HEADER;
    const connection = connectionOf(datagram, at, to);
    if (connection) yield { ...connection, ended, ...figuresOf(datagram, at, to) };
  }
}

/** A number of 64 bits, as far as it is one that can be counted with. */
const big = (data: Buffer, from: number, to: number): number =>
  to - from >= 8 ? Number(data.readBigUInt64BE(from)) : 0;

function figuresOf(data: Buffer, from: number, to: number): Omit<ConnectionEvent, keyof Connection | "ended"> {
  const figures: Omit<ConnectionEvent, keyof Connection | "ended"> = { id: 0 };
  eachNfAttribute(data, from, to, (type, start, end) => {
    if (type === CTA.ID && end - start >= 4) figures.id = data.readUInt32BE(start);
    else if (type === CTA.COUNTERS_ORIG || type === CTA.COUNTERS_REPLY)
      eachNfAttribute(data, start, end, (counter, at, until) => {
        if (counter === COUNTER.PACKETS) figures.packets = (figures.packets ?? 0) + big(data, at, until);
        else if (counter === COUNTER.BYTES) figures.bytes = (figures.bytes ?? 0) + big(data, at, until);
      });
    else if (type === CTA.TIMESTAMP)
      eachNfAttribute(data, start, end, (stamp, at, until) => {
        const ms = Math.round(big(data, at, until) / 1e6);
        if (stamp === STAMP.START) figures.start = ms;
        else if (stamp === STAMP.STOP) figures.stop = ms;
      });
  });
  return figures;
}
