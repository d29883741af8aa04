/**
 * Looking at everything that stands on disk: the list of reservations, and the sweep that frees dead ones and what
 * killed processes left half done. What cannot be read is named and left alone.
 */
import { printable } from "../addr/index.ts";
import { bootId } from "../sys/index.ts";
import { type OwnerRecord, ownerKey } from "./record.ts";
import { isAddress, type Store } from "./store.ts";
import type { Reservation } from "./types.ts";

/** Told of an entry that is damaged or not Skylane's: which file, and what becomes of it. */
export type Warn = (message: string) => void;

/** All reservations that can be read. Needs no lock: entries that go away meanwhile are passed over. */
export function readReservations(store: Store, warn: Warn): Reservation[] {
  const records = new Map<string, OwnerRecord | "damaged" | undefined>();
  const found: Reservation[] = [];
  for (const name of store.takenNames()) {
    const path = `${store.dir}/taken/${printable(name)}`;
    if (!isAddress(name)) {
      warn(`${path} is not named by an address; it is not Skylane's and is left alone`);
      continue;
    }
    const entry = store.entryOf(name);
    if (entry === undefined) continue;
    if (entry === "damaged") {
      warn(`${path} is no reservation; its address stays taken until the file is removed by hand`);
      continue;
    }
    if (!records.has(entry.key)) records.set(entry.key, store.recordOf(entry.key));
    const record = records.get(entry.key);
    if (record !== undefined && record !== "damaged") {
      const { ips: _, ...rest } = record;
      found.push({ ip: name, ...rest });
    } else if (store.holds(entry.key, name)) {
      warn(`${path} is held by an owner whose record owners/${entry.key} is ${record ?? "missing"}; it stays taken`);
    }
  }
  return found;
}

/**
 * Frees those of the given reservations that still stand as they were read, entries of earlier boots whose owner
 * cannot be read, and records of owners without an address. The lock must be held.
 */
export function sweep(store: Store, dead: readonly Reservation[], warn: Warn): Reservation[] {
  const freed = dead.filter((reservation) => {
    if (!stands(store, reservation)) return false;
    store.free(reservation.ip);
    return true;
  });
  const inUse = sweepOrphans(store, warn);
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
  const key = ownerKey(owner);
  const record = store.recordOf(key);
  if (record === undefined || record === "damaged" || !store.holds(key, ip)) return false;
  return record.since === since && record.uptime === uptime && record.bootId === bootId;
}

/** Frees what an earlier boot left without a readable owner; returns the keys that hold addresses. */
function sweepOrphans(store: Store, warn: Warn): Set<string> {
  const boot = bootId();
  const inUse = new Set<string>();
  for (const name of store.takenNames()) {
    const entry = store.entryOf(name);
    if (entry === undefined || entry === "damaged") continue;
    const record = store.recordOf(entry.key);
    const readable = record !== undefined && record !== "damaged";
    if (readable || entry.bootId === boot || !isAddress(name)) {
      inUse.add(entry.key);
      continue;
    }
    warn(`address ${name}, given in an earlier boot to an owner whose record cannot be read, was freed`);
    store.free(name);
  }
  return inUse;
}
