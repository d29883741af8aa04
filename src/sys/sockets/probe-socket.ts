/**
 * ICMP echo for an agent that measures thousands of hosts all the time: nobody waits for anything here. Requests are sent, and what has
 * arrived since is read when the caller comes by; the kernel's own time stamps say when it came, so that a busy process measures no less well. Two
 * sockets: one for answers to our requests, one for the requests of others of the same kind, which the kernel answers by itself and which say
 * that their way to us works. Filters in the kernel keep out all other echo of the machine: answers without this process's cookie, requests
 * without the magic word. What a flood of requests leaves no room for is lost, and is never an answer.
 *
 * For packets that must find their own size Echo (echo.ts) is simpler; it has a thread to wait and a promise for each request.
 */
import { randomBytes } from "node:crypto";
import { closeSync } from "node:fs";
import { bytesToIp, type Family } from "../../addr/index.ts";
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";
import { attachFilter, type FilterInstruction } from "./filter.ts";
import { checksum, ICMP, int32, openIcmp, setOption } from "./icmp.ts";

const SOL_SOCKET = 1;
/** Also the type of its control message: a struct timespec of CLOCK_REALTIME (socket(7)). */
const SO_TIMESTAMPNS = 35;
const MSG_DONTWAIT = 0x40;
const CLOCK_REALTIME = 0;
/** struct msghdr, struct iovec, struct cmsghdr, on 64-bit machines (recvmsg(2), cmsg(3)). */
const MSGHDR = 56;
const IOVEC = 16;
const CMSGHDR = 16;
const CONTROL = 64;
/** ICMP's header before the data of an echo. */
const HEADER = 8;
/** What comes first in the data: the magic word, and the cookie by which answers are ours. */
const MAGIC = 4;
const COOKIE = 4;
/** As much of a packet as is read: IPv4's header with options, ICMP's, and more data than anybody needs. */
const READ = 192;
const MAX_PACKET = 65_535;

/** A packet that has arrived. The data belongs to the socket: it is another's after the call. */
export interface Arrived {
  from: string;
  /** What followed magic word and cookie. */
  data: Buffer;
  /** When, on the clock of {@link ProbeSocket.now}. */
  at: number;
}

/** Lets messages through whose data has these words at these places. */
function filterFor(family: Family, words: readonly (readonly [at: number, value: number])[]): FilterInstruction[] {
  const lines: FilterInstruction[] = [];
  // A raw IPv4 socket sees the header, whose length is in its first byte; IPv6 does not.
  if (family === 4) lines.push([0xb1, 0, 0, 0]);
  for (const [n, [at, value]] of words.entries()) {
    lines.push([family === 4 ? 0x40 : 0x20, 0, 0, HEADER + at]);
    lines.push([0x15, 0, (words.length - 1 - n) * 2 + 1, value]);
  }
  lines.push([0x06, 0, 0, READ], [0x06, 0, 0, 0]);
  return lines;
}

/** Reads one kind of messages. */
class Reader {
  readonly fd: number;
  readonly #family: Family;
  readonly #packet = Buffer.allocUnsafeSlow(READ);
  readonly #address = Buffer.allocUnsafeSlow(32);
  readonly #control = Buffer.allocUnsafeSlow(CONTROL);
  readonly #vector = Buffer.allocUnsafeSlow(IOVEC);
  readonly #message = Buffer.allocUnsafeSlow(MSGHDR).fill(0);

