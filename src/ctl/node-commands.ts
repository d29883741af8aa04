/** The commands that look after Skylane on one node. */
import type { Command } from "./command.ts";
import { doctorCommand } from "./doctor/index.ts";
import { installCniCommand } from "./install-cni.ts";
import { statusCommand } from "./status.ts";
import { uninstallCommand } from "./uninstall.ts";

/** Version of this program; "dev" when it runs from its source. */
const VERSION = process.env["SKYLANE_VERSION"] ?? "dev";

const versionCommand: Command = {
  words: ["version"],
  summary: "Prints the version",
  run: async () => {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  },
};

/** All of them. */
export const nodeCommands: readonly Command[] = [
  statusCommand,
  doctorCommand,
  installCniCommand,
  uninstallCommand,
  versionCommand,
];
