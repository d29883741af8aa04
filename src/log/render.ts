/**
 * A log entry as one line: `time level message key=value …` for people, or one JSON object for machines.
 * Names, annotations and kernel texts in it come from outside, so no control character and no bidirectional
 * override of theirs ever reaches the line: a forged second line or a terminal escape is an attack on the reader.
 */
import { errorCode, errorText, isBug } from "./error-text.ts";

/** Values that explain an entry. Errors may stand anywhere in them. */
export type Fields = Readonly<Record<string, unknown>>;

/** One entry, before it is written down. */
export interface Entry {
  /** Milliseconds since the epoch. */
  time: number;
  level: string;
  message: string;
  fields: Fields;
}

const MAX_TEXT = 4096;
const MAX_ITEMS = 64;
const MAX_DEPTH = 6;
const RESERVED = new Set(["time", "level", "message"]);

// C0 and C1 controls, DEL, line and paragraph separators, bidirectional marks and overrides, byte order mark.
// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Text with every control character written out (`\n`, `\u001b`). */
const escapeControls = (text: string): string =>
  text.replace(UNSAFE, (c) => SHORT[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

const cut = (text: string): string =>
  text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (${text.length - MAX_TEXT} more)` : text;

function plainError(error: Error, depth: number): Record<string, unknown> {
  const out: Record<string, unknown> = { name: error.name, message: cut(error.message) };
  const code = errorCode(error);
  if (code !== undefined) out["code"] = code;
  if (error.cause !== undefined) out["cause"] = plain(error.cause, depth + 1);
  if (error instanceof AggregateError) out["errors"] = plain(error.errors, depth + 1);
  if (depth === 0 && error.stack !== undefined) out["stack"] = cut(error.stack);
  return out;
}

/** A value as JSON can hold it: bounded, without cycles, with errors written out. */
function plain(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return cut(value);
  if (typeof value === "bigint" || typeof value === "symbol") return String(value);
  if (typeof value === "function") return `[function ${value.name}]`;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Error) return depth > MAX_DEPTH ? errorText(value) : plainError(value, depth);
  if (depth > MAX_DEPTH) return "…";
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof Set) return plain([...value], depth);
  if (value instanceof Map) return plain(Object.fromEntries(value), depth);
  if (Array.isArray(value)) {
    const items = value.slice(0, MAX_ITEMS).map((item: unknown) => plain(item, depth + 1));
    if (value.length > MAX_ITEMS) items.push(`… (${value.length - MAX_ITEMS} more)`);
    return items;
  }
  const entries = Object.entries(value);
  const out = entries.slice(0, MAX_ITEMS).map(([key, item]) => [key, plain(item, depth + 1)]);
  if (entries.length > MAX_ITEMS) out.push(["…", `${entries.length - MAX_ITEMS} more`]);
  return Object.fromEntries(out);
}

function textValue(value: unknown): string {
  if (value instanceof Error) return quote(cut(errorText(value)));
  if (typeof value === "string") return quote(cut(value));
  return typeof value === "object" && value !== null ? JSON.stringify(plain(value)) : String(value);
}

/** Quoted only when it must be, so that names and addresses stay easy to copy. */
const quote = (text: string): string => (/^[^\s"=\\]+$/.test(text) ? text : JSON.stringify(text));

/** `2026-01-31T09:15:02.345Z info  message key=value`, without a line end. */
export function renderText({ time, level, message, fields }: Entry): string {
  let line = `${new Date(time).toISOString()} ${level.padEnd(5)} ${cut(message)}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    line += ` ${key.replace(/[^\w.-]/g, "_")}=${textValue(value)}`;
    if (value instanceof Error && isBug(value)) line += ` stack=${JSON.stringify(value.stack)}`;
  }
  return escapeControls(line);
}

/** One JSON object, without a line end. A field called like one of the entry's own keys gets a trailing "_". */
export function renderJson({ time, level, message, fields }: Entry): string {
  const out: Record<string, unknown> = { time: new Date(time).toISOString(), level, message: cut(message) };
  for (const [key, value] of Object.entries(fields)) out[RESERVED.has(key) ? `${key}_` : key] = plain(value);
  // Inside JSON such characters can only stand in strings, where \uXXXX means the same.
  return escapeControls(JSON.stringify(out));
}
