/**
 * Programs in the kernel and the devices that they are at. All of it is held by this process's descriptors: when it ends, however that happens, the
 * programs are gone from the devices and every packet goes the ordinary path.
 */
import { setImmediate as turn } from "node:timers/promises";
import { Assembly, kernelTypes, type KernelTypes, Program, type Side, TcxLink } from "../bpf/index.ts";
import { SysError, withNetns } from "../../sys/index.ts";
import type { Entries } from "./entries.ts";
import { fromDevice } from "./programs/from-device.ts";
import { fromPod } from "./programs/from-pod.ts";
import { fromSegment } from "./programs/from-segment.ts";
import { fromWire } from "./programs/from-wire.ts";
import { toDevice } from "./programs/to-device.ts";
import { CONNTRACK } from "./programs/settled.ts";
import type { Lifetimes, TunnelSettings } from "./programs/settings.ts";

/** Where the functions are that the kernel itself does not have. */
const MODULES = ["nf_conntrack"];

/** Index of loopback in every network namespace (net/core/dev.c). */
const LOOPBACK = 1;

interface Programs {
  /** What they were made from: settings as text, and the maps that they look things up in. */
  made: string;
  maps: Entries["maps"];
  pod: Program;
  /** Absent where what comes out of the tunnel is met at the VXLAN device, */
  wire?: Program;
  /** and then there is this one. */
  tunnel?: Program;
  /** Absent where no peer is reached without the tunnel. */
  segment?: Program;
  /** Absent where the VXLAN device makes the tunnel's header itself. */
  device?: Program;
}
/** A program by its place. */
type At = "pod" | "wire" | "tunnel" | "segment" | "device";
const SIDES: Readonly<Record<At, Side>> = {
  pod: "receives",
  wire: "receives",
  tunnel: "receives",
  segment: "receives",
  device: "sends",
};
const placeOf = (at: At, ifindex: number): string => `${at} ${ifindex}`;

/** Devices that programs should be at. */
export interface Places {
  pods: Iterable<number>;
  wire?: number;
  device?: number;
}

function disposeOf(programs: Programs | undefined): void {
  for (const program of [programs?.pod, programs?.wire, programs?.tunnel, programs?.segment, programs?.device])
    program?.[Symbol.dispose]();
}

/** The verifier takes some milliseconds for each, and others come in between. @throws VerifierError, SysError */
async function programsFor(
  kernel: KernelTypes,
  maps: Entries["maps"],
  tunnel: TunnelSettings,
  lifetimes: Lifetimes,
): Promise<Omit<Programs, "made" | "maps">> {
  const offsets = {
    status: kernel.offset("nf_conn.status"),
    tcpState: kernel.offset("nf_conn.proto") + kernel.offset("ip_ct_tcp.state"),
  };
  const load = async (name: string, assembly: Assembly): Promise<Program> => {
    await turn();
    return fresh.use(Program.load(name, assembly, maps, kernel));
  };
  using fresh = new DisposableStack();
  const programs = {
    pod: await load("sky_from_pod", fromPod(tunnel, lifetimes, offsets)),
    ...(tunnel.inbound === "underlay"
      ? { wire: await load("sky_from_wire", fromWire(tunnel, lifetimes, offsets)) }
      : { tunnel: await load("sky_from_tunnel", fromDevice(tunnel, lifetimes, offsets)) }),
    ...(tunnel.direct && { segment: await load("sky_from_segmt", fromSegment(tunnel, lifetimes, offsets)) }),
    ...(tunnel.encapsulate && { device: await load("sky_to_device", toDevice(tunnel)) }),
  };
  fresh.move();
  return programs;
}

/** The kernel's types, which take a while to read, for the fast paths of all networks. */
let types: Promise<KernelTypes> | undefined;

/** Does something with the kernel's types. When that fails they are read anew the next time: a module may be another one by then. @throws what it throws */
async function withTypes<T>(work: (types: KernelTypes) => T | Promise<T>): Promise<T> {
  const read = (types ??= kernelTypes(CONNTRACK, MODULES));
  let kernel: KernelTypes | undefined;
  try {
    kernel = await read;
    return await work(kernel);
  } catch (error) {
    // Whoever else has failed with them has closed them.
    if (types === read) {
      types = undefined;
      kernel?.[Symbol.dispose]();
    }
    throw error;
  }
}

