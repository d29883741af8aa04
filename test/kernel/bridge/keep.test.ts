/** A bridged network kept right: whatever somebody changes, however many endpoints there are. */
import assert from "node:assert/strict";
import { BRIDGE_NAME, type RemoteEndpoint } from "../../../src/dataplane/bridge/index.ts";
import type { PassReport } from "../../../src/reconcile/index.ts";
import { attachPod, checkPod, type PodLinkSpec } from "../../../src/dataplane/pod-link/index.ts";
import { eventually } from "../../support/eventually.ts";
import { reaches } from "../overlay/cluster.ts";
import { FrameSender } from "../support/frames.ts";
import { testNamespace } from "../support/netns.ts";
import { refuseOnce } from "../support/refusal.ts";
import { bridgeCluster, type BridgeNode, type BridgePod, DEVICE, introduce, remote } from "./support.ts";
import { missingLockedPorts } from "../support/bridged.ts";

const why = missingLockedPorts();

describe("a bridged network's upkeep", () => {
  if (why !== undefined) {
    it(`(skipped: ${why})`);
    return;
  }
  let [one, two] = [] as unknown as [BridgeNode, BridgeNode];
  let [a, b] = [] as unknown as [BridgePod, BridgePod];
  const reports: PassReport[] = [];

  const shown = () =>
    [
      one.net.exec("bridge", "fdb", "show", "br", BRIDGE_NAME),
      one.net.exec("bridge", "fdb", "show", "dev", DEVICE),
      one.net.exec("ip", "neigh", "show", "dev", BRIDGE_NAME, "nud", "permanent"),
      one.net.exec("bridge", "-d", "link", "show"),
      one.net.exec("ip", "-br", "link", "show", "type", "bridge"),
    ]
      .flatMap((text) => text.split("\n"))
      // A device that is made anew has another index; multicast groups of devices come and go by themselves.
      .filter((line) => !/^(33:33|01:00:5e)/.test(line))
      .map((line) => line.trim().replace(/^\d+: |link-netnsid \d+ | static$/g, ""))
      .sort();

  before(async () => {
    const { nodes } = bridgeCluster(2, "Replicate", { onPass: (report) => reports.push(report) });
    [one, two] = nodes as [BridgeNode, BridgeNode];
    [a, b] = [one.pod(1), two.pod(1)];
    await introduce(
      nodes,
      new Map([
        [one, [a]],
        [two, [b]],
      ]),
    );
    for (const { bridge } of nodes) await bridge.start();
    for (const ip of b.ips) await reaches(a.ns, ip);
    await one.bridge.settled();
  });
  after(() => Promise.all([one, two].map(({ bridge }) => bridge.stop())));

  const changes: [what: string, ...commands: string[]][] = [
    ["an FDB entry of the bridge is deleted", "bridge fdb del $B dev sky.7100 master"],
    ["an FDB entry of the bridge leads to another port", "bridge fdb replace $B dev skypod1 master static"],
    ["a pod's own entry is deleted", "bridge fdb del $A dev skypod1 master"],
    ["an entry appears that nobody wants", "bridge fdb add 02:00:00:00:0e:0e dev skypod1 master static"],
    ["an FDB entry of the tunnel leads elsewhere", "bridge fdb replace $B dev sky.7100 dst 172.30.0.77 self permanent"],
    [
      "broadcast goes to somebody else too",
      "bridge fdb append 00:00:00:00:00:00 dev sky.7100 dst 172.30.0.77 self permanent",
    ],
    ["broadcast goes to nobody", "bridge fdb del 00:00:00:00:00:00 dev sky.7100 dst 172.30.0.2 self"],
    ["a neighbour is deleted", "ip neigh del 10.7.2.1 dev skybr"],
    ["a neighbour has another MAC", "ip neigh replace 10.7.2.1 lladdr 02:00:00:00:0e:0e dev skybr nud permanent"],
    ["an IPv6 neighbour may age", "ip neigh replace fd07::2:1 lladdr $B dev skybr nud stale"],
    ["the tunnel learns", "bridge link set dev sky.7100 learning on"],
    ["the tunnel floods", "bridge link set dev sky.7100 flood on"],
    ["the tunnel passes ARP", "bridge link set dev sky.7100 neigh_suppress off"],
    ["the tunnel is unlocked", "bridge link set dev sky.7100 locked off"],
    ["the tunnel is disabled", "bridge link set dev sky.7100 state 0"],
    ["the tunnel is isolated", "bridge link set dev sky.7100 isolated on"],
    ["the tunnel passes no broadcast", "bridge link set dev sky.7100 bcast_flood off"],
    ["the tunnel passes no multicast", "bridge link set dev sky.7100 mcast_flood off"],
    ["several settings of the tunnel change at once", "bridge link set dev sky.7100 locked off learning on flood on"],
    ["the tunnel leaves the bridge", "ip link set sky.7100 nomaster"],
    ["a pod's port floods", "bridge link set dev skypod1 flood on"],
    ["a pod's port is disabled", "bridge link set dev skypod1 state 0"],
    ["a pod's port is made to listen alone", "bridge link set dev skypod1 state 1"],
    ["a pod's port is isolated", "bridge link set dev skypod1 isolated on"],
    ["a pod's port keeps ARP back", "bridge link set dev skypod1 neigh_suppress on"],
    ["a pod's port passes no broadcast", "bridge link set dev skypod1 bcast_flood off"],
    ["a pod's port passes no multicast", "bridge link set dev skypod1 mcast_flood off"],
    ["a pod's port leaves the bridge", "ip link set skypod1 nomaster"],
    ["a pod's port goes down", "ip link set skypod1 down"],
    ["the bridge goes down", "ip link set skybr down"],
    ["the bridge has another MAC", "ip link set skybr address 02:00:00:00:0e:0e"],
    ["the bridge snoops", "ip link set skybr type bridge mcast_snooping 1"],
    ["the bridge is deleted", "ip link del skybr"],
    ["the tunnel is deleted", "ip link del sky.7100"],
  ];
  for (const [what, command = ""] of changes) {
    it(`puts right that ${what}`, async () => {
      await one.bridge.settled();
      const right = shown();
      const [name = "", ...args] = command.replaceAll("$A", a.mac).replaceAll("$B", b.mac).split(" ");
      const before = Object.values(one.bridge.status().repairs).reduce((sum, n) => sum + n, 0);
      one.net.exec(name, ...args);
      await eventually(() => Object.values(one.bridge.status().repairs).reduce((sum, n) => sum + n, 0) > before, {
        timeoutMs: 2_000,
        message: "nothing was repaired",
      });
      await eventually(
        async () => {
          await one.bridge.settled();
          assert.deepEqual(shown(), right);
          return true;
        },
        { timeoutMs: 2_000 },
      );
      assert.equal(one.bridge.status().ready, true);
      for (const ip of b.ips) await reaches(a.ns, ip);
    });
  }

  it("takes a pod's link that comes later, and one that is made anew by the same name", async () => {
    const later = { mac: "02:00:00:00:01:03", ips: ["10.7.1.3"] };
    one.bridge.setLocalPorts([["skypod3", { ifname: "skypod3", endpoints: [later] }]]);
    two.bridge.setEndpoints([remote(one, later)]);
    await one.bridge.settled();
    assert.equal(one.bridge.status().ready, false);
    for (let attempt = 0; attempt < 2; attempt++) {
      const pod = one.pod(3, { ips: ["10.7.1.3"] });
      await eventually(() => one.bridge.status().ready);
      await reaches(pod.ns, b.ips[0] as string);
      pod.ns.delete();
      await eventually(() => !one.net.exec("ip", "-br", "link").includes("skypod3"));
      await eventually(() => !one.bridge.status().ready);
    }
    one.bridge.setLocalPorts([["skypod3", undefined]]);
    await one.bridge.settled();
    assert.equal(one.bridge.status().ready, true);
  });

  it("carries pods that are attached as a port of the bridge, locked before they can send", async () => {
    const sandbox = testNamespace("sandbox");
    const spec: PodLinkSpec = {
      netns: sandbox.path,
      hostNetns: one.net.path,
      ifname: "net1",
      containerId: "c".repeat(64),
      alias: "default/web/net1",
      mtu: 1450,
      addresses: ["10.7.1.4", "fd07::1:4"],
      bridge: { name: BRIDGE_NAME, prefixLengths: { 4: 16, 6: 64 } },
    };
    const link = attachPod(spec);
    assert.deepEqual(link.gateways, []);
    assert.deepEqual(checkPod({ ...spec, mac: link.podMac, hostIfname: link.hostIfname }), []);
    assert.deepEqual(sandbox.json("ip", "-j", "route", "show", "default"), []);
    const endpoint = { mac: link.podMac, ips: spec.addresses };
    two.bridge.setEndpoints([remote(one, endpoint)]);
    reports.length = 0;
    one.bridge.setLocalPorts([[link.hostIfname, { ifname: link.hostIfname, endpoints: [endpoint] }]]);
    await Promise.all([one.bridge.settled(), two.bridge.settled()]);
    for (const ip of [...b.ips, ...a.ips]) await reaches(sandbox, ip);
    one.net.exec("bridge", "link", "set", "dev", link.hostIfname, "mcast_flood", "off");
    const port = () => one.net.exec("bridge", "-d", "link", "show", "dev", link.hostIfname);
    await eventually(() => port().includes("mcast_flood on"));
    one.net.exec("ip", "link", "set", link.hostIfname, "nomaster");
    const found = checkPod({ ...spec, bridge: { ...spec.bridge, name: "other" } as PodLinkSpec["bridge"] & object });
    assert.deepEqual(found, ["bridge other is missing"]);
    one.bridge.setLocalPorts([[link.hostIfname, undefined]]);
    assert.throws(
      () => attachPod({ ...spec, ifname: "net2", bridge: { name: "absent", prefixLengths: { 4: 16, 6: 64 } } }),
      /there is no bridge absent/,
    );
    assert.equal(sandbox.exec("ip", "-br", "link").includes("net2"), false, "nothing is left of it");
  });

  it("bounds what a pod that makes up addresses can fill", async () => {
    const frame = Buffer.from(`ffffffffffff020f0000000088b5${"00".repeat(46)}`, "hex");
    {
      using sender = new FrameSender(a.ns.path, "eth0");
      await sender.flood(5_000, (n) => {
        frame.writeUInt16BE(n, 10);
        return frame;
      });
    }
    const locked = one.net
      .exec("bridge", "fdb", "show", "br", BRIDGE_NAME)
      .split("\n")
      .filter((line) => line.startsWith("02:0f:"));
    assert.ok(locked.length > 100 && locked.length <= 1_024, `${locked.length} addresses`);
    for (const ip of b.ips) await reaches(a.ns, ip);
    one.net.exec("ip", "link", "set", BRIDGE_NAME, "type", "bridge", "fdb_flush");
  });

  it("holds 10,000 endpoints, of which one more costs its own few entries", async () => {
    const endpoint = (n: number): [string, RemoteEndpoint] => {
      const [high, low] = [(n >> 8).toString(16).padStart(2, "0"), (n & 255).toString(16).padStart(2, "0")];
      const mac = `02:10:00:00:${high}:${low}`;
      return [mac, { mac, ips: [`10.7.${100 + (n >> 8)}.${n & 255}`, `fd07::a:${n.toString(16)}`], node: two.name }];
    };
    await one.bridge.settled();
    reports.length = 0;
    const start = performance.now();
    one.bridge.setEndpoints(Array.from({ length: 10_000 }, (_, n) => endpoint(n)));
    await one.bridge.settled();
    const took = performance.now() - start;
    assert.equal(one.bridge.status().ready, true);
    assert.ok(took < 10_000, `${took} ms`);
    await eventually(() => one.bridge.settled().then(() => true));
    reports.length = 0;
    one.bridge.setEndpoints([endpoint(10_001)]);
    await one.bridge.settled();
    assert.deepEqual(
      reports.map(({ dumped, operations }) => ({ dumped, operations })),
      [{ dumped: false, operations: 4 }],
    );
    reports.length = 0;
    one.bridge.resync("a test");
    await one.bridge.settled();
    assert.deepEqual(
      reports.map(({ dumped, operations }) => ({ dumped, operations })),
      [{ dumped: true, operations: 0 }],
    );
    const { entries } = one.bridge.status();
    assert.ok(entries.neighbour.present >= 20_000 && entries.bridgeFdb.present >= 10_000);
    for (const ip of b.ips) await reaches(a.ns, ip);
  }).timeout(60_000);
});

