import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type KernelResult, tableOf, withTable } from "../../kernels/outcomes.ts";

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
    assert.match(head ?? "", /^\| kernel \| overlay \| pod networks \|/);
    assert.equal(line?.split("|").length, head?.split("|").length);
    assert.equal(
      row,
      "| 5.10.0-32-cloud-amd64 | yes | not tried | no: bridged networks need Linux 5.16 | FAILED: a \\| b | not tried | not tried | not tried |",
    );
    assert.deepEqual(more, []);
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
