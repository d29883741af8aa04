import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFileAtomic } from "../../../src/sys/index.ts";

describe("writeFileAtomic", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "skylane-files-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("writes a new file and replaces an old one, leaving nothing else", () => {
    const path = join(directory, "a.json");
    writeFileAtomic(path, "one");
    writeFileAtomic(path, Buffer.from("two"), { durable: true });
    assert.equal(readFileSync(path, "utf8"), "two");
    assert.deepEqual(readdirSync(directory), ["a.json"]);
  });

  it("gives the file its mode whatever the umask says", () => {
    const old = process.umask(0o077);
    try {
      writeFileAtomic(join(directory, "a"), "");
      writeFileAtomic(join(directory, "b"), "", { mode: 0o600 });
    } finally {
      process.umask(old);
    }
    assert.equal(statSync(join(directory, "a")).mode & 0o777, 0o644);
    assert.equal(statSync(join(directory, "b")).mode & 0o777, 0o600);
  });

  it("leaves the directory as it was when it fails", () => {
    const path = join(directory, "taken");
    mkdirSync(join(path, "not-empty"), { recursive: true });
    assert.throws(() => writeFileAtomic(path, "x"), { code: "EISDIR" });
    assert.deepEqual(readdirSync(directory), ["taken"]);
    assert.throws(() => writeFileAtomic(join(directory, "missing", "a"), "x"), { code: "ENOENT" });
  });
});
