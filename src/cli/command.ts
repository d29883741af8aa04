/**
 * A command line as data: every command says its words, its options and what they mean, and from that come the
 * parsing, the help and the errors. So a command cannot have an option that its help does not know.
 */
import { parseArgs } from "node:util";

/** One option of a command. */
export interface OptionSpec {
  /** What stands for its value in the help ("N"); an option without it is a switch. */
  value?: string;
  short?: string;
  help: string;
}

/** A command: words after `skylanectl`, and what it does. */
export interface Command {
  words: readonly string[];
  /** One line for the list of commands. */
  summary: string;
  /** Operands as the usage line shows them: "NODE [NAME]". */
  operands?: string;
  /** How many operands it takes, the least and the most (0 and 0 by default). */
  count?: readonly [least: number, most: number];
  options?: Readonly<Record<string, OptionSpec>>;
  /** Paragraphs under the usage line. */
  details?: string;
  /** Not in the list of commands: an implementation detail of another one. */
  hidden?: boolean;
  /** Runs it and returns the exit status (0 by default). */
  run(input: Input): Promise<number | undefined>;
}

/** The command line is wrong: exit status 2, and how to see the right one. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What a user may see as it is, without a stack: the machine or the lab is not as the command needs it. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** A command's parsed arguments. */
export class Input {
  readonly operands: readonly string[];
  /** What came after `--`. */
  readonly rest: readonly string[];
  readonly #values: Readonly<Record<string, string | boolean | undefined>>;

  constructor(values: Record<string, string | boolean | undefined>, operands: string[], rest: string[]) {
    this.#values = values;
    this.operands = operands;
    this.rest = rest;
  }

  /** Whether a switch was given. */
  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  /** An option's value, if it was given. */
  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  /** An option's value as a whole number. @throws UsageError when it is none or outside the range */
  number(name: string, least: number, most: number): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most))
      throw new UsageError(`--${name} must be a whole number from ${least} to ${most}, not "${text}"`);
    return value;
  }

  /** Whether the answer is to be JSON: `-o json`. @throws UsageError for any other format */
  get json(): boolean {
    const format = this.text("output");
    if (format !== undefined && format !== "json" && format !== "table")
      throw new UsageError(`--output must be "table" or "json", not "${format}"`);
    return format === "json";
  }
}

/** The option of every command that answers with a table. */
export const OUTPUT: Readonly<Record<string, OptionSpec>> = {
  output: { value: "FORMAT", short: "o", help: "table (the default) or json" },
};

const startsWith = (argv: readonly string[], words: readonly string[]): boolean =>
  words.every((word, i) => argv[i] === word);

/** The command whose words the arguments begin with, the longest one; none for an unknown word. */
export function findCommand(commands: readonly Command[], argv: readonly string[]): Command | undefined {
  return commands
    .filter(({ words }) => startsWith(argv, words))
    .sort((a, b) => b.words.length - a.words.length)
    .at(0);
}

/** Takes a command's arguments (without its words) apart. @throws UsageError naming what is wrong */
export function parseInput(command: Pick<Command, "operands" | "count" | "options">, argv: readonly string[]): Input {
  const dashes = argv.indexOf("--");
  const own = dashes < 0 ? argv : argv.slice(0, dashes);
  const options = Object.fromEntries(
    Object.entries(command.options ?? {}).map(([name, { value, short }]) => [
      name,
      { type: value === undefined ? ("boolean" as const) : ("string" as const), ...(short ? { short } : {}) },
    ]),
  );
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: [...own], options, allowPositionals: true, strict: true });
  } catch (error) {
    const [message] = (error instanceof Error ? error.message : String(error)).split(". To specify");
    throw new UsageError(message, { cause: error });
  }
  const [least, most] = command.count ?? [0, 0];
  const { length } = parsed.positionals;
  if (length < least) throw new UsageError(`needs ${command.operands ?? "more operands"}`);
  if (length > most) throw new UsageError(`does not know what to do with "${parsed.positionals[most]}"`);
  return new Input(
    parsed.values as Record<string, string | boolean | undefined>,
    parsed.positionals,
    dashes < 0 ? [] : argv.slice(dashes + 1),
  );
}
