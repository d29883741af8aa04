/**
 * The state on disk: names in directories and nothing else, so that each step is one system call that happens
 * wholly or not at all.
 *
 *   owners/<key>            the attachment's record, with the addresses it is about to have (written first,
 *                           removed last: whoever finds an address finds its record)
 *   taken/<address>         an address in use → its owner's key and the boot ID; a name exists once, so an
 *                           address can be given once, whatever else goes wrong
 *   freed/<stamp>,<address> an address in the order in which it was freed, renamed from taken/
 *   next/<family>           the address given last, where next-fit goes on; losing it costs nothing
 *   lock                    flock(2) of whoever reads and then writes
 *
 * Nothing is synced to disk: a power cut ends all sandboxes too, and an entry of another boot is free. An entry
 * that we cannot read keeps its address and is reported.
 */
import { existsSync, lstatSync, readdirSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { type Family, familyOf, parseIp } from "../addr/index.ts";
import { makeDirectory } from "../sys/index.ts";
import { errnoCode } from "./errors.ts";
import { type Entry, formatEntry, formatRecord, type OwnerRecord, parseEntry, parseRecord } from "./record.ts";

/**
 * How many freed addresses a family remembers in their order. Small ranges are remembered whole; in a large one
 * (an IPv6 /64) an address that this many were freed after counts as never used, and next-fit comes back to it
 * only after going round.
 */
export const FREED_REMEMBERED = 1024;

/** A freed address; the smaller stamp was freed earlier. */
export interface Freed {
  name: string;
  stamp: number;
  ip: string;
}

/** Digits of a stamp (microseconds since the epoch until the year 2286): names sort as their numbers do. */
const STAMP_DIGITS = 16;

/** The directories and names of one pod network's reservations. No method locks. */
export class Store {
  readonly dir: string;
  readonly lockFile: string;

  constructor(dir: string) {
    this.dir = dir;
    this.lockFile = join(dir, "lock");
  }

  /** Makes the directories where missing; the last one made says that all are there. */
  prepare(): void {
    if (existsSync(join(this.dir, "next"))) return;
    for (const name of ["owners", "taken", "freed", "next"]) makeDirectory(join(this.dir, name));
  }

  /** Whether anything was ever reserved here. */
  exists(): boolean {
    return existsSync(this.dir);
  }

  /** The names under taken/: addresses, and whatever else lies there. */
  takenNames(): string[] {
    return list(join(this.dir, "taken"));
  }

  /** The entry of an address: `undefined` when it is free, "damaged" when something there is no entry. */
  entryOf(ip: string): Entry | "damaged" | undefined {
    const text = readLink(join(this.dir, "taken", ip));
    return text === undefined ? undefined : (parseEntry(text) ?? "damaged");
  }

  /** Whether an address is taken by the owner of a key. */
  holds(key: string, ip: string): boolean {
    const entry = this.entryOf(ip);
    return typeof entry === "object" && entry.key === key;
  }

  /** The record of a key: `undefined` when there is none, "damaged" when something there is no record. */
  recordOf(key: string): OwnerRecord | "damaged" | undefined {
    const text = readLink(join(this.dir, "owners", key));
    return text === undefined ? undefined : (parseRecord(text) ?? "damaged");
  }

  ownerKeys(): string[] {
    return list(join(this.dir, "owners"));
  }

  /** Writes an attachment's record. @throws Error with code EEXIST when there is one. */
  addRecord(key: string, record: OwnerRecord): void {
    symlinkSync(formatRecord(record), join(this.dir, "owners", key));
  }

  removeRecord(key: string): void {
    remove(join(this.dir, "owners", key));
  }

  /** Takes an address. @throws Error with code EEXIST when it is taken. */
  take(ip: string, entry: Entry): void {
    symlinkSync(formatEntry(entry), join(this.dir, "taken", ip));
  }

  /** Gives an address back as never given: for a reservation that did not come about. */
  untake(ip: string): void {
    remove(join(this.dir, "taken", ip));
  }

  /**
   * Frees an address and remembers it as the one freed last. Where the directory of freed ones cannot grow (a full
   * disk) the address is freed all the same and its place in the order is lost.
   */
  free(ip: string): void {
    let newest = 0;
    for (const name of list(join(this.dir, "freed"))) newest = Math.max(newest, stampOf(name));
    // Behind the newest one even when the clock was set back.
    const stamp = Math.max(Date.now() * 1000, newest + 1);
    const name = `${String(stamp).padStart(STAMP_DIGITS, "0")},${ip}`;
    try {
      renameSync(join(this.dir, "taken", ip), join(this.dir, "freed", name));
    } catch (error) {
      if (errnoCode(error) === "ENOENT" && this.entryOf(ip) === undefined) return;
      remove(join(this.dir, "taken", ip));
    }
  }

  /** The freed addresses of both families, the one freed longest ago first. */
  freed(): Freed[] {
    const found: Freed[] = [];
    for (const name of list(join(this.dir, "freed"))) {
      const stamp = stampOf(name);
      if (stamp > 0) found.push({ name, stamp, ip: name.slice(STAMP_DIGITS + 1) });
    }
    return found.sort((a, b) => a.stamp - b.stamp);
  }

  /** Forgets that an address was freed. */
  forget(freed: Freed): void {
    remove(join(this.dir, "freed", freed.name));
  }

  /** The address of a family that was given last, as far as it is known. */
  lastGiven(family: Family): string | undefined {
    const text = readLink(join(this.dir, "next", String(family)));
    return text !== undefined && isAddress(text) ? text : undefined;
  }

  /** Notes the address given last. It only guides the search, so a failure is no failure of the reservation. */
  noteGiven(ip: string): void {
    const path = join(this.dir, "next", String(familyOf(ip)));
    const fresh = `${path}.new`;
    try {
      // Left by a process that was killed between the two steps.
      if (lstatSync(fresh, { throwIfNoEntry: false })) remove(fresh);
      symlinkSync(ip, fresh);
      renameSync(fresh, path);
    } catch (error) {
      if (errnoCode(error) === undefined) throw error;
    }
  }
}

/** The stamp in the name of a freed address, 0 where it has none. */
function stampOf(name: string): number {
  const stamp = name[STAMP_DIGITS] === "," ? Number(name.slice(0, STAMP_DIGITS)) : 0;
  return Number.isSafeInteger(stamp) && stamp > 0 ? stamp : 0;
}

/** Whether a name is an address as we write them. */
export function isAddress(name: string): boolean {
  try {
    return parseIp(name) === name;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

function list(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") return [];
    throw error;
  }
}

/** The target of a link: `undefined` where there is nothing, "" where something else has the name. */
function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (errnoCode(error) === "ENOENT") return undefined;
    if (errnoCode(error) === "EINVAL" || lstatSync(path, { throwIfNoEntry: false }) !== undefined) return "";
    throw error;
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoCode(error) !== "ENOENT") throw error;
  }
}
