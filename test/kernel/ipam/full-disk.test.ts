import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(import.meta.resolve("./full-disk.ts"));
const MOUNT = 'mount --make-rprivate / && mount -t tmpfs -o "$1" skylane-test "$2" && shift 2 && exec "$@"';

describe("address management on a full disk", function () {
  this.timeout(30_000);
  const base = mkdtempSync(join(tmpdir(), "skylane-full-"));
  after(() => rmdirSync(base));

  for (const [what, options] of [
    ["blocks", "size=64k"],
    ["inodes", "size=1m,nr_inodes=40"],
  ] as const) {
    it(`refuses cleanly and goes on freeing when out of ${what}`, () => {
      const run = spawnSync(
        "unshare",
        ["-m", "sh", "-c", MOUNT, "sh", options, base, process.execPath, PROGRAM, base],
        {
          encoding: "utf8",
        },
      );
      assert.equal(run.status, 0, run.stderr);
      assert.match(run.stdout, /\d+ refused, \d+ given and freed/);
    });
  }
});
