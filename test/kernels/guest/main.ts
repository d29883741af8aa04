/**
 * What runs on a kernel: each feature that is named is tried, and what came of it is a line of JSON on the second serial line. The console has
 * all that was printed meanwhile.
 *
 *   main.ts FEATURE,… [PATTERN,…]     patterns choose the files of the kernel tests
 *   main.ts bench MEASUREMENT,…       what npm run bench measures, with its table on the console
 */
import { appendFileSync } from "node:fs";
import type { Outcome } from "../outcomes.ts";
import { measurements } from "./bench.ts";
import { bridged, demo } from "./demos.ts";
import { tryEncryption } from "./encryption.ts";
import { tryFastPath, verify } from "./fast-path.ts";
import { withoutModules } from "./missing-modules.ts";
import { kernelTests, selection } from "./tests.ts";

/** Says what it did, or why this kernel cannot. Throws what failed. */
export type Trial = () => Promise<Pick<Outcome, "says"> & Partial<Pick<Outcome, "outcome" | "counts">>>;

const SERIAL = "/dev/ttyS1";
const came = new Map<Outcome["feature"], Outcome>();
const [features = "", patterns = ""] = process.argv.slice(2);

const TRIALS: Readonly<Record<Outcome["feature"], Trial>> = {
  modules: withoutModules,
  overlay: () => demo("overlay"),
  networks: () => demo("networks"),
  bridged,
  policies: () => demo("policy"),
  fastPath: tryFastPath,
  verifier: verify,
  encryption: tryEncryption,
  functions: () => demo("functions"),
  tests: () =>
    kernelTests(patterns === "" ? selection(came.get("fastPath")?.outcome === "passed") : patterns.split(",")),
  bench: () => measurements(patterns.split(",")),
};

for (const feature of features.split(",") as Outcome["feature"][]) {
  console.log(`\n=== ${feature}`);
  const start = performance.now();
  let outcome: Omit<Outcome, "feature" | "seconds">;
  try {
    outcome = { outcome: "passed", ...(await TRIALS[feature]()) };
  } catch (error) {
    console.log(error);
    outcome = {
      outcome: "failed",
      says: (error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? "",
    };
  }
  const seconds = Math.round((performance.now() - start) / 1000);
  const whole: Outcome = { feature, ...outcome, seconds };
  came.set(feature, whole);
  appendFileSync(SERIAL, `${JSON.stringify(whole)}\n`);
}
