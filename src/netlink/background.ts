/**
 * Removing devices without waiting for it. The kernel answers the removal of a device only when every processor has let
 * go of it (netdev_run_todo in net/core/dev.c waits for an RCU barrier, some 20 ms), although the device is unreachable long
 * before. So the request is made from libuv's thread pool. Several devices are made a group first and
 * removed as that group: they then share one such wait (rtnl_group_dellink in net/core/rtnetlink.c).
 */
import { read, write } from "node:fs";
import { promisify } from "node:util";
import { errnoName, SysError } from "../sys/index.ts";
import { openSocket } from "./connection.ts";
import { Flags, IFLA, NLMSG, RTM } from "./constants.ts";
import { type Acknowledgement, decodeError, splitMessages } from "./decode/message.ts";
import { ifinfomsg, setLink } from "./encode/link.ts";
import { NetlinkError, NetlinkTimeout } from "./errors.ts";
import { DOOMED_LINK_GROUP, type Operation } from "./types.ts";
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

/** The messages, one sequence number each from 1 on; the last one is the removal. */
function request(links: readonly Deletion["link"][]): MessageWriter {
  const writer = new MessageWriter();
  const [only] = links;
  const group = links.length > 1;
  if (group) {
    for (const [at, { index }] of links.entries()) {
      writer.message(RTM.NEWLINK, Flags.REQUEST, at + 1, () => setLink(writer, { index, group: DOOMED_LINK_GROUP }));
    }
  }
  writer.message(RTM.DELLINK, Flags.REQUEST, group ? links.length + 1 : 1, () => {
    ifinfomsg(writer, group ? 0 : (only?.index ?? 0));
    if (group) writer.attributeU32(IFLA.GROUP, DOOMED_LINK_GROUP);
  });
  writer.addFlags(Flags.ACK);
  return writer;
}

/**
 * Removes up to {@link MAX_LINKS_AT_ONCE} devices of the calling thread's namespace. Resolves when the kernel is done with
 * all of them, with those that are still there; one that was gone already is fine. The namespace is the one at the call.
 * @throws SysError, NetlinkTimeout when the conversation itself fails: then it is not known what was removed.
 */
export async function deleteLinks(links: readonly Deletion["link"][], timeoutMs: number): Promise<LinkFailure[]> {
  if (links.length === 0) return [];
  if (links.length > MAX_LINKS_AT_ONCE) throw new RangeError(`${links.length} devices are too many for one request`);
  const doing = `deleting ${links.length} links`;
  using socket = openSocket(timeoutMs);
  const { buffer, length } = request(links);
  const last = links.length > 1 ? links.length + 1 : 1;
  try {
    // A socket without a destination talks to the kernel, which does the work within the call.
    await writeFd(socket.fd, buffer, 0, length, null);
    return await answers(socket.fd, links, last);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") throw new NetlinkTimeout(doing, timeoutMs);
    throw SysError.from(error, doing);
  }
}

async function answers(fd: number, links: readonly Deletion["link"][], last: number): Promise<LinkFailure[]> {
  const buffer = Buffer.allocUnsafe(ANSWERS);
  const failures: LinkFailure[] = [];
  const fail = (link: Deletion["link"], { errno, extack }: Acknowledgement): void => {
    const operation: Deletion = { op: "del", kind: "link", link };
    failures.push({ operation, error: new NetlinkError({ errno, extack, operation }) });
  };
  for (;;) {
    const { bytesRead } = await readFd(fd, buffer, 0, buffer.length, null);
    for (const message of splitMessages(buffer.subarray(0, bytesRead))) {
      if (message.type !== NLMSG.ERROR) continue;
      const answer = decodeError(message);
      const failed = answer.errno !== 0 && !GONE.has(errnoName(answer.errno));
      if (failed && message.seq < last) fail(links[message.seq - 1] as Deletion["link"], answer);
      else if (failed) {
        const named = new Set(failures.map(({ operation }) => operation.link.index));
        for (const link of links) if (!named.has(link.index)) fail(link, answer);
      }
      if (message.seq === last) return failures;
    }
  }
}
