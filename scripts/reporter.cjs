// Mocha's own spec reporter, which also names every skipped test with its reason at the end and leaves the
// counts, and what failed in a line each, where scripts/test.mjs reads them.
const { writeFileSync } = require("node:fs");
const Mocha = require("mocha");

/** What an error says, on one line: of two values that are compared the lines that differ, since what is alike says nothing. */
function inOneLine(error) {
  const [first = "", ...rest] = String(error?.message ?? error).split("\n");
  const differing = rest.filter((line) => /^\s*[+-] /.test(line) && !/^\s*\+ actual - expected/.test(line));
  const more = (differing.length > 0 ? differing : rest).map((line) => line.trim().replaceAll(/\s+/g, " ")).filter(Boolean);
  return [first, ...more].join(" ").slice(0, 800);
}

class Reporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const skipped = [];
    const failed = [];
    runner.on("pending", (test) => skipped.push(test.fullTitle()));
    runner.on("fail", (test, error) => failed.push(`${test.fullTitle()}: ${inOneLine(error)}`));
    runner.once("end", () => {
      for (const title of skipped) console.log(`  skipped: ${title}`);
      const { passes, failures, pending } = runner.stats;
      const report = process.env.SKYLANE_TEST_REPORT;
      if (report) writeFileSync(report, JSON.stringify({ passed: passes, failed: failures, skipped: pending, names: failed }));
    });
  }
}

module.exports = Reporter;
