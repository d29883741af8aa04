/**
 * Skylane on other kernels than this machine's: Debian's, in virtual machines. Prints all that happens in them, a table of kernels and features, and as the
 * last line `N passed, N failed, N skipped`.
 *
 *   npm run test:kernels                              all kernels: 5.10, 6.1, 6.12, newest
 *   npm run test:kernels -- 6.1 6.12                  some of them
 *   npm run test:kernels -- 6.1 --only fastPath,tests --tests kernel/nft,kernel/pod
 *   npm run test:kernels -- 6.12 --bench encryption   measurements of npm run bench in place of features
 *   npm run test:kernels -- --write                   puts what did not fail into the table of docs/install.md as well
 *
 * SKYLANE_KERNELS_DIR is where kernels are kept (/var/cache/skylane-kernels); one that is removed there is fetched anew. SKYLANE_KERNELS_ACCEL=kvm has
 * QEMU use the processor's help, where that works.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bootable, type Kernel, KERNELS } from "./debian.ts";
import { boot, FIRST, treeImage } from "./machine.ts";
import { Start } from "./start.ts";
import {
  BENCH,
  type Feature,
  FEATURES,
  type KernelResult,
  merged,
  type Outcome,
  tableOf,
  withTable,
} from "./outcomes.ts";

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const RESULTS = path("results.json");
const PAGE = path("../../docs/install.md");
/** A machine without any help takes some ten minutes for everything; one that takes so long hangs. */
const LIMIT_MS = 60 * 60_000;
const ALL = Object.keys(FEATURES) as Feature[];

const sum = { passed: 0, failed: 0, skipped: 0 };
const wrong: string[] = [];
/** What did not fail and has to be known. */
const notes: string[] = [];

/** Why none of these kernels can be run here; undefined where they can. */
function missing(): string | undefined {
  if (process.getuid?.() !== 0) return "kernels are unpacked and booted by root";
  if (process.arch !== "x64") return `there is no virtual machine of this kind for ${process.arch}`;
  try {
    execFileSync(process.execPath, [path("../../scripts/setup.mjs"), "kernels"], { stdio: ["ignore", 2, 2] });
    return undefined;
  } catch {
    return "QEMU, or another of the packages that it takes, cannot be had";
  }
}

function add(kernel: string, { feature, outcome, says, counts }: Outcome): void {
  for (const key of ["passed", "failed", "skipped"] as const)
    sum[key] += counts ? counts[key] : Number(key === (outcome === "refused" ? "skipped" : outcome));
  const what = feature === BENCH ? "measurements" : FEATURES[feature];
  if (outcome === "failed") wrong.push(`${kernel}: ${what}: ${says}`);
}

async function onKernel(
  kernel: Kernel,
  kept: string,
  tree: string,
  args: readonly string[],
): Promise<KernelResult | undefined> {
  let what: ReturnType<typeof bootable>;
  try {
    what = bootable(kept, kernel, FIRST);
  } catch (error) {
    console.log(`skipped: Linux ${kernel.name}: ${error instanceof Error ? error.message : String(error)}`);
    sum.skipped++;
    return undefined;
  }
  console.log(`\nLinux ${what.release} (Debian ${kernel.suite})`);
  const started = async (): Promise<{ said: string[]; crash: string | undefined }> => {
    const start = new Start();
    const onLine = (line: string): void => {
      start.hear(line);
      console.log(`${kernel.name}: ${line}`);
    };
    const said = await boot({ kernel: what, tree, args, limitMs: LIMIT_MS, onLine });
    return { said, crash: start.crash };
  };
  let { said, crash } = await started();
  if (crash !== undefined) {
    const note = `${kernel.name}: Node.js itself crashed in the guest (${crash}) before it ran any of Skylane's code`;
    notes.push(`${note}; the kernel was booted once more`);
    console.log(`\nNOTE: ${note}; booting the kernel once more\n`);
    ({ said, crash } = await started());
    if (crash !== undefined) wrong.push(`${note}, and again (${crash}) on the second boot`);
  }
  const outcomes = said.map((line) => JSON.parse(line) as Outcome);
  for (const feature of (args[0] as string).split(",") as Outcome["feature"][])
    if (!outcomes.some((one) => one.feature === feature))
      outcomes.push({ feature, outcome: "failed", says: "the machine ended before", seconds: 0 });
  for (const outcome of outcomes) add(kernel.name, outcome);
  return { kernel: kernel.name, release: what.release, outcomes };
}

function write(results: readonly KernelResult[]): void {
  const before = existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, "utf8")) as KernelResult[]) : [];
  const names = KERNELS.map(({ name }) => name);
  const all = merged(names, before, results);
  writeFileSync(RESULTS, `${JSON.stringify(all, null, 2)}\n`);
  writeFileSync(PAGE, withTable(readFileSync(PAGE, "utf8"), all));
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: "string" },
      tests: { type: "string" },
      bench: { type: "string" },
      write: { type: "boolean" },
    },
  });
  const unknown = positionals.find((name) => !KERNELS.some((kernel) => kernel.name === name));
  if (unknown !== undefined)
    throw new Error(`no kernel "${unknown}"; there are ${KERNELS.map(({ name }) => name).join(", ")}`);
  const features = values.only?.split(",") ?? ALL;
  const no = features.find((feature) => !Object.hasOwn(FEATURES, feature));
  if (no !== undefined) throw new Error(`no feature "${no}"; there are ${ALL.join(", ")}`);
  const kernels = KERNELS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const why = missing();
  if (why !== undefined) {
    for (const { name } of kernels) console.log(`skipped: Linux ${name}: ${why}`);
    sum.skipped += kernels.length;
    return;
  }
  const kept = process.env["SKYLANE_KERNELS_DIR"] ?? "/var/cache/skylane-kernels";
  mkdirSync(kept, { recursive: true });
  const work = mkdtempSync(join(kept, "tree-"));
  process.once("exit", () => rmSync(work, { recursive: true, force: true }));
  const results: KernelResult[] = [];
  try {
    const { tests, bench } = values;
    const tree = treeImage(work, bench !== undefined);
    const args = bench === undefined ? [features.join(","), ...(tests === undefined ? [] : [tests])] : [BENCH, bench];
    for (const kernel of kernels) {
      const result = await onKernel(kernel, kept, tree, args);
      if (result) results.push(result);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  for (const { kernel, outcomes } of results)
    console.log(`\n${kernel}: ${outcomes.map(({ feature, seconds }) => `${feature} ${seconds} s`).join(", ")}`);
  if (values.bench !== undefined) return;
  console.log(`\n${tableOf(results)}`);
  if (values.write) write(results);
}

// Machines end with this process, and what it has made for them goes, however it ends.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
try {
  await main();
} catch (error) {
  sum.failed++;
  wrong.push(error instanceof Error ? error.message : String(error));
}
for (const line of notes) console.log(`note: ${line}`);
for (const line of wrong) console.log(`failed: ${line}`);
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed === 0 ? 0 : 1;
