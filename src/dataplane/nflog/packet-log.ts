/**
 * Packets that rules with `log group` tell of (nfnetlink_log: linux/netfilter/nfnetlink_log.h, kernel file net/netfilter/nfnetlink_log.c). A group has
 * one listener in a network namespace, which gets the first bytes of each packet, some at a time; without a listener the kernel drops them.
 */
import {
  eachNfAttribute,
  MalformedMessage,
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
} from "../../netlink/index.ts";
import { type KernelSocket, MulticastReader, SysError } from "../../sys/index.ts";
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
    const reader = MulticastReader.open(
      "packets that rules log",
      {
        protocol: NETLINK_NETFILTER,
        groups: 0,
        netns,
        receiveBufferBytes: RECEIVE_BUFFER,
        subscribe: (socket) => bind(socket, group),
      },
      {
        onDatagram(datagram) {
          try {
            for (const packet of packetsOf(datagram)) packets.push(packet);
          } catch (error) {
            if (error instanceof MalformedMessage) return error.message;
            throw error;
          }
          return undefined;
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
      },
    );
    return new PacketLog(reader);
  }

  /** Stops; no handler is called after this. */
  close(): Promise<void> {
    return this.#reader.close();
  }
}

/** Makes a socket the listener of a group. @throws SysError */
function bind(socket: KernelSocket, group: number): void {
  const mode = Buffer.alloc(6);
  mode.writeUInt32BE(COPIED_BYTES, 0);
  mode[4] = COPY_PACKET;
  const number = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  // A group that is not ours yet has nothing to be set.
  configure(socket, group, [nfAttribute(CONFIG.COMMAND, Buffer.from([BIND]))]);
  configure(socket, group, [
    nfAttribute(CONFIG.MODE, mode),
    nfAttribute(CONFIG.TIMEOUT, number(TIMEOUT)),
    nfAttribute(CONFIG.THRESHOLD, number(THRESHOLD)),
  ]);
}

function configure(socket: KernelSocket, group: number, attributes: readonly Buffer[]): void {
  const request = nfMessage(
    MESSAGE.CONFIG,
    NF_FLAG.REQUEST | NF_FLAG.ACK,
    1,
    { family: 0, resource: group },
    Buffer.concat(attributes),
  );
  socket.send(request, request.length);
  // The kernel has done it, and queued its answer, before sending returns; packets may be in the queue before the answer to the second request.
  const buffer = Buffer.allocUnsafe(RECEIVE_BUFFER);
  for (;;) {
    const got = socket.receive(buffer, false);
    if (typeof got === "number") throw new SysError(got, "recvfrom", `listening to group ${group} of logged packets`);
    const datagram = buffer.subarray(0, got.length);
    for (const message of nfMessages(datagram)) {
      if (message.type !== NF_ANSWER.ERROR) continue;
      const errno = nfErrno(datagram, message);
      if (errno !== 0) throw new SysError(errno, "sendto", `listening to group ${group} of logged packets`);
      return;
    }
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
