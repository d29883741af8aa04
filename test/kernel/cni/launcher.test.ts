import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProcess } from "../support/runtime.ts";
import { BIN } from "./node.ts";

describe("the launcher", () => {
  let dir: string;
  const lib = () => join(dir, "lib", "skylane");
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-launcher-"));
    mkdirSync(join(dir, "bin"));
    mkdirSync(lib(), { recursive: true });
    for (const name of ["skylane", "skylane-agent", "skylanectl"])
      copyFileSync(join(BIN, "skylane"), join(dir, "bin", name));
    // A stand-in for Node that says how it was started.
    writeFileSync(
      join(lib(), "node"),
      '#!/bin/sh\nfor a in "$@"; do echo "arg $a"; done\nenv | grep -E "NODE_|MALLOC|UV_" | sort\ntrue\n',
    );
    chmodSync(join(lib(), "node"), 0o755);
    for (const name of ["skylane", "skylane-agent", "skylanectl"]) writeFileSync(join(lib(), `${name}.cjs`), "");
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const env = { PATH: process.env.PATH ?? "" };
  const start = async (name: string, args: string[] = [], more: Record<string, string> = {}) => {
    const outcome = await runProcess(join(dir, "bin", name), args, { env: { ...env, ...more }, stdin: "", raw: true });
    return { ...outcome, lines: outcome.stdout.trim().split("\n") };
  };

  it("starts the script of its name with all arguments as they are", async () => {
    const { lines } = await start("skylanectl", ["lab", "exec", "n1", "--", "sh", "-c", "a  b;$c", ""]);
    const script = join(dir, "bin", "..", "lib", "skylane", "skylanectl.cjs");
    assert.equal(lines[0], "arg --disable-warning=ExperimentalWarning");
    assert.ok(lines[1]?.endsWith("/bin/../lib/skylane/skylanectl.cjs"), script);
    const given = lines.slice(2).filter((line) => line.startsWith("arg"));
    assert.deepEqual(given, ["arg lab", "arg exec", "arg n1", "arg --", "arg sh", "arg -c", "arg a  b;$c", "arg "]);
  });

  it("lets nothing that is meant for another Node change the plugin", async () => {
    const hostile = { NODE_OPTIONS: "--require /tmp/x.js", NODE_PATH: "/tmp", NODE_DEBUG: "fs", NODE_NAME: "n1" };
    assert.deepEqual((await start("skylane", [], hostile)).lines.slice(3), ["NODE_NAME=n1"]);
    assert.ok((await start("skylanectl", [], hostile)).lines.includes("NODE_OPTIONS=--require /tmp/x.js"));
  });

  it("gives the agent its memory and thread settings unless they are set", async () => {
    const settings = async (more: Record<string, string> = {}): Promise<string[]> =>
      (await start("skylane-agent", [], more)).lines.filter((line) => /^(MALLOC|UV)_/.test(line));
    const thresholds = ["MALLOC_MMAP_THRESHOLD_=131072", "MALLOC_TRIM_THRESHOLD_=131072"];
    assert.deepEqual(await settings(), ["MALLOC_ARENA_MAX=1", ...thresholds, "UV_THREADPOOL_SIZE=8"]);
    const set = { UV_THREADPOOL_SIZE: "4", MALLOC_ARENA_MAX: "2" };
    assert.deepEqual(await settings(set), ["MALLOC_ARENA_MAX=2", ...thresholds, "UV_THREADPOOL_SIZE=4"]);
  });

  it("keeps what V8 makes of the long-lived commands beside their scripts, and of the plugin only where it is built", async () => {
    const cache = (lines: string[]): string[] => lines.filter((line) => line.startsWith("NODE_COMPILE_CACHE="));
    for (const name of ["skylane-agent", "skylanectl"]) {
      const [line] = cache((await start(name)).lines);
      assert.match(line ?? "", /\/bin\/\.\.\/lib\/skylane\/cache$/);
    }
    assert.deepEqual(cache((await start("skylane")).lines), []);
  });

  it("finds everything through a symbolic link too", async () => {
    mkdirSync(join(dir, "opt"));
    symlinkSync(join(dir, "bin", "skylane"), join(dir, "opt", "any-name"));
    const outcome = await runProcess(join(dir, "opt", "any-name"), [], { env, stdin: "", raw: true });
    assert.match(outcome.stdout, /lib\/skylane\/skylane\.cjs/);
  });

  it("uses the loader that was installed beside Node", async () => {
    mkdirSync(join(lib(), "so"));
    copyFileSync(join(lib(), "node"), join(lib(), "so", "loader"));
    chmodSync(join(lib(), "so", "loader"), 0o755);
    const { lines } = await start("skylane");
    assert.equal(lines[0], "arg --library-path");
    assert.ok(lines[1]?.endsWith("/lib/skylane/so") && lines[2]?.endsWith("/lib/skylane/node"));
  });

  it("the plugin was built with a cache that belongs to it and that Node takes", () => {
    const built = join(BIN, "..", "lib", "skylane");
    const source = readFileSync(join(built, "skylane-plugin.cjs"), "latin1");
    const cache = readFileSync(join(built, "skylane-plugin.cache"));
    assert.equal(cache.toString("latin1", 0, 18), source.slice(-18));
    const script = `const { Script } = require("node:vm"), { readFileSync } = require("node:fs");
      const s = new Script("(function (require, exports, module, __filename) {" + readFileSync("skylane-plugin.cjs", "latin1") + "\\n})",
        { cachedData: readFileSync("skylane-plugin.cache").subarray(18) });
      process.stdout.write(String(s.cachedDataRejected));`;
    const flags = ["--disable-warning=ExperimentalWarning", "--min-semi-space-size=8"];
    assert.equal(
      execFileSync(join(built, "node"), [...flags, "-e", script], { cwd: built, encoding: "utf8" }),
      "false",
    );
  });

  it("answers with a CNI error when the plugin's own script is missing", async () => {
    copyFileSync(join(BIN, "..", "lib", "skylane", "skylane.cjs"), join(lib(), "skylane.cjs"));
    rmSync(join(lib(), "node"));
    symlinkSync(join(BIN, "..", "lib", "skylane", "node"), join(lib(), "node"));
    const { exitCode, stdout } = await start("skylane");
    const error = JSON.parse(stdout) as Record<string, unknown>;
    assert.deepEqual([exitCode, error.code], [1, 100]);
    assert.match(String(error.msg), /skylane-plugin\.cjs: ENOENT/);
  });

  for (const missing of ["node", "skylane.cjs"]) {
    it(`answers with a CNI error when ${missing} is missing`, async () => {
      rmSync(join(lib(), missing));
      const { exitCode, stdout } = await start("skylane");
      const error = JSON.parse(stdout) as Record<string, unknown>;
      assert.equal(exitCode, 1);
      assert.deepEqual([error.cniVersion, error.code], ["1.1.0", 100]);
      assert.match(String(error.msg), new RegExp(`lib/skylane/${missing}`));
      assert.match(String(error.details), /No such file.*Install it again/);
    });
  }

  it("tells an operator on stderr", async () => {
    rmSync(join(lib(), "skylanectl.cjs"));
    const { exitCode, stdout, stderr } = await start("skylanectl");
    assert.deepEqual([exitCode, stdout], [1, ""]);
    assert.match(stderr, /^skylanectl: Cannot read .*skylanectl\.cjs: No such file/);
  });
});
