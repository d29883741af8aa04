/**
 * Programs in the kernel and the devices that they are at. Where the kernel has links for them (tcx), all of it is held by this process's descriptors: when it ends,
 * however that happens, the programs are gone from the devices and every packet goes the ordinary path. Where it has none, they are there by filters
 * (clsact), which outlive this process, and do nothing then.
 */
import { setImmediate as turn } from "node:timers/promises";
import { Assembly, type Attachment, kernelTypes, type KernelTypes, Program, type Side, TcxLink } from "../bpf/index.ts";
import { errorText } from "../../log/index.ts";
import { NetlinkError } from "../../netlink/index.ts";
import { SysError, withNetns } from "../../sys/index.ts";
import { type Clsact, type FilterPlace, PRIORITIES } from "./clsact.ts";
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
/** By what programs can be at devices, the better one first. */
const WAYS = ["tcx", "clsact"] as const;
export type AttachedBy = (typeof WAYS)[number];
const placeOf = (at: At, ifindex: number): string => `${at} ${ifindex}`;

/** The place among a device's filters: two programs see what comes to the underlay device. */
const filterPlace = (at: At, ifindex: number): FilterPlace => ({
  ifindex,
  side: SIDES[at],
  priority: at === "segment" ? PRIORITIES.second : PRIORITIES.first,
});

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
  readonly #clsact: Clsact;
  #programs: Programs | undefined;
  /** Links by program and device: a device may have two. */
  readonly #links = new Map<string, { link: Attachment; at: At; ifindex: number }>();
  #by: AttachedBy = "tcx";
  /** What a former agent has left is gone. */
  #swept = false;

  private constructor(clsact: Clsact, netns?: number | string) {
    this.#netns = netns;
    this.#clsact = clsact;
  }

  /**
   * @param clsact of the namespace
   * @param ways to try, the better one first
   * @throws Error naming what this kernel does not have; SysError when its types cannot be read, or this process may not
   */
  static async open(clsact: Clsact, netns?: number | string, ways: readonly AttachedBy[] = WAYS): Promise<Attached> {
    const attached = new Attached(clsact, netns);
    await withTypes((kernel) => attached.#try(kernel, ways));
    return attached;
  }

  /** By what programs are at devices here. */
  get by(): AttachedBy {
    return this.#by;
  }

  /** How many pods' devices have the program. */
  get pods(): number {
    return [...this.#links.values()].filter(({ at }) => at === "pod").length;
  }

  /** Has programs made for these settings and maps, at the same devices as those before them. @throws VerifierError, SysError */
  async load(maps: Entries["maps"], settings: Omit<TunnelSettings, "outlives">, lifetimes: Lifetimes): Promise<void> {
    const tunnel = { ...settings, outlives: this.by === "clsact" };
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
      try {
        this.#links.set(place, { link: this.#attach(this.by, programs[at] as Program, at, ifindex), at, ifindex });
      } catch (error) {
        // Gone, and its event comes.
        if (!(error instanceof SysError || error instanceof NetlinkError) || error.code !== "ENODEV") throw error;
      }
    }
    if (this.by === "clsact" && !this.#swept)
      this.#clsact.sweep(Array.from(wanted.values(), ({ at, ifindex }) => filterPlace(at, ifindex)));
    this.#swept = true;
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
  #try(kernel: KernelTypes, ways: readonly AttachedBy[]): void {
    using program = Program.load("sky_trial", new Assembly().exit(-1), {}, kernel);
    const refused: string[] = [];
    for (const by of ways)
      try {
        this.#attach(by, program, "pod", LOOPBACK)[Symbol.dispose]();
        this.#by = by;
        return;
      } catch (error) {
        refused.push(errorText(error));
      }
    throw new Error(refused.join("; and "));
  }

  #attach(by: AttachedBy, program: Program, at: At, ifindex: number): Attachment {
    if (by === "clsact") return this.#clsact.attach(program, filterPlace(at, ifindex));
    const attach = (): TcxLink => TcxLink.attach(program, ifindex, SIDES[at]);
    return this.#netns === undefined ? attach() : withNetns(this.#netns, attach);
  }

  #detach(place: string): void {
    const attached = this.#links.get(place);
    this.#links.delete(place);
    try {
      attached?.link[Symbol.dispose]();
    } catch (error) {
      // It does nothing soon, as when the agent is gone, and is tried again with what a former agent has left.
      if (!(error instanceof NetlinkError)) throw error;
      this.#swept = false;
    }
  }
}
