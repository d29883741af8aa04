/**
 * The state on disk: names in directories, so that each step is one system call that happens wholly or not at all.
 *
 *   owners/<key>     the attachment's record, with the addresses it is about to have (written first, removed last)
 *   taken/<address>  an address in use: a hard link to its owner's record; a name exists once, so an address can be
 *                    given once, whatever else goes wrong
 *   retired/<block>  a block that is being given back ("/" as "_"): nothing is given from it while the name is there
 *   history          the order in which addresses were given and freed (history.ts); losing it costs nothing
 *   lock             flock(2) of whoever reads and then writes
 *
 * So an attachment costs one inode, however many addresses it has. Nothing is synced to disk: a power cut ends all
 * sandboxes too, and an entry of another boot is free. An entry that we cannot read keeps its address and is reported.
 */
import { existsSync, linkSync, lstatSync, readdirSync, readlinkSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { parseCidr, parseIp } from "../../addr/index.ts";
import { makeDirectory } from "../../sys/index.ts";
import { errnoCode } from "./errors.ts";
import { History } from "./history.ts";
import { formatRecord, type OwnerRecord, ownerKey, parseRecord } from "./record.ts";

/** The directories and names of one pod network's reservations. No method locks. */
export class Store {
  readonly dir: string;
  readonly lockFile: string;
  readonly history: History;

  readonly #unlink: (path: string) => void;

  /** @param unlink removes a name that is the last one of its file: unlink(2), or something that does it sooner or later. */
  constructor(dir: string, unlink: (path: string) => void = unlinkSync) {
    this.dir = dir;
    this.#unlink = unlink;
    this.lockFile = join(dir, "lock");
    this.history = new History(join(dir, "history"));
  }

  /** Makes the directories where missing; the last one made says that all are there. */
  prepare(): void {
    if (existsSync(join(this.dir, "taken"))) return;
    for (const name of ["owners", "taken"]) makeDirectory(join(this.dir, name));
  }

  /** Whether anything was ever reserved here. */
  exists(): boolean {
    return existsSync(this.dir);
  }

  /** The names under taken/: addresses, and whatever else lies there. */
  takenNames(): string[] {
    return list(join(this.dir, "taken"));
  }

  /** The blocks from which nothing is given. */
  retired(): string[] {
    return list(join(this.dir, "retired"))
      .map((name) => name.replace("_", "/"))
      .filter(isCidr);
  }

  /** Makes the name that ends giving from a block; there already is fine. */
  retire(block: string): void {
    makeDirectory(join(this.dir, "retired"));
    try {
      symlinkSync(new Date().toISOString(), this.#retiredPath(block));
    } catch (error) {
      if (errnoCode(error) !== "EEXIST") throw error;
    }
  }

  admit(block: string): void {
    remove(this.#retiredPath(block));
  }

  #retiredPath(block: string): string {
    return join(this.dir, "retired", block.replace("/", "_"));
  }

  /** The record of the one who has an address: `undefined` when it is free, "damaged" when something there is no record. */
  holderOf(ip: string): OwnerRecord | "damaged" | undefined {
    return recordAt(join(this.dir, "taken", ip));
  }

  /** Whether an address is taken by the owner of a key. */
  holds(key: string, ip: string): boolean {
    const holder = this.holderOf(ip);
    return typeof holder === "object" && ownerKey(holder.owner) === key;
  }

  /** The record of a key: `undefined` when there is none, "damaged" when something there is no record. */
  recordOf(key: string): OwnerRecord | "damaged" | undefined {
    return recordAt(join(this.dir, "owners", key));
  }

  ownerKeys(): string[] {
    return list(join(this.dir, "owners"));
  }

  /** Writes an attachment's record. @throws Error with code EEXIST when there is one. */
  addRecord(key: string, record: OwnerRecord): void {
    symlinkSync(formatRecord(record), join(this.dir, "owners", key));
  }

  removeRecord(key: string): void {
    remove(join(this.dir, "owners", key), this.#unlink);
  }

  /** Takes an address for the owner of a key, whose record is there. @throws Error with code EEXIST when it is taken. */
  take(ip: string, key: string): void {
    linkSync(join(this.dir, "owners", key), join(this.dir, "taken", ip));
  }

  /** Gives an address back as never given: for a reservation that did not come about. */
  untake(ip: string): void {
    remove(join(this.dir, "taken", ip));
  }

  /** Frees addresses and remembers them as those freed last. */
  free(ips: readonly string[]): void {
    this.history.freed(ips);
    for (const ip of ips) remove(join(this.dir, "taken", ip));
  }
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

function isCidr(name: string): boolean {
  try {
    return parseCidr(name) === name;
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

function recordAt(path: string): OwnerRecord | "damaged" | undefined {
  const text = readLink(path);
  return text === undefined ? undefined : (parseRecord(text) ?? "damaged");
}

function remove(path: string, unlink: (path: string) => void = unlinkSync): void {
  try {
    unlink(path);
  } catch (error) {
    if (errnoCode(error) !== "ENOENT") throw error;
  }
}
