/** The command line of a source tree: the operator's, and the lab's beside it. It is no part of an installation. */
import { type Command, completionCommand, nodeCommands, runProcess } from "../../src/cli/index.ts";
import { labCommands } from "../../lab/index.ts";

const commands: readonly Command[] = [...nodeCommands, completionCommand(() => commands), ...labCommands];
runProcess(commands);
