/**
 * Reads a YAML file into plain values, within limits: configuration is a page of text, so a file of megabytes,
 * aliases (which can grow without bound) and several documents are mistakes or attacks, not configuration.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { isCollection, isPair, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import { ConfigError } from "./error.ts";

/** Longest accepted file in bytes; the complete example in the documentation is about 3 KiB. */
export const MAX_FILE_BYTES = 64 * 1024;
const MAX_DEPTH = 32;

/** A parsed file. */
export interface YamlFile {
  /** Plain value; empty values are left out, so that a key with nothing behind it means its default. */
  value: unknown;
  /** Line of a key path, 1-based. */
  lineOf: (path: readonly (string | number)[]) => number | undefined;
}

const wrong = (file: string, detail: string, cause?: unknown): ConfigError =>
  new ConfigError([{ file, key: "", value: "", allowed: "", detail }], { cause });

/** At most `MAX_FILE_BYTES` of a file, whatever it claims to be (a pipe, a device, a growing file). */
function readBounded(file: string): string {
  let fd: number | undefined;
  try {
    fd = openSync(file, "r");
    if (!fstatSync(fd).isFile()) throw wrong(file, "is not a regular file");
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1);
    let length = 0;
    for (let got = 1; got > 0 && length < buffer.length; length += got) {
      got = readSync(fd, buffer, length, buffer.length - length, null);
    }
    if (length > MAX_FILE_BYTES) throw wrong(file, `is longer than ${MAX_FILE_BYTES} bytes`);
    return new TextDecoder("utf-8", { fatal: true }).decode(buffer.subarray(0, length));
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw wrong(
      file,
      code === "ERR_ENCODING_INVALID_ENCODED_DATA" ? "is not UTF-8 text" : `cannot be read: ${message}`,
      error,
    );
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Drops nulls: `masquerade:` with every line below commented out means the defaults, not an error. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([, inner]) => inner !== null);
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutNulls(inner)]));
}

/** Parses YAML text; `file` names it in errors. @throws ConfigError */
export function parseYaml(text: string, file: string): YamlFile {
  // The parser recurses; deep nesting is refused before it can exhaust the stack or time.
  let depth = 0;
  for (const c of text) {
    if (c === "[" || c === "{") depth++;
    else if (c === "]" || c === "}") depth--;
    if (depth > MAX_DEPTH) throw wrong(file, `is nested deeper than ${MAX_DEPTH}`);
  }
  const lines = new LineCounter();
  try {
    const doc = parseDocument(text, { lineCounter: lines, prettyErrors: true, logLevel: "error", stringKeys: true });
    const [error] = doc.errors;
    if (error !== undefined) {
      const line = error.linePos?.[0].line;
      throw wrong(
        line === undefined ? file : `${file}:${line}`,
        `is not valid YAML: ${firstLine(error.message)}`,
        error,
      );
    }
    const value: unknown = doc.toJS({ maxAliasCount: 0 });
    const lineOf = (path: readonly (string | number)[]): number | undefined => {
      let node: Node | null | undefined = doc.contents;
      let offset: number | undefined;
      for (const part of path) {
        if (!isCollection(node)) break;
        const pair = node.items.find(
          (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part),
        );
        const next = isPair(pair) ? (pair.key as Node) : (node.get(part, true) as Node | undefined);
        offset = next?.range?.[0] ?? offset;
        node = node.get(part, true) as Node | undefined;
      }
      return offset === undefined ? undefined : lines.linePos(offset).line;
    };
    return { value: withoutNulls(value), lineOf };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw wrong(file, `is not usable YAML: ${firstLine((error as Error).message)}`, error);
  }
}

const firstLine = (text: string): string => (text.split("\n")[0] as string).replace(/ at line \d+, column \d+:?$/, "");

/** Reads and parses a file. @throws ConfigError */
export const readYaml = (file: string): YamlFile => parseYaml(readBounded(file), file);
