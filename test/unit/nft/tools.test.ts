import assert from "node:assert/strict";
import { applyNetworks, probeFeatures } from "../../../src/dataplane/nft/table.ts";
import { ALL_FEATURES, NftError, type RunTool, toolRunner } from "../../../src/dataplane/nft/index.ts";

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
    assert.deepEqual(await probeFeatures(kernelWithout(/fib saddr/)), { ...ALL_FEATURES, fib: false });
    assert.deepEqual(await probeFeatures(kernelWithout(/fully-random/)), { ...ALL_FEATURES, fullyRandom: false });
    assert.deepEqual(await probeFeatures(kernelWithout(/table arp/)), { ...ALL_FEATURES, arp: false });
    const without = { ...ALL_FEATURES, innerSource: false };
    assert.deepEqual(await probeFeatures(kernelWithout(/typeof ip saddr \. @th/)), without);
    assert.deepEqual(await probeFeatures(kernelWithout(/\(@th,336,24 & /)), without);
  });

  it("gets the table without it, in place of none", async () => {
    const applied: string[] = [];
    assert.deepEqual(await applyNetworks(kernelWithout(/fib saddr/, applied), [], ALL_FEATURES), {
      ...ALL_FEATURES,
      fib: false,
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
