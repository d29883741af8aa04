/**
 * The kernel's table of connections (ctnetlink: linux/netfilter/nfnetlink_conntrack.h, kernel file net/netfilter/nf_conntrack_netlink.c): going
 * through it, and ending single connections.
 *
 * A node may have half a million of them. The table is read piece by piece as the kernel hands it out, other work of the event loop in between, and
 * of a connection no more is kept than the caller keeps.
 */
import { constants } from "node:os";
import { bytesToIp, type Family, familyOf, ipToBytes } from "../../addr/index.ts";
import {
  eachNfAttribute,
  NETLINK_NETFILTER,
  NF_ANSWER,
  NF_FLAG,
  NF_SUBSYSTEM,
  nfAttribute,
  nfDump,
  nfErrno,
  nfMessage,
  nfMessages,
  nfNested,
} from "../../netlink/index.ts";
import { KernelSocket, SysError, withNetns } from "../../sys/index.ts";

const TYPE = { GET: (NF_SUBSYSTEM.CONNTRACK << 8) | 1, DELETE: (NF_SUBSYSTEM.CONNTRACK << 8) | 2 } as const;
/** enum ctattr_type, ctattr_tuple, ctattr_ip, ctattr_l4proto */
const CTA = { TUPLE_ORIG: 1, TUPLE_REPLY: 2, ID: 12, ZONE: 18, FILTER: 25 } as const;
const TUPLE = { IP: 1, PROTO: 2 } as const;
const IP_SOURCES: ReadonlySet<number> = new Set([1, 3]);
const PROTO = { NUM: 1, SRC_PORT: 2, DST_PORT: 3 } as const;

/** enum ctattr_filter, and what a filter looks at (net/netfilter/nf_internals.h). */
const FILTER = { ORIG: 1, REPLY: 2, IP_SRC: 1 << 0, PROTO_NUM: 1 << 3, DST_PORT: 1 << 5 } as const;
/** AF_INET, AF_INET6. */
const ADDRESS_FAMILY: Readonly<Record<Family, number>> = { 4: 2, 6: 10 };
const IP_SOURCE: Readonly<Record<Family, number>> = { 4: 1, 6: 3 };

const DATAGRAM = 64 * 1024;

/** One direction of a connection. */
export interface Direction {
  source: string;
  destination: string;
  /** Ports; 0 for protocols without. */
  sourcePort: number;
  destinationPort: number;
}

/** A connection as it was read. */
export interface Connection {
  /** Number of its IP protocol (IANA). */
  protocol: number;
  /** As it began. */
  original: Direction;
  /** As answers come, whose ends are the real ones where addresses are translated. */
  reply: Direction;
}

/** A connection that can be ended: with what names it to the kernel, the nfnetlink family and the attributes that it was read with. */
export interface HeldConnection extends Connection {
  handle: { family: number; attributes: Buffer };
}

/** Which connections somebody chooses from: of a table of half a million the kernel hands out those alone, as of Linux 5.8. */
export interface Narrowed {
  family: Family;
  /** They were made to this port of this protocol. */
  destination?: { protocol: number; port: number };
  /** This address answers. */
  answering?: string;
}

/** A conversation with the kernel about connections. */
export class Conntrack implements Disposable {
  readonly #socket: KernelSocket;
  readonly #buffer = Buffer.allocUnsafeSlow(DATAGRAM);
  #sequence = 0;

  private constructor(socket: KernelSocket) {
    this.#socket = socket;
  }

  /** @param netns path or descriptor of the network namespace; the process's own by default @throws SysError */
  static open(netns?: number | string): Conntrack {
    const open = (): KernelSocket => KernelSocket.open(NETLINK_NETFILTER);
    return new Conntrack(netns === undefined ? open() : withNetns(netns, open));
  }

  /**
   * Those of all connections of both families that somebody chooses. One that begins or ends meanwhile may be among them or not; where the kernel
   * says that it lost its place, the table is gone through again.
   * @param narrowed what all of them have in common; an older kernel hands out the others as well, so `chosen` asks about it too
   * @throws SysError when the table cannot be read, or changes under every attempt
   */
  select(chosen: (connection: Connection) => boolean, narrowed?: Narrowed): Promise<HeldConnection[]> {
    const [family, body] = narrowed ? [ADDRESS_FAMILY[narrowed.family], filterOf(narrowed)] : [0, Buffer.alloc(0)];
    return nfDump(
      this.#socket,
      { type: TYPE.GET, family, body, what: "the table of connections" },
      (): HeldConnection[] => [],
      (found, datagram, at) => {
        const connection = connectionOf(datagram, at.from, at.to);
        if (connection && chosen(connection)) found.push({ ...connection, handle: handleOf(datagram, at) });
      },
    );
  }

