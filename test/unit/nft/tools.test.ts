import assert from "node:assert/strict";
import { applyNetworks, probeFeatures } from "../../../src/nft/table.ts";
import { ALL_FEATURES, NftError, type RunTool, toolRunner } from "../../../src/nft/index.ts";
import { Task } from "../../../src/nft/task.ts";

describe("running a tool", () => {
  const run = toolRunner({ timeoutMs: 2_000 });

  it("gives its output for its input, through no shell", async () => {
    assert.equal(await run("cat", ["-"], "$(id) `id` ; \n"), "$(id) `id` ; \n");
    assert.equal(await run("echo", ["$HOME; true"]), "$HOME; true\n");
  });

  it("says what it said on standard error when it fails, also when it reads no input", async () => {
    await assert.rejects(
      run("ls", ["/nowhere/at/all"], "x".repeat(1 << 20)),
      (error) =>
        error instanceof NftError &&
        error.reason === "refused" &&
        /nowhere/.test(error.stderr) &&
        /^ls .*failed/.test(error.message),
    );
  });

  it("says that a tool is missing", async () => {
    await assert.rejects(
      run("skylane-no-such-tool", []),
      (error) => error instanceof NftError && error.reason === "missing" && /is not installed/.test(error.message),
    );
  });

  it("ends what takes too long", async () => {
    await assert.rejects(
      toolRunner({ timeoutMs: 50 })("sleep", ["60"]),
      (error) => error instanceof NftError && error.reason === "timeout",
    );
  });
});

/** An nft on a kernel that lacks what a pattern matches. */
function kernelWithout(lacking: RegExp, applied: string[] = []): RunTool {
  return async (program, args, input = "") => {
    if (lacking.test(input)) throw new NftError(program, "refused", "Operation not supported", "nft failed");
    if (!args.includes("--check")) applied.push(input);
    return "";
  };
}

describe("a kernel that lacks a feature", () => {
  it("is asked for one at a time", async () => {
    assert.deepEqual(await probeFeatures(kernelWithout(/nothing lacks/)), ALL_FEATURES);
    assert.deepEqual(await probeFeatures(kernelWithout(/fib saddr/)), { fib: false, fullyRandom: true });
    assert.deepEqual(await probeFeatures(kernelWithout(/fully-random/)), { fib: true, fullyRandom: false });
  });

  it("gets the table without it, in place of none", async () => {
    const applied: string[] = [];
    assert.deepEqual(await applyNetworks(kernelWithout(/fib saddr/, applied), [], ALL_FEATURES), {
      fib: false,
      fullyRandom: true,
    });
    assert.equal(applied.length, 1);
  });

  it("is not blamed for another error", async () => {
    await assert.rejects(applyNetworks(kernelWithout(/delete table/), [], ALL_FEATURES), /nft failed/);
    const broken: RunTool = async (program) => {
      throw new NftError(program, "missing", "", "nft is not installed");
    };
    await assert.rejects(applyNetworks(broken, [], ALL_FEATURES), /not installed/);
  });
});

describe("a task", () => {
  it("runs once for many requests, once more for those that come meanwhile, and never twice at a time", async () => {
    let runs = 0;
    let active = 0;
    const task: Task = new Task(
      async () => {
        assert.equal(++active, 1);
        runs++;
        if (runs === 1) for (let i = 0; i < 5; i++) task.want();
        await new Promise((resolve) => setImmediate(resolve));
        active--;
      },
      (error) => assert.fail(String(error)),
    );
    for (let i = 0; i < 5; i++) task.want();
    await task.settled();
    assert.equal(runs, 2);
    await task.stop();
    task.want();
    await task.settled();
    assert.equal(runs, 2);
  });

  it("tries again what failed, and is settled meanwhile", async () => {
    const errors: unknown[] = [];
    let runs = 0;
    let done = (): void => undefined;
    const succeeded = new Promise<void>((resolve) => {
      done = resolve;
    });
    const task = new Task(
      async () => {
        if (++runs < 2) throw new Error("not yet");
        done();
      },
      (error) => errors.push(error),
    );
    task.want();
    await task.settled();
    assert.equal(errors.length, 1);
    await succeeded;
    await task.settled();
    assert.equal(runs, 2);
    await task.stop();
  });
});
