/** Locks between real processes, also ones that are killed. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tryLock, withLock } from "../../../src/sys/index.ts";

const MODULE = `${import.meta.dirname}/../../../src/sys/index.ts`;

/** Runs a script that can use `lock` (this module), `fs` and its arguments, in a process of its own. */
function run(script: string, ...args: string[]) {
  const source = `import * as lock from ${JSON.stringify(MODULE)}; import * as fs from "node:fs"; const args = process.argv.slice(1); ${script}`;
  const flags = [
    "--disable-warning=ExperimentalWarning",
    "--input-type=module-typescript",
    "-e",
    source,
    "--",
    ...args,
  ];
  return spawn(process.execPath, flags, { stdio: ["pipe", "pipe", "inherit"] });
}

describe("withLock", function () {
  this.timeout(20_000);
  let directory: string;
  let path: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "skylane-lock-"));
    path = join(directory, "lock");
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it("lets one process in at a time", async () => {
    const counter = join(directory, "counter");
    writeFileSync(counter, "0");
    const script = `for (let i = 0; i < 200; i++) lock.withLock(args[0], () => fs.writeFileSync(args[1], String(Number(fs.readFileSync(args[1], "utf8")) + 1)));`;
    const children = Array.from({ length: 3 }, () => run(script, path, counter));
    const codes = await Promise.all(children.map(async (child) => (await once(child, "exit"))[0] as number));
    assert.deepEqual(codes, [0, 0, 0]);
    assert.equal(readFileSync(counter, "utf8"), "600");
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it("is free again when its holder was killed", async () => {
    const child = run(
      `lock.withLock(args[0], () => { fs.writeSync(1, "held"); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); });`,
      path,
    );
    await once(child.stdout, "data");
    assert.equal(tryLock(path), undefined);
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    assert.equal(
      withLock(path, () => "free"),
      "free",
    );
  });

  it("gives the lock back when its function throws, and refuses to be taken twice or for a promise", async () => {
    assert.throws(() => withLock(path, () => assert.fail("inside")), /inside/);
    assert.throws(() => withLock(path, () => withLock(path, () => 1)), /holds the lock/);
    assert.throws(() => withLock(path, () => Promise.resolve(1)), TypeError);
    const held = tryLock(path);
    assert.ok(held);
    assert.throws(() => tryLock(path), /holds the lock/);
    held.release();
    held.release();
    assert.equal(
      withLock(path, () => 1),
      1,
    );
  });

  it("says that the directory is missing", () => {
    assert.throws(() => withLock(join(directory, "missing", "lock"), () => 1), { code: "ENOENT" });
  });
});
