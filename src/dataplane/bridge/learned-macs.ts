/**
 * MACs that are seen at ports and not let in. The bridge announces those that are unknown to it (MAB) and keeps silent about
 * those that are known to be elsewhere, as the MAC of a workload that has just moved here is: for a port's
 * claims, and for those alone, a packet socket listens.
 */
import { type Unmonitored, FirstFrames } from "../../endpoints/index.ts";
import type { BridgeFdbEntry } from "../../netlink/index.ts";
import type { Devices } from "./actual.ts";
import { nameOf } from "./drift.ts";
import type { LocalPort, MacSeen } from "./types.ts";

/** Tells of what is seen until it is closed. */
export class LearnedMacs {
  readonly #onSeen: (seen: MacSeen) => void;
  readonly #first: FirstFrames;
  /** What the bridge keeps locked and was told. */
  readonly #locked = new Set<string>();

  constructor(netns: number | string | undefined, onSeen: (seen: MacSeen) => void) {
    this.#onSeen = onSeen;
    this.#first = new FirstFrames(netns, (ifname, ifindex, mac) => onSeen({ ifname, ifindex, mac, claimed: true }));
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
  follow(devices: Devices, ports: ReadonlyMap<string, LocalPort>): Unmonitored {
    return this.#first.follow(
      [...ports.values()].flatMap((port) => {
        const ifindex = devices.ports.get(port.ifname);
        return ifindex === undefined ? [] : [{ ifname: port.ifname, ifindex, macs: claimsOf(port) }];
      }),
    );
  }

  close(): void {
    this.#first.close();
  }
}

/** What a port may take over and does not have. */
function claimsOf({ claims = [], endpoints }: LocalPort): string[] {
  return claims.filter((mac) => !endpoints.some((endpoint) => endpoint.mac === mac));
}
