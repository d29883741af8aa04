/**
 * One line for every verb into a file that the agent reads and empties: the plugin lives too briefly to be
 * scraped for metrics. Best effort: a runtime must not see a failure because nobody collects the lines.
 */
import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Verb } from "./spec/version.ts";

/** Name of the file in the run directory. */
export const DURATIONS_FILE = "cni-durations.jsonl";
/** Where nobody empties the file, it stops growing here (bytes). */
const MAX_BYTES = 1024 * 1024;

/** A finished verb. */
export interface Duration {
  verb: Verb;
  /** "ok" or the CNI error code as text. */
  result: string;
  /** Milliseconds from the start of the request. */
  ms: number;
}

/** Appends a line; nothing happens where the run directory is missing, full or not ours to write. */
export function recordDuration(runDir: string, { verb, result, ms }: Duration): void {
  const line = `${JSON.stringify({ verb, result, ms: Math.round(ms * 100) / 100, time: new Date().toISOString() })}\n`;
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
  try {
    const fd = openSync(join(runDir, DURATIONS_FILE), flags, 0o600);
    try {
      if (fstatSync(fd).size < MAX_BYTES) writeSync(fd, line);
    } finally {
      closeSync(fd);
    }
  } catch {
    // a metric less; see above
  }
}
