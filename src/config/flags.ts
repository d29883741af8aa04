/**
 * Command line flags. They mirror the file's keys (`cni.binDir` is `--cni-bin-dir`) and come from the schema, so that
 * there is no second list to keep in step.
 */
import * as v from "valibot";
import { AgentSchema } from "./agent.ts";
import { type AnySchema, allowedBy, descriptionOf, entriesOf, unwrapped } from "./check.ts";
import { ConfigError, type ConfigProblem, literal, nearest, shown } from "./error.ts";

/** A flag and the key that it sets. */
export interface Flag {
  name: string;
  path: readonly string[];
  schema: AnySchema;
}

/** `cni.binDir` → `cni-bin-dir`. */
const flagName = (path: readonly string[]): string =>
  path.map((part) => part.replaceAll(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)).join("-");

function collect(schema: AnySchema, path: readonly string[]): Flag[] {
  const entries = entriesOf(schema);
  if (entries) return Object.entries(entries).flatMap(([name, inner]) => collect(inner, [...path, name]));
  return hasFlag(schema) ? [{ name: flagName(path), path, schema }] : [];
}

/** The kinds of values that a schema takes, as valibot calls them ("number", "array", …). */
function kinds(schema: AnySchema): string[] {
  const inner = unwrapped(schema);
  const options = inner.type === "union" ? (inner as unknown as { options: AnySchema[] }).options : [inner];
  return options.map((option) => option.type);
}

/** Lists of anything but text are for the file only: a shell's quoting is no place for nested configuration. */
function hasFlag(schema: AnySchema): boolean {
  const inner = unwrapped(schema);
  const options = inner.type === "union" ? (inner as unknown as { options: AnySchema[] }).options : [inner];
  return options.every((one) => one.type !== "array" || (one as unknown as { item: AnySchema }).item.type === "string");
}

/** Every flag that sets a key. */
export const FLAGS: readonly Flag[] = collect(AgentSchema, []);
const OTHER = ["config", "help"];

/** A flag's text as the value that the file would hold; text that is no number or list stays text for the schema to refuse. */
function valueOf(flag: Flag, text: string): unknown {
  const kind = kinds(flag.schema);
  if (kind.includes("array")) return text === "" ? [] : text.split(",").map((one) => one.trim());
  if (kind.includes("boolean") && (text === "true" || text === "false")) return text === "true";
  return kind.includes("number") && /^\d{1,15}$/.test(text) ? Number(text) : text;
}

/** What the command line says. */
export interface CommandLine {
  help: boolean;
  /** `--config`. */
  config?: string;
  /** Values by dotted key. */
  values: Map<string, unknown>;
}

/** Sets a value in nested plain objects. */
export function setPath(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let at = target;
  for (const part of path.slice(0, -1)) {
    const next = at[part];
    at = (typeof next === "object" && next !== null ? next : (at[part] = {})) as Record<string, unknown>;
  }
  at[path.at(-1) as string] = value;
}

/** Parses arguments (`--name value`, `--name=value`; a later one wins). @throws ConfigError telling every unknown flag */
export function parseFlags(argv: readonly string[]): CommandLine {
  const line: CommandLine = { help: false, values: new Map() };
  const problems: ConfigProblem[] = [];
  const refuse = (key: string, detail: string, allowed = "") =>
    problems.push({ file: "command line", key, value: "", allowed, detail });
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string;
    const [, name, inline] = /^--([a-z][a-z0-9-]*)(?:=(.*))?$/s.exec(word) ?? [];
    if (word === "-h" || name === "help") {
      line.help = true;
      continue;
    }
    const flag = FLAGS.find((one) => one.name === name);
    if (name === undefined || (flag === undefined && name !== "config")) {
      const near = nearest(word.replace(/^-+/, "").split("=")[0] as string, [...FLAGS.map((f) => f.name), ...OTHER]);
      refuse(
        shown(word),
        word.startsWith("-") ? `unknown flag${near ? `; did you mean --${near}?` : ""}` : "unexpected argument",
      );
      // The value of an unknown flag is not an argument of its own.
      if (word.startsWith("-") && inline === undefined && argv[i + 1]?.startsWith("-") === false) i++;
      continue;
    }
    const isToggle = flag !== undefined && kinds(flag.schema).includes("boolean");
    let text = inline;
    if (text === undefined && isToggle && argv[i + 1] !== "true" && argv[i + 1] !== "false") text = "true";
    text ??= argv[++i];
    if (text === undefined)
      refuse(`--${name}`, "needs a value", flag === undefined ? "a file" : allowedBy(flag.schema));
    else if (flag === undefined) line.config = text;
    else line.values.set(flag.path.join("."), valueOf(flag, text));
  }
  const [first, ...rest] = problems;
  if (first !== undefined) throw new ConfigError([first, ...rest]);
  return line;
}

/** The text of `--help`. */
export function agentUsage(): string {
  const rows = FLAGS.map(({ name, schema }): [string, string] => {
    const fallback = v.getDefault(schema);
    const text = descriptionOf(schema).replaceAll("`", "");
    return [`--${name}`, fallback === undefined ? text : `${text} [${literal(fallback)}]`];
  });
  rows.unshift(
    ["--config", "Configuration file (YAML) [/etc/skylane/agent.yaml, when it is there]"],
    ["--help", "This text"],
  );
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`);
  return `Usage: skylane-agent [--FLAG VALUE]…\n\nFlags win over the environment (NODE_NAME, KUBECONFIG), that over the file.\n\n${lines.join("\n")}\n`;
}
