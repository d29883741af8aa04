/**
 * Many operations in few system calls. Messages are packed into one datagram, of which only the last asks for an
 * acknowledgement; the kernel goes through all of them in order, whatever becomes of each, and answers those that
 * failed by their sequence numbers. This is the fastest way there is to program thousands of entries.
 *
 * A packet's size is bounded by bytes and by count: the datagram must fit the socket's send buffer, and the answers,
 * if every single entry fails, its receive buffer, even at the system's default size (about 1 KiB an answer with the
 * kernel's book-keeping, since the request is left out of it).
 */
import type { Connection } from "./connection.ts";
import { Flags, NLMSG } from "../constants.ts";
import { type Acknowledgement, decodeError } from "../decode/message.ts";
import { writeOperation } from "../encode/operation.ts";
import type { Operation } from "../types.ts";

const MAXIMUM_BYTES = 32 * 1024;
const MAXIMUM_COUNT = 128;

/** An entry that failed, with what the kernel said. */
export interface Refused extends Acknowledgement {
  index: number;
}

/**
 * Sends operations from `start` on, as many as go into one packet, and returns where the next packet starts. An
 * operation for which `alone` is true ends the packet before it.
 * @throws NetlinkTimeout, NetlinkError (the conversation failed), MalformedMessage; RangeError naming nothing when the
 * first operation cannot be encoded
 */
export function sendPacket(
  connection: Connection,
  operations: readonly Operation[],
  start: number,
  alone: (operation: Operation) => boolean,
  refused: (entry: Refused) => void,
): number {
  const { writer } = connection;
  writer.reset();
  connection.reserveSeqs(MAXIMUM_COUNT);
  let first = 0;
  let last = 0;
  let index = start;
  for (; index < operations.length && index - start < MAXIMUM_COUNT && writer.length < MAXIMUM_BYTES; index++) {
    const operation = operations[index] as Operation;
    if (alone(operation)) break;
    const seq = connection.nextSeq();
    try {
      writeOperation(writer, operation, seq);
    } catch (error) {
      // Reported when it is the first of a packet: those before it go out first, so that order is kept.
      if (index === start) throw error;
      break;
    }
    first ||= seq;
    last = seq;
  }
  if (index === start) return start;
  writer.addFlags(Flags.ACK);
  connection.exchange(`applying ${index - start} changes`, first, last, (message) => {
    if (message.type !== NLMSG.ERROR) return false;
    const answer = decodeError(message);
    if (answer.errno !== 0) refused({ index: start + message.seq - first, ...answer });
    return message.seq === last;
  });
  return index;
}
