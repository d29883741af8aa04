/**
 * The operator's command line: wires the commands together and turns their result into an exit status. In a source tree that was
 * built the lab's commands lie in a bundle beside this one, which is loaded when they are asked for.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { type Command, completionCommand, nodeCommands, runProcess } from "../../src/cli/index.ts";

const lab = fileURLToPath(new URL("skylane-lab.cjs", import.meta.url));
const [word] = process.argv.slice(2);
/** Words that concern all commands that there are; without any word there is help. */
const concernsAll = word === undefined || ["lab", "help", "--help", "-h", "completion"].includes(word);

if (concernsAll && existsSync(lab)) createRequire(import.meta.url)(lab);
else {
  const commands: readonly Command[] = [...nodeCommands, completionCommand(() => commands)];
  runProcess(commands);
}
