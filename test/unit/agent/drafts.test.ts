/** What an agent that was killed over a write leaves, and the next one takes away. */
import assert from "node:assert/strict";
import fs, { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeDrafts } from "../../../src/host/index.ts";
import { writeFileAtomic } from "../../../src/sys/index.ts";

describe("drafts of files", () => {
  const dir = mkdtempSync(join(tmpdir(), "skylane-drafts-"));
  const real = fs.renameSync;
  const removing = fs.rmSync;
  afterEach(() => {
    Object.assign(fs, { renameSync: real, rmSync: removing });
    syncBuiltinESMExports();
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  it("that an agent was killed over go with the next start, and nothing else does", () => {
    writeFileAtomic(join(dir, "default.json"), "{}");
    for (const name of ["notes", ".hidden", "other.json.tmp", ".foreign.json.tmp"]) writeFileSync(join(dir, name), "");
    const before = readdirSync(dir);
    // As far as a kill lets it come: the draft is there, and nobody renames it nor takes it back.
    Object.assign(fs, {
      renameSync: () => {
        throw new Error("killed");
      },
      rmSync: () => undefined,
    });
    syncBuiltinESMExports();
    assert.throws(() => writeFileAtomic(join(dir, "default.json"), "{}"), /killed/);
    Object.assign(fs, { renameSync: real, rmSync: removing });
    syncBuiltinESMExports();
    assert.equal(readdirSync(dir).length, before.length + 1);
    removeDrafts(dir, (name) => name === "another.json");
    assert.equal(readdirSync(dir).length, before.length + 1);
    removeDrafts(dir, (name) => name === "default.json");
    assert.deepEqual(readdirSync(dir), before);
  });
});
