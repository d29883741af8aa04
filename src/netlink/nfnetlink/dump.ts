/**
 * Lists of nfnetlink, which may be long: they are read piece by piece as the kernel hands them out, other work of the event loop in between.
 */
import { constants } from "node:os";
import { type KernelSocket, SysError } from "../../sys/index.ts";
import { NETLINK_HEADER, NF_ANSWER, NF_FLAG, nfErrno, nfMessage, nfMessages, NFNETLINK_HEADER } from "./framing.ts";

const DATAGRAM = 64 * 1024;
/** Answers that are read before other work has its turn. */
const PER_TURN = 16;
/** How often a list that changed under our eyes is read again. */
const ATTEMPTS = 5;

/** What is asked for. */
export interface NfList {
  type: number;
  family: number;
  /** Attributes that narrow it down. */
  body: Buffer;
  /** For errors: "the table of connections". */
  what: string;
}

/** Of the last request; answers of an earlier one on the same socket are known by it. */
let sequence = 0;

/**
 * Reads a list whole. Where the kernel says that it lost its place, it is read again.
 * @param begin makes what one reading is put into; what an earlier one has found counts no more
 * @param take takes in an object: its datagram, where in it its attributes begin and end, and its family; valid during the call
 * @throws SysError when the list cannot be read, or changes under every attempt; MalformedMessage
 */
export async function nfDump<T>(
  socket: KernelSocket,
  list: NfList,
  begin: () => T,
  take: (into: T, datagram: Buffer, at: { family: number; from: number; to: number }) => void,
): Promise<T> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const into = begin();
    if (await readOnce(socket, list, (datagram, at) => take(into, datagram, at))) return into;
  }
  throw new SysError(constants.errno.EINTR, "recvfrom", `reading ${list.what}, which changes too fast`);
}

/** @returns false where not the whole list was seen as it was at one moment */
async function readOnce(
  socket: KernelSocket,
  { type, family, body, what }: NfList,
  take: (datagram: Buffer, at: { family: number; from: number; to: number }) => void,
): Promise<boolean> {
  const seq = (sequence = (sequence + 1) >>> 0);
  const request = nfMessage(type, NF_FLAG.REQUEST | NF_FLAG.DUMP, seq, { family, resource: 0 }, body);
  socket.send(request, request.length);
  const buffer = Buffer.allocUnsafe(DATAGRAM);
  let whole = true;
  for (let turn = 1; ; turn++) {
    const got = socket.receive(buffer, false);
    if (got === constants.errno.EINTR) continue;
    if (typeof got === "number") throw new SysError(got, "recvfrom", `reading ${what}`);
    const datagram = buffer.subarray(0, got.length);
    for (const message of nfMessages(datagram)) {
      // What is left of a list that was given up.
      if (message.seq !== seq) continue;
      if ((message.flags & NF_FLAG.DUMP_INTR) !== 0) whole = false;
      if (message.type === NF_ANSWER.DONE || message.type === NF_ANSWER.ERROR) {
        const errno = nfErrno(datagram, message);
        if (errno !== 0) throw new SysError(errno, "recvfrom", `reading ${what}`);
        return whole;
      }
      const { from, to } = message;
      take(datagram, { family: datagram[from] as number, from: from + NFNETLINK_HEADER - NETLINK_HEADER, to });
    }
    if (turn % PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}
