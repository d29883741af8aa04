import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mapLimit, run, tryRun } from "../../../lab/exec.ts";
import { parseRtt } from "../../../lab/pods/ping.ts";
import {
  ended,
  isRunning,
  killMarked,
  MARK,
  markedProcesses,
  processId,
  signal,
} from "../../../lab/cluster/processes.ts";
import { LabFiles, labNames } from "../../../lab/cluster/records.ts";

describe("what a lab remembers", () => {
  let base = "";
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "skylane-records-"));
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  it("is made once and goes whole", () => {
    const files = new LabFiles("one", join(base, "labs"));
    assert.equal(files.create(), true);
    assert.equal(files.create(), false);
    assert.deepEqual(labNames(join(base, "labs")), ["one"]);
    files.write({ a: 1 }, "lab.json");
    assert.deepEqual(files.read("lab.json"), { a: 1 });
    files.remove();
    assert.equal(existsSync(join(base, "labs")), false, "the directory of all labs goes with the last one");
    files.remove();
  });

  it("claims a name once", () => {
    const files = new LabFiles("one", base);
    files.create();
    assert.equal(files.claim({ n: 1 }, "pods", "p.json"), true);
    assert.equal(files.claim({ n: 2 }, "pods", "p.json"), false);
    assert.deepEqual(files.read("pods", "p.json"), { n: 1 });
    assert.equal(files.read("pods", "q.json"), undefined);
  });

  it("lists records in natural order and says which one it cannot read", () => {
    const files = new LabFiles("one", base);
    files.create();
    for (const n of [10, 2, 1]) files.write({ n }, "nodes", `node${n}.json`);
    writeFileSync(files.path("nodes", "node1.json.77.tmp"), "{");
    assert.deepEqual(files.all("nodes"), [{ n: 1 }, { n: 2 }, { n: 10 }]);
    writeFileSync(files.path("nodes", "node3.json"), "{");
    assert.throws(() => files.all("nodes"), /node3\.json cannot be read/);
  });

  it("has names that are no paths", () => {
    for (const name of ["", ".", "..", "a/b", "A", "-a", "a-", "a".repeat(21), "a b"])
      assert.throws(() => new LabFiles(name, base), RangeError, name);
  });
});

describe("the processes of a lab", () => {
  const start = (runId: string) => spawn("sleep", ["60"], { env: { ...process.env, [MARK]: runId }, stdio: "ignore" });

  it("are found and ended by their mark, and nobody else is", async () => {
    const [mine, other] = [start("run-1"), start("run-2")];
    try {
      await Promise.all([once(mine, "spawn"), once(other, "spawn")]);
      assert.deepEqual(
        markedProcesses("run-1").map(({ pid }) => pid),
        [mine.pid],
      );
      assert.equal(await killMarked("run-1"), 1);
      assert.deepEqual(markedProcesses("run-1"), []);
      assert.deepEqual(
        markedProcesses("run-2").map(({ pid }) => pid),
        [other.pid],
      );
      assert.equal(await killMarked("run-3"), 0);
    } finally {
      other.kill("SIGKILL");
      mine.kill("SIGKILL");
    }
  });

  it("are told from a later one of the same id by their start time", async () => {
    const child = start("run-4");
    await once(child, "spawn");
    const id = processId(child.pid as number);
    assert.ok(id && isRunning(id));
    assert.equal(isRunning({ ...id, started: id.started - 1 }), false);
    assert.equal(signal({ ...id, started: id.started - 1 }, "SIGKILL"), false);
    assert.equal(isRunning(id), true);
    const closed = once(child, "close");
    assert.equal(signal(id, "SIGKILL"), true);
    await ended(id);
    await closed;
    assert.equal(signal(id, "SIGKILL"), false);
  });
});

describe("running programs", () => {
  it("says what failed, with its status and words", async () => {
    assert.equal(await run(["cat"], { input: "words" }), "words");
    await assert.rejects(run(["ls", "/nowhere/at/all"]), /ls \/nowhere\/at\/all failed \(status 2\): .*No such file/);
    await assert.rejects(run(["/no/such/program"]), /cannot run \/no\/such\/program/);
    assert.equal((await tryRun(["sleep", "60"], { timeoutMs: 50 })).status, -1);
  });

  it("runs at most so many at once, keeps the order, and throws the first failure when all have ended", async () => {
    let running = 0;
    let most = 0;
    const results = await mapLimit([5, 1, 4, 2, 3], 2, async (n) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return n * 10;
    });
    assert.deepEqual(results, [50, 10, 40, 20, 30]);
    assert.equal(most, 2);
    let finished = false;
    const failing = mapLimit([1, 2], 2, async (n) => {
      if (n === 1) throw new Error("one");
      await new Promise((resolve) => setImmediate(resolve));
      finished = true;
    });
    await assert.rejects(failing, /one/);
    assert.equal(finished, true);
  });

  it("reads the round-trip time of iputils' and busybox's ping", () => {
    assert.equal(parseRtt("1 packets\nrtt min/avg/max/mdev = 0.143/0.143/0.143/0.000 ms\n"), 0.143);
    assert.equal(parseRtt("round-trip min/avg/max = 0.081/0.081/0.081 ms\n"), 0.081);
    assert.equal(parseRtt("1 packets transmitted, 0 received, 100% packet loss\n"), undefined);
  });
});
