import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";
import { Fabric, type TestNode } from "./harness.ts";

describe("while the API server is away or wrong, an agent", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;
  before(async () => {
    fabric = await Fabric.started();
    [n1, n2] = await fabric.pair();
  });
  after(() => fabric.stop());

  const relists = async (): Promise<number> => {
    const { body } = await n1.get("/metrics");
    return Number(/skylane_api_relists_total\{watch="nodes"\} (\d+)/.exec(body)?.[1]);
  };
  const cache = (): string => `${n1.dir}/data/cache/default.json`;
  const apiState = async (): Promise<string> => (await n1.status()).api.state;

  it("loses nothing to an empty list after a 410", async () => {
    const before = n1.entries();
    const count = await relists();
    await fabric.faults({ rules: [{ match: { verbs: ["list", "watch"] }, action: { kind: "empty-list" } }] });
    await fabric.faults({ compact: true, expireWatches: true });
    await eventually(async () => (await relists()) > count, { timeoutMs: 60_000 });
    await eventually(() => /a list of nodes leaves? out known ones|leaves known ones out/.test(n1.log));
    assert.deepEqual(n1.entries(), before);
    await fabric.faults({ rules: [] });
    await n1.ready(["n2"]);
  });

  it("keeps the data path and repairs it; what changed meanwhile comes with its return", async () => {
    const before = n1.entries();
    await fabric.faults({ away: true });
    await eventually(async () => (await apiState()) === "away", { timeoutMs: 60_000 });
    assert.equal((await n1.get("/readyz")).status, 200);
    n1.ns.exec("ip", "route", "del", "10.244.2.0/24");
    await eventuallyHolds(() => assert.deepEqual(n1.entries(), before));
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-I", "10.244.1.0", "10.244.2.0");
    await fabric.faults({ away: false });
    const n3 = fabric.node(3);
    await n3.register();
    n3.start();
    await n1.ready(["n2", "n3"], 40_000);
    await n3.stop();
    await fabric.deleteNode("n3");
    await n1.ready(["n2"]);
    assert.equal(await apiState(), "synced");
  });

  it("comes back after a reboot with its overlay, its published state and its pods' way", async () => {
    await eventually(
      () => readFileSync(cache(), "utf8").includes('"n2"') && !readFileSync(cache(), "utf8").includes('"n3"'),
    );
    const before = n1.entries();
    const published = readFileSync(n1.published, "utf8");
    await n1.stop("SIGKILL");
    await fabric.faults({ away: true });
    // What a reboot leaves: the disk. /run and the kernel's state go.
    n1.ns.exec("ip", "link", "del", "sky.4096");
    n1.ns.exec("nft", "flush", "ruleset");
    for (const name of readdirSync(`${n1.dir}/run`)) rmSync(`${n1.dir}/run/${name}`);
    n1.start();
    const { api } = await n1.ready(["n2"]);
    assert.equal(api.state, "cached");
    assert.deepEqual(n1.entries(), before);
    assert.equal(readFileSync(n1.published, "utf8"), published);
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-I", "10.244.1.0", "10.244.2.0");
    await fabric.faults({ away: false });
    await eventually(async () => (await apiState()) === "synced", { timeoutMs: 40_000 });
    assert.deepEqual(n1.entries(), before);
  });

  it("starts with an empty list and keeps the peers that it knew until each is said to be gone", async () => {
    const before = n1.entries();
    await n1.stop("SIGKILL");
    await fabric.faults({ rules: [{ match: { verbs: ["list", "watch"] }, action: { kind: "empty-list" } }] });
    n1.start();
    await n1.ready(["n2"], 40_000);
    assert.deepEqual(n1.entries(), before);
    await fabric.faults({ rules: [] });
    await fabric.faults({ expireWatches: true });
    await n1.ready(["n2"]);
  });

  it("forgets on its return nodes that left while it was down, and uses no damaged cache", async () => {
    await n1.stop("SIGKILL");
    await n2.stop();
    await fabric.deleteNode("n2");
    writeFileSync(cache(), "{ half a file");
    n1.start();
    await n1.ready([]);
    assert.deepEqual(n1.entries(), []);
    assert.match(n1.log, /going on without last known peers.*default\.json/);
    await n2.register();
    n2.start();
    await n1.ready(["n2"]);
  });

  it("needs a working data path for the CNI configuration, not only a start", async () => {
    const n4 = fabric.node(4);
    await n4.register();
    n4.ns.exec("ip", "link", "add", "sky.4096", "type", "bridge");
    n4.start();
    await eventually(
      async () => {
        const { ready } = await n4.status();
        return ready.checks.find(({ name }) => name === "device")?.message.includes("a bridge device called sky.4096");
      },
      { timeoutMs: 60_000 },
    );
    assert.equal(existsSync(n4.conflist), false);
    assert.equal(existsSync(n4.published), false);
    assert.equal((await n4.get("/readyz")).status, 503);
    assert.equal(await fabric.vtepOf("n4"), undefined);
    n4.ns.exec("ip", "link", "del", "sky.4096");
    await n4.ready(["n1", "n2"], 40_000);
    assert.equal(existsSync(n4.conflist), true);
  });
});
