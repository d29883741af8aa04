/** The command line as a process: its words in, its exit status out. */
import type { Command } from "./command.ts";
import { main } from "./main.ts";

/** Runs what the process was started for, and sets its exit status. */
export function runProcess(commands: readonly Command[]): void {
  const given = process.argv.slice(2);
  const argv = given[0] === "--version" ? ["version"] : given;
  void main(commands, {
    argv,
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
  }).then((status) => {
    process.exitCode = status;
  });
}
