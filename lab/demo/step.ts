/** What the demos' steps are made of. */
import { join } from "node:path";
import type { Family } from "../../src/addr/index.ts";
import { tryRun } from "../exec.ts";
import type { Lab } from "../lab.ts";

/** Where a step prints. */
export type Print = (text: string) => Promise<void>;

/** What a step would show is nothing that this machine's kernel can do: its message says why. The demo goes on without it. */
export class NotShown extends Error {
  override readonly name = "NotShown";
}

/** One step: its title, why it matters, and what it does. What it shows it checks: a step that does not hold throws. */
export interface Step {
  title: string;
  why: string;
  run(lab: Lab, print: Print): Promise<void>;
}

/** @throws Error with `what` when it does not hold */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

/** The address of a family among some. */
export const ofFamily = (ips: readonly string[], family: Family): string | undefined =>
  ips.find((ip) => ip.includes(":") === (family === 6));

/** Output of a command, set off from what is said about it. */
export const indented = (text: string): string =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => `    ${line.trimEnd()}\n`)
    .join("");

/** What skylanectl says on a node. */
export async function ctl(lab: Lab, node: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await tryRun(lab.enter(node, join(lab.context.binDir, "skylanectl"), ...args), {
    env: lab.context.env,
  });
  return `$ skylanectl ${args.join(" ")}\n${stdout}${stderr}`;
}
