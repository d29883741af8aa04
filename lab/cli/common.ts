/** What the lab's commands share: which lab, how to show progress, how to answer. */
import { type Input, OUTPUT, type OptionSpec } from "../../src/cli/index.ts";
import type { Progress } from "../cluster/context.ts";
import { Lab } from "../lab.ts";

/** The option of every command of a lab. */
export const NAME: Readonly<Record<string, OptionSpec>> = { name: { value: "NAME", help: 'the lab\'s name ("lab")' } };

/** Options of a command that answers with a table. */
export const ANSWER: Readonly<Record<string, OptionSpec>> = { ...NAME, ...OUTPUT };

/** Runs something with the lab that the options name. */
export async function withLab<T>(input: Input, fn: (lab: Lab) => Promise<T>): Promise<T> {
  const lab = Lab.open(input.text("name"));
  try {
    return await fn(lab);
  } finally {
    lab.close();
  }
}

/** Writes to stdout and waits until it is written, so that a long answer survives the process's end in a pipe. */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (!error || (error as NodeJS.ErrnoException).code === "EPIPE") resolve();
      else reject(error);
    });
  });
}

/** Answers with JSON or with text, as asked. */
export const answer = (input: Input, value: unknown, text: () => string): Promise<void> =>
  print(input.json ? `${JSON.stringify(value, null, 2)}\n` : text());

/** Says on stderr what is being done, with the time since the start where people look at it. */
export function progress(): Progress {
  const start = performance.now();
  return (text) => {
    const elapsed = `${((performance.now() - start) / 1000).toFixed(1)}s`.padStart(6);
    process.stderr.write(process.stderr.isTTY ? `\x1b[2m${elapsed}\x1b[0m  ${text}\n` : `${elapsed}  ${text}\n`);
  };
}

/**
 * Turns Ctrl-C, SIGTERM and a closed terminal into an aborted signal while `fn` runs, so that it can clean up. A second
 * Ctrl-C changes nothing: taking a lab down is quick, and half of it would be worse.
 */
export async function interruptible<T>(fn: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const names: NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
  const abort = (name: NodeJS.Signals): void => controller.abort(new Error(`interrupted (${name})`));
  for (const name of names) process.on(name, abort);
  try {
    return await fn(controller.signal);
  } finally {
    for (const name of names) process.off(name, abort);
  }
}
