/** Writes docs/configuration.md from the schema; with `--check`, fails when the file is not up to date. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { configurationMarkdown } from "../src/config/index.ts";

const file = join(import.meta.dirname, "..", "docs", "configuration.md");
const text = configurationMarkdown();
if (!process.argv.includes("--check")) writeFileSync(file, text);
else if (readFileSync(file, "utf8") !== text) {
  process.stderr.write("docs/configuration.md is not what the schema says; run `node scripts/config-docs.ts`\n");
  process.exitCode = 1;
}
