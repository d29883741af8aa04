/** The help texts, made from the commands themselves. */
import type { Command } from "./command.ts";

const LINE = 110;
const PROGRAM = "skylanectl";

function columns(rows: readonly (readonly [string, string])[]): string {
  const widest = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(widest)}  ${right}\n`).join("");
}

/** Breaks lines that are too long for a terminal between words. */
const wrapped = (text: string): string =>
  text
    .split("\n")
    .map((line) => `${line.replace(new RegExp(`(.{1,${LINE}})( +|$)`, "g"), "$1\n").trimEnd()}\n`)
    .join("");

/** The usage line of a command. */
export function usage({ words, operands, options }: Command): string {
  return [PROGRAM, ...words, options && Object.keys(options).length > 0 ? "[options]" : "", operands ?? ""]
    .filter(Boolean)
    .join(" ");
}

/** The help of one command. */
export function commandHelp(command: Command): string {
  const options = Object.entries(command.options ?? {}).map(([name, { value, short, help }]): [string, string] => [
    `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`,
    help,
  ]);
  return [
    `${command.summary}\n\nUsage: ${usage(command)}\n`,
    options.length > 0 ? `\nOptions:\n${columns(options)}` : "",
    command.details ? `\n${wrapped(command.details.trim())}` : "",
  ].join("");
}

/** The list of commands that begin with some words ([] for all). */
export function groupHelp(commands: readonly Command[], words: readonly string[]): string {
  const shown = commands.filter((c) => !c.hidden && words.every((word, i) => c.words[i] === word));
  const rows = shown.map((c): [string, string] => [[...c.words, c.operands ?? ""].join(" ").trim(), c.summary]);
  const title =
    words.length === 0
      ? "skylanectl looks after Skylane on a node, and runs a whole cluster of nodes on this machine to learn from and to test with."
      : `skylanectl ${words.join(" ")}: the commands`;
  return `${title}\n\nUsage: ${PROGRAM} COMMAND [options]\n\nCommands:\n${columns(rows)}\nMore about one: ${PROGRAM} COMMAND --help\n`;
}
