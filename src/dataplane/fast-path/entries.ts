/**
 * The entries of the fast path's maps: written as they should be, compared with what the maps hold, put right where somebody has changed them.
 */
import { BpfMap } from "../bpf/index.ts";
import { SysError, withNetns } from "../../sys/index.ts";
import { type Entry, type MapName, mapSpec, OWNED, type Room, roomFor } from "./programs/maps.ts";

/** Maps whose entries are compared; those of `devices` go by the kernel's own doing, and are looked at one by one. */
const COMPARED = ["pods4", "pods6", "peers4", "peers6"] as const satisfies readonly MapName[];
/** The order of writing: nothing leads to what is not there yet. */
const ORDER: readonly MapName[] = ["devices", ...COMPARED];
/** So many entries may be compared in one go; of more maps, some are left for the next. */
const AT_ONCE = 1_000;

/** Entries of one map by their keys in hexadecimal. */
type Held = Map<string, Entry>;

const keyOf = (entry: Pick<Entry, "key">): string => entry.key.toString("latin1");

/** All maps, and what is in them by our own doing. */
export class Entries implements Disposable {
  readonly maps: Readonly<Record<MapName, BpfMap>>;
  readonly #netns: number | string | undefined;
  readonly #room: Room;
  readonly #held = new Map<MapName, Held>(ORDER.map((name) => [name, new Map()]));
  /** The map that is compared next. */
  #turn = 0;

  /**
   * @param wanted for how many entries there has to be room
   * @param counters that go on
   * @throws SysError when this process may make no maps
   */
  constructor(wanted: Room, netns?: number | string, counters?: BpfMap) {
    this.#netns = netns;
    this.#room = roomFor(wanted);
    const made: Partial<Record<MapName, BpfMap>> = { ...(counters && { counters }) };
    try {
      for (const name of [...ORDER, "alive", "counters"] as const)
        made[name] ??= BpfMap.create(mapSpec(name, this.#room));
    } catch (error) {
      for (const map of Object.values(made)) if (map !== counters) map[Symbol.dispose]();
      throw error;
    }
    this.maps = made as Record<MapName, BpfMap>;
  }

  /** Whether there is room for so many. */
  hasRoomFor({ pods, peers }: Room): boolean {
    return pods <= this.#room.pods && peers <= this.#room.peers;
  }

  /** Makes some of the maps have these entries and no others. @throws SysError */
  set(names: readonly MapName[], wanted: Iterable<Entry>): void {
    const by = new Map<MapName, Held>(names.map((name) => [name, new Map()]));
    for (const entry of wanted) by.get(entry.map)?.set(keyOf(entry), entry);
    const order = ORDER.filter((name) => by.has(name));
    for (const name of order) this.#write(name, by.get(name) as Held);
    for (const name of order.toReversed()) this.#clear(name, by.get(name) as Held);
  }

  /**
   * Compares what the maps hold with what was written, some of it at a time, and puts it right.
   * @returns how many entries were wrong
   * @throws SysError
   */
  compare(): number {
    let wrong = this.#devicesGone();
    let looked = 0;
    for (let count = 0; count < COMPARED.length && looked <= AT_ONCE; count++) {
      const name = COMPARED[this.#turn % COMPARED.length] as MapName;
      this.#turn++;
      looked += this.#heldOf(name).size;
      wrong += this.#compare(name);
    }
    return wrong;
  }

  /** How many entries a map has by our own doing. */
  count(name: MapName): number {
    return this.#heldOf(name).size;
  }

  /** All of it but the counters, which others go on with. */
  disposeOfEntries(): void {
    for (const name of [...ORDER, "alive"] as const) this.maps[name][Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.disposeOfEntries();
    this.maps.counters[Symbol.dispose]();
  }

  #heldOf(name: MapName): Held {
    return this.#held.get(name) as Held;
  }

  #write(name: MapName, wanted: Held): void {
    const held = this.#heldOf(name);
    for (const [key, entry] of wanted) {
      if (held.get(key)?.value.equals(entry.value)) continue;
      if (!this.#put(name, entry)) continue;
      held.set(key, entry);
    }
  }

  /** @returns false where a device is gone by now */
  #put(name: MapName, entry: Entry): boolean {
    const put = (): void => this.maps[name].set(entry);
    if (name !== "devices") {
      put();
      return true;
    }
    try {
      // The kernel looks for the device where the thread is.
      if (this.#netns === undefined) put();
      else withNetns(this.#netns, put);
      return true;
    } catch (error) {
      if (error instanceof SysError && error.code === "EINVAL") return false;
      throw error;
    }
  }

  #clear(name: MapName, wanted: Held): void {
    const held = this.#heldOf(name);
    for (const [key, entry] of held) {
      if (wanted.has(key)) continue;
      this.maps[name].delete(entry.key);
      held.delete(key);
    }
  }

  /** Devices that the kernel has taken out are written again if they are there again under that very index; all others stay out. */
  #devicesGone(): number {
    let wrong = 0;
    const held = this.#heldOf("devices");
    for (const [key, entry] of held) {
      if (this.maps.devices.get(entry.key)) continue;
      if (this.#put("devices", entry)) wrong++;
      else held.delete(key);
    }
    return wrong;
  }

  #compare(name: MapName): number {
    const map = this.maps[name];
    const held = this.#heldOf(name);
    const { count, keys, values } = map.all(held.size);
    const { key: keyBytes, value: valueBytes } = map.spec;
    const owned = OWNED[name] ?? valueBytes;
    const missing = new Map(held);
    let wrong = 0;
    for (let at = 0; at < count; at++) {
      const key = keys.subarray(at * keyBytes, (at + 1) * keyBytes);
      const own = held.get(key.toString("latin1"));
      const value = values.subarray(at * valueBytes, at * valueBytes + owned);
      const right = own?.value.subarray(0, owned).equals(value);
      if (own && right) missing.delete(keyOf(own));
      else if (!own) {
        wrong++;
        map.delete(Buffer.from(key));
      }
    }
    for (const entry of missing.values()) {
      wrong++;
      map.set(entry);
    }
    return wrong;
  }
}