/** See the header. */
export class Attached implements Disposable {
  readonly #netns: number | string | undefined;
  #programs: Programs | undefined;
  /** Links by program and device: a device may have two. */
  readonly #links = new Map<string, { link: TcxLink; at: At; ifindex: number }>();

  private constructor(netns?: number | string) {
    this.#netns = netns;
  }

  /** @throws Error naming what this kernel does not have; SysError when its types cannot be read, or this process may not */
  static async open(netns?: number | string): Promise<Attached> {
    const attached = new Attached(netns);
    await withTypes((kernel) => attached.#try(kernel));
    return attached;
  }

  /** How many pods' devices have the program. */
  get pods(): number {
    return [...this.#links.values()].filter(({ at }) => at === "pod").length;
  }

  /** Has programs made for these settings and maps, at the same devices as those before them. @throws VerifierError, SysError */
  async load(maps: Entries["maps"], tunnel: TunnelSettings, lifetimes: Lifetimes): Promise<void> {
    const made = JSON.stringify([tunnel, lifetimes]);
    if (this.#programs?.made === made && this.#programs.maps === maps) return;
    const before = this.#programs;
    const programs = await withTypes((kernel) => programsFor(kernel, maps, tunnel, lifetimes));
    this.#programs = { made, maps, ...programs };
    for (const [place, { link, at }] of this.#links) {
      const program = programs[at];
      // One that is detached takes no other; it is attached anew.
      if (!program || link.ifindex === 0) this.#detach(place);
      else link.update(program);
    }
    disposeOf(before);
  }

  /**
   * Has the programs at these devices and no others.
   * @returns how many had lost theirs to somebody
   * @throws SysError
   */
  attach({ pods, wire, device }: Places): number {
    const programs = this.#programs;
    if (!programs) throw new Error("no program is loaded");
    const wanted = new Map<string, { at: At; ifindex: number }>();
    const want = (at: At, ifindex: number | undefined): void => {
      if (ifindex !== undefined && programs[at]) wanted.set(placeOf(at, ifindex), { at, ifindex });
    };
    for (const ifindex of pods) want("pod", ifindex);
    want("wire", wire);
    want("segment", wire);
    want("tunnel", device);
    want("device", device);
    let lost = 0;
    for (const [place, { link, ifindex }] of this.#links) {
      const there = link.ifindex === ifindex;
      if (there && wanted.has(place)) continue;
      this.#detach(place);
      if (!there && wanted.has(place)) lost++;
    }
    for (const [place, { at, ifindex }] of wanted) {
      if (this.#links.has(place)) continue;
      const attach = (): TcxLink => TcxLink.attach(programs[at] as Program, ifindex, SIDES[at]);
      try {
        const link = this.#netns === undefined ? attach() : withNetns(this.#netns, attach);
        this.#links.set(place, { link, at, ifindex });
      } catch (error) {
        // Gone, and its event comes.
        if (!(error instanceof SysError) || error.code !== "ENODEV") throw error;
      }
    }
    return lost;
  }

  /** Takes all programs off their devices. */
  detach(): void {
    for (const place of this.#links.keys()) this.#detach(place);
  }

  [Symbol.dispose](): void {
    this.detach();
    disposeOf(this.#programs);
  }

  /** Attaches a program that lets everything go on to loopback, and takes it off again: whether this kernel can is known before anything is changed for it. */
  #try(kernel: KernelTypes): void {
    using program = Program.load("sky_trial", new Assembly().exit(-1), {}, kernel);
    const attach = (): void => TcxLink.attach(program, LOOPBACK, "receives")[Symbol.dispose]();
    if (this.#netns === undefined) attach();
    else withNetns(this.#netns, attach);
  }

  #detach(place: string): void {
    this.#links.get(place)?.link[Symbol.dispose]();
    this.#links.delete(place);
  }
}
