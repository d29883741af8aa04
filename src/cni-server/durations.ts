/**
 * The CNI plugin's timings. The plugin lives for milliseconds and serves no metrics, so it appends a line
 * per verb to a spool file and the agent counts the lines. The file is taken away by renaming it: what was
 * counted is gone, so that a restarted agent counts nothing twice, and a plugin that had the file open
 * while it was taken is read out one round later through the descriptor that is kept.
 */
import { closeSync, fstatSync, openSync, readSync, renameSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { DURATIONS_FILE } from "../cni/index.ts";

/** More than this is left unread in one round, in bytes; the plugin stops appending at 1 MiB. */
const MAX_BYTES = 2 * 1024 * 1024;

/** One finished verb of the CNI plugin. */
export interface CniDuration {
  verb: string;
  /** "ok", or the CNI error code as text. */
  result: string;
  /** Milliseconds that it took. */
  ms: number;
}

const VERBS = new Set(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"]);

/** Parses one line of the spool; undefined for anything that is not exactly such a line. */
export function parseDuration(line: string): CniDuration | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined; // a line cut short by a plugin that was killed while writing
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { verb, result, ms } = value as Record<string, unknown>;
  if (typeof verb !== "string" || !VERBS.has(verb)) return undefined;
  const text = typeof result === "number" ? String(result) : result;
  if (typeof text !== "string" || !/^[a-z0-9_-]{1,24}$/i.test(text)) return undefined;
  if (typeof ms !== "number" || !Number.isFinite(ms) || ms < 0) return undefined;
  return { verb, result: text, ms };
}

/** Reads the spool in rounds. */
export class DurationSpool {
  readonly #path: string;
  #taken: { fd: number; offset: number; rest: string } | undefined;

  /** @param runDir the directory that plugin and agent share. */
  constructor(runDir: string) {
    this.#path = join(runDir, DURATIONS_FILE);
  }

  /** Everything that was appended since the last call. @throws Error with `code` when the directory cannot be read. */
  drain(): CniDuration[] {
    const out: CniDuration[] = [];
    if (this.#taken) {
      this.#read(this.#taken, out);
      closeSync(this.#taken.fd);
      this.#taken = undefined;
    }
    const aside = `${this.#path}.taken`;
    try {
      renameSync(this.#path, aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return out;
      throw error;
    }
    const fd = openSync(aside, "r");
    unlinkSync(aside);
    this.#taken = { fd, offset: 0, rest: "" };
    this.#read(this.#taken, out);
    return out;
  }

  /** Lets go of the file that is still open. */
  close(): void {
    if (this.#taken) closeSync(this.#taken.fd);
    this.#taken = undefined;
  }

  #read(taken: { fd: number; offset: number; rest: string }, out: CniDuration[]): void {
    const size = Math.min(fstatSync(taken.fd).size, MAX_BYTES);
    if (size <= taken.offset) return;
    const buffer = Buffer.alloc(size - taken.offset);
    const length = readSync(taken.fd, buffer, 0, buffer.length, taken.offset);
    taken.offset += length;
    const lines = (taken.rest + buffer.toString("utf8", 0, length)).split("\n");
    taken.rest = lines.pop() ?? "";
    for (const line of lines) {
      const duration = parseDuration(line);
      if (duration) out.push(duration);
    }
  }
}
