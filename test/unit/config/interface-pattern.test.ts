import assert from "node:assert/strict";
import { withinProcessorTime } from "../../../src/config/interface-pattern.ts";

const ended = (): Error => Object.assign(new Error("timed out"), { code: "ERR_SCRIPT_EXECUTION_TIMEOUT" });

describe("what may take some time of a processor", () => {
  let used: number;
  let timeouts: number[];
  /** Runs with so much of a processor before the watchdog comes, attempt by attempt; undefined: it comes to its end. */
  const attempts =
    (...having: (number | undefined)[]) =>
    (timeoutMs: number): string => {
      const had = having[timeouts.length];
      timeouts.push(timeoutMs);
      used += had ?? 1;
      if (had !== undefined) throw ended();
      return "done";
    };
  const run = (...having: (number | undefined)[]): string => withinProcessorTime(attempts(...having), () => used);

  beforeEach(() => {
    [used, timeouts] = [0, []];
  });

  it("is tried again where a busy machine gave it none", () => {
    assert.equal(run(2, 49, undefined), "done");
    assert.deepEqual(timeouts, [100, 200, 400]);
  });

  it("is given up once it has had it", () => {
    assert.throws(() => run(2, 95), ended());
    assert.deepEqual(timeouts, [100, 200]);
  });

  it("is refused when a longer watchdog let it come to its end", () => {
    const slow = (timeoutMs: number): string => {
      timeouts.push(timeoutMs);
      used += timeouts.length === 1 ? 2 : 150;
      if (timeouts.length === 1) throw ended();
      return "done";
    };
    assert.throws(() => withinProcessorTime(slow, () => used), /more than 100 ms of a processor/);
    assert.deepEqual(timeouts, [100, 200]);
  });

  it("is given up where it never gets any, and where it fails by itself", () => {
    assert.throws(() => run(0, 0, 0, 0, 0, 0), ended());
    assert.equal(timeouts.length, 6);
    const failing = (): string => {
      throw new TypeError("no");
    };
    assert.throws(() => withinProcessorTime(failing, () => used), TypeError);
  });
});