describe("a removal that the kernel refuses in a bridged network", () => {
  if (why !== undefined) {
    it(`(skipped: ${why})`);
    return;
  }
  let node: BridgeNode;
  const passes: { dumped: boolean; failures: number }[] = [];
  const peer = { node: "other", mac: "02:00:00:00:00:77", underlayIp: "172.30.0.77", podCidrs: [] };
  const gone = { mac: "02:00:00:00:02:08", ips: ["10.7.2.8"] };

  before(async () => {
    // Nobody tells what is in the kernel: nothing but the failure itself makes the reconciler look.
    const watch = () => ({ passOver: () => () => undefined, close: () => Promise.resolve() });
    const { nodes } = bridgeCluster(1, "Drop", {
      watch,
      backoff: { baseMs: 500 },
      onPass: ({ dumped, failures }) => passes.push({ dumped, failures }),
    });
    node = nodes[0] as BridgeNode;
    node.bridge.setPeers([peer]);
    await node.bridge.start();
  });
  after(() => node.bridge.stop());

  for (const [kind, shows] of [
    ["bridgeFdb", () => node.net.exec("bridge", "fdb", "show", "br", BRIDGE_NAME).includes(gone.mac)],
    ["neighbour", () => node.net.exec("ip", "neigh", "show", "dev", BRIDGE_NAME).includes("10.7.2.8 ")],
  ] as const) {
    it(`of the ${kind} entry of an endpoint that has gone makes the next pass look, and is made up for`, async () => {
      node.bridge.setEndpoints([[gone.mac, { ...gone, node: peer.node }]]);
      await node.bridge.settled();
      assert.ok(shows());
      using refusal = refuseOnce((operation) => operation.op === "del" && operation.kind === kind);
      passes.length = 0;
      node.bridge.setEndpoints([[gone.mac, undefined]]);
      await node.bridge.settled();
      assert.equal(refusal.count, 1);
      // Nobody remembers any more what was to go: only a look shows it.
      assert.deepEqual(passes, [
        { dumped: false, failures: 1 },
        { dumped: true, failures: 0 },
      ]);
      await eventually(() => !shows(), { timeoutMs: 5_000, message: "it stays" });
    });
  }
});
