/**
 * Removing devices without waiting for it. The kernel answers the removal of a device only when every processor has let
 * go of it (netdev_run_todo in net/core/dev.c waits for an RCU barrier, some 20 ms), although the device is unreachable long
 * before. So the request is made from libuv's thread pool. Several devices are made a group first and
 * removed as that group: they then share one such wait (rtnl_group_dellink in net/core/rtnetlink.c).
 */
import { read, write } from "node:fs";
import { promisify } from "node:util";
import { errnoName, type KernelSocket, SysError } from "../../sys/index.ts";
import { Flags, IFLA, NLMSG, RTM } from "../constants.ts";
import { decodeError, splitMessages } from "../decode/message.ts";
import { ifinfomsg, setLink } from "../encode/link.ts";
import { NetlinkError, NetlinkTimeout } from "../errors.ts";
import { DOOMED_LINK_GROUPS, type Operation } from "../types.ts";
import { MessageWriter } from "./writer.ts";

const [readFd, writeFd] = [promisify(read), promisify(write)];
/** Room for the answers to one request: each is under 1 KiB. */
const ANSWERS = 64 * 1024;
/** The kernel's words for a device that went away by itself meanwhile. */
const GONE = new Set(["ENODEV", "ENOENT"]);

/** Most devices of one request: so many fit the system's default buffers even if each fails. */
export const MAX_LINKS_AT_ONCE = 64;

type Deletion = Extract<Operation, { op: "del"; kind: "link" }>;

/** A device that could not be removed. */
export interface LinkFailure {
  operation: Deletion;
  error: NetlinkError;
}

let requests = 0;

/** The messages, one sequence number each from 1 on; the last one is the removal. */
function request(links: readonly Deletion["link"][]): { writer: MessageWriter; last: number } {
  const writer = new MessageWriter();
  const [only] = links;
  const together = links.length > 1;
  const group = ((DOOMED_LINK_GROUPS << 16) | (++requests & 0xffff)) >>> 0;
  let seq = 0;
  if (together) {
    for (const { index } of links)
      writer.message(RTM.NEWLINK, Flags.REQUEST, ++seq, () => setLink(writer, { index, group }));
  }
  writer.message(RTM.DELLINK, Flags.REQUEST, ++seq, () => {
    ifinfomsg(writer, together ? 0 : (only?.index ?? 0));
    if (together) writer.attributeU32(IFLA.GROUP, group);
  });
  writer.addFlags(Flags.ACK);
  return { writer, last: seq };
}

/**
 * Removes up to {@link MAX_LINKS_AT_ONCE} devices through a socket that nobody else uses meanwhile. Resolves when the kernel
 * is done with all of them, with those that are still there; one that was gone already is fine.
 * @throws SysError, NetlinkTimeout when the conversation itself fails: then it is not known what was removed, and the socket
 * is of no more use.
 */
export async function deleteLinks(
  socket: KernelSocket,
  links: readonly Deletion["link"][],
  timeoutMs: number,
): Promise<LinkFailure[]> {
  if (links.length > MAX_LINKS_AT_ONCE) throw new RangeError(`${links.length} devices are too many for one request`);
  if (links.length === 0) return [];
  const refused = await ask(socket, links, timeoutMs);
  if (refused.length === 0 || links.length === 1) return refused;
  // One that cannot be removed keeps its whole group: then each for itself.
  const failures: LinkFailure[] = [];
  for (const link of links) failures.push(...(await ask(socket, [link], timeoutMs)));
  return failures;
}

async function ask(
  { fd }: KernelSocket,
  links: readonly Deletion["link"][],
  timeoutMs: number,
): Promise<LinkFailure[]> {
  const doing = `deleting ${links.map(({ name, index }) => name ?? `if${index}`).join(", ")}`;
  const { writer, last } = request(links);
  try {
    // A socket without a destination talks to the kernel, which does the work within the call.
    await writeFd(fd, writer.buffer, 0, writer.length, null);
    return await answers(fd, links, last);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") throw new NetlinkTimeout(doing, timeoutMs);
    throw SysError.from(error, doing);
  }
}

/** What the kernel refused, until the answer to the last message has come. */
async function answers(fd: number, links: readonly Deletion["link"][], last: number): Promise<LinkFailure[]> {
  const buffer = Buffer.allocUnsafe(ANSWERS);
  for (;;) {
    const { bytesRead } = await readFd(fd, buffer, 0, buffer.length, null);
    for (const message of splitMessages(buffer.subarray(0, bytesRead))) {
      if (message.type !== NLMSG.ERROR || message.seq !== last) continue;
      const { errno, extack } = decodeError(message);
      if (errno === 0 || GONE.has(errnoName(errno))) return [];
      return links.map((link) => {
        const operation: Deletion = { op: "del", kind: "link", link };
        return { operation, error: new NetlinkError({ errno, extack, operation }) };
      });
    }
  }
}
