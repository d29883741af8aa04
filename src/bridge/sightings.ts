/**
 * MACs that are seen at ports and not let in. The bridge announces those that are unknown to it (MAB) and keeps silent about
 * those that are known to be elsewhere, as the MAC of a workload that has just moved here is: for a port's
 * claims, and for those alone, a packet socket listens.
 */
import { bytesToMac, macToBytes } from "../addr/index.ts";
import type { BridgeFdbEntry } from "../netlink/index.ts";
import { FrameTap, MAX_TAPPED, SysError } from "../sys/index.ts";
import type { Devices } from "./actual.ts";
import { nameOf } from "./drift.ts";
import type { LocalPort, MacSeen } from "./types.ts";

/** Tells of what is seen until it is closed. */
export class Sightings {
  readonly #netns: number | string | undefined;
  readonly #onSeen: (seen: MacSeen) => void;
  readonly #taps = new Map<string, { what: string; tap: FrameTap }>();
  /** What cannot be listened for, by port, in words. */
  readonly #problems = new Map<string, string>();
  /** What the bridge keeps locked and was told. */
  readonly #locked = new Set<string>();

  constructor(netns: number | string | undefined, onSeen: (seen: MacSeen) => void) {
    this.#netns = netns;
    this.#onSeen = onSeen;
  }

  /** An entry that the bridge keeps locked, or that is such no longer. */
  heard(
    { ifindex, mac, locked }: BridgeFdbEntry,
    gone: boolean,
    devices: Devices,
    ports: ReadonlyMap<string, LocalPort>,
  ): void {
    const key = `${ifindex} ${mac}`;
    if (gone || !locked) return void this.#locked.delete(key);
    const ifname = nameOf(devices, ifindex);
    const port = ifname === undefined ? undefined : ports.get(ifname);
    if (ifname === undefined || !port || this.#locked.has(key)) return;
    this.#locked.add(key);
    const claimed = port.claims?.includes(mac) ?? false;
    // Claims are heard by the port's own socket, known to the bridge or not.
    if (!claimed) this.#onSeen({ ifname, ifindex, mac, claimed });
  }

  /** Listens for the claims of these ports, and no others. Returns what cannot be listened for, by port, in words. */
  follow(devices: Devices, ports: ReadonlyMap<string, LocalPort>): Map<string, string> {
    const problems = this.#problems;
    for (const ifname of problems.keys()) if (!this.#taps.has(ifname)) problems.delete(ifname);
    for (const [ifname, { what, tap }] of this.#taps) {
      if (what === wanted(devices, ports.get(ifname))) continue;
      tap.close();
      this.#taps.delete(ifname);
      problems.delete(ifname);
    }
    for (const [ifname, port] of ports) {
      const what = wanted(devices, port);
      const ifindex = devices.ports.get(ifname);
      if (what === undefined || ifindex === undefined || this.#taps.has(ifname)) continue;
      const claims = claimsOf(port);
      const macs = claims.slice(0, MAX_TAPPED).map(macToBytes);
      if (claims.length > MAX_TAPPED)
        problems.set(ifname, `${ifname} has ${claims.length} claims, of which only ${MAX_TAPPED} can be listened for`);
      const onSeen = (mac: Uint8Array) => this.#onSeen({ ifname, ifindex, mac: bytesToMac(mac), claimed: true });
      try {
        this.#taps.set(ifname, { what, tap: FrameTap.open({ netns: this.#netns, ifindex, macs, onSeen }) });
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        problems.set(ifname, error.message);
      }
    }
    return problems;
  }

  close(): void {
    for (const { tap } of this.#taps.values()) tap.close();
    this.#taps.clear();
  }
}

/** What a port may take over and does not have. */
function claimsOf({ claims = [], endpoints }: LocalPort): string[] {
  return claims.filter((mac) => !endpoints.some((endpoint) => endpoint.mac === mac));
}

function wanted(devices: Devices, port: LocalPort | undefined): string | undefined {
  const ifindex = port && devices.ports.get(port.ifname);
  const claims = port ? claimsOf(port) : [];
  return ifindex === undefined || claims.length === 0 ? undefined : `${ifindex} ${claims.join()}`;
}
