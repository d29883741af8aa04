/**
 * What is wrong with a configuration, said so that the reader can put it right without looking anything up: where,
 * which key, which value, what is allowed. All problems are told at once: one a restart is torture.
 */
import { printable } from "../addr/index.ts";

/** One thing that is wrong. */
export interface ConfigProblem {
  /** Where the value comes from: a path (with `:line` where known), "command line" or "environment". */
  file: string;
  /** Dotted key ("cni.binDir", "clusterCidrs[1]"), flag ("--vni") or variable; "" when the whole file is meant. */
  key: string;
  /** The offending value as text, safe to print. */
  value: string;
  /** What is allowed there. */
  allowed: string;
  /** What is wrong, where it is more than "not allowed". */
  detail?: string;
}

const MAX_TOLD = 20;

function sentence({ file, key, value, allowed, detail }: ConfigProblem): string {
  const where = key === "" ? file : `${file}: ${key}`;
  const what = detail ?? (value === "" ? "is empty" : `${value} is not allowed`);
  return allowed === "" ? `${where}: ${what}` : `${where}: ${what}; allowed: ${allowed}`;
}

/** A configuration that cannot be used. `file`, `key`, `value` and `allowed` are those of the first problem. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];
  readonly file: string;
  readonly key: string;
  readonly value: string;
  readonly allowed: string;

  constructor(problems: readonly [ConfigProblem, ...ConfigProblem[]], options?: ErrorOptions) {
    const told = problems.slice(0, MAX_TOLD).map(sentence);
    if (problems.length > MAX_TOLD) told.push(`and ${problems.length - MAX_TOLD} more`);
    super(told.length === 1 ? told[0] : `${problems.length} problems:\n  ${told.join("\n  ")}`, options);
    this.name = "ConfigError";
    this.problems = problems;
    const [first] = problems;
    this.file = first.file;
    this.key = first.key;
    this.value = first.value;
    this.allowed = first.allowed;
  }
}

/** Any value as short text that is safe to print. */
export function shown(value: unknown): string {
  if (typeof value === "string") return `"${printable(value)}"`;
  if (typeof value === "bigint" || typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (value === undefined || value === null) return "nothing";
  return typeof value === "object" ? "a mapping" : `a ${typeof value}`;
}

/** A default as YAML would write it. */
export const literal = (value: unknown): string =>
  value === "" || typeof value !== "string" ? JSON.stringify(value) : value;

/** Levenshtein distance, given up beyond `limit`. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** The known word that a mistyped one most likely means; undefined when none is near. Case and hyphens do not count. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_.]/g, "");
  const typed = plain(word.slice(0, 64));
  const limit = Math.max(2, Math.floor(typed.length / 3));
  let best: { name: string; far: number } | undefined;
  for (const name of known) {
    const far = distance(typed, plain(name), limit);
    if (far <= limit && far < name.length && (best === undefined || far < best.far)) best = { name, far };
  }
  return best?.name;
}
