/**
 * Sums up which lines of `src` ran, room by room, from what V8 has written about every process of a test run (NODE_V8_COVERAGE):
 *
 *   node scripts/coverage.ts DIRECTORY [--files]
 *
 * A line counts when it has code that is there at run time, and has run when its first word has, in whichever process. What Node runs
 * is the source with its types blanked out, so V8's offsets are those of that text. Files that nobody loaded count with all their lines.
 */
import { readdirSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Folders of src whose folders are the rooms. */
const NESTED = new Set(["dataplane", "ipam"]);

interface Range {
  startOffset: number;
  endOffset: number;
  count: number;
}
interface Script {
  url: string;
  functions: readonly { ranges: readonly Range[] }[];
}

/** Lines with code of a file: where the first word of each begins. */
function codeOf(text: string): number[] {
  const words: number[] = [];
  let at = 0;
  let comment = false;
  for (const line of text.split("\n")) {
    const code = line.trimStart();
    if (code.startsWith("/*")) comment = true;
    const word = /[\w"'`$#]/.exec(line);
    if (!comment && !code.startsWith("//") && word) words.push(at + word.index);
    if (comment && code.includes("*/")) comment = false;
    at += line.length + 1;
  }
  return words;
}

/** Whether what is at an offset ran: the smallest range around it says so (ranges of a function are nested). */
function ran(offset: number, ranges: readonly Range[]): boolean {
  let smallest: Range | undefined;
  for (const range of ranges) {
    if (offset < range.startOffset || offset >= range.endOffset) continue;
    const size = range.endOffset - range.startOffset;
    if (!smallest || size <= smallest.endOffset - smallest.startOffset) smallest = range;
  }
  return (smallest?.count ?? 0) > 0;
}

const files = new Map<string, { words: readonly number[]; missing: Set<number> }>();
for (const entry of readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })) {
  if (!entry.name.endsWith(".ts")) continue;
  const path = relative(root, join(entry.parentPath, entry.name));
  const words = codeOf(stripTypeScriptTypes(readFileSync(join(root, path), "utf8")));
  files.set(path, { words, missing: new Set(words) });
}

const [directory = "", ...options] = process.argv.slice(2);
for (const name of readdirSync(directory)) {
  const { result } = JSON.parse(readFileSync(join(directory, name), "utf8")) as { result: Script[] };
  for (const { url, functions } of result) {
    const file = url.startsWith("file:") ? files.get(relative(root, fileURLToPath(url))) : undefined;
    if (!file) continue;
    const ranges = functions.flatMap((one) => one.ranges);
    for (const offset of file.missing) if (ran(offset, ranges)) file.missing.delete(offset);
  }
}

const rooms = new Map<string, { lines: number; missing: number }>();
const add = (name: string, lines: number, missing: number): void => {
  const { lines: before, missing: gaps } = rooms.get(name) ?? { lines: 0, missing: 0 };
  rooms.set(name, { lines: before + lines, missing: gaps + missing });
};
for (const [path, { words, missing }] of files) {
  const [, top = "", second = ""] = path.split("/");
  add(options.includes("--files") ? path : NESTED.has(top) ? `${top}/${second}` : top, words.length, missing.size);
  add("all of src", words.length, missing.size);
}
const share = ({ lines, missing }: { lines: number; missing: number }): number =>
  lines === 0 ? 100 : (100 * (lines - missing)) / lines;
console.log("lines that ran in unit tests, of those with code:");
for (const [name, room] of [...rooms].sort(([, a], [, b]) => share(a) - share(b)))
  console.log(`  ${share(room).toFixed(1).padStart(5)} %  ${String(room.lines).padStart(6)}  ${name}`);
