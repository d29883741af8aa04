/**
 * ICMP echo (RFC 792, RFC 4443 section 4): asks a host's kernel whether a packet of a given size comes there and
 * back, with no process involved at the other end. Node has no such socket. Packets are never fragmented on the way
 * out (DF; for IPv6 no fragment header), and what the kernel remembers of the path's MTU is left aside, so that every
 * request asks the path itself.
 *
 * One socket serves any number of requests at once: each carries a cookie in its data, by which its answer is known.
 */
import { randomBytes } from "node:crypto";
import { closeSync, read } from "node:fs";
import { constants } from "node:os";
import { type Family, familyOf } from "../../addr/index.ts";
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";
import { checksum, ICMP, int32, openIcmp, setOption, sockaddrOf } from "./icmp.ts";

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
/** The reader looks this often whether it was closed, in milliseconds. */
const LOOK_UP_MS = 100;
const COOKIE = 12;
/** Room for the answers of hundreds of hosts that come at once. */
const RECEIVE_BUFFER = 4 * 1024 * 1024;

/** One request. */
export interface EchoRequest {
  to: string;
  /** Bytes of the whole IP packet; the least that carries a cookie when absent. */
  size?: number;
  timeoutMs: number;
}

/** What came of it; an error is what this host's kernel said at once, such as EMSGSIZE for the device's own MTU. */
export type EchoAnswer = { answered: true; ms: number } | { answered: false; error?: SysError };

/** Asks hosts of one family, from the network namespace of the calling thread. */
export class Echo {
  readonly #fd: number;
  readonly #family: Family;
  readonly #own = randomBytes(8);
  readonly #waiting = new Map<number, (ms: number) => void>();
  readonly #ended: Promise<void>;
  readonly #buffer = Buffer.allocUnsafeSlow(70_000);
  #next = 0;
  #closing = false;

  private constructor(fd: number, family: Family) {
    this.#fd = fd;
    this.#family = family;
    this.#ended = this.#listen();
  }

  /** @throws SysError EPERM without CAP_NET_RAW, EAFNOSUPPORT where the kernel lacks the family */
  static open(family: Family): Echo {
    const fd = openIcmp(family, ICMP[family].reply);
    try {
      // without CAP_NET_ADMIN as much as the system's limit allows
      const room = int32(RECEIVE_BUFFER);
      if (libc().call.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, room, room.length) !== 0)
        setOption(fd, SOL_SOCKET, SO_RCVBUF, room);
      const wait = Buffer.alloc(16);
      wait.writeBigInt64LE(BigInt(LOOK_UP_MS * 1000), 8);
      setOption(fd, SOL_SOCKET, SO_RCVTIMEO, wait);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return new Echo(fd, family);
  }

  /** Sends one request and waits for its answer. @throws RangeError for an address of the other family */
  ask({ to, size = 0, timeoutMs }: EchoRequest): Promise<EchoAnswer> {
    if (familyOf(to) !== this.#family) throw new RangeError(`${to} is no IPv${this.#family} address`);
    const id = this.#next++;
    return new Promise((resolve) => {
      const started = performance.now();
      const finish = (answer: EchoAnswer): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(answer);
      };
      const timer = setTimeout(() => finish({ answered: false }), timeoutMs);
      this.#waiting.set(id, (at) => finish({ answered: true, ms: at - started }));
      const error = this.#send(id, to, size);
      if (error) finish({ answered: false, error });
    });
  }

  /** Closes the socket; requests still open count as unanswered when their time is over. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #send(id: number, to: string, size: number): SysError | undefined {
    const { request, headers } = ICMP[this.#family];
    const packet = Buffer.alloc(8 + Math.max(COOKIE, size - headers));
    packet.writeUInt8(request, 0);
    packet.writeUInt16BE(this.#own.readUInt16BE(0), 4);
    packet.writeUInt16BE(id & 0xffff, 6);
    this.#own.copy(packet, 8);
    packet.writeUInt32BE(id >>> 0, 16);
    // of ICMPv6 the kernel works it out, since the addresses count as well
    if (this.#family === 4) packet.writeUInt16BE(checksum(packet), 2);
    const address = sockaddrOf(to);
    const { call, errno } = libc();
    const sent = call.sendto(this.#fd, packet, BigInt(packet.length), 0, address, address.length);
    return sent < 0n ? new SysError(errno(), "sendto", `sending an echo request to ${to}`) : undefined;
  }

  async #listen(): Promise<void> {
    try {
      while (!this.#closing) {
        const got = await this.#read();
        if (got !== undefined) this.#take(this.#buffer.subarray(0, got));
      }
    } finally {
      closeSync(this.#fd);
    }
  }

  /** A datagram's length; undefined for none within {@link LOOK_UP_MS} and for errors that ICMP brought about a packet of ours. */
  #read(): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      read(this.#fd, this.#buffer, 0, this.#buffer.length, null, (error, bytes) => {
        if (!error) resolve(bytes);
        else if (Math.abs(error.errno ?? 0) === constants.errno.EBADF) reject(error);
        else resolve(undefined);
      });
    });
  }

  #take(packet: Buffer): void {
    const at = performance.now();
    // IPv4 comes with its header, whose length is in its first byte; IPv6 without
    const icmp = this.#family === 4 ? packet.subarray(((packet[0] ?? 0) & 0x0f) * 4) : packet;
    if (icmp.length < 8 + COOKIE || icmp[0] !== ICMP[this.#family].reply) return;
    if (!icmp.subarray(8, 16).equals(this.#own)) return;
    this.#waiting.get(icmp.readUInt32BE(16))?.(at);
  }
}
