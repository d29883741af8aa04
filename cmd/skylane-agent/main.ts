/** The agent's executable. */
import { runAgent } from "../../src/agent/index.ts";

const version = process.env["SKYLANE_VERSION"] ?? "dev";
void runAgent({ argv: process.argv.slice(2), env: process.env, version }).then((status) => process.exit(status));
