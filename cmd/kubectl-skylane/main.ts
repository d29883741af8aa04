/** `kubectl skylane`, as kubectl finds it by its name. */
import { kubectlPlugin } from "../../src/cli/index.ts";

void kubectlPlugin(process.argv.slice(2), (text) => process.stderr.write(text)).then((status) => {
  process.exitCode = status;
});
