/**
 * From the command line to a command and back to an exit status: 0 done, 1 failed, 2 the command line is wrong,
 * 130 interrupted. Errors go to stderr as one readable line with their causes; a stack only with SKYLANE_DEBUG set.
 */
import { inspect } from "node:util";
import { type Command, CommandError, findCommand, parseInput, UsageError } from "./command.ts";
import { commandHelp, groupHelp, usage } from "./help.ts";

/** Where a command line's words and streams come from; the process itself by default. */
export interface Surroundings {
  argv: readonly string[];
  stdout(text: string): void;
  stderr(text: string): void;
}

const isHelp = (word: string | undefined): boolean => word === "--help" || word === "-h";

/** An error as one line, with the causes behind it that say something new. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let e: unknown = error, depth = 0; e !== undefined && e !== null && depth < 8; depth++) {
    const text = e instanceof Error ? e.message || e.name : inspect(e);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    if (e instanceof AggregateError && e.errors.length > 0 && !e.message) e = e.errors[0];
    else e = e instanceof Error ? e.cause : undefined;
  }
  return parts.join(": ");
}

/** Runs one command line and returns the exit status; never throws. */
export async function main(commands: readonly Command[], around: Surroundings): Promise<number> {
  const argv = around.argv[0] === "help" ? [...around.argv.slice(1), "--help"] : around.argv;
  const command = findCommand(commands, argv);
  const firstOption = argv.findIndex((word) => word.startsWith("-"));
  const words = firstOption < 0 ? argv : argv.slice(0, firstOption);
  if (!command) {
    const asked = isHelp(argv[firstOption]) || argv.length === 0;
    const known = words.length === 0 || commands.some((c) => words.every((word, i) => c.words[i] === word));
    if (known && (asked || firstOption < 0)) {
      around.stdout(groupHelp(commands, words));
      return asked ? 0 : 2;
    }
    around.stderr(
      known
        ? `skylanectl: unknown option "${argv[firstOption]}"; see skylanectl --help\n`
        : `skylanectl: no command "${words.join(" ")}"; see skylanectl --help\n`,
    );
    return 2;
  }
  const own = argv.slice(command.words.length);
  const dashes = own.indexOf("--");
  if (own.slice(0, dashes < 0 ? own.length : dashes).some(isHelp)) {
    around.stdout(commandHelp(command));
    return 0;
  }
  try {
    return (await command.run(parseInput(command, own))) ?? 0;
  } catch (error) {
    const name = `skylanectl ${command.words.join(" ")}`;
    if (error instanceof UsageError) {
      around.stderr(`${name}: ${error.message}\nUsage: ${usage(command)}\n`);
      return 2;
    }
    around.stderr(`${name}: ${describeError(error)}\n`);
    if (process.env["SKYLANE_DEBUG"] && error instanceof Error && !(error instanceof CommandError))
      around.stderr(`${error.stack}\n`);
    return 1;
  }
}
