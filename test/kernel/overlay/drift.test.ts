import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { OverlayReconciler, type OverlayStatus } from "../../../src/dataplane/vxlan/index.ts";
import { eventually } from "../../support/eventually.ts";
import { refuseOnce } from "../support/refusal.ts";
import { recordingLogger, shown, startOverlay, testCluster, type TestCluster, type TestNode } from "./cluster.ts";

/** Under a second is promised; a loaded machine gets some more to show it. */
const REPAIR_MS = 3_000;

describe("drift on a real kernel", () => {
  let cluster: TestCluster;
  let node: TestNode;
  let overlay: OverlayReconciler;
  const logger = recordingLogger();
  const repaired: string[] = [];
  const ip = (...args: string[]) => node.ns.exec("ip", ...args);

  before(async () => {
    cluster = testCluster(3);
    node = cluster.nodes[0] as TestNode;
    overlay = await startOverlay(cluster, node, {
      logger,
      onRepair: (kind, count) => repaired.push(`${count} ${kind}`),
    });
  });

  after(() => overlay.stop());

  const mac = (n: number): string => cluster.nodes[n - 1]?.local.mac as string;
  const drifts: [string, () => void][] = [
    ["an IPv4 route is deleted", () => ip("route", "del", "10.244.2.0/24")],
    ["an IPv6 route is deleted", () => ip("-6", "route", "del", "fd00:10:244:3::/64")],
    [
      "a route is changed",
      () => ip("route", "change", "10.244.2.0/24", "via", "10.244.3.0", "dev", "sky.4096", "onlink"),
    ],
    [
      "a route is replaced by one over another device",
      () => ip("route", "replace", "10.244.3.0/24", "via", "172.30.0.9"),
    ],
    ["an IPv6 route is replaced by a blackhole", () => ip("-6", "route", "replace", "blackhole", "fd00:10:244:2::/64")],
    ["a neighbour is deleted", () => ip("neigh", "del", "10.244.2.0", "dev", "sky.4096")],
    [
      "a neighbour gets another MAC",
      () => ip("neigh", "replace", "fd00:10:244:2::", "lladdr", mac(3), "dev", "sky.4096"),
    ],
    [
      "a neighbour may age",
      () => ip("neigh", "change", "10.244.3.0", "lladdr", mac(3), "dev", "sky.4096", "nud", "stale"),
    ],
    [
      "an FDB entry is deleted",
      () => node.ns.exec("bridge", "fdb", "del", mac(2), "dev", "sky.4096", "dst", "172.30.0.2"),
    ],
    [
      "an FDB entry leads elsewhere",
      () => node.ns.exec("bridge", "fdb", "replace", mac(2), "dev", "sky.4096", "dst", "172.30.0.3"),
    ],
    [
      "frames would be flooded",
      () => node.ns.exec("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "sky.4096", "dst", "172.30.0.3"),
    ],
    ["the VTEP addresses are flushed", () => ip("addr", "flush", "dev", "sky.4096")],
    ["an address is added", () => ip("addr", "add", "10.99.0.1/24", "dev", "sky.4096")],
    [
      "an address gets a lifetime",
      () => ip("addr", "change", "10.244.1.0/32", "dev", "sky.4096", "valid_lft", "60", "preferred_lft", "60"),
    ],
    ["a stale route of ours appears", () => ip("route", "add", "10.77.0.0/16", "dev", "sky.4096", "proto", "83")],
    [
      "neighbours and routes are flushed",
      () => {
        ip("neigh", "flush", "dev", "sky.4096", "nud", "permanent");
        ip("route", "flush", "dev", "sky.4096");
        ip("-6", "route", "flush", "dev", "sky.4096");
      },
    ],
    ["the device goes down", () => ip("link", "set", "sky.4096", "down")],
    ["the device gets another MAC", () => ip("link", "set", "sky.4096", "address", "02:00:00:00:00:99")],
    ["the device gets another MTU", () => ip("link", "set", "sky.4096", "mtu", "1000")],
    ["the device leaves its link group", () => ip("link", "set", "sky.4096", "group", "default")],
    ["the device learns", () => ip("link", "set", "sky.4096", "type", "vxlan", "learning")],
    [
      "the device is renamed",
      () => {
        ip("link", "set", "sky.4096", "down");
        ip("link", "set", "sky.4096", "name", "other", "up");
      },
    ],
    ["the device is deleted", () => ip("link", "del", "sky.4096")],
    [
      "the device is replaced by one without anything",
      () => {
        ip("link", "del", "sky.4096");
        ip("link", "add", "sky.4096", "type", "vxlan", "id", "4096", "dstport", "4789");
      },
    ],
  ];

  for (const [what, drift] of drifts) {
    it(`is put right in under a second when ${what}`, async function () {
      const right = shown(node.ns);
      const before = overlay.status().repairs.total;
      repaired.length = 0;
      drift();
      const start = performance.now();
      await eventually(() => overlay.status().repairs.total > before, { timeoutMs: REPAIR_MS, intervalMs: 2 });
      const took = performance.now() - start;
      await overlay.settled();
      await eventually(() => JSON.stringify(shown(node.ns)) === JSON.stringify(right), { timeoutMs: REPAIR_MS });
      assert.deepEqual(shown(node.ns), right);
      assert.ok(repaired.length > 0);
      assert.equal(overlay.status().ready, true);
      if (this.test) this.test.title += ` (${Math.round(took)} ms)`;
    });
  }

  it("is logged and counted by kind", () => {
    const { byKind, total } = overlay.status().repairs;
    for (const [kind, count] of Object.entries(byKind)) assert.ok(count > 0, kind);
    assert.equal(
      Object.values(byKind).reduce((sum, count) => sum + count),
      total,
    );
    assert.ok(
      logger.lines.some(
        ({ level, message }) => level === "warn" && /^repaired .*route 10\.244\.2\.0\/24/.test(message),
      ),
    );
    assert.ok(logger.lines.some(({ message }) => /replaced a route that was not Skylane's/.test(message)));
  });

  it("is not seen in what is not ours, which stays: routes of others on our device, other devices, other tables", async () => {
    ip("route", "add", "10.55.0.0/16", "dev", "sky.4096", "proto", "static");
    ip("route", "add", "10.244.2.0/24", "dev", "eth0", "metric", "99");
    ip("route", "add", "10.244.2.0/24", "dev", "eth0", "table", "77");
    ip("neigh", "add", "10.244.2.0", "lladdr", mac(3), "dev", "eth0", "nud", "permanent");
    ip("addr", "add", "10.9.9.9/24", "dev", "eth0");
    ip("link", "add", "vx9", "type", "vxlan", "id", "9", "dstport", "4789");
    const before = overlay.status().repairs.total;
    overlay.resync("the test wants a look");
    await overlay.settled();
    assert.equal(overlay.status().repairs.total, before);
    assert.match(ip("route"), /10\.55\.0\.0\/16 dev sky\.4096/);
    assert.match(ip("route"), /10\.244\.2\.0\/24 dev eth0 .*metric 99/);
    assert.match(ip("route", "show", "table", "77"), /10\.244\.2\.0\/24/);
    assert.match(ip("neigh", "show", "dev", "eth0"), /10\.244\.2\.0/);
    ip("route", "del", "10.55.0.0/16");
    ip("link", "del", "vx9");
  });

  it("is found after notifications were lost", async () => {
    const { ns, local, peer } = cluster.nodes[1] as TestNode;
    const lossyLog = recordingLogger();
    const lossy = new OverlayReconciler({ local, netns: ns.path, logger: lossyLog, receiveBufferBytes: 4_096 });
    lossy.setPeers([node.peer]);
    await lossy.start();
    try {
      const right = shown(ns);
      // This thread reads nothing while it waits for its children: far more news than there is room for.
      const batch = Array.from(
        { length: 3_000 },
        (_, i) => `neigh add 10.66.${i >> 8}.${i & 255} lladdr ${peer.mac} dev eth0 nud permanent`,
      );
      execFileSync("nsenter", [`--net=${ns.path}`, "ip", "-batch", "-"], {
        input: `${batch.join("\n")}\nroute del 10.244.1.0/24\n`,
      });
      await eventually(() => lossy.status().repairs.byKind.route === 1, { timeoutMs: REPAIR_MS });
      assert.deepEqual(shown(ns), right);
      assert.ok(lossyLog.lines.some(({ fields }) => /ENOBUFS/.test(String(fields?.["reason"]))));
    } finally {
      await lossy.stop();
    }
  });
});

describe("what the kernel refuses", () => {
  let cluster: TestCluster;
  let node: TestNode;
  let overlay: OverlayReconciler;
  const logger = recordingLogger();
  const peerState = (name: string, { peers }: OverlayStatus = overlay.status()) => peers.find((p) => p.node === name);

  before(async () => {
    cluster = testCluster(2);
    node = cluster.nodes[0] as TestNode;
    overlay = new OverlayReconciler({
      local: node.local,
      netns: node.ns.path,
      logger,
      backoff: { baseMs: 50, maxMs: 400 },
    });
    // The bad peer claims a network in which this host itself has an address.
    node.ns.exec("ip", "addr", "add", "10.244.9.1/24", "dev", "eth0");
    const bad = { node: "bad", mac: "02:00:00:00:00:99", underlayIp: "172.30.0.99", podCidrs: ["10.244.9.0/24"] };
    overlay.setPeers([bad, ...cluster.nodes.slice(1).map(({ peer }) => peer)]);
    await overlay.start();
  });

  after(() => overlay.stop());

  it("for one peer is that peer's error alone, and is tried again", async () => {
    assert.equal(peerState("node2")?.state, "programmed");
    const bad = peerState("bad");
    assert.equal(bad?.state, "error");
    assert.match(bad?.error ?? "", /EEXIST adding route 10\.244\.9\.0\/24 .*belongs to an address of this host/);
    const { ready, entries } = overlay.status();
    // One node's mistake is no reason for a whole node to be out of service.
    assert.deepEqual([ready, entries.route], [true, { expected: 2, present: 2 }]);
    assert.match(node.ns.exec("ip", "route"), /10\.244\.9\.0\/24 dev eth0 proto kernel/);
    assert.equal(logger.lines.filter(({ fields }) => /10\.244\.9\.0/.test(String(fields?.["entry"]))).length, 1);
  });

  it("is made good as soon as the reason is gone", async () => {
    node.ns.exec("ip", "addr", "del", "10.244.9.1/24", "dev", "eth0");
    await eventually(() => peerState("bad")?.state === "programmed", { timeoutMs: REPAIR_MS });
    assert.equal(overlay.status().ready, true);
    assert.equal(overlay.status().repairs.total, 0);
  });

  it("of the device is named, and the device is made when the obstacle goes", async () => {
    const { ns, local } = cluster.nodes[1] as TestNode;
    ns.exec("ip", "link", "add", "flannel.4096", "type", "vxlan", "id", "4096", "dstport", "4789");
    const blocked = new OverlayReconciler({ local, netns: ns.path, logger, backoff: { baseMs: 5_000 } });
    blocked.setPeers([node.peer]);
    await blocked.start();
    try {
      const { ready, error } = blocked.status();
      assert.equal(ready, false);
      assert.match(error ?? "", /device flannel\.4096 uses VNI 4096 on UDP port 4789 already/);
      assert.equal(blocked.status().entries.route.present, 0);
      ns.exec("ip", "link", "del", "flannel.4096");
      await eventually(() => blocked.status().ready, { timeoutMs: REPAIR_MS });
    } finally {
      await blocked.stop();
    }
  });
});

describe("a removal that the kernel refuses", () => {
  let node: TestNode;
  let overlay: OverlayReconciler;
  const passes: { dumped: boolean; failures: number }[] = [];
  const gone = { node: "gone", mac: "02:00:00:00:00:88", underlayIp: "172.30.0.88", podCidrs: ["10.244.8.0/24"] };

  before(async () => {
    const cluster = testCluster(1);
    node = cluster.nodes[0] as TestNode;
    // Nobody tells what is in the kernel: nothing but the failure itself makes the reconciler look.
    const watch = () => ({ passOver: () => () => undefined, close: () => Promise.resolve() });
    overlay = await startOverlay(cluster, node, {
      watch,
      backoff: { baseMs: 500 },
      onPass: ({ dumped, failures }) => passes.push({ dumped, failures }),
    });
  });
  after(() => overlay.stop());

  for (const [kind, shows] of [
    ["route", () => node.ns.exec("ip", "route").includes("10.244.8.0/24")],
    ["neighbour", () => node.ns.exec("ip", "neigh", "show", "nud", "permanent").includes("10.244.8.0")],
    ["fdb", () => node.ns.exec("bridge", "fdb", "show", "dev", "sky.4096").includes(gone.mac)],
  ] as const) {
    it(`of the ${kind} entry of a peer that has gone makes the next pass look, and is made up for`, async () => {
      overlay.changePeers([[gone.node, gone]]);
      await overlay.settled();
      assert.ok(shows());
      using refusal = refuseOnce((operation) => operation.op === "del" && operation.kind === kind);
      passes.length = 0;
      overlay.changePeers([[gone.node, undefined]]);
      await overlay.settled();
      assert.equal(refusal.count, 1);
      // Nobody remembers any more what was to go: only a look shows it.
      assert.deepEqual(passes, [
        { dumped: false, failures: 1 },
        { dumped: true, failures: 0 },
      ]);
      await eventually(() => !shows(), { timeoutMs: REPAIR_MS, message: "it stays" });
    });
  }
});
