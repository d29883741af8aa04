/**
 * Making a device with everything that it is asked to have, or not at all. The kernel heeds an alias and the way of making
 * link-local addresses only in a change of a device that is there, so such a device takes a second message, in the
 * namespace of each end, and is removed again when that fails. Nothing sees it up in between: devices are born down.
 */
import { Connection } from "./transport/connection.ts";
import { Flags, IFLA, NLMSG, RTM } from "./constants.ts";
import { decodeLink } from "./decode/link.ts";
import { type Acknowledgement, decodeError, guarded, type NetlinkMessage } from "./decode/message.ts";
import { afterBirth, ifinfomsg, setLink } from "./encode/link.ts";
import { writeOperation } from "./encode/operation.ts";
import type { Link, LinkChange, Operation } from "./types.ts";
import type { MessageWriter } from "./transport/writer.ts";

const EAFNOSUPPORT = 97;

/** The making of a device. */
export type Creation = Extract<Operation, { op: "add"; kind: "link" }>;

/** Whether an operation takes more than one message and so cannot be packed with others. */
export function isCreatedAlone(operation: Operation): operation is Creation {
  if (operation.kind !== "link" || operation.op !== "add") return false;
  const { link } = operation;
  return afterBirth(link) !== undefined || (link.kind === "veth" && afterBirth(link.peer) !== undefined);
}

/** Makes a device; returns what the kernel objected to, if anything. @throws NetlinkTimeout, NetlinkError, SysError, RangeError */
export function createLink(connection: Connection, operation: Creation): Acknowledgement | undefined {
  const { link } = operation;
  const created = acknowledged(connection, `creating ${link.name}`, (w, seq) => writeOperation(w, operation, seq));
  if (created) return created;
  if (link.kind !== "vxlan" || link.netnsFd === undefined) return complete(connection, operation);
  using there = Connection.open({ netns: link.netnsFd, timeoutMs: connection.timeoutMs });
  return complete(there, operation);
}

/** Does the rest, in the namespace where the device is now, or removes it there. */
function complete(connection: Connection, operation: Creation): Acknowledgement | undefined {
  let done = false;
  try {
    const refused = finish(connection, operation);
    done = refused === undefined;
    return refused;
  } finally {
    if (!done) remove(connection, operation.link.name);
  }
}

/** What came of making a device: what the kernel objected to, or the device where the kernel told. */
export interface Created {
  refused?: Acknowledgement | undefined;
  link?: Link | undefined;
}

/**
 * Makes a device that takes one message, and hears of it in the same exchange: the kernel sends the one who asked a copy of
 * the notification (NLM_F_ECHO, heeded for devices since Linux 6.2). @throws NetlinkTimeout, NetlinkError, RangeError
 */
export function createLinkTold(connection: Connection, operation: Creation): Created {
  const { doing, seq, handle, created } = toldCreation(connection, operation);
  connection.exchange(doing, seq, seq, handle);
  return created();
}

/** The same in the background: see {@link Connection.exchangeInBackground}. */
export async function createLinkInBackground(connection: Connection, operation: Creation): Promise<Created> {
  const { doing, seq, handle, created } = toldCreation(connection, operation);
  await connection.exchangeInBackground(doing, seq, seq, handle);
  return created();
}

/** Writes the message, and takes in what the kernel says to it. */
function toldCreation(connection: Connection, operation: Creation) {
  let link: Link | undefined;
  const told = (data: Buffer): void => {
    link = guarded("copy of a notification", () => decodeLink(data));
  };
  const { refused, ...exchange } = request(
    connection,
    `creating ${operation.link.name}`,
    (w, seq) => writeOperation(w, operation, seq),
    told,
  );
  return { ...exchange, created: (): Created => ({ refused: refused(), link }) };
}

function finish(connection: Connection, { link }: Creation): Acknowledgement | undefined {
  const own = afterBirth(link);
  const refused = own && changeBorn(connection, own);
  if (refused || link.kind !== "veth") return refused;
  const peer = afterBirth(link.peer);
  if (!peer) return undefined;
  if (link.peer.netnsFd === undefined) return changeBorn(connection, peer);
  using there = Connection.open({ netns: link.peer.netnsFd, timeoutMs: connection.timeoutMs });
  return changeBorn(there, peer);
}

/**
 * The change after birth. A device without IPv6 takes no settings of it (inet6_validate_link_af in net/ipv6/addrconf.c): one with an
 * MTU under 1280, or any on a kernel whose IPv6 is off. It makes no link-local addresses either.
 */
function changeBorn(connection: Connection, link: LinkChange): Acknowledgement | undefined {
  const refused = change(connection, link);
  if (refused?.errno !== EAFNOSUPPORT || link.addrGenMode === undefined) return refused;
  const { addrGenMode: _, ...rest } = link;
  return rest.alias === undefined ? undefined : change(connection, rest);
}

const change = (connection: Connection, link: LinkChange): Acknowledgement | undefined =>
  acknowledged(connection, `changing ${link.name}`, (w, seq) =>
    w.message(RTM.NEWLINK, Flags.REQUEST, seq, () => setLink(w, link)),
  );

/** Best effort: the error to report is the one before it. */
function remove(connection: Connection, name: string): void {
  acknowledged(connection, `removing ${name}`, (w, seq) =>
    w.message(RTM.DELLINK, Flags.REQUEST, seq, () => {
      ifinfomsg(w, 0);
      w.attributeString(IFLA.IFNAME, name);
    }),
  );
}

/** Sends one message and waits for its acknowledgement; `undefined` when all is well. */
function acknowledged(
  connection: Connection,
  doing: string,
  write: (w: MessageWriter, seq: number) => void,
): Acknowledgement | undefined {
  const { seq, handle, refused } = request(connection, doing, write);
  connection.exchange(doing, seq, seq, handle);
  return refused();
}

/** Writes one message, and says what is to be done with the answers, and what the kernel objected to once those have come. */
function request(
  connection: Connection,
  doing: string,
  write: (w: MessageWriter, seq: number) => void,
  told?: (data: Buffer) => void,
) {
  const { writer } = connection;
  const seq = connection.nextSeq();
  writer.reset();
  write(writer, seq);
  writer.addFlags(told ? Flags.ACK | Flags.ECHO : Flags.ACK);
  let answer: Acknowledgement = { errno: 0 };
  const handle = (message: NetlinkMessage): boolean => {
    if (message.type === RTM.NEWLINK) told?.(message.data);
    if (message.type !== NLMSG.ERROR) return false;
    answer = decodeError(message);
    return true;
  };
  return { doing, seq, handle, refused: () => (answer.errno === 0 ? undefined : answer) };
}
