import assert from "node:assert/strict";
import { mkdtempSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeDirectory } from "../../../src/sys/files/directory.ts";

describe("making a directory", () => {
  let base = "";
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "skylane-directory-"));
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  it("makes those above it too, and is content with what is there", () => {
    const deep = join(base, "a", "b", "c");
    makeDirectory(deep, 0o700);
    assert.equal(statSync(deep).mode & 0o777, 0o700);
    makeDirectory(deep);
    assert.equal(statSync(deep).mode & 0o777, 0o700);
  });

  it("says what is in the way", () => {
    writeFileSync(join(base, "file"), "");
    assert.throws(() => makeDirectory(join(base, "file", "x")), { code: "ENOTDIR" });
  });

  it("gives up, where mkdir of Node would not, in a directory that was removed while in use", () => {
    const home = process.cwd();
    process.chdir(base);
    try {
      rmdirSync(base);
      assert.throws(() => makeDirectory("/proc/self/cwd/a/b"), { code: "ENOENT" });
    } finally {
      process.chdir(home);
    }
  });
});
