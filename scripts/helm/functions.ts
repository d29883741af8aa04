/** Functions of Helm's templates (Go's own and sprig's) as far as the chart uses them. */
import { createHash } from "node:crypto";
import { stringify } from "yaml";

/** What Go's templates hold for false: zero, empty string, empty list or map, nil. */
export function isTrue(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** A value as Go prints it. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "object") throw new Error("the chart prints a list or a map: it wants toJson or toYaml");
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

/** Keys in order, as Go's JSON and YAML have them. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, sorted(one)]),
  );
}

const indented = (spaces: number, text: string): string =>
  text
    .split("\n")
    .map((line) => " ".repeat(spaces) + line)
    .join("\n");

/** Whether a version is at least `>=MAJOR.MINOR-0`, the only constraint that the chart uses. */
function semverCompare(constraint: string, version: string): boolean {
  const [, major, minor] = /^>=(\d+)\.(\d+)(?:\.0)?-0$/.exec(constraint) ?? [];
  const [, hasMajor, hasMinor] = /^v?(\d+)\.(\d+)\./.exec(version) ?? [];
  if (major === undefined || hasMajor === undefined)
    throw new Error(`not understood in the chart: semverCompare "${constraint}" "${version}"`);
  return Number(hasMajor) === Number(major) ? Number(hasMinor) >= Number(minor) : Number(hasMajor) > Number(major);
}

type Fn = (...args: never[]) => unknown;

/** By name. */
export const FUNCTIONS: Readonly<Record<string, Fn>> = {
  and: (...all: unknown[]) => all.find((one) => !isTrue(one)) ?? all.at(-1),
  or: (...all: unknown[]) => all.find(isTrue) ?? all.at(-1),
  not: (value: unknown) => !isTrue(value),
  eq: (value: unknown, ...others: unknown[]) => others.includes(value),
  ne: (a: unknown, b: unknown) => a !== b,
  default: (fallback: unknown, value: unknown) => (isTrue(value) ? value : fallback),
  quote: (value: unknown) => (value === null || value === undefined ? "" : JSON.stringify(shown(value))),
  toJson: (value: unknown) => JSON.stringify(sorted(value)),
  toYaml: (value: unknown) => stringify(sorted(value), { lineWidth: 0 }).trimEnd(),
  toString: (value: unknown) => shown(value),
  indent: indented,
  nindent: (spaces: number, text: string) => `\n${indented(spaces, text)}`,
  int: (value: unknown) => Math.trunc(Number(value)),
  add: (...all: number[]) => all.reduce((sum, one) => sum + one, 0),
  mul: (...all: number[]) => all.reduce((product, one) => product * one, 1),
  mod: (a: number, b: number) => a % b,
  splitList: (separator: string, text: string) => text.split(separator),
  index: (list: unknown[], at: number) => list[at],
  contains: (part: string, text: string) => text.includes(part),
  trim: (text: string) => text.trim(),
  trunc: (length: number, text: string) => text.slice(0, length),
  trimSuffix: (suffix: string, text: string) => (text.endsWith(suffix) ? text.slice(0, -suffix.length) : text),
  replace: (from: string, to: string, text: string) => text.replaceAll(from, to),
  sha256sum: (text: string) => createHash("sha256").update(text).digest("hex"),
  hasKey: (map: object, key: string) => Object.hasOwn(map, key),
  dict: (...pairs: unknown[]) =>
    Object.fromEntries(pairs.flatMap((key, at) => (at % 2 === 0 ? [[key as string, pairs[at + 1]]] : []))),
  list: (...all: unknown[]) => all,
  ternary: (yes: unknown, no: unknown, which: unknown) => (isTrue(which) ? yes : no),
  semverCompare,
  printf: (format: string, ...args: unknown[]) => format.replace(/%[vsd]/g, () => shown(args.shift())),
  fail: (message: string) => {
    throw new Error(message);
  },
};
