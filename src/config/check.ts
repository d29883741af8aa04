/**
 * Runs a schema over a value from outside and tells everything that is wrong with it at once, each problem with its
 * key, value and what the schema says is allowed there.
 */
import * as v from "valibot";
import { ConfigError, type ConfigProblem, nearest, shown } from "./error.ts";

/** Any schema, as far as walking over it needs to know. */
export type AnySchema = v.BaseSchema<unknown, unknown, v.BaseIssue<unknown>>;
type Path = readonly (string | number)[];

/** The schema below `optional`. */
export const unwrapped = (schema: AnySchema): AnySchema =>
  schema.type === "optional" ? unwrapped((schema as unknown as { wrapped: AnySchema }).wrapped) : schema;

/** The keys of a section, or undefined when the schema is no section. */
export function entriesOf(schema: AnySchema): Readonly<Record<string, AnySchema>> | undefined {
  const inner = unwrapped(schema);
  return inner.type === "object" ? (inner as unknown as { entries: Record<string, AnySchema> }).entries : undefined;
}

/** What a schema says is allowed, "" when it says nothing. */
export function allowedBy(schema: AnySchema): string {
  const { allowed } = v.getMetadata(unwrapped(schema)) as { allowed?: string };
  return allowed ?? "";
}

/** What a key is for. */
export const descriptionOf = (schema: AnySchema): string => v.getDescription(unwrapped(schema)) ?? "";

const keyOf = (path: Path): string =>
  path.reduce<string>(
    (key, part) => (typeof part === "number" ? `${key}[${part}]` : key === "" ? part : `${key}.${part}`),
    "",
  );

/** The innermost known schema on the way to a value, which is the one whose words apply. */
function schemaAt(schema: AnySchema, path: Path): AnySchema {
  let at = schema;
  for (const part of path) {
    const next = entriesOf(at)?.[String(part)];
    if (next === undefined) break;
    at = next;
  }
  return at;
}

/** All dotted keys of a schema. */
function keysOf(schema: AnySchema, prefix = ""): string[] {
  return Object.entries(entriesOf(schema) ?? {}).flatMap(([name, inner]) =>
    entriesOf(inner) ? keysOf(inner, `${prefix}${name}.`) : [`${prefix}${name}`],
  );
}

const MAX_KEYS = 100;

function unknownKeys(
  schema: AnySchema,
  value: unknown,
  root: AnySchema,
  where: Where,
  path: Path = [],
): ConfigProblem[] {
  const entries = entriesOf(schema);
  if (entries === undefined || typeof value !== "object" || value === null || Array.isArray(value)) return [];
  // A file with hundreds of unknown keys is another file; its problems need no suggestions each.
  return Object.entries(value)
    .slice(0, MAX_KEYS)
    .flatMap(([name, inner]) => {
      const at = [...path, name];
      if (Object.hasOwn(entries, name)) return unknownKeys(entries[name] as AnySchema, inner, root, where, at);
      const near = nearest(name, Object.keys(entries));
      // A key of another section, written in the wrong place.
      const leaf = keysOf(root).find((key) => key === keyOf(at) || key.split(".").at(-1) === name);
      const meant = near === undefined ? leaf : keyOf([...path, near]);
      const detail = `unknown key ${shown(name)}${meant === undefined ? "" : `; did you mean ${meant}?`}`;
      const allowed = meant === undefined ? Object.keys(entries).join(", ") : "";
      return [{ ...where(at), value: shown(inner), allowed, detail }];
    });
}

/** Says where the value of a path comes from and how its key is called there. */
export type Where = (path: Path) => { file: string; key: string };

/** `where` for a value that comes from one file, with a line where one is known. */
export const inFile =
  (file: string, lineOf?: (path: Path) => number | undefined): Where =>
  (path) => {
    const line = lineOf?.(path);
    return { file: line === undefined ? file : `${file}:${line}`, key: keyOf(path) };
  };

/** What is allowed where a whole section is wrong. */
function sectionRule(schema: AnySchema): string {
  const entries = entriesOf(schema);
  return entries ? `keys of its own: ${Object.keys(entries).join(", ")}` : "";
}

function problemOf(schema: AnySchema, issue: v.BaseIssue<unknown>, where: Where): ConfigProblem {
  const path = (issue.path ?? []).map((item) => (typeof item.key === "number" ? item.key : String(item.key)));
  const at = schemaAt(schema, path);
  const allowed = allowedBy(at) || sectionRule(at);
  const missing = issue.input === undefined;
  // Messages of our own parsers say more than "not allowed"; valibot's words ("Invalid type: …") say less.
  const own = issue.kind === "transformation" || issue.type === "check" || issue.type === "raw_transform";
  const problem = { ...where(path), value: missing ? "nothing" : shown(issue.input), allowed };
  if (missing) return { ...problem, detail: `is missing (${descriptionOf(at) || "it has no default"})` };
  return own ? { ...problem, detail: issue.message } : problem;
}

/**
 * The value as the schema makes it, with defaults.
 * @param unknown whether keys that the schema does not know are refused or ignored.
 * @throws ConfigError with every problem found.
 */
export function checked<S extends AnySchema>(
  schema: S,
  value: unknown,
  where: Where,
  unknown: "refused" | "ignored",
): v.InferOutput<S> {
  const result = v.safeParse(schema, value);
  const problems = (result.issues ?? []).map((issue) => problemOf(schema, issue, where));
  if (unknown === "refused") problems.push(...unknownKeys(schema, value, schema, where));
  const [first, ...rest] = problems;
  if (first !== undefined) throw new ConfigError([first, ...rest]);
  return result.output;
}
