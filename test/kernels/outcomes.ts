/** What a kernel can do and what came of trying it: handed over by the guest as a line of JSON each, and shown as a table. */

/** What is tried on each kernel, in this order, and the head of its column. A closed list. The first wants a machine that has loaded nothing yet. */
export const FEATURES = {
  modules: "missing modules",
  overlay: "overlay",
  networks: "pod networks",
  bridged: "bridged networks",
  policies: "network policies",
  fastPath: "fast path",
  verifier: "BPF programs",
  encryption: "encryption",
  functions: "host ports, bandwidth, egress",
  tests: "kernel tests",
} as const;
export type Feature = keyof typeof FEATURES;
/** Measurements on a kernel: no feature, and in no table. */
export const BENCH = "bench";

/** What came of one feature on one kernel. */
export interface Outcome {
  feature: Feature | typeof BENCH;
  /** `refused`: this kernel cannot, and what was asked for it said so. */
  outcome: "passed" | "failed" | "refused";
  /** In a few words: what it did, or why not. */
  says: string;
  seconds: number;
  /** Of a suite of tests, instead of the one that a feature counts as. */
  counts?: { passed: number; failed: number; skipped: number };
}

/** A kernel and what came of it; kept in results.json for the documentation. */
export interface KernelResult {
  /** As it is asked for: "6.1". */
  kernel: string;
  /** As it calls itself. */
  release: string;
  outcomes: Outcome[];
}

const cell = (result: KernelResult, feature: Feature): string => {
  const found = result.outcomes.find((one) => one.feature === feature);
  if (!found) return "not tried";
  const word = { passed: "yes", failed: "FAILED", refused: "no" }[found.outcome];
  return found.says === "" ? word : `${word}: ${found.says.replaceAll("|", "\\|")}`;
};

/** A line for each kernel, a column for each feature, as Markdown. */
export function tableOf(results: readonly KernelResult[]): string {
  const features = Object.keys(FEATURES) as Feature[];
  const rows = [
    ["kernel", ...Object.values(FEATURES)],
    ["---", ...features.map(() => "---")],
    ...results.map((result) => [result.release, ...features.map((feature) => cell(result, feature))]),
  ];
  return rows.map((row) => `| ${row.join(" | ")} |\n`).join("");
}

/**
 * What is known of kernels after a further run: of each feature what came of it last. What failed is not known, and leaves what was known as it is; of a
 * kernel that is another release by now nothing remains.
 * @param names of all kernels, in order
 */
export function merged(
  names: readonly string[],
  before: readonly KernelResult[],
  now: readonly KernelResult[],
): KernelResult[] {
  return names.flatMap((name) => {
    const [old, fresh] = [before, now].map((results) => results.find(({ kernel }) => kernel === name));
    const known = fresh?.outcomes.filter(({ outcome }) => outcome !== "failed") ?? [];
    if (fresh === undefined || known.length === 0) return old ?? [];
    const kept = old?.release === fresh.release ? old.outcomes : [];
    const outcomes = (Object.keys(FEATURES) as Feature[]).flatMap(
      (feature) => [...known, ...kept].find((one) => one.feature === feature) ?? [],
    );
    return { ...fresh, outcomes };
  });
}

const MARKS = ["<!-- kernels: npm run test:kernels -- --write -->\n", "<!-- /kernels -->\n"] as const;

/** A page with the table between its marks. @throws Error when the page has no marks */
export function withTable(page: string, results: readonly KernelResult[]): string {
  const [begin, end] = MARKS.map((mark) => page.indexOf(mark)) as [number, number];
  if (begin < 0 || end < begin) throw new Error(`the page has no place for the table of kernels (${MARKS[0].trim()})`);
  return page.slice(0, begin + MARKS[0].length) + tableOf(results) + page.slice(end);
}
