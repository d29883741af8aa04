import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GoneFiles } from "../../../src/sys/index.ts";

describe("files that are gone before they are unlinked", () => {
  let dir: string;
  let errors: unknown[];
  const files = () => new GoneFiles(join(dir, "gone"), (error) => void errors.push(error));
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-gone-"));
    errors = [];
  });
  afterEach(() => {
    rmSync(dir, { recursive: true, force: true });
  });

  it("are out of the way at once, and off the disk soon", async () => {
    const gone = files();
    const paths = Array.from({ length: 5 }, (_, i) => join(dir, `record${i}`));
    for (const path of paths) symlinkSync("what it says", path);
    for (const path of paths) {
      gone.remove(path);
      symlinkSync("another", path); // the name is free
    }
    await gone.settled();
    assert.deepEqual(readdirSync(join(dir, "gone")), []);
    assert.equal(readdirSync(dir).length, 6);
    assert.deepEqual(errors, []);
  });

  it("that a killed process left are removed by the next one", async () => {
    mkdirSync(join(dir, "gone"));
    writeFileSync(join(dir, "gone", "left"), "");
    const gone = files();
    gone.sweep();
    await gone.settled();
    assert.equal(existsSync(join(dir, "gone", "left")), false);
    assert.deepEqual(errors, []);
  });

  it("are unlinked in the plain way where they cannot be put aside", () => {
    writeFileSync(join(dir, "gone"), "no directory");
    const path = join(dir, "record");
    symlinkSync("what it says", path);
    files().remove(path);
    assert.deepEqual(readdirSync(dir), ["gone"]);
  });

  it("are told from those that never were", () => {
    assert.throws(() => files().remove(join(dir, "nothing")), { code: "ENOENT" });
  });

  it("have no directory to sweep before the first", async () => {
    const gone = files();
    gone.sweep();
    await gone.settled();
    assert.deepEqual(errors, []);
  });
});
