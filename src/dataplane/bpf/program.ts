/**
 * Programs at devices (BPF_PROG_TYPE_SCHED_CLS): loaded, tried on a packet without a device, and attached by links that are gone with
 * this process, so that nothing of it stays when nobody looks after it.
 */
import { closeSync } from "node:fs";
import { release } from "node:os";
import { bpf, pointTo, SysError } from "../../sys/index.ts";
import type { Assembly } from "./assembler.ts";
import type { KernelTypes } from "./kfuncs.ts";
import type { BpfMap } from "./map.ts";

const COMMAND = {
  PROG_LOAD: 5,
  PROG_TEST_RUN: 10,
  OBJ_GET_INFO_BY_FD: 15,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_DETACH: 34,
} as const;
const SCHED_CLS = 3;
/** BPF_TCX_INGRESS and BPF_TCX_EGRESS, of Linux 6.6 and later. */
const TCX = { receives: 46, sends: 47 } as const;
/** What a program at a device sees: what the device receives, or what it sends. */
export type Side = keyof typeof TCX;
/** The kernel's functions are for programs under its own licence; these instructions are offered under it besides the project's. */
const LICENSE = "GPL";
/** The verifier's words on a program that it refuses: the last ones say why. */
const LOG = 1 << 20;
/** BPF_LOG_LEVEL1 and BPF_LOG_STATS (linux/bpf_verifier.h): each step, or the sum alone. */
const [LOG_STEPS, LOG_STATS] = [1, 4];
const LAST_WORDS = 2_000;
const INSTRUCTION = 8;
const ATTEMPTS = 5;

/** The verifier refused a program. */
class VerifierError extends Error {
  override readonly name = "VerifierError";
  /** All that it said. */
  readonly log: string;

  constructor(program: string, log: string, options: ErrorOptions) {
    super(`the kernel's verifier refuses program ${program}: ${log.trimEnd().slice(-LAST_WORDS)}`, options);
    this.log = log;
  }
}

/** What came of running a program on a packet. */
export interface TestRun {
  /** What the program returned; for TC -1 is "go on", 7 "redirect". */
  result: number;
  packet: Buffer;
  /** Nanoseconds a run, over all of them. */
  ns: number;
}

/** The verifier gives up when a signal comes; it is asked again, as often as libbpf does it. */
function patiently(load: () => number): number {
  for (let attempt = 1; ; attempt++)
    try {
      return load();
    } catch (error) {
      if (!(error instanceof SysError) || error.code !== "EAGAIN" || attempt === ATTEMPTS) throw error;
    }
}

/** A loaded program. */
export class Program implements Disposable {
  readonly name: string;
  readonly fd: number;

  private constructor(name: string, fd: number) {
    this.name = name;
    this.fd = fd;
  }

  /**
   * @param name up to 15 letters
   * @param heed hears how much work the verifier had with a program that it takes
   * @throws VerifierError; SysError EPERM where this process may not; Error when a name in it stands for nothing
   */
  static load(
    name: string,
    assembly: Assembly,
    maps: Readonly<Record<string, BpfMap>>,
    types: KernelTypes,
    heed?: (log: string) => void,
  ): Program {
    const code = assembly.link({
      map: (called) => {
        const map = maps[called];
        if (!map) throw new Error(`program ${name} has no map ${called}`);
        return map.fd;
      },
      kfunc: (called) => {
        const found = types.functions.get(called);
        if (!found) throw new Error(`this kernel has no function ${called} for BPF programs`);
        return found;
      },
    });
    const license = Buffer.from(`${LICENSE}\0`);
    // The first place stands for the kernel's own types.
    const fds = Buffer.alloc(4 * (types.modules.length + 1));
    for (const [at, fd] of types.modules.entries()) fds.writeInt32LE(fd, 4 * (at + 1));
    const attribute = Buffer.alloc(144);
    attribute.writeUInt32LE(SCHED_CLS, 0);
    attribute.writeUInt32LE(code.length / INSTRUCTION, 4);
    pointTo(attribute, 8, code);
    pointTo(attribute, 16, license);
    attribute.write(name.slice(0, 15), 48, "latin1");
    attribute.writeUInt32LE(TCX.receives, 68);
    pointTo(attribute, 120, fds);
    const load = (): number => patiently(() => bpf(COMMAND.PROG_LOAD, attribute, `loading BPF program ${name}`));
    let log = Buffer.alloc(0);
    const logged = (level: number): number => {
      log = Buffer.alloc(LOG);
      attribute.writeUInt32LE(level, 24);
      attribute.writeUInt32LE(log.length, 28);
      pointTo(attribute, 32, log);
      return load();
    };
    const said = (): string => log.toString("latin1", 0, Math.max(0, log.indexOf(0)));
    try {
      const program = new Program(name, heed ? logged(LOG_STATS) : load());
      heed?.(said());
      return program;
    } catch (error) {
      try {
        return new Program(name, logged(LOG_STEPS));
      } catch (again) {
        if (said() === "") throw again;
        throw new VerifierError(name, said(), { cause: error });
      }
    }
  }

