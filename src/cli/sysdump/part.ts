/** What is put into the archive: each part looked for by itself, so that one that is not there is told of and keeps nobody else out. */
import { describeError } from "../main.ts";
import type { Entry } from "./archive.ts";

/** One file of the archive before it is looked for. */
export interface Part {
  path: string;
  /** What it says: text, or anything that is shown as JSON. */
  readonly look: () => unknown;
}

/** Bytes of one file: a node of five thousand peers has tables of two megabytes. */
const MOST_OF_ONE = 16 << 20;
/** Where the archive says what is in it. */
export const SUMMARY = "summary.txt";

/**
 * Looks for each part in turn. The last file is a list of all of them: how many bytes there are, which were cut, and what could not be seen and why.
 * @param heading of that list
 */
export async function* collect(parts: Iterable<Part>, heading: string, most = MOST_OF_ONE): AsyncGenerator<Entry> {
  const lines = [heading, ""];
  for (const { path, look } of parts) {
    try {
      const whole = bytesOf(await look());
      const data = whole.length > most ? whole.subarray(0, most) : whole;
      lines.push(`${path}: ${whole.length} bytes${data === whole ? "" : `, of which the first ${most} are here`}`);
      yield { path, data };
    } catch (error) {
      lines.push(`${path}: not there: ${describeError(error)}`);
    }
  }
  yield { path: SUMMARY, data: Buffer.from(`${lines.join("\n")}\n`) };
}

/** Lists have a line for each of their members, so that they can be searched and compared. */
function bytesOf(value: unknown): Buffer {
  if (Buffer.isBuffer(value)) return value;
  if (typeof value === "string") return Buffer.from(value);
  if (Array.isArray(value)) return Buffer.from(`[${value.map((one) => `\n${json(one)}`).join(",")}\n]\n`);
  return Buffer.from(`${json(value, 2)}\n`);
}

const json = (value: unknown, indent?: number): string =>
  JSON.stringify(value, (_key, one: unknown) => (typeof one === "bigint" ? String(one) : one), indent) ?? "null";
