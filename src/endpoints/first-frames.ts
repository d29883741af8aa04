/**
 * The first frame of a workload that has come to this node: at the host ends of pods that may take addresses over and do not have
 * them, a packet socket listens for their MACs, and for no others. It sees what arrives before anybody judges it.
 */
import { bytesToMac, macToBytes } from "../addr/index.ts";
import { FrameTap, MAX_TAPPED, SysError } from "../sys/index.ts";

/** A host end, and the MACs that are listened for there. */
export interface Listening {
  ifname: string;
  ifindex: number;
  macs: readonly string[];
}

/** Host ends at which nothing, or not everything, can be listened for: why, by name, in words. */
export type Unmonitored = ReadonlyMap<string, string>;

/** Listens until it is closed. */
export class FirstFrames {
  readonly #netns: number | string | undefined;
  readonly #onSeen: (ifname: string, ifindex: number, mac: string) => void;
  readonly #taps = new Map<string, { what: string; tap: FrameTap }>();
  readonly #unmonitored = new Map<string, string>();

  /**
   * @param netns the namespace of the host ends, as path or descriptor; the process's own when absent
   * @param onSeen told again and again while a workload sends
   */
  constructor(netns: number | string | undefined, onSeen: (ifname: string, ifindex: number, mac: string) => void) {
    this.#netns = netns;
    this.#onSeen = onSeen;
  }

  /** Listens at these, and nowhere else. Returns those where that cannot be. */
  follow(all: Iterable<Listening>): Unmonitored {
    const wanted = new Map(Array.from(all).flatMap((one) => (one.macs.length > 0 ? [[one.ifname, one] as const] : [])));
    for (const ifname of this.#unmonitored.keys()) if (!this.#taps.has(ifname)) this.#unmonitored.delete(ifname);
    for (const [ifname, { what, tap }] of this.#taps) {
      if (what === nameOf(wanted.get(ifname))) continue;
      tap.close();
      this.#taps.delete(ifname);
      this.#unmonitored.delete(ifname);
    }
    for (const one of wanted.values()) if (!this.#taps.has(one.ifname)) this.#listen(one);
    return this.#unmonitored;
  }

  close(): void {
    for (const { tap } of this.#taps.values()) tap.close();
    this.#taps.clear();
  }

  #listen(one: Listening): void {
    const { ifname, ifindex, macs } = one;
    if (macs.length > MAX_TAPPED)
      this.#unmonitored.set(
        ifname,
        `${ifname} has ${macs.length} claims, of which only ${MAX_TAPPED} can be listened for`,
      );
    const onSeen = (mac: Uint8Array) => this.#onSeen(ifname, ifindex, bytesToMac(mac));
    try {
      const tap = FrameTap.open({
        netns: this.#netns,
        ifindex,
        macs: macs.slice(0, MAX_TAPPED).map(macToBytes),
        onSeen,
      });
      this.#taps.set(ifname, { what: nameOf(one), tap });
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#unmonitored.set(ifname, error.message);
    }
  }
}

const nameOf = (one: Listening | undefined): string => (one ? `${one.ifindex} ${one.macs.join()}` : "");
