import assert from "node:assert/strict";
import { chartOf, isLater, ReleaseError, releaseNotes } from "../../../scripts/release/texts.ts";

describe("a release", () => {
  it("comes after the version that is there", () => {
    const inOrder = ["0.1.0", "0.2.0-rc.1", "0.2.0-rc.2", "0.2.0-rc.10", "0.2.0", "0.2.1", "0.10.0", "1.0.0"];
    for (const [at, version] of inOrder.entries())
      for (const [other, than] of inOrder.entries())
        assert.equal(isLater(version, than), at > other, `${version} ${than}`);
    for (const text of ["1.0", "v1.0.0", "01.0.0", "1.0.0-", "", "1.0.0\n"])
      assert.throws(() => isLater(text, "0.1.0"), ReleaseError, JSON.stringify(text));
  });

  it("puts what was unreleased under its version, and leaves a place for what comes", () => {
    const before = "# Changelog\n\n## Unreleased\n\n### Added\n- A thing.\n\n## 0.1.0\n\nFirst.\n";
    const { changelog, notes } = releaseNotes(before, "0.2.0", "2026-12-01");
    assert.equal(notes, "### Added\n- A thing.");
    assert.equal(
      changelog,
      "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-12-01)\n\n### Added\n- A thing.\n\n## 0.1.0\n\nFirst.\n",
    );
    assert.throws(() => releaseNotes(changelog, "0.3.0", "2026-12-02"), /nothing under "## Unreleased"/);
    assert.throws(() => releaseNotes("# Changelog\n", "0.3.0", "2026-12-02"), ReleaseError);
    assert.match(
      releaseNotes("## Unreleased\n\n- First.\n", "0.1.0", "2026-12-02").changelog,
      /## 0\.1\.0 .*\n\n- First\.\n$/,
    );
  });

  it("gives the chart its version and nothing else", () => {
    const chart = 'name: skylane\nversion: 0.1.0\nappVersion: "0.1.0"\nkubeVersion: ">=1.20.0-0"\n';
    assert.equal(chartOf(chart, "0.2.0"), chart.replaceAll("0.1.0", "0.2.0"));
  });
});
