/**
 * Packets that rules with a queue hold until this process lets them go (nfnetlink_queue: linux/netfilter/nfnetlink_queue.h, kernel file
 * net/netfilter/nfnetlink_queue.c). A queue has one listener in a network namespace. Where it is full the kernel lets packets pass, and where nobody listens
 * any more those that wait are dropped.
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

/** enum nfqnl_msg_types, nfqnl_attr_config, nfqnl_attr_type */
const MESSAGE = {
  PACKET: NF_SUBSYSTEM.QUEUE << 8,
  VERDICT: (NF_SUBSYSTEM.QUEUE << 8) | 1,
  CONFIG: (NF_SUBSYSTEM.QUEUE << 8) | 2,
} as const;
const CONFIG = { COMMAND: 1, PARAMETERS: 2, MOST: 3, MASK: 4, FLAGS: 5 } as const;
const PACKET = { HEADER: 1, VERDICT: 2, PAYLOAD: 10 } as const;
const BIND = 1;
const COPY_PACKET = 2;
const FAIL_OPEN = 1;
const NF_ACCEPT = 1;

/** Answers over UDP that somebody sends are 4,096 bytes at most (RFC 6891 advises it). */
const COPIED_BYTES = 8_192;
/** Packets that wait at most. */
const MOST = 1_024;
const RECEIVE_BUFFER = 4 * 1024 * 1024;

/** Named, it is read without a thread of its own, of which there are few. */
const OWN_NETNS = "/proc/self/ns/net";

/** A packet that is held. */
export interface QueuedPacket {
  /** From its IP header on; not all of a longer one. Valid during the call. */
  bytes: Buffer;
  /** Lets it go on its way; a second call does nothing. @throws SysError */
  release: () => void;
}

export interface PacketQueueOptions {
  /** 16 bits; somebody else may have the queue. */
  queue: number;
  /** Path or descriptor of the network namespace; the process's own by default. */
  netns?: number | string | undefined;
  /** A packet has come, and waits until it is released. */
  onPacket: (packet: QueuedPacket) => void;
  /** News of packets were lost: those wait, for as long as somebody listens. */
  onLost: (reason: string) => void;
}

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const u32 = (value: number): Buffer => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);

/** Listens to a queue from {@link PacketQueue.open} to {@link PacketQueue.close}. */
export class PacketQueue {
  readonly #reader: MulticastReader;

  private constructor(reader: MulticastReader) {
    this.#reader = reader;
  }

  /** @throws SysError EBUSY or EPERM when somebody else listens, or without CAP_NET_ADMIN; EINVAL where the kernel has no nfnetlink_queue */
  static open({ queue, netns, onPacket, onLost }: PacketQueueOptions): PacketQueue {
    let socket: KernelSocket | undefined;
    const reader = MulticastReader.open(
      "packets that rules hold",
      {
        protocol: NETLINK_NETFILTER,
        groups: 0,
        netns: netns ?? OWN_NETNS,
        receiveBufferBytes: RECEIVE_BUFFER,
        subscribe: (one) => {
          bind(one, queue);
          socket = one;
        },
      },
      {
        onDatagram(datagram) {
          try {
            for (const { id, bytes } of packetsOf(datagram)) {
              let held = true;
              const release = (): void => {
                if (held) accept(socket as KernelSocket, queue, id);
                held = false;
              };
              onPacket({ bytes, release });
            }
          } catch (error) {
            if (error instanceof MalformedMessage) return error.message;
            throw error;
          }
          return undefined;
        },
        onDrained: () => undefined,
        onLost,
      },
    );
    return new PacketQueue(reader);
  }

  /** Stops; no handler is called after this. What waits is dropped. */
  close(): Promise<void> {
    return this.#reader.close();
  }
}

function accept(socket: KernelSocket, queue: number, id: number): void {
  const verdict = nfAttribute(PACKET.VERDICT, Buffer.concat([u32(NF_ACCEPT), u32(id)]));
  const request = nfMessage(MESSAGE.VERDICT, NF_FLAG.REQUEST, 0, { family: 0, resource: queue }, verdict);
  socket.send(request, request.length);
}

/** Makes a socket the listener of a queue. @throws SysError */
function bind(socket: KernelSocket, queue: number): void {
  configure(socket, queue, [nfAttribute(CONFIG.COMMAND, Buffer.from([BIND, 0, 0, 0]))]);
  configure(socket, queue, [
    nfAttribute(CONFIG.PARAMETERS, Buffer.concat([u32(COPIED_BYTES), Buffer.from([COPY_PACKET])])),
    nfAttribute(CONFIG.MOST, u32(MOST)),
    nfAttribute(CONFIG.MASK, u32(FAIL_OPEN)),
    nfAttribute(CONFIG.FLAGS, u32(FAIL_OPEN)),
  ]);
}

function configure(socket: KernelSocket, queue: number, attributes: readonly Buffer[]): void {
  const about = { family: 0, resource: queue };
  const request = nfMessage(MESSAGE.CONFIG, NF_FLAG.REQUEST | NF_FLAG.ACK, 1, about, Buffer.concat(attributes));
  socket.send(request, request.length);
  // The kernel has done it, and queued its answer, before sending returns; packets may be in the queue before the answer to the second request.
  const buffer = Buffer.allocUnsafe(RECEIVE_BUFFER);
  for (;;) {
    const got = socket.receive(buffer, false);
    if (typeof got === "number") throw new SysError(got, "recvfrom", `listening to queue ${queue} of held packets`);
    const datagram = buffer.subarray(0, got.length);
    for (const message of nfMessages(datagram)) {
      if (message.type !== NF_ANSWER.ERROR) continue;
      const errno = nfErrno(datagram, message);
      if (errno !== 0) throw new SysError(errno, "sendto", `listening to queue ${queue} of held packets`);
      return;
    }
  }
}

/** Packets of a datagram, by the number that they have in the queue. @throws MalformedMessage */
function* packetsOf(datagram: Buffer): Generator<{ id: number; bytes: Buffer }> {
  for (const { type, from, to } of nfMessages(datagram)) {
    if (type !== MESSAGE.PACKET) continue;
    let [id, bytes]: [number | undefined, Buffer] = [undefined, Buffer.alloc(0)];
    eachNfAttribute(datagram, from + NFNETLINK_HEADER - NETLINK_HEADER, to, (kind, start, end) => {
      if (kind === PACKET.HEADER && end - start >= 4) id = datagram.readUInt32BE(start);
      else if (kind === PACKET.PAYLOAD) bytes = datagram.subarray(start, end);
    });
    if (id !== undefined) yield { id, bytes };
  }
}
