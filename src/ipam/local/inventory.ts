/**
 * Looking at everything that stands on disk: the list of reservations, and the sweep that frees dead ones and what
 * killed processes left half done. What cannot be read is named and left alone.
 */
import { printable } from "../../addr/index.ts";
import { ownerKey } from "./record.ts";
import { isAddress, type Store } from "./store.ts";
import type { Reservation } from "./types.ts";

/** Told of an entry that is damaged or not Skylane's: which file, and what becomes of it. */
export type Warn = (message: string) => void;

/** All reservations that can be read. Needs no lock: entries that go away meanwhile are passed over. */
export function readReservations(store: Store, warn: Warn): Reservation[] {
  const found: Reservation[] = [];
  for (const name of store.takenNames()) {
    const path = `${store.dir}/taken/${printable(name)}`;
    if (!isAddress(name)) {
      warn(`${path} is not named by an address; it is not Skylane's and is left alone`);
      continue;
    }
    const holder = store.holderOf(name);
    if (holder === undefined) continue;
    if (holder === "damaged") {
      warn(`${path} is no reservation; its address stays taken until the file is removed by hand`);
      continue;
    }
    const { ips: _, ...rest } = holder;
    found.push({ ip: name, ...rest });
  }
  return found;
}

/**
 * Frees those of the given reservations that still stand as they were read, and removes records of owners without an
 * address. The lock must be held.
 */
export function sweep(store: Store, dead: readonly Reservation[], warn: Warn): Reservation[] {
  const freed = dead.filter((reservation) => stands(store, reservation));
  store.free(freed.map(({ ip }) => ip));
  const inUse = new Set(readReservations(store, () => undefined).map(({ owner }) => ownerKey(owner)));
  for (const key of store.ownerKeys()) {
    if (inUse.has(key)) continue;
    if (store.recordOf(key) !== "damaged") store.removeRecord(key);
    else
      warn(`${store.dir}/owners/${printable(key)} is no record of Skylane's and holds no address; remove it by hand`);
  }
  return freed;
}

/** Whether the reservation is the one that was read, and not a later one of the same attachment. */
function stands(store: Store, { ip, owner, since, uptime, bootId }: Reservation): boolean {
  const now = store.holderOf(ip);
  if (now === undefined || now === "damaged" || ownerKey(now.owner) !== ownerKey(owner)) return false;
  return now.since === since && now.uptime === uptime && now.bootId === bootId;
}
