/** The commands that look after Skylane on one node. */
import { type Command, OUTPUT } from "./command.ts";
import { connectivityCommands } from "./connectivity/index.ts";
import { doctorCommand } from "./doctor/index.ts";
import { flowsCommand } from "./flows/index.ts";
import { installCniCommand } from "./install-cni.ts";
import { uiCommand } from "./kubectl/ui.ts";
import { logLevelCommand } from "./log-level.ts";
import { newKeyCommand, rotateKeyCommand } from "./new-key.ts";
import { policyCommands } from "./policy/index.ts";
import { probesCommand } from "./probes/index.ts";
import { statusCommand } from "./status.ts";
import { sysdumpCommand } from "./sysdump/index.ts";
import { traceCommand } from "./trace/index.ts";
import { uninstallCommand } from "./uninstall.ts";

/** Version of this program; "dev" when it runs from its source. */
const VERSION = process.env["SKYLANE_VERSION"] ?? "dev";
/** The commit that it was built from; with "-dirty" behind it where the tree had been changed, "unknown" where there was none. */
const COMMIT = process.env["SKYLANE_COMMIT"] ?? "unknown";

const versionCommand: Command = {
  words: ["version"],
  summary: "Prints the version",
  options: OUTPUT,
  run: (input) => {
    const { arch, version: node } = process;
    const all = { version: VERSION, commit: COMMIT, node, arch };
    process.stdout.write(input.json ? `${JSON.stringify(all, null, 2)}\n` : `${VERSION}\n`);
    return Promise.resolve(0);
  },
};

/** All of them. */
export const nodeCommands: readonly Command[] = [
  statusCommand,
  doctorCommand,
  probesCommand,
  flowsCommand,
  ...connectivityCommands,
  sysdumpCommand,
  traceCommand,
  uiCommand,
  ...policyCommands,
  newKeyCommand,
  rotateKeyCommand,
  logLevelCommand,
  installCniCommand,
  uninstallCommand,
  versionCommand,
];