  /** Ends a connection: its next packet begins another one, if it may. @returns false when it was gone already @throws SysError */
  delete({ handle: { family, attributes } }: HeldConnection): boolean {
    const request = nfMessage(
      TYPE.DELETE,
      NF_FLAG.REQUEST | NF_FLAG.ACK,
      ++this.#sequence,
      { family, resource: 0 },
      attributes,
    );
    this.#socket.send(request, request.length);
    // The kernel has done the work, and queued its answer, before sending returns.
    const datagram = this.#receive("waiting for the kernel's answer about a connection");
    for (const message of nfMessages(datagram)) {
      if (message.type !== NF_ANSWER.ERROR) continue;
      const errno = nfErrno(datagram, message);
      if (errno === constants.errno.ENOENT) return false;
      if (errno !== 0) throw new SysError(errno, "sendto", "ending a connection");
    }
    return true;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  #receive(doing: string): Buffer {
    for (;;) {
      const got = this.#socket.receive(this.#buffer, false);
      if (got === constants.errno.EINTR) continue;
      if (typeof got === "number") throw new SysError(got, "recvfrom", doing);
      return this.#buffer.subarray(0, got.length);
    }
  }
}

/** What has the kernel hand out some connections alone. */
function filterOf({ destination, answering }: Narrowed): Buffer {
  const parts: Buffer[] = [];
  const flags: Buffer[] = [];
  // The one number of nfnetlink's that is in this machine's own order.
  const flag = (type: number, bits: number): void =>
    void flags.push(nfAttribute(type, new Uint8Array(Uint32Array.of(bits).buffer)));
  if (destination) {
    const { protocol, port } = destination;
    const proto = [
      nfAttribute(PROTO.NUM, Uint8Array.of(protocol)),
      nfAttribute(PROTO.DST_PORT, Uint8Array.of(port >> 8, port & 0xff)),
    ];
    parts.push(nfNested(CTA.TUPLE_ORIG, [nfNested(TUPLE.PROTO, proto)]));
    flag(FILTER.ORIG, FILTER.PROTO_NUM | FILTER.DST_PORT);
  }
  if (answering !== undefined) {
    const source = nfAttribute(IP_SOURCE[familyOf(answering)], ipToBytes(answering));
    parts.push(nfNested(CTA.TUPLE_REPLY, [nfNested(TUPLE.IP, [source])]));
    flag(FILTER.REPLY, FILTER.IP_SRC);
  }
  return flags.length === 0 ? Buffer.alloc(0) : Buffer.concat([...parts, nfNested(CTA.FILTER, flags)]);
}

/** One of a dump's messages; undefined where it has no addresses. @throws MalformedMessage */
export function connectionOf(data: Buffer, from: number, to: number): Connection | undefined {
  let protocol = 0;
  const [original, reply] = [emptyDirection(), emptyDirection()];
  eachNfAttribute(data, from, to, (type, start, end) => {
    if (type === CTA.TUPLE_ORIG) protocol = readTuple(data, start, end, original);
    else if (type === CTA.TUPLE_REPLY) readTuple(data, start, end, reply);
  });
  return original.source === "" || reply.source === "" ? undefined : { protocol, original, reply };
}

/** A copy of what names a message's connection: the datagram's place is used again. */
function handleOf(
  data: Buffer,
  { family, from, to }: { family: number; from: number; to: number },
): HeldConnection["handle"] {
  const parts: Buffer[] = [];
  eachNfAttribute(data, from, to, (type, start, end) => {
    const value = data.subarray(start, end);
    if (type === CTA.TUPLE_ORIG) parts.push(nfNested(type, [value]));
    else if (type === CTA.ID || type === CTA.ZONE) parts.push(nfAttribute(type, value));
  });
  return { family, attributes: Buffer.concat(parts) };
}

const emptyDirection = (): Direction => ({ source: "", destination: "", sourcePort: 0, destinationPort: 0 });

/** Reads a CTA_TUPLE. @returns the protocol's number */
function readTuple(data: Buffer, from: number, to: number, into: Direction): number {
  let protocol = 0;
  eachNfAttribute(data, from, to, (part, start, end) => {
    if (part === TUPLE.IP)
      eachNfAttribute(data, start, end, (type, at, until) => {
        into[IP_SOURCES.has(type) ? "source" : "destination"] = bytesToIp(data.subarray(at, until));
      });
    else if (part === TUPLE.PROTO)
      eachNfAttribute(data, start, end, (type, at) => {
        if (type === PROTO.NUM) protocol = data[at] as number;
        else if (type === PROTO.SRC_PORT) into.sourcePort = data.readUInt16BE(at);
        else if (type === PROTO.DST_PORT) into.destinationPort = data.readUInt16BE(at);
      });
  });
  return protocol;
}
