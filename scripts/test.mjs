// Runs test suites one after the other and prints the sum of them as the last line:
// `N passed, N failed, N skipped`, and before it what failed, a line each, since the end of a long log is what is
// read first. A suite that ends without a report counts as a failure.
//
//   node scripts/test.mjs unit kernel [-- mocha options]
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const SUITES = {
  unit: { timeout: 10_000, extra: ["--parallel", "--jobs", "2"] },
  kernel: { timeout: 120_000, extra: [] },
  cluster: { timeout: 1_200_000, extra: ["--bail"] },
};

const dashes = process.argv.indexOf("--");
const names = process.argv.slice(2, dashes < 0 ? undefined : dashes);
const passOn = dashes < 0 ? [] : process.argv.slice(dashes + 1);
const out = mkdtempSync(join(tmpdir(), "skylane-test-"));
const sum = { passed: 0, failed: 0, skipped: 0 };
/** What failed, in words. @type {string[]} */
const failures = [];
const fail = (what) => {
  console.error(what);
  failures.push(what);
  sum.failed++;
};

for (const name of names) {
  const suite = SUITES[name];
  if (!suite) throw new Error(`no suite "${name}"; there are ${Object.keys(SUITES).join(", ")}`);
  const elsewhere = name === "cluster" && process.env.SKYLANE_TEST_KUBECONFIG;
  if (name !== "unit" && !elsewhere && process.getuid?.() !== 0) {
    fail(`the ${name} tests make network namespaces: run them as root`);
    continue;
  }
  const report = join(out, `${name}.json`);
  const args = ["--disable-warning=ExperimentalWarning", join(root, "node_modules/mocha/bin/mocha.js")];
  args.push(
    "--timeout",
    String(suite.timeout),
    "--reporter",
    join(root, "scripts/reporter.cjs"),
    ...suite.extra,
    ...passOn,
  );
  args.push(`test/${name}/**/*.test.ts`);
  const { status, signal } = spawnSync("node", args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, SKYLANE_TEST_REPORT: report, NODE_ENV: "test" },
  });
  if (!existsSync(report)) {
    fail(`the ${name} suite ended without a report (${signal ?? `status ${status}`})`);
    continue;
  }
  const stats = JSON.parse(readFileSync(report, "utf8"));
  for (const key of Object.keys(sum)) sum[key] += stats[key];
  failures.push(...stats.names.map((title) => `${name}: ${title}`));
  if (status !== 0 && stats.failed === 0)
    fail(`the ${name} suite ended with ${signal ?? `status ${status}`} although no test failed`);
}

rmSync(out, { recursive: true, force: true });
for (const what of failures) console.log(`failed: ${what}`);
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed === 0 && sum.passed > 0 ? 0 : 1;
