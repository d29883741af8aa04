/**
 * Hearing that a device has received a frame from one of a few source MACs, whatever becomes of the frame: a packet socket
 * (packet(7)) sees what arrives before a bridge judges it. The filter runs in the kernel, so other frames cost no
 * more than that, and of those that match only the header is copied. After each report the socket rests
 * for a while: whoever sends a lot from such a MAC is not heard more often for it.
 */
import { closeSync } from "node:fs";
import { constants } from "node:os";
import { watchArrivals } from "./arrivals.ts";
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";
import { attachFilter, type FilterInstruction } from "./filter.ts";
import { withNetns } from "../netns.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23;
const MSG_DONTWAIT = 0x40;
const ETH_P_ALL = 3;
/** struct sockaddr_ll */
const ADDRESS = 20;
/** Destination, source, type. */
const HEADER = 14;
/** Frames read before a report. */
const DRAIN = 64;
/** Room for what was not read yet, in bytes: a few dozen headers. */
const BUFFER = 16_384;
/** Pause after a report, in milliseconds. */
const REST_MS = 100;
/** Jumps of a filter go 255 instructions far, and a MAC takes four. */
export const MAX_TAPPED = 60;

/** Where to listen, and for what. */
export interface FrameTapOptions {
  /** Namespace (path or file descriptor); the process's own by default. */
  netns?: number | string | undefined;
  ifindex: number;
  /** Source MACs as six bytes each, up to {@link MAX_TAPPED}. */
  macs: readonly Uint8Array[];
  /** Called with the six bytes of each that was seen, once a report. */
  onSeen: (mac: Uint8Array) => void;
}

/** Ethernet address of ff02::16 (RFC 3810, section 5.2.14; RFC 2464, section 7), in its two parts. */
const MLD_ROUTERS = [0x3333, 0x16] as const;

/**
 * Classic BPF (linux/filter.h): lets frames through whose source is one of the MACs, cut to their header. Multicast listener
 * reports are none of them: a kernel sends those by itself when a device goes up, and nobody has spoken yet.
 */
function filterFor(macs: readonly Uint8Array[]): FilterInstruction[] {
  const program: FilterInstruction[] = [];
  const put = (...one: FilterInstruction): unknown => program.push(one);
  const [loadWord, loadHalf, equal, give] = [0x20, 0x28, 0x15, 0x06];
  put(loadHalf, 0, 0, 0);
  put(equal, 0, 3, MLD_ROUTERS[0]);
  put(loadWord, 0, 0, 2);
  put(equal, 0, 1, MLD_ROUTERS[1]);
  put(give, 0, 0, 0);
  for (const [n, mac] of macs.entries()) {
    const bytes = Buffer.from(mac);
    put(loadWord, 0, 0, 8);
    put(equal, 0, 2, bytes.readUInt32BE(2));
    put(loadHalf, 0, 0, 6);
    put(equal, (macs.length - 1 - n) * 4 + 1, 0, bytes.readUInt16BE(0));
  }
  put(give, 0, 0, 0);
  put(give, 0, 0, HEADER);
  return program;
}

/** Listens from the moment of {@link FrameTap.open} on. */
export class FrameTap implements Disposable {
  readonly #fd: number;
  readonly #onSeen: FrameTapOptions["onSeen"];
  readonly #frame = Buffer.alloc(64);
  #watch: Disposable | undefined;
  #rest: NodeJS.Timeout | undefined;
  #open = true;

  private constructor(fd: number, onSeen: FrameTapOptions["onSeen"]) {
    this.#fd = fd;
    this.#onSeen = onSeen;
    this.#listen();
  }

  /** @throws SysError when the namespace cannot be entered, the device is gone, or without CAP_NET_RAW */
  static open({ netns, ifindex, macs, onSeen }: FrameTapOptions): FrameTap {
    if (macs.length > MAX_TAPPED) throw new RangeError(`${macs.length} MAC addresses are more than ${MAX_TAPPED}`);
    const { call, errno } = libc();
    const make = (): number => {
      // Of no protocol before it is bound: nothing arrives that the filter has not seen.
      const fd = call.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
      if (fd < 0) throw new SysError(errno(), "socket", "opening a packet socket");
      return fd;
    };
    const fd = netns === undefined ? make() : withNetns(netns, make);
    try {
      const set = (level: number, option: number, value: Buffer) => {
        if (call.setsockopt(fd, level, option, value, value.length) !== 0)
          throw new SysError(errno(), "setsockopt", `setting option ${option} of a packet socket`);
      };
      const number = (value: number): Buffer => {
        const buffer = Buffer.alloc(4);
        buffer.writeInt32LE(value);
        return buffer;
      };
      attachFilter(fd, filterFor(macs));
      set(SOL_SOCKET, SO_RCVBUF, number(BUFFER));
      set(SOL_PACKET, PACKET_IGNORE_OUTGOING, number(1));
      const address = Buffer.alloc(ADDRESS);
      address.writeUInt16LE(AF_PACKET, 0);
      address.writeUInt16BE(ETH_P_ALL, 2);
      address.writeInt32LE(ifindex, 4);
      if (call.bind(fd, address, ADDRESS) !== 0)
        throw new SysError(errno(), "bind", `binding a packet socket to device ${ifindex}`);
      return new FrameTap(fd, onSeen);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  #listen(): void {
    this.#watch = watchArrivals(this.#fd, () => this.#arrived());
  }

  #arrived(): void {
    const { call, errno } = libc();
    const seen = new Map<string, Uint8Array>();
    const address = Buffer.alloc(ADDRESS);
    const length = Buffer.alloc(4);
    for (let count = 0; count < DRAIN; count++) {
      length.writeUInt32LE(ADDRESS);
      const size = call.recvfrom(this.#fd, this.#frame, BigInt(this.#frame.length), MSG_DONTWAIT, address, length);
      if (size < 0n) {
        // ENETDOWN is told once when the device goes down, and is no reason to stop: it may come up again.
        if (errno() === constants.errno.ENETDOWN) continue;
        break;
      }
      if (size >= HEADER) seen.set(this.#frame.toString("hex", 6, 12), Uint8Array.from(this.#frame.subarray(6, 12)));
    }
    if (seen.size === 0) return;
    this.#watch?.[Symbol.dispose]();
    this.#rest = setTimeout(() => this.#listen(), REST_MS).unref();
    for (const mac of seen.values()) if (this.#open) this.#onSeen(mac);
  }

  /** Stops listening; a second call does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#rest);
    this.#watch?.[Symbol.dispose]();
    closeSync(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
