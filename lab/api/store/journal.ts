/**
 * Objects over a restart: a file of JSON lines, one a write, appended before the write is answered, so that even a
 * killed server comes back with everything it promised and with a resourceVersion that only grows. At start,
 * and when it has grown, the file is written anew with the live objects only; a last line cut short by a crash is dropped.
 * No fsync: the lab survives its process, not the machine's power.
 */
import { closeSync, existsSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import type { WriteLog } from "./store.ts";
import { isObject, type Json, type KubeObject } from "../types.ts";

interface Entry {
  rv: number;
  resource: string;
  key: string;
  object?: KubeObject;
}

/** So much is appended before the file is written anew. */
const REWRITE_BYTES = 256 * 1024 * 1024;

/** What a journal held when it was opened. */
export interface Restored {
  rv: number;
  objects: { resource: string; key: string; object: KubeObject }[];
}

/** An open journal file. */
export class Journal implements WriteLog {
  readonly restored: Restored;
  readonly #path: string;
  readonly #live: Map<string, Entry>;
  #rv: number;
  #fd: number;
  /** Bytes since the file was last written anew. */
  #appended = 0;

  /** Opens or makes the file; throws with the line's number if it is not a journal. */
  constructor(path: string) {
    this.restored = existsSync(path) ? replay(path, readFileSync(path, "utf8")) : { rv: 1, objects: [] };
    const { rv, objects } = this.restored;
    this.#path = path;
    this.#rv = rv;
    this.#live = new Map(objects.map((entry) => [idOf(entry), { rv, ...entry }]));
    this.#fd = this.#writeAnew();
  }

  /** Appends one write. */
  append(entry: Entry): void {
    const bytes = Buffer.from(line(entry));
    for (let written = 0; written < bytes.length; ) written += writeSync(this.#fd, bytes, written);
    this.#rv = entry.rv;
    if (entry.object === undefined) this.#live.delete(idOf(entry));
    else this.#live.set(idOf(entry), entry);
    this.#appended += bytes.length;
    if (this.#appended < REWRITE_BYTES) return;
    closeSync(this.#fd);
    this.#fd = this.#writeAnew();
  }

  /** Puts the live objects alone into a new file and opens it for more. */
  #writeAnew(): number {
    // The first line carries the resourceVersion of deletions, whose lines are left out.
    const lines = [line({ rv: this.#rv, resource: "", key: "" })];
    for (const entry of this.#live.values()) lines.push(line(entry));
    writeFileSync(`${this.#path}.new`, lines.join(""), { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
    this.#appended = 0;
    return openSync(this.#path, "a", 0o600);
  }

  /** Closes the file. */
  close(): void {
    closeSync(this.#fd);
  }
}

function idOf(entry: Pick<Entry, "resource" | "key">): string {
  return `${entry.resource} ${entry.key}`;
}

function line(entry: Entry): string {
  return `${JSON.stringify(entry)}\n`;
}

function replay(path: string, text: string): Restored {
  const objects = new Map<string, Restored["objects"][number]>();
  let rv = 1;
  const lines = text.split("\n");
  // What follows the last newline is empty, or a line that a crash cut short.
  lines.pop();
  for (const [index, text] of lines.entries()) {
    const entry = parseEntry(text);
    if (entry === undefined) throw new Error(`${path}:${index + 1} is not a line of the lab API's journal`);
    rv = Math.max(rv, entry.rv);
    if (entry.object === undefined) objects.delete(idOf(entry));
    else objects.set(idOf(entry), { resource: entry.resource, key: entry.key, object: entry.object });
  }
  return { rv, objects: [...objects.values()] };
}

function parseEntry(text: string): Entry | undefined {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const { rv, resource, key, object } = value;
  if (typeof rv !== "number" || typeof resource !== "string" || typeof key !== "string") return undefined;
  return isObject(object) ? { rv, resource, key, object: object as KubeObject } : { rv, resource, key };
}
