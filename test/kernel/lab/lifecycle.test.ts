import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { findBinDir } from "../../../src/lab/context.ts";
import { Lab, LabFiles, type LabRecord } from "../../../src/lab/index.ts";
import { markedProcesses } from "../../../src/lab/processes.ts";
import { labBase } from "./support.ts";

/** What a lab might leave on the machine. */
function world(): Record<string, string[]> {
  const ip = (...args: string[]): string[] => execFileSync("ip", args, { encoding: "utf8" }).split("\n");
  const ours = (lines: string[]): string[] => lines.filter((line) => !line.includes("skytest"));
  return {
    namespaces: ours(existsSync("/run/netns") ? readdirSync("/run/netns") : []),
    mounts: ours(readFileSync("/proc/self/mountinfo", "utf8").split("\n")),
    links: ip("-br", "link"),
    addresses: ip("-br", "address"),
    routes: [...ip("route", "show", "table", "all"), ...ip("-6", "route", "show", "table", "all")].sort(),
    forwarding: ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].map((key) =>
      readFileSync(`/proc/sys/net/${key}`, "utf8"),
    ),
  };
}

describe("a lab's beginning and end", () => {
  const base = labBase();

  it("leaves nothing on the machine", async () => {
    const before = world();
    const lab = await Lab.up({ name: "whole", nodes: 2, base: base() });
    const { runId } = lab.context.record;
    const [pod] = await Promise.all([lab.addPod("node1"), lab.addPod("node2")]);
    assert.equal(pod.ips.length, 2);
    assert.deepEqual(world(), before, "while it is up");
    assert.ok(markedProcesses(runId).length >= 6);
    await lab.down();
    assert.deepEqual(world(), before);
    assert.deepEqual(markedProcesses(runId), []);
    assert.equal(existsSync(join(base(), "whole")), false);
  });

  it("leaves nothing after kill -9 of `up` at any point, once it is taken down", async () => {
    const before = world();
    const files = new LabFiles("crash", base());
    const env = { ...process.env, SKYLANE_LAB_DIR: base() };
    // From before the first process exists to after the last has started.
    for (const ms of [40, 90, 150, 250, 400, 700, 1200]) {
      const up = spawn(join(findBinDir(), "skylanectl"), ["lab", "up", "--name", "crash", "--nodes", "2"], {
        env,
        stdio: "ignore",
      });
      await delay(ms);
      up.kill("SIGKILL");
      await once(up, "close");
      const record = files.read("lab.json") as LabRecord | undefined;
      await Lab.down("crash", base());
      assert.equal(files.exists, false, `killed after ${ms} ms`);
      if (record) assert.deepEqual(markedProcesses(record.runId), [], `killed after ${ms} ms`);
      assert.deepEqual(world(), before, `killed after ${ms} ms`);
    }
  });

  it("cleans up by itself when `up` is interrupted or fails", async () => {
    const before = world();
    const stop = new AbortController();
    const failed = Lab.up({
      name: "stopped",
      nodes: 3,
      base: base(),
      signal: stop.signal,
      progress: (text) => {
        if (text === "node1 is up") stop.abort(new Error("enough"));
      },
    });
    await assert.rejects(failed, /enough/);
    assert.equal(existsSync(join(base(), "stopped")), false);
    await assert.rejects(
      Lab.up({ name: "broken", nodes: 1, base: base(), agentConfig: { vni: 4096, mtu: 1 }, readyMs: 3000 }),
      /node1/,
    );
    assert.equal(existsSync(join(base(), "broken")), false);
    assert.deepEqual(world(), before);
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
