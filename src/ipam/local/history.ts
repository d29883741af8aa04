/**
 * In which order addresses were given and freed: a file of lines, "+<address>" and "-<address>", the newest last. It only
 * guides the choice of the next address, so a line that a kill or a full disk cost, and one that is damaged, do no harm:
 * whether an address is free is said by its name under taken/ alone. One file that grows instead of a name for each freed
 * address, since making and removing names is what a file system is slow at. Who reads it again and again reads what is new.
 */
import { appendFileSync, closeSync, fstatSync, openSync, readSync } from "node:fs";
import { FAMILIES, type Family } from "../../addr/index.ts";
import { writeFileAtomic } from "../../sys/index.ts";
import { errnoCode } from "./errors.ts";

/**
 * How many freed addresses a family remembers in their order. Small ranges are remembered whole; in a large one
 * (an IPv6 /64) an address that this many were freed after counts as never used, and next-fit comes back to it
 * only after going round.
 */
export const FREED_REMEMBERED = 1024;

/** Lines that say nothing any more before the file is written anew, beside as many as there are that do. */
const SLACK = 256;
const LINE = /^[+-][0-9a-f.:]+$/;

/** What is remembered of one family. */
export interface Memory {
  /** Freed addresses, the one freed longest ago first; those that are in use again are still among them. */
  freed: ReadonlySet<string>;
  /** The address given last, where next-fit goes on. */
  last: string | undefined;
}

const EMPTY: Memory = { freed: new Set(), last: undefined };
const NEWLINE = "\n".charCodeAt(0);

type Memories = Record<Family, { freed: Set<string>; last: string | undefined }>;

/** What is known of the file by now: which one it is, how far it was read, and what it said up to there. */
interface Known {
  ino: number;
  birthtimeMs: number;
  size: number;
  lines: number;
  memories: Memories;
}

const nothing = (): Memories => ({
  4: { freed: new Set(), last: undefined },
  6: { freed: new Set(), last: undefined },
});

/** Takes whole lines into account. */
function note(known: Known, text: string): void {
  const { memories } = known;
  for (const line of text.split("\n")) {
    known.lines++;
    if (!LINE.test(line)) continue;
    const ip = line.slice(1);
    const memory = memories[ip.includes(":") ? 6 : 4];
    if (line.startsWith("+")) memory.last = ip;
    else {
      memory.freed.delete(ip);
      memory.freed.add(ip); // behind all others
    }
  }
  known.size += text.length;
  for (const family of FAMILIES) {
    const { freed } = memories[family];
    let surplus = freed.size - FREED_REMEMBERED;
    for (const ip of freed) {
      if (surplus-- <= 0) break;
      freed.delete(ip);
    }
  }
}

/** The history of one pod network; its caller holds the lock. */
export class History {
  readonly #path: string;
  #known: Known | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Notes addresses that were given without being asked for. */
  given(ips: readonly string[]): void {
    this.#append("+", ips);
  }

  /** Notes addresses that are being freed. */
  freed(ips: readonly string[]): void {
    this.#append("-", ips);
  }

  /** What is remembered, by family; valid until the next call. @throws Error of fs other than ENOENT */
  read(): Record<Family, Memory> {
    const known = this.#open();
    if (!known) return { 4: EMPTY, 6: EMPTY };
    const { memories } = known;
    const useful = memories[4].freed.size + memories[6].freed.size;
    if (known.lines > 2 * useful + SLACK) this.#rewrite(memories);
    return memories;
  }

  /** Takes note of what was appended since the last time, or of the whole file where it is another. */
  #open(): Known | undefined {
    let fd: number;
    try {
      fd = openSync(this.#path, "r");
    } catch (error) {
      if (errnoCode(error) !== "ENOENT") throw error;
      this.#known = undefined;
      return undefined;
    }
    try {
      const { ino, birthtimeMs, size } = fstatSync(fd);
      const before = this.#known;
      const same = before?.ino === ino && before.birthtimeMs === birthtimeMs && before.size <= size;
      const known = same ? before : { ino, birthtimeMs, size: 0, lines: 0, memories: nothing() };
      this.#known = known;
      if (known.size < size) {
        const text = Buffer.allocUnsafe(size - known.size);
        const length = readSync(fd, text, 0, text.length, known.size);
        // a line that a kill has cut stays unread, as one with the next behind it
        note(known, text.toString("latin1", 0, text.subarray(0, length).lastIndexOf(NEWLINE) + 1));
      }
      return known;
    } finally {
      closeSync(fd);
    }
  }

  #rewrite(memories: Memories): void {
    const lines = FAMILIES.flatMap((family) => {
      const { freed, last } = memories[family];
      return [...[...freed].map((ip) => `-${ip}\n`), ...(last === undefined ? [] : [`+${last}\n`])];
    });
    this.#guarded(() => writeFileAtomic(this.#path, lines.join(""), { mode: 0o600 }));
  }

  #append(sign: "+" | "-", ips: readonly string[]): void {
    if (ips.length === 0) return;
    this.#guarded(() => appendFileSync(this.#path, ips.map((ip) => `${sign}${ip}\n`).join(""), { mode: 0o600 }));
  }

  /** The order is worth no failure: a full or read-only disk only costs it. */
  #guarded(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (errnoCode(error) === undefined) throw error;
    }
  }
}
