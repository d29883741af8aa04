// Mocha's own spec reporter, which also names every skipped test with its reason at the end and leaves the
// counts where scripts/test.mjs reads them.
const { writeFileSync } = require("node:fs");
const Mocha = require("mocha");

class Reporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const skipped = [];
    runner.on("pending", (test) => skipped.push(test.fullTitle()));
    runner.once("end", () => {
      for (const title of skipped) console.log(`  skipped: ${title}`);
      const { passes, failures, pending } = runner.stats;
      const report = process.env.SKYLANE_TEST_REPORT;
      if (report) writeFileSync(report, JSON.stringify({ passed: passes, failed: failures, skipped: pending }));
    });
  }
}

module.exports = Reporter;
