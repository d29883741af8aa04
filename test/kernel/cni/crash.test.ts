import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { seededRandom } from "../../support/random.ts";
import type { TestNamespace } from "../support/netns.ts";
import { devicesIn, NOTHING, TestNode } from "./node.ts";

type Json = Record<string, unknown>;

/** Each is another point, and another one in each run. */
const KILLS = 100;
const addressesOf = (result: Json): string[] =>
  ((result.ips as Json[] | undefined) ?? []).map(({ address }) => String(address).split("/")[0] as string);

describe("many at once, and killed at any point", () => {
  let node: TestNode;
  before(() => {
    node = new TestNode();
  });
  after(() => node.remove());

  const run = (
    command: string,
    pod: { containerId: string; netns?: string },
    config: Json = {},
    killAfterMs?: number,
  ): ReturnType<TestNode["runtime"]["exec"]> =>
    node.runtime.exec("skylane", command, node.config(config), pod, {
      ...(killAfterMs !== undefined && { killAfterMs }),
    });

  it("64 parallel ADDs get 64 different addresses a family, and 64 parallel DELs leave nothing", async function () {
    this.timeout(300_000);
    const pods = Array.from({ length: 64 }, (_, i) => ({ containerId: `p${i}`, ns: node.sandbox(`p${i}`) }));
    const added = await Promise.all(pods.map(({ containerId, ns }) => run("ADD", { containerId, netns: ns.path })));
    assert.deepEqual(
      added.filter(({ exitCode }) => exitCode !== 0).map(({ stdout }) => stdout),
      [],
    );
    const given = added.flatMap(({ json }) => addressesOf(json));
    assert.equal(new Set(given).size, 128);
    assert.deepEqual(node.reserved(), given.toSorted());
    assert.equal(node.hostLinks().length, 64);
    const checked = await Promise.all(
      pods
        .slice(0, 8)
        .map(({ containerId, ns }, i) => run("CHECK", { containerId, netns: ns.path }, { prevResult: added[i]?.json })),
    );
    assert.deepEqual(
      checked.map(({ stdout }) => stdout),
      Array.from({ length: 8 }, () => ""),
    );
    const deleted = await Promise.all(pods.map(({ containerId, ns }) => run("DEL", { containerId, netns: ns.path })));
    assert.deepEqual(
      deleted.filter(({ exitCode }) => exitCode !== 0).map(({ stdout }) => stdout),
      [],
    );
    assert.deepEqual(node.remains(), NOTHING);
    for (const { ns } of pods) ns.delete();
  });

  const strace = "/usr/bin/strace";
  if (!existsSync(strace))
    it("killed before each system call that changes something (skipped: strace is not installed)");
  else
    it("killed before each system call that changes something, ADD and DEL leave nothing that DEL or GC does not find", async function () {
      this.timeout(300_000);
      const ns = node.sandbox("traced");
      const pod = { containerId: "traced", netns: ns.path };
      let kills = 0;
      for (const verb of ["ADD", "DEL"]) {
        for (const call of ["symlink", "sendto", "rename", "unlink", "flock", "setns", "bind", "write"]) {
          for (let n = 1; ; n++) {
            if (verb === "DEL") assert.equal((await run("ADD", pod)).exitCode, 0);
            const inject = `inject=${call}:signal=KILL:when=${n}`;
            const { signal, exitCode, stdout } = await node.runtime.exec("skylane", verb, node.config(), pod, {
              through: [strace, "-f", "-qq", "-o", "/dev/null", "-e", inject],
            });
            const point = `${verb} killed at ${call} ${n}`;
            const last =
              n % 2 === 0
                ? await run("GC", { containerId: "" }, { "cni.dev/valid-attachments": [] })
                : await run("DEL", pod);
            assert.equal(last.exitCode, 0, `${point}: ${last.stdout}`);
            assert.deepEqual(node.remains(), NOTHING, point);
            assert.deepEqual(devicesIn(ns), [], point);
            if (signal === null) {
              assert.equal(exitCode, 0, stdout);
              break;
            }
            kills++;
          }
        }
      }
      assert.ok(kills > 20, `only ${kills} points were reached`);
    });

  it(`${KILLS} kills at random points: DEL or GC always finds what is left, no address is lost or doubled`, async function () {
    this.timeout(600_000);
    const lanes = 4;
    const seed = Date.now() % 2 ** 31;
    const label = `seed ${seed}`;
    const held = { containerId: "held", netns: node.sandbox("held").path };
    const heldResult = (await run("ADD", held)).json;
    const heldAddresses = addressesOf(heldResult);
    const before = node.remains();
    const sandboxes: TestNamespace[] = Array.from({ length: lanes }, (_, i) => node.sandbox(`lane${i}`));
    const sampled = { containerId: "sample", netns: (sandboxes[0] as TestNamespace).path };
    const startedAt = performance.now();
    await run("ADD", sampled);
    await run("DEL", sampled);
    /** Kills are spread over one and a half times what a call takes now. */
    let span = ((performance.now() - startedAt) / 2) * 1.5;
    const outcomes = { killed: 0, finished: 0, leftSomething: 0 };

    async function round(lane: number, i: number, next: () => number): Promise<void> {
      const ns = sandboxes[lane] as TestNamespace;
      const pod = { containerId: `lane${lane}-${i}`, netns: ns.path };
      // Each lane is a CNI network of its own on the same pod network, so that a GC of one judges only its own.
      const name = { name: `lane${lane}` };
      const begun = performance.now();
      const { signal, exitCode, json, stdout } = await run("ADD", pod, name, next() * span);
      if (signal === null) {
        assert.equal(exitCode, 0, `${label}: ${stdout}`);
        for (const ip of addressesOf(json)) assert.ok(!heldAddresses.includes(ip), `${label}: ${ip} was given twice`);
        span = span * 0.9 + (performance.now() - begun) * 1.5 * 0.1;
      }
      outcomes[signal === null ? "finished" : "killed"]++;
      if (
        signal !== null &&
        (node.remains().attachments as string[]).length > (before.attachments as string[]).length
      ) {
        outcomes.leftSomething++;
      }
      const way = next();
      if (way < 0.3) {
        const killed = await run("DEL", pod, name, next() * span);
        assert.ok(killed.signal !== null || killed.exitCode === 0, `${label}: ${killed.stdout}`);
      }
      const last =
        way < 0.7
          ? await run("DEL", way < 0.5 ? pod : { containerId: pod.containerId }, name)
          : await run("GC", { containerId: "" }, { ...name, "cni.dev/valid-attachments": [] });
      assert.equal(last.exitCode, 0, `${label}: ${last.stdout}`);
      assert.deepEqual(devicesIn(ns), [], `${label}: round ${i} left a device in the sandbox`);
    }

    await Promise.all(
      sandboxes.map(async (_, lane) => {
        const next = seededRandom(seed + lane);
        for (let i = 0; i < KILLS / lanes; i++) await round(lane, i, next);
      }),
    );
    assert.deepEqual(node.remains(), before, label);
    assert.ok(outcomes.killed >= KILLS / 4, `${label}: hardly anything was killed: ${JSON.stringify(outcomes)}`);
    const check = await run("CHECK", held, { prevResult: heldResult });
    assert.equal(check.exitCode, 0, check.stdout);
    await run("DEL", held);
    assert.deepEqual(node.remains(), NOTHING, label);
  });
});
