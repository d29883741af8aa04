/** The operator's command line as tests start it: as it was built, where it was. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const built = join(root, "dist/bin/skylanectl");

/** The words before a command's own. */
export const SKYLANECTL: readonly string[] = existsSync(built)
  ? [built]
  : [process.execPath, "--disable-warning=ExperimentalWarning", join(root, "cmd/skylanectl/main.ts")];
