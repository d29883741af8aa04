/** Runs an uninstallation in the namespace in which it was started; options come as JSON, the report goes to stdout. */
import { uninstall, type UninstallOptions, UninstallRefused } from "../../../src/agent/index.ts";

const options = JSON.parse(process.argv[2] as string) as UninstallOptions;
try {
  process.stdout.write(JSON.stringify(await uninstall(options)));
} catch (error) {
  if (!(error instanceof UninstallRefused)) throw error;
  process.stdout.write(JSON.stringify({ removed: [], problems: [], refused: error.message }));
}
