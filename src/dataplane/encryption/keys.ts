/**
 * This node's keys on disk. `private-key` is the key that it has, as every version of the agent reads it; `keys.json` beside it says in which slot that
 * is and since when, and has the key that the node goes over to. Each is replaced as a whole, and `keys.json` names the key that it was written for: so
 * whichever of two writes is the last one before the power goes, both together mean one thing.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../sys/index.ts";
import { closeToOthers, keepKey, KEY_MODE, keyOf, keyPath, loadKey, type NodeKey, WIREGUARD, writeKey } from "./key.ts";
import { type OwnKeys, otherSlot, type Slot } from "./lanes.ts";

const FILE = "keys.json";

/** A node's keys. */
export interface Keys {
  slot: Slot;
  key: NodeKey;
  /** When it was made, in milliseconds since 1970. */
  made: number;
  /** The one that it goes over to, in the other slot. */
  next?: { key: NodeKey; made: number };
}

/** Their public halves. */
export const publicOf = ({ slot, key, next }: Keys): OwnKeys => ({
  slot,
  key: key.publicKey,
  ...(next && { next: next.key.publicKey }),
});

/** Where they are. */
export const keysPath = (dataDir: string): string => join(dataDir, WIREGUARD, FILE);

const time = (ms: number): string => new Date(ms).toISOString();

const textOf = ({ slot, key, made, next }: Keys): string =>
  `${JSON.stringify({
    slot,
    of: key.publicKey,
    made: time(made),
    ...(next && { next: { key: Buffer.from(next.key.secret).toString("base64"), made: time(next.made) } }),
  })}\n`;

const writeRest = (dataDir: string, keys: Keys): void =>
  writeFileAtomic(keysPath(dataDir), textOf(keys), { mode: KEY_MODE, durable: true });

/** Writes keys; they survive a power cut before anybody is told. The file of the key that the node has is written where that is another one. @throws Error of the system */
export function writeKeys(dataDir: string, keys: Keys, before: Keys): void {
  if (keys.key.publicKey !== before.key.publicKey) writeKey(dataDir, keys.key);
  writeRest(dataDir, keys);
}

/**
 * Reads a node's keys, or makes one. What `keys.json` says of another key than the node has does not count, but where that is the one that it went over
 * to. @throws Error as {@link loadKey}
 */
export function loadKeys(dataDir: string): Keys {
  const key = loadKey(dataDir);
  const keys = joined(key, readRest(dataDir), Math.floor(statSync(keyPath(dataDir)).mtimeMs));
  if (!keepText(dataDir, textOf(keys))) closeToOthers(keysPath(dataDir));
  return keys;
}

/** Sees that the files have the keys, and that only root can read them. @returns whether it was otherwise. @throws Error of the system */
export function keepKeys(dataDir: string, keys: Keys): boolean {
  const keptKey = keepKey(dataDir, keys.key);
  return keepText(dataDir, textOf(keys)) || closeToOthers(keysPath(dataDir)) || keptKey;
}

function keepText(dataDir: string, text: string): boolean {
  let there: string | undefined;
  try {
    there = readFileSync(keysPath(dataDir), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  if (there === text) return false;
  writeFileAtomic(keysPath(dataDir), text, { mode: KEY_MODE, durable: true });
  return true;
}

type Rest = Pick<Keys, "slot" | "made" | "next"> & { of: string };

/** What the two files come to. @param written when the key's file was written */
function joined(key: NodeKey, rest: Rest | undefined, written: number): Keys {
  if (!rest) return { slot: 0, key, made: written };
  const { slot, made, of, next } = rest;
  if (of === key.publicKey) return { slot, key, made, ...(next && next.key.publicKey !== of && { next }) };
  if (next?.key.publicKey === key.publicKey) return { slot: otherSlot(slot), key, made: next.made };
  return { slot, key, made: written };
}

/** Undefined where there is nothing that can be understood: nobody but the agent writes it, and the node has a key without it. */
function readRest(dataDir: string): Rest | undefined {
  try {
    const { slot, of, made, next } = JSON.parse(readFileSync(keysPath(dataDir), "utf8")) as Record<string, unknown>;
    if ((slot !== 0 && slot !== 1) || typeof of !== "string") return undefined;
    return { slot, of, made: timeOf(made), ...(next !== undefined && { next: nextOf(next) }) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== undefined && code !== "ENOENT") throw error;
    return undefined;
  }
}

function nextOf(value: unknown): { key: NodeKey; made: number } {
  const { key, made } = value as Record<string, unknown>;
  const pair = typeof key === "string" ? keyOf(key) : undefined;
  if (!pair) throw new SyntaxError("no key");
  return { key: pair, made: timeOf(made) };
}

function timeOf(value: unknown): number {
  const ms = typeof value === "string" ? Date.parse(value) : Number.NaN;
  if (!Number.isFinite(ms)) throw new SyntaxError("no time");
  return ms;
}
