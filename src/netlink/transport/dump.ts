/**
 * Questions to the kernel: lists (dumps), and single objects. A list that changed while it was being read is marked by
 * the kernel as interrupted: objects can be missing in it, so it is read again.
 */
import type { Connection } from "./connection.ts";
import { Flags, FlagsGet, NLMSG } from "../constants.ts";
import { type Acknowledgement, decodeDone, decodeError, guarded, type NetlinkMessage } from "../decode/message.ts";
import { DumpInterrupted, NetlinkError } from "../errors.ts";
import type { MessageWriter } from "./writer.ts";

/** With a busy node's rate of changes about one list in a hundred is interrupted, so this many in a row are a fault. */
const ATTEMPTS = 16;

/** A question: the message type, its body, and how an object is read out of an answer (`undefined`: not of interest). */
export interface Question<T> {
  /** What is being done, for errors: "listing routes". */
  doing: string;
  type: number;
  body: (w: MessageWriter) => void;
  decode: (data: Buffer) => T | undefined;
  /** Error codes that mean that there is nothing to be listed. */
  none?: readonly string[];
}

/**
 * Reads a list.
 * @throws NetlinkError, NetlinkTimeout, MalformedMessage; DumpInterrupted when it kept changing
 */
export function dump<T>(connection: Connection, question: Question<T>): T[] {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = dumpOnce(connection, question);
    if (found) return found;
  }
  throw new DumpInterrupted(question.doing, ATTEMPTS);
}

/** A list, or `undefined` when it was interrupted. */
function dumpOnce<T>(connection: Connection, question: Question<T>): T[] | undefined {
  const { doing, type, body, decode } = question;
  const found: T[] = [];
  let interrupted = false;
  let end: Acknowledgement = { errno: 0 };
  ask(connection, type, Flags.REQUEST | FlagsGet.DUMP, body, doing, (message) => {
    if (message.flags & Flags.DUMP_INTR) interrupted = true;
    if (message.type === NLMSG.DONE || message.type === NLMSG.ERROR) {
      end = message.type === NLMSG.DONE ? decodeDone(message) : decodeError(message);
      return true;
    }
    if (message.type === NLMSG.NOOP) return false;
    const object = guarded(`answer when ${doing}`, () => decode(message.data));
    if (object !== undefined) found.push(object);
    return false;
  });
  if (end.errno === 0) return interrupted ? undefined : found;
  const error = new NetlinkError({ errno: end.errno, extack: end.extack, doing });
  if (question.none?.includes(error.code)) return [];
  throw error;
}

/**
 * Asks for a single object; `undefined` when the kernel answers with one of the codes in `none`.
 * @throws NetlinkError, NetlinkTimeout, MalformedMessage
 */
export function get<T>(connection: Connection, question: Question<T>): T | undefined {
  const { doing, type, body, decode } = question;
  let object: T | undefined;
  let end: Acknowledgement = { errno: 0 };
  ask(connection, type, Flags.REQUEST, body, doing, (message) => {
    if (message.type === NLMSG.ERROR) end = decodeError(message);
    else object = guarded(`answer when ${doing}`, () => decode(message.data));
    return true;
  });
  if (end.errno === 0) return object;
  const error = new NetlinkError({ errno: end.errno, extack: end.extack, doing });
  if (question.none?.includes(error.code)) return undefined;
  throw error;
}

function ask(
  connection: Connection,
  type: number,
  flags: number,
  body: (w: MessageWriter) => void,
  doing: string,
  handle: (message: NetlinkMessage) => boolean,
): void {
  const { writer } = connection;
  const seq = connection.nextSeq();
  writer.reset();
  writer.message(type, flags, seq, () => body(writer));
  connection.exchange(doing, seq, seq, handle);
}
