import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Lab, LabFiles, type LabRecord } from "../../../lab/index.ts";
import { markedProcesses } from "../../../lab/cluster/processes.ts";
import { quietMachine } from "./quiet-machine.ts";
import { labBase } from "./support.ts";

describe("a lab's beginning and end", () => {
  const on = quietMachine();
  const base = labBase();
  const runIdOf = (name: string): string | undefined => {
    const text = on().read(`/run/skylane-lab/${name}/lab.json`);
    return text === undefined ? undefined : (JSON.parse(text) as LabRecord).runId;
  };
  const ctl = async (...args: string[]): Promise<void> => {
    const child = on().start(...args);
    let said = "";
    child.stderr?.on("data", (text: Buffer) => (said += text.toString()));
    const [status] = (await once(child, "close")) as [number];
    assert.equal(status, 0, said);
  };

  it("touches nothing of the machine while it is up, and leaves nothing", async () => {
    const before = on().world();
    await ctl("lab", "up", "--nodes", "2");
    const runId = runIdOf("lab") as string;
    await ctl("lab", "pod", "add", "node1");
    await ctl("lab", "pod", "add", "node2");
    assert.deepEqual({ ...on().world(), run: "" }, { ...before, run: "" });
    assert.ok(markedProcesses(runId).length >= 8);
    await ctl("lab", "down");
    assert.deepEqual(on().world(), before);
    assert.deepEqual(markedProcesses(runId), []);
  });

  it("leaves nothing after kill -9 of `up` at any point, once it is taken down", async () => {
    const before = on().world();
    // From before the first process exists to after the last has started.
    for (const ms of [40, 90, 150, 250, 400, 700, 1200]) {
      const up = on().start("lab", "up", "--nodes", "2");
      const closed = once(up, "close");
      await delay(ms);
      up.kill("SIGKILL");
      await closed;
      const runId = runIdOf("lab");
      await ctl("lab", "down");
      assert.deepEqual(on().world(), before, `killed after ${ms} ms`);
      if (runId !== undefined) assert.deepEqual(markedProcesses(runId), [], `killed after ${ms} ms`);
    }
  });

  it("cleans up by itself when `up` is interrupted", async () => {
    const before = on().world();
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      const up = on().start("lab", "up", "--nodes", "2");
      const closed = once(up, "close");
      await new Promise<void>((resolve) => {
        up.stderr?.on("data", (text: Buffer) => {
          if (text.includes("each with an agent")) resolve();
        });
      });
      const runId = runIdOf("lab");
      up.kill(signal);
      assert.deepEqual(await closed, [1, null], signal);
      assert.deepEqual(on().world(), before, signal);
      if (runId !== undefined) assert.deepEqual(markedProcesses(runId), [], signal);
    }
  });

  it("cleans up by itself when `up` is told to stop, or a node does not get ready", async () => {
    const stop = new AbortController();
    const progress = (text: string): void => {
      if (text === "node1 is up") stop.abort(new Error("enough"));
    };
    await assert.rejects(Lab.up({ name: "stopped", base: base(), signal: stop.signal, progress }), /enough/);
    assert.equal(existsSync(join(base(), "stopped")), false);
    const broken = Lab.up({ name: "broken", nodes: 1, base: base(), agentConfig: { mtu: 1 }, readyMs: 2000 });
    await assert.rejects(broken, /after 2 s: node1: no agent listens/);
    assert.equal(existsSync(join(base(), "broken")), false);
  });

  it("refuses a second lab of the same name, and takes down one that is not there without complaint", async () => {
    const files = new LabFiles("twice", base());
    assert.equal(files.create(), true);
    await assert.rejects(Lab.up({ name: "twice", base: base() }), /there is a lab "twice" already/);
    assert.throws(() => Lab.open("twice", base()), /was never finished/);
    assert.equal(await Lab.down("twice", base()), 0);
    assert.equal(await Lab.down("twice", base()), undefined);
    assert.throws(() => Lab.open("twice", base()), /there is no lab/);
    assert.throws(() => new LabFiles("../etc", base()), /a lab's name/);
  });
});