  /** Runs it on a packet as if it had come to a device. @param ifindex of the device. @param times how often */
  run(packet: Buffer, ifindex: number, times = 1): TestRun {
    const context = Buffer.alloc(192);
    context.writeUInt32LE(ifindex, 40);
    const out = Buffer.alloc(packet.length + 256);
    const attribute = Buffer.alloc(80);
    attribute.writeUInt32LE(this.fd, 0);
    attribute.writeUInt32LE(packet.length, 8);
    attribute.writeUInt32LE(out.length, 12);
    pointTo(attribute, 16, packet);
    pointTo(attribute, 24, out);
    attribute.writeUInt32LE(times, 32);
    attribute.writeUInt32LE(context.length, 40);
    pointTo(attribute, 48, context);
    bpf(COMMAND.PROG_TEST_RUN, attribute, `running BPF program ${this.name}`);
    return {
      result: attribute.readInt32LE(4),
      packet: out.subarray(0, attribute.readUInt32LE(12)),
      ns: attribute.readUInt32LE(36),
    };
  }

  /** The number by which the kernel knows it. @throws SysError */
  get id(): number {
    return infoOf(this.fd, 8, `asking for the number of BPF program ${this.name}`).readUInt32LE(4);
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/** The first bytes of what the kernel says of something that is open. @throws SysError */
function infoOf(fd: number, bytes: number, doing: string): Buffer {
  const info = Buffer.alloc(bytes);
  const attribute = Buffer.alloc(16);
  attribute.writeUInt32LE(fd, 0);
  attribute.writeUInt32LE(info.length, 4);
  pointTo(attribute, 8, info);
  bpf(COMMAND.OBJ_GET_INFO_BY_FD, attribute, doing);
  return info;
}

/** A program at a device, by whatever holds it there; disposed of, it is there no longer. */
export interface Attachment extends Disposable {
  /** The device that it is at; 0 once that is gone, or somebody has detached it. */
  readonly ifindex: number;
  /** Has another program in its place, with no packet between the two. */
  update(program: Program): void;
}

/** A program at a device, before the device's own traffic control; gone when it is closed, or with this process. */
export class TcxLink implements Attachment {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Attaches a program to a side of a device of the thread's network namespace. @throws SysError ENODEV; Error before Linux 6.6 */
  static attach(program: Program, ifindex: number, side: Side): TcxLink {
    const attribute = Buffer.alloc(48);
    attribute.writeUInt32LE(program.fd, 0);
    attribute.writeUInt32LE(ifindex, 4);
    attribute.writeUInt32LE(TCX[side], 8);
    try {
      return new TcxLink(
        bpf(COMMAND.LINK_CREATE, attribute, `attaching BPF program ${program.name} to device ${ifindex}`),
      );
    } catch (error) {
      // What it says of a kind of link that it does not know.
      if (!(error instanceof SysError) || error.code !== "EINVAL") throw error;
      const message = `Linux ${release()} takes no BPF programs before a device's traffic control (tcx, from Linux 6.6 on)`;
      throw new Error(message, { cause: error });
    }
  }

  /** Has another program in its place, with no packet between the two. @throws SysError */
  update(program: Program): void {
    const attribute = Buffer.alloc(32);
    attribute.writeUInt32LE(this.#fd, 0);
    attribute.writeUInt32LE(program.fd, 4);
    bpf(COMMAND.LINK_UPDATE, attribute, `replacing a BPF program by ${program.name}`);
  }

  /** The device that it is at; 0 once that is gone, or somebody has detached it. @throws SysError */
  get ifindex(): number {
    return infoOf(this.#fd, 24, "asking where a BPF program is attached").readUInt32LE(16);
  }

  [Symbol.dispose](): void {
    const attribute = Buffer.alloc(16);
    attribute.writeUInt32LE(this.#fd, 0);
    try {
      // Whoever lists the kernel's links may hold a descriptor of this one, with which it would stay.
      bpf(COMMAND.LINK_DETACH, attribute, "detaching a BPF program");
    } finally {
      closeSync(this.#fd);
    }
  }
}
