// npm run check: types, lint, format, the rules of structure.ts, code that nobody uses and generated documents.
// Every step runs even when one before it failed, so that one run shows everything.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
/** @type {[string, string, string[]][]} */
const STEPS = [
  ["types", "tsc", ["-p", "."]],
  ["types of the page", "tsc", ["-p", "src/cli/ui/page"]],
  ["lint", "oxlint", ["--type-aware", "--deny-warnings", "src", "lab", "cmd", "test", "bench", "scripts"]],
  ["format", "biome", ["format", "."]],
  ["structure", "node", ["scripts/structure.ts"]],
  ["dead code", "knip", ["--include", "files,exports", "--no-progress"]],
  ["manifests", "node", ["scripts/manifests.ts", "--check"]],
  ["configuration document", "node", ["scripts/config-docs.ts", "--check"]],
  ["table of decisions", "node", ["scripts/adr.ts", "--check"]],
];

let failed = 0;
for (const [name, command, args] of STEPS) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (status === 0) continue;
  failed++;
  console.error(`check: ${name} failed${error ? `: ${error.message}` : ""}`);
}
console.log(failed === 0 ? "check: clean" : `check: ${failed} of ${STEPS.length} steps failed`);
process.exitCode = failed === 0 ? 0 : 1;
