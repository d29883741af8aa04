// Runs test suites one after the other and prints the sum of them as the last line:
// `N passed, N failed, N skipped`, and before it what failed, a line each, since the end of a long log is what is
// read first. A suite that ends without a report counts as a failure.
//
//   node scripts/test.mjs unit kernel [--coverage[=files]] [PATTERN...] [-- mocha options]
//
// On a machine that is N times slower than others SKYLANE_TEST_PATIENCE=N has each test wait so many times as long.
// With patterns only the files run whose path contains one of them. With --coverage it prints before the sum which share of the lines of
// each room, or file, the unit tests have run.
import { spawnSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Three test files at a time, each shown as a whole when it ends: files share nothing, and wait for the kernel and for each other's time more than they work. */
const PARALLEL = ["--parallel", "--jobs", "3"];
/** Tests that keep the whole machine busy, so that beside them nothing happens in the time that it should take. */
const CROWDS = ["agent/cni", "cni/crash", "ipam/processes", "lab/many-networks"].map(
  (name) => `test/kernel/${name}.test.ts`,
);
/** @type {Record<string, { timeout: number, runs: { files: string[], options: string[] }[] }>} */
const SUITES = {
  unit: { timeout: 120_000, runs: [{ files: ["test/unit/**/*.test.ts"], options: PARALLEL }] },
  kernel: {
    timeout: 120_000,
    runs: [
      { files: ["test/kernel/**/*.test.ts"], options: [...PARALLEL, ...CROWDS.flatMap((file) => ["--ignore", file])] },
      { files: CROWDS, options: [] },
    ],
  },
  // part of the kernel suite; by itself it prints what was tried and what came of it without the rest
  hostile: { timeout: 120_000, runs: [{ files: ["test/kernel/hostile/**/*.test.ts"], options: PARALLEL }] },
  cluster: { timeout: 1_200_000, runs: [{ files: ["test/cluster/**/*.test.ts"], options: ["--bail"] }] },
};

const dashes = process.argv.indexOf("--");
const words = process.argv.slice(2, dashes < 0 ? undefined : dashes);
const names = words.filter((word) => Object.hasOwn(SUITES, word));
const coverage = words.findLast((word) => /^--coverage(=files)?$/.test(word));
const patterns = words.filter((word) => !Object.hasOwn(SUITES, word) && !word.startsWith("--coverage"));
const passOn = dashes < 0 ? [] : process.argv.slice(dashes + 1);
const out = mkdtempSync(join(tmpdir(), "skylane-test-"));
/** What V8 has written about the processes of the unit tests. */
const measurements = join(out, "coverage");
// Of functions that come out of the cache V8 knows less.
const MEASURING = { NODE_V8_COVERAGE: measurements, NODE_DISABLE_COMPILE_CACHE: "1" };
const sum = { passed: 0, failed: 0, skipped: 0 };
/** What failed, in words. @type {string[]} */
const failures = [];
// What Node makes of TypeScript is kept for the run: tests start thousands of processes, and reading the sources is
// most of what a small one does.
const environment = { ...process.env, NODE_ENV: "test", NODE_COMPILE_CACHE: join(out, "compiled") };
const fail = (what) => {
  console.error(what);
  failures.push(what);
  sum.failed++;
};

/** Those of the files that a pattern names; all where there is none. */
function selected(files, ignored) {
  if (patterns.length === 0) return files;
  return globSync(files, { cwd: root }).filter(
    (file) => patterns.some((pattern) => file.includes(pattern)) && !ignored.includes(file),
  );
}

/** One run of mocha, added to the sum. */
function run(name, timeout, files, options) {
  const report = join(out, "report.json");
  rmSync(report, { force: true });
  const mocha = ["--disable-warning=ExperimentalWarning", join(root, "node_modules/mocha/bin/mocha.js")];
  const ours = ["--timeout", String(timeout), "--reporter", join(root, "scripts/reporter.cjs"), ...options];
  const measured = coverage !== undefined && name === "unit";
  const measuring = measured ? ["--require", join(root, "scripts/coverage-exit.cjs")] : [];
  const patient = process.env.SKYLANE_TEST_PATIENCE ? ["--require", join(root, "scripts/patience.cjs")] : [];
  const { status, signal } = spawnSync("node", [...mocha, ...ours, ...measuring, ...patient, ...passOn, ...files], {
    cwd: root,
    stdio: "inherit",
    env: { ...environment, SKYLANE_TEST_REPORT: report, ...(measured && MEASURING) },
  });
  const ended = signal ?? `status ${status}`;
  if (!existsSync(report)) {
    fail(`the ${name} suite ended without a report (${ended})`);
    return;
  }
  const stats = JSON.parse(readFileSync(report, "utf8"));
  for (const key of Object.keys(sum)) sum[key] += stats[key];
  failures.push(...stats.names.map((title) => `${name}: ${title}`));
  if (status !== 0 && stats.failed === 0) fail(`the ${name} suite ended with ${ended} although no test failed`);
}

for (const name of names) {
  const suite = SUITES[name];
  const elsewhere = name === "cluster" && process.env.SKYLANE_TEST_KUBECONFIG;
  if (name !== "unit" && !elsewhere && process.getuid?.() !== 0) {
    fail(`the ${name} tests make network namespaces: run them as root`);
    continue;
  }
  for (const { files, options } of suite.runs) {
    const chosen = selected(files, options);
    if (chosen.length > 0) run(name, suite.timeout, chosen, options);
  }
}

if (existsSync(measurements)) {
  const options = coverage === "--coverage=files" ? ["--files"] : [];
  // A report, not a gate: whatever comes of it, the tests have passed or not.
  const script = ["--disable-warning=ExperimentalWarning", join(root, "scripts/coverage.ts")];
  spawnSync("node", [...script, measurements, ...options], { cwd: root, stdio: "inherit" });
}
rmSync(out, { recursive: true, force: true });
if (patterns.length > 0 && sum.passed + sum.failed + sum.skipped === 0) {
  failures.push(`no test file's path contains ${patterns.join(" or ")}`);
  sum.failed++;
}
for (const what of failures) console.log(`failed: ${what}`);
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed === 0 && sum.passed > 0 ? 0 : 1;
