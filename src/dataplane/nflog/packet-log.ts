/**
 * Packets that rules with `log group` tell of (nfnetlink_log: linux/netfilter/nfnetlink_log.h, kernel file net/netfilter/nfnetlink_log.c). A group has
 * one listener in a network namespace, which gets the first bytes of each packet, some at a time; without a listener the kernel drops them.
 */
import {
  eachNfAttribute,
  NETLINK_HEADER,
  NF_SUBSYSTEM,
  nfAttribute,
  nfListen,
  nfMessages,
  NFNETLINK_HEADER,
  nfNumber,
} from "../../netlink/index.ts";
import type { MulticastReader } from "../../sys/index.ts";
import { type PacketEnds, packetEnds } from "./packet-ends.ts";

/** enum nfulnl_msg_types, nfulnl_attr_config, nfulnl_attr_type */
const MESSAGE = { PACKET: NF_SUBSYSTEM.LOG << 8, CONFIG: (NF_SUBSYSTEM.LOG << 8) | 1 } as const;
const CONFIG = { COMMAND: 1, MODE: 2, TIMEOUT: 4, THRESHOLD: 5 } as const;
const PACKET = { PAYLOAD: 9, PREFIX: 10 } as const;
const BIND = 1;
const COPY_PACKET = 2;

/** An IPv6 header, some extension headers, and the ports behind them. */
const COPIED_BYTES = 128;
/** How long the kernel collects packets before it hands them over, in hundredths of a second, and how many. */
const TIMEOUT = 10;
const THRESHOLD = 32;
/** What waits to be read; rules that log have limits, so a burst is some hundred packets. */
const RECEIVE_BUFFER = 512 * 1024;

/** A packet as it was when the rule met it. */
export interface LoggedPacket extends PacketEnds {
  /** What the rule puts before it. */
  prefix: string;
}

export interface PacketLogOptions {
  /** 16 bits; somebody else may have the group. */
  group: number;
  /** Path or descriptor of the network namespace; the process's own by default. */
  netns?: number | string | undefined;
  /** What has come, once a burst. */
  onPackets: (packets: readonly LoggedPacket[]) => void;
  /** Packets may have been missed, for the given reason. */
  onLost: (reason: string) => void;
}

/** Listens to a group from {@link PacketLog.open} to {@link PacketLog.close}. */
export class PacketLog {
  readonly #reader: MulticastReader;

  private constructor(reader: MulticastReader) {
    this.#reader = reader;
  }

  /** @throws SysError EPERM when somebody else listens to the group, or without CAP_NET_ADMIN; EINVAL where the kernel has no nfnetlink_log */
  static open({ group, netns, onPackets, onLost }: PacketLogOptions): PacketLog {
    let packets: LoggedPacket[] = [];
    const take = (): readonly LoggedPacket[] => packets.splice(0);
    const { reader } = nfListen({
      what: "packets that rules log",
      source: `group ${group} of logged packets`,
      resource: group,
      netns,
      receiveBufferBytes: RECEIVE_BUFFER,
      type: MESSAGE.CONFIG,
      // A group that is not ours yet has nothing to be set.
      requests: [
        [nfAttribute(CONFIG.COMMAND, Buffer.from([BIND]))],
        [
          nfAttribute(CONFIG.MODE, Buffer.concat([nfNumber(COPIED_BYTES), Buffer.from([COPY_PACKET, 0])])),
          nfAttribute(CONFIG.TIMEOUT, nfNumber(TIMEOUT)),
          nfAttribute(CONFIG.THRESHOLD, nfNumber(THRESHOLD)),
        ],
      ],
      onDatagram(datagram) {
        for (const packet of packetsOf(datagram)) packets.push(packet);
      },
      onDrained() {
        if (packets.length > 0) onPackets(take());
      },
      onLost(reason) {
        // What was read is true, if not all.
        if (packets.length > 0) onPackets(take());
        packets = [];
        onLost(reason);
      },
    });
    return new PacketLog(reader);
  }

  /** Stops; no handler is called after this. */
  close(): Promise<void> {
    return this.#reader.close();
  }
}

/** Packets of a datagram; those that are no IP are left out. @throws MalformedMessage */
export function* packetsOf(datagram: Buffer): Generator<LoggedPacket> {
  for (const { type, from, to } of nfMessages(datagram)) {
    if (type !== MESSAGE.PACKET) continue;
    let [prefix, ends]: [string, PacketEnds | undefined] = ["", undefined];
    eachNfAttribute(datagram, from + NFNETLINK_HEADER - NETLINK_HEADER, to, (kind, start, end) => {
      // With its terminating zero.
      if (kind === PACKET.PREFIX) prefix = datagram.toString("latin1", start, Math.max(start, end - 1));
      else if (kind === PACKET.PAYLOAD) ends = packetEnds(datagram.subarray(start, end));
    });
    if (ends) yield { prefix, ...(ends as PacketEnds) };
  }
}
