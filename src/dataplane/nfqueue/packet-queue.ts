/**
 * Packets that rules with a queue hold until this process lets them go (nfnetlink_queue: linux/netfilter/nfnetlink_queue.h, kernel file
 * net/netfilter/nfnetlink_queue.c). A queue has one listener in a network namespace. Where it is full the kernel lets packets pass, and where nobody listens
 * any more those that wait are dropped.
 */
import {
  eachNfAttribute,
  NETLINK_HEADER,
  NF_FLAG,
  NF_SUBSYSTEM,
  nfAttribute,
  nfListen,
  nfMessage,
  nfMessages,
  NFNETLINK_HEADER,
  nfNumber,
} from "../../netlink/index.ts";
import type { KernelSocket, MulticastReader } from "../../sys/index.ts";

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

/** Listens to a queue from {@link PacketQueue.open} to {@link PacketQueue.close}. */
export class PacketQueue {
  readonly #reader: MulticastReader;

  private constructor(reader: MulticastReader) {
    this.#reader = reader;
  }

  /** @throws SysError EBUSY or EPERM when somebody else listens, or without CAP_NET_ADMIN; EINVAL where the kernel has no nfnetlink_queue */
  static open({ queue, netns, onPacket, onLost }: PacketQueueOptions): PacketQueue {
    const { reader, socket } = nfListen({
      what: "packets that rules hold",
      source: `queue ${queue} of held packets`,
      resource: queue,
      netns: netns ?? OWN_NETNS,
      receiveBufferBytes: RECEIVE_BUFFER,
      type: MESSAGE.CONFIG,
      requests: [
        [nfAttribute(CONFIG.COMMAND, Buffer.from([BIND, 0, 0, 0]))],
        [
          nfAttribute(CONFIG.PARAMETERS, Buffer.concat([nfNumber(COPIED_BYTES), Buffer.from([COPY_PACKET])])),
          nfAttribute(CONFIG.MOST, nfNumber(MOST)),
          nfAttribute(CONFIG.MASK, nfNumber(FAIL_OPEN)),
          nfAttribute(CONFIG.FLAGS, nfNumber(FAIL_OPEN)),
        ],
      ],
      onDatagram(datagram) {
        for (const { id, bytes } of packetsOf(datagram)) {
          let held = true;
          const release = (): void => {
            if (held) accept(socket, queue, id);
            held = false;
          };
          onPacket({ bytes, release });
        }
      },
      onLost,
    });
    return new PacketQueue(reader);
  }

  /** Stops; no handler is called after this. What waits is dropped. */
  close(): Promise<void> {
    return this.#reader.close();
  }
}

function accept(socket: KernelSocket, queue: number, id: number): void {
  const verdict = nfAttribute(PACKET.VERDICT, Buffer.concat([nfNumber(NF_ACCEPT), nfNumber(id)]));
  const request = nfMessage(MESSAGE.VERDICT, NF_FLAG.REQUEST, 0, { family: 0, resource: queue }, verdict);
  socket.send(request, request.length);
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