  /** @throws SysError */
  constructor(family: Family, type: number, words: Parameters<typeof filterFor>[1]) {
    this.#family = family;
    this.fd = openIcmp(family, type);
    const { pointTo } = libc();
    // All of these stay where they are.
    pointTo(this.#vector, 0, this.#packet);
    this.#vector.writeBigUInt64LE(BigInt(READ), 8);
    pointTo(this.#message, 0, this.#address);
    pointTo(this.#message, 16, this.#vector);
    this.#message.writeBigUInt64LE(1n, 24);
    pointTo(this.#message, 32, this.#control);
    try {
      attachFilter(this.fd, filterFor(family, words));
      setOption(this.fd, SOL_SOCKET, SO_TIMESTAMPNS, int32(1));
      // What came before the filter was there is nothing that it let through.
      while (this.next() !== undefined);
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  /** The next packet that is there: its sender, data and time; undefined where there is none. */
  next(): Arrived | undefined {
    const message = this.#message;
    // What the kernel has written over with lengths of its own.
    message.writeUInt32LE(this.#address.length, 8);
    message.writeUInt32LE(CONTROL, 40);
    const length = Number(libc().call.recvmsg(this.fd, message, MSG_DONTWAIT));
    // Nothing there; an error that ICMP brought about something that was sent is taken with this call, and is none of reading.
    if (length < 0) return undefined;
    const { address } = ICMP[this.#family];
    const from = bytesToIp(this.#address.subarray(address.at, address.at + (this.#family === 4 ? 4 : 16)));
    const start = (this.#family === 4 ? ((this.#packet[0] ?? 0) & 0x0f) * 4 : 0) + HEADER + MAGIC + COOKIE;
    return { from, data: this.#packet.subarray(Math.min(start, length), length), at: this.#time() };
  }

  /** Of the control message that came along; the present where the kernel gave none. */
  #time(): number {
    const control = this.#control;
    const stamped =
      this.#message.readUInt32LE(40) >= CMSGHDR + 16 &&
      control.readInt32LE(8) === SOL_SOCKET &&
      control.readInt32LE(12) === SO_TIMESTAMPNS;
    return stamped ? timeIn(control, CMSGHDR) : ProbeSocket.now();
  }
}

const clock = Buffer.allocUnsafeSlow(16);
const timeIn = (data: Buffer, at: number): number =>
  Number(data.readBigInt64LE(at)) * 1e3 + Number(data.readBigInt64LE(at + 8)) / 1e6;

/** Sends and hears echo requests of one family, in the network namespace that it was opened in. */
export class ProbeSocket implements Disposable {
  readonly family: Family;
  readonly #answers: Reader;
  readonly #requests: Reader;
  readonly #head = Buffer.alloc(MAGIC + COOKIE);
  /** What is sent; behind what was written there it stays zero. */
  readonly #packet = Buffer.allocUnsafeSlow(MAX_PACKET).fill(0);

  private constructor(family: Family, magic: number, cookie: Buffer, readers: [answers: Reader, requests: Reader]) {
    this.family = family;
    this.#head.writeUInt32BE(magic, 0);
    cookie.copy(this.#head, MAGIC);
    [this.#answers, this.#requests] = readers;
  }

  /**
   * @param magic the word by which requests of others are known to be of the same kind
   * @throws SysError EPERM without CAP_NET_RAW, EAFNOSUPPORT where the kernel lacks the family
   */
  static open(family: Family, magic: number): ProbeSocket {
    const cookie = randomBytes(COOKIE);
    const { reply, request } = ICMP[family];
    const answers = new Reader(family, reply, [
      [0, magic],
      [MAGIC, cookie.readUInt32BE(0)],
    ]);
    try {
      return new ProbeSocket(family, magic, cookie, [answers, new Reader(family, request, [[0, magic]])]);
    } catch (error) {
      closeSync(answers.fd);
      throw error;
    }
  }

  /** Milliseconds since 1970, with fractions: the clock of the kernel's time stamps. */
  static now(): number {
    libc().call.clock_gettime(CLOCK_REALTIME, clock);
    return timeIn(clock, 0);
  }

  /**
   * Sends a request. @param to a {@link sockaddrOf}, which takes longer to make than all else here @param data what it says, behind magic word and cookie: always as much, since what is behind it is taken for zero
   * @param size bytes of the whole IP packet, where that is more
   * @returns what this host's kernel says at once, such as EMSGSIZE for the device's own MTU; undefined when it was sent
   */
  send(to: Buffer, data: Buffer, size = 0): SysError | undefined {
    const { request, headers } = ICMP[this.family];
    const packet = this.#packet;
    const filled = HEADER + MAGIC + COOKIE + data.length;
    packet.writeUInt8(request, 0);
    packet.writeUInt16BE(0, 2);
    this.#head.copy(packet, 4, MAGIC, MAGIC + 2);
    this.#head.copy(packet, HEADER);
    data.copy(packet, HEADER + MAGIC + COOKIE);
    // of ICMPv6 the kernel works it out, since the addresses count as well
    if (this.family === 4) packet.writeUInt16BE(checksum(packet, filled), 2);
    const length = Math.max(filled, Math.min(size - headers + HEADER, MAX_PACKET));
    const { call, errno } = libc();
    const sent = call.sendto(this.#answers.fd, packet, BigInt(length), MSG_DONTWAIT, to, to.length);
    return sent < 0n ? new SysError(errno(), "sendto", "sending an echo request") : undefined;
  }

  /** Hands over answers that have arrived, at most so many. */
  answers(most: number, take: (arrived: Arrived) => void): void {
    drain(this.#answers, most, take);
  }

  /** Hands over requests of others that have arrived, at most so many. */
  requests(most: number, take: (arrived: Arrived) => void): void {
    drain(this.#requests, most, take);
  }

  /** Closes both. */
  [Symbol.dispose](): void {
    closeSync(this.#answers.fd);
    closeSync(this.#requests.fd);
  }
}

function drain(reader: Reader, most: number, take: (arrived: Arrived) => void): void {
  for (let n = 0; n < most; n++) {
    const arrived = reader.next();
    if (!arrived) return;
    take(arrived);
  }
}
