/** The operator's command line: wires the commands together and turns their result into an exit status. */
import { type Command, completionCommand, main, nodeCommands } from "../../src/ctl/index.ts";
import { labCommands } from "../../src/lab/index.ts";

const given = process.argv.slice(2);
const argv = given[0] === "--version" ? ["version"] : given;
const commands: readonly Command[] = [...nodeCommands, completionCommand(() => commands), ...labCommands];

void main(commands, {
  argv,
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
}).then((status) => {
  process.exitCode = status;
});
