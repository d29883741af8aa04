import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Start } from "../../kernels/start.ts";
import { type KernelResult, merged, tableOf, withTable } from "../../kernels/outcomes.ts";

const read = (path: string): string => readFileSync(fileURLToPath(new URL(path, import.meta.url)), "utf8");

describe("the table of kernels", () => {
  const result: KernelResult = {
    kernel: "5.10",
    release: "5.10.0-32-cloud-amd64",
    outcomes: [
      { feature: "overlay", outcome: "passed", says: "", seconds: 9 },
      { feature: "bridged", outcome: "refused", says: "bridged networks need Linux 5.16", seconds: 0 },
      { feature: "policies", outcome: "failed", says: "a | b", seconds: 1 },
    ],
  };

  it("has a line for each kernel and says what came of each feature", () => {
    const [head, line, row, ...more] = tableOf([result]).trimEnd().split("\n");
    assert.match(head ?? "", /^\| kernel \| missing modules \| overlay \| pod networks \|/);
    assert.equal(line?.split("|").length, head?.split("|").length);
    assert.equal(
      row,
      "| 5.10.0-32-cloud-amd64 | not tried | yes | not tried | no: bridged networks need Linux 5.16 | FAILED: a \\| b | not tried | not tried | not tried | not tried | not tried |",
    );
    assert.deepEqual(more, []);
  });

  it("keeps of each feature what came of it last, but for what failed, and nothing of another release", () => {
    const now: KernelResult = {
      ...result,
      outcomes: [
        { feature: "networks", outcome: "passed", says: "", seconds: 7 },
        { feature: "overlay", outcome: "failed", says: "why", seconds: 1 },
        { feature: "bridged", outcome: "passed", says: "", seconds: 3 },
      ],
    };
    const of = (results: KernelResult[]) =>
      results.map(
        ({ kernel, outcomes }) => `${kernel}: ${outcomes.map((one) => `${one.feature} ${one.outcome}`).join()}`,
      );
    const names = ["5.10", "6.1"];
    const known: KernelResult = { ...result, outcomes: result.outcomes.slice(0, 2) };
    assert.deepEqual(of(merged(names, [known], [now])), ["5.10: overlay passed,networks passed,bridged passed"]);
    assert.deepEqual(of(merged(names, [known], [{ ...now, release: "5.10.1" }])), [
      "5.10: networks passed,bridged passed",
    ]);
    const others = [{ ...now, kernel: "6.1" }];
    assert.deepEqual(of(merged(names, [known], others)), [
      "5.10: overlay passed,bridged refused",
      "6.1: networks passed,bridged passed",
    ]);
    assert.deepEqual(merged(names, [known], []), [known]);
    const failed: KernelResult = { ...result, release: "5.10.1", outcomes: result.outcomes.slice(2) };
    assert.deepEqual(merged(names, [known], [failed]), [known]);
  });

  it("takes its place in a page and leaves the rest", () => {
    const page = "before\n<!-- kernels: npm run test:kernels -- --write -->\nold\n<!-- /kernels -->\nafter\n";
    const now = withTable(page, [result]);
    assert.equal(now, page.replace("old\n", tableOf([result])));
    assert.equal(withTable(now, [result]), now);
    assert.throws(() => withTable("no place\n", [result]), /no place for the table/);
  });

  it("in the documentation is that of the last run", () => {
    const page = read("../../../docs/install.md");
    const results = JSON.parse(read("../../kernels/results.json")) as KernelResult[];
    assert.equal(withTable(page, results), page);
  });
});

describe("the start of a guest", () => {
  const crashOf = (...lines: string[]): string | undefined => {
    const start = new Start();
    for (const line of lines) start.hear(line);
    return start.crash;
  };
  const ended = (status: number): string => `the guest's command ended with status ${status}`;

  it("tells a runtime that crashed before it ran anything from whatever ended later, or by itself", () => {
    assert.equal(crashOf("Trace/breakpoint trap", ended(133)), "SIGTRAP");
    assert.equal(crashOf(ended(139)), "SIGSEGV");
    assert.equal(crashOf("", "=== overlay", ended(139)), undefined);
    assert.equal(crashOf("SyntaxError", ended(1)), undefined);
    assert.equal(crashOf(ended(0)), undefined);
    assert.equal(crashOf("Kernel panic"), undefined);
  });
});
