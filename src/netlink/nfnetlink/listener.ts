/**
 * Listening to packets that nfnetlink hands to whoever has taken a number of its for that: a group of logged packets, a queue of held ones.
 */
import { type KernelSocket, MulticastReader, SysError } from "../../sys/index.ts";
import { MalformedMessage } from "../errors.ts";
import { NETLINK_NETFILTER, NF_ANSWER, NF_FLAG, nfErrno, nfMessage, nfMessages } from "./framing.ts";

/** Longer than any answer, and than what may be told of before it. */
const DATAGRAM = 64 * 1024;

/** What is listened to, and how. */
export interface NfListening {
  /** What comes, for errors: "packets that rules log". */
  what: string;
  /** Whence, for errors: "group 5 of logged packets". */
  source: string;
  /** The number; somebody else may have it. */
  resource: number;
  /** Path or descriptor of the network namespace; the process's own, read in a thread of the pool, by default. */
  netns?: number | string | undefined;
  receiveBufferBytes: number;
  /** Type of the messages that configure it, and the attributes of each, in their order: the first takes the number. */
  type: number;
  requests: readonly (readonly Buffer[])[];
  /** A datagram, valid during the call. @throws MalformedMessage when it cannot be read, which counts as lost */
  onDatagram: (datagram: Buffer) => void;
  /** All that had come was handed over. */
  onDrained?: () => void;
  /** Something was lost, for the given reason. */
  onLost: (reason: string) => void;
}

/**
 * Listens from the call on until the reader is closed.
 * @returns it with the socket that has the number, to which verdicts are sent
 * @throws SysError when somebody else has the number, or the kernel has no such part
 */
export function nfListen(options: NfListening): { reader: MulticastReader; socket: KernelSocket } {
  const { what, netns, receiveBufferBytes, requests, onDatagram, onDrained, onLost } = options;
  let bound: KernelSocket | undefined;
  const subscribe = (socket: KernelSocket): void => {
    for (const attributes of requests) configure(socket, options, attributes);
    bound = socket;
  };
  const groups = { protocol: NETLINK_NETFILTER, groups: 0, netns, receiveBufferBytes, subscribe };
  const reader = MulticastReader.open(what, groups, {
    onDatagram(datagram) {
      try {
        onDatagram(datagram);
      } catch (error) {
        if (error instanceof MalformedMessage) return error.message;
        throw error;
      }
      return undefined;
    },
    onDrained: () => onDrained?.(),
    onLost,
  });
  return { reader, socket: bound as KernelSocket };
}

function configure(socket: KernelSocket, { type, resource, source }: NfListening, attributes: readonly Buffer[]): void {
  const about = { family: 0, resource };
  const request = nfMessage(type, NF_FLAG.REQUEST | NF_FLAG.ACK, 1, about, Buffer.concat(attributes));
  socket.send(request, request.length);
  // The kernel has done it, and queued its answer, before sending returns; packets may be in the queue before the answer to the second request.
  const buffer = Buffer.allocUnsafe(DATAGRAM);
  for (;;) {
    const got = socket.receive(buffer, false);
    if (typeof got === "number") throw new SysError(got, "recvfrom", `listening to ${source}`);
    const datagram = buffer.subarray(0, got.length);
    for (const message of nfMessages(datagram)) {
      if (message.type !== NF_ANSWER.ERROR) continue;
      const errno = nfErrno(datagram, message);
      if (errno !== 0) throw new SysError(errno, "sendto", `listening to ${source}`);
      return;
    }
  }
}
