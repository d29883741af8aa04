/** One pod network: what follows from inputs and machine, in which order, and what it says of itself. */
import assert from "node:assert/strict";
import { eventually } from "../../support/eventually.ts";
import { NetworkHarness, otherNode } from "./harness.ts";

/** Whatever follows at once has followed after some turns of the event loop. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe("a pod network on this node", () => {
  let harness: NetworkHarness;
  const failing = (): string[] =>
    harness.network.questions().flatMap(({ name, ask }) => (ask().ok ? [] : `${name}: ${ask().message}`));
  /** Our metrics of networks. */
  const scraped = async (): Promise<string> => {
    const text = await harness.metrics.text();
    return text
      .split("\n")
      .filter((line) => line.startsWith("skylane_") && line.includes("network="))
      .join("\n");
  };
  const works = () => eventually(() => harness.written.length > 0, { message: "no files were written" });
  afterEach(() => harness.close());

  it("comes about in order: rules, data path with its peers, files", async () => {
    harness = await NetworkHarness.open();
    assert.match(failing()[0] ?? "", /nothing is known of the cluster yet/);
    assert.equal(harness.network.status(), undefined);
    harness.update([otherNode(12, "default"), otherNode(13, "default")]);
    await works();
    assert.deepEqual(harness.since(), [
      "vni 4096",
      "rules: set",
      "path: peers n12 n13",
      "path: start",
      "files: written",
    ]);
    assert.deepEqual(failing(), []);
    const { device, ready, peers, mode } = harness.network.status() ?? assert.fail("no status");
    assert.deepEqual([device, ready, mode], ["sky.4096", true, "Routed"]);
    assert.deepEqual(
      peers.map(({ node, state }) => [node, state]),
      [
        ["n12", "programmed"],
        ["n13", "programmed"],
      ],
    );
    const { podCidrs, ips } = harness.network.entry ?? assert.fail("nothing to tell the other nodes");
    assert.deepEqual([podCidrs, ips], [["10.244.11.0/24"], ["172.30.0.11"]]);
    harness.metrics.beforeScrape(() => harness.network.sample());
    assert.match(await scraped(), /^skylane_peers{network="default"} 2$/m);
  });

  it("lets no pod come before its rules are in force", async () => {
    harness = await NetworkHarness.open();
    harness.rules.verdictNow = { ok: false, message: "being put in place" };
    harness.update();
    await eventually(() => harness.calls.includes("path: start"));
    await turns();
    assert.deepEqual(harness.written, []);
    assert.deepEqual(failing(), [
      "firewall: being put in place",
      "selftest: not run yet",
      "cni: the CNI configuration waits for the data path",
    ]);
    harness.rules.verdictNow = { ok: true, message: "in place" };
    harness.network.filesChanged();
    await works();
  });

  it("lets no pod come before every entry has been tried", async () => {
    harness = await NetworkHarness.open();
    harness.onPath = (path) => (path.tried = false);
    harness.update();
    await eventually(() => harness.calls.includes("path: start"));
    await turns();
    const path = harness.path ?? assert.fail("no data path");
    assert.deepEqual(harness.written, []);
    path.tried = true;
    path.pass();
    await works();
  });

  it("is not announced, nor are files written, while there is no device", async () => {
    harness = await NetworkHarness.open();
    harness.onPath = (path) => (path.error = "no device");
    harness.update();
    await eventually(() => harness.calls.includes("path: start"));
    const path = harness.path ?? assert.fail("no data path");
    path.listener.onError(new Error("no device"));
    await turns();
    assert.equal(harness.network.entry, undefined);
    assert.deepEqual(harness.written, []);
    assert.ok(failing().includes("device: no device"));
    path.error = undefined;
    path.pass();
    await works();
    assert.ok(harness.network.entry);
  });

  it("tries again a data path that cannot be started, and files that cannot be written", async () => {
    harness = await NetworkHarness.open();
    harness.pathFaults = [new Error("no socket")];
    harness.writeFault = new Error("EROFS: read-only file system");
    harness.update();
    await eventually(() => harness.calls.filter((call) => call.startsWith("path: start")).length === 1);
    assert.deepEqual(
      harness.since().filter((call) => /start|stop/.test(call)),
      ["path: cannot start", "path: stop", "path: start"],
    );
    await eventually(() => failing().some((one) => one.startsWith("cni: cannot write the CNI configuration: EROFS")));
    harness.writeFault = undefined;
    await works();
    assert.ok(harness.log.lines.includes("error: the data path cannot be started; trying again"));
  });

  it("says what it waits for, and goes on when that is there", async () => {
    harness = await NetworkHarness.open();
    harness.network.noNode("n11");
    assert.match(harness.events[0] ?? "", /SkylaneWaitingForNode there is no Node n11/);
    harness.own = { ...harness.own, podCidrs: [] };
    harness.update();
    await eventually(() => harness.events.some((one) => /SkylaneWaitingForPodCIDR/.test(one)));
    harness.own = { ...harness.own, podCidrs: ["10.244.11.0/24"], internalIps: ["192.0.2.1"] };
    harness.update();
    await eventually(() => harness.events.some((one) => /SkylaneWaitingForUnderlay/.test(one)));
    harness.own = { ...harness.own, internalIps: ["172.30.0.11"] };
    harness.update();
    await works();
    assert.ok(harness.log.lines.includes("info: no longer waiting"));
  });

  it("looks again at a machine that could not be read", async () => {
    harness = await NetworkHarness.open();
    harness.host.fault = new Error("no answer");
    harness.update();
    await eventually(() => harness.log.lines.some((line) => /addresses cannot be read; looking again soon/.test(line)));
    harness.network.look();
    await works();
  });

  it("takes a change of another Node for itself alone", async () => {
    harness = await NetworkHarness.open();
    harness.update([otherNode(12, "default")]);
    await works();
    harness.since();
    harness.update([otherNode(13, "default")]);
    assert.deepEqual(harness.since(), ["path: has n13", "rules: nobody -> n13"]);
    harness.update([], { gone: ["n12"] });
    assert.deepEqual(harness.since(), ["path: loses n12", "rules: n12 -> nobody"]);
    // Our own word about ourselves alone.
    harness.own = { ...harness.own, vtepAnnotation: "{}" };
    harness.update();
    assert.deepEqual(harness.since(), []);
  });

  it("refuses a Node that says what cannot be, by name, once, and takes it back when it is put right", async () => {
    harness = await NetworkHarness.open();
    const liar = otherNode(12, "default", { podCidrs: ["172.30.0.0/24"] });
    harness.update([liar, otherNode(13, "default")]);
    await works();
    assert.deepEqual([...(harness.path?.peers.keys() ?? [])], ["n13"]);
    assert.match(harness.events.join("\n"), /Warning SkylanePeerRefused n12: /);
    assert.equal(harness.network.status()?.refused[0]?.node, "n12");
    harness.metrics.beforeScrape(() => harness.network.sample());
    assert.match(await scraped(), /skylane_refused_peers{network="default",reason="[^"]+"} 1/);
    harness.update([otherNode(12, "default")]);
    assert.deepEqual([...(harness.path?.peers.keys() ?? [])].sort(), ["n12", "n13"]);
    assert.ok(harness.log.lines.includes("info: no longer refused: n12"));
    assert.equal(harness.events.filter((one) => one.includes("SkylanePeerRefused")).length, 1);
  });

  it("follows its own part: another pod CIDR, another MTU", async () => {
    harness = await NetworkHarness.open();
    harness.update([otherNode(12, "default")]);
    await works();
    harness.since();
    harness.own = { ...harness.own, podCidrs: ["10.244.21.0/24"] };
    harness.update();
    await eventually(() => harness.calls.some((call) => call.startsWith("path: local 10.244.21.0/24")));
    assert.ok(
      harness.log.lines.some((line) => /has changed: podCidrs 10\.244\.11\.0\/24 → 10\.244\.21\.0\/24/.test(line)),
    );
    const eth0 = harness.host.links[1] ?? assert.fail();
    harness.host.links[1] = { ...eth0, mtu: 1400 };
    harness.network.look();
    await eventually(() => harness.calls.includes("path: local 10.244.21.0/24 mtu 1350"));
    // Files say it once the data path has taken it.
    assert.equal(harness.written.at(-1)?.mtu, 1450);
    harness.path?.pass();
    await eventually(() => harness.written.at(-1)?.mtu === 1350);
  });

  it("goes on with what it has while its own address is gone, and with other Nodes", async () => {
    harness = await NetworkHarness.open();
    harness.update([otherNode(12, "default")]);
    await works();
    harness.host.addresses = [];
    harness.network.look();
    await eventually(() => failing().some((one) => one.startsWith("inputs: none of the Node's InternalIPs")));
    harness.update([otherNode(13, "default")]);
    assert.deepEqual([...(harness.path?.peers.keys() ?? [])].sort(), ["n12", "n13"]);
  });

  it("is not ready while the other nodes cannot know it, or give its address to another Node", async () => {
    harness = await NetworkHarness.open();
    harness.own = { ...harness.own };
    harness.update([otherNode(12, "default")], { live: false });
    await works();
    const published = harness.network.questions().find(({ name }) => name === "published");
    assert.match(published?.ask().message ?? "", /not while the API server is away/);
    assert.equal(harness.network.entry, undefined);
    harness.update();
    await eventually(() => harness.network.entry !== undefined);
    harness.announcedNow = { ok: false, message: "not written yet" };
    assert.deepEqual(failing(), ["published: not written yet"]);
  });

  it("tests itself: a route that leads elsewhere keeps pods away", async () => {
    harness = await NetworkHarness.open();
    harness.host.lookups.set("10.244.12.0", { dst: "10.244.12.0", ifindex: 2 } as never);
    const node = otherNode(12, "default");
    harness.nodes.set(node.name, node);
    harness.network.update(harness.inputs, true, new Map([[node.name, node]]));
    await eventually(() =>
      failing().some((one) => /selftest: .*10\.244\.12\.0, the VTEP of n12, to another device/.test(one)),
    );
    assert.deepEqual(harness.written, []);
    harness.host.lookups.set("10.244.12.0", { dst: "10.244.12.0", ifindex: 9 } as never);
    await harness.network.maintain();
    await works();
    assert.deepEqual(failing(), []);
    harness.host.links = harness.host.links.filter(({ name }) => name !== "sky.4096");
    await harness.network.maintain();
    assert.match(failing().join(), /selftest: device sky\.4096 is missing/);
  });

  it("in a namespace of its own asks no peer, and on a bridge tests no routes", async () => {
    harness = await NetworkHarness.open([], { isolated: true, bridged: true });
    harness.host.lookups.clear();
    const node = otherNode(12, "default");
    harness.nodes.set(node.name, node);
    harness.network.update(harness.inputs, true, new Map([[node.name, node]]));
    await works();
    await harness.network.maintain();
    assert.deepEqual(failing(), []);
  });

  it("reaches peers of its segment directly where that is wanted", async () => {
    harness = await NetworkHarness.open(["--direct-routing", "auto", "--cluster-cidrs", "10.244.0.0/16"]);
    harness.host.routes = [{ dst: "172.30.0.0/24", ifindex: 2, table: 254 } as never];
    harness.update([otherNode(12, "default", { direct: true })]);
    await works();
    assert.deepEqual(harness.path?.peers.get("n12")?.direct, [{ gateway: "172.30.0.12", ifindex: 2 }]);
    harness.host.routes = [];
    harness.network.look();
    await eventually(() => harness.path?.peers.get("n12")?.direct === undefined);
  });
});
