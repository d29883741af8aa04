import assert from "node:assert/strict";
import { type LocalNetwork, type Peer } from "../../../src/peers/index.ts";
import { OverlayReconciler } from "../../../src/dataplane/vxlan/index.ts";
import { eventually } from "../../support/eventually.ts";
import { testNamespace } from "../support/netns.ts";
import {
  reaches,
  recordingLogger,
  shown,
  startOverlay,
  testCluster,
  type TestCluster,
  type TestNode,
  type TestPod,
} from "./cluster.ts";

describe("live changes on a real kernel", () => {
  let cluster: TestCluster;
  let pods: TestPod[];
  let here: LocalNetwork;
  let there: LocalNetwork;
  const overlays: OverlayReconciler[] = [];
  const [a, b] = [() => cluster.nodes[0] as TestNode, () => cluster.nodes[1] as TestNode];

  const asPeer = (
    { node, mac, underlayIp, podCidrs }: LocalNetwork,
    other: LocalNetwork,
    vni: number,
    port: number,
  ): Peer => ({
    node,
    mac,
    underlayIp,
    podCidrs,
    ...(vni !== other.vni && { vni }),
    ...(port !== other.port && { port }),
  });

  /** Both sides hear of both sides' new selves, as through Node objects, and pods must reach each other. */
  async function become(nextHere: LocalNetwork, nextThere: LocalNetwork): Promise<void> {
    here = nextHere;
    there = nextThere;
    const [one, two] = overlays as [OverlayReconciler, OverlayReconciler];
    one.setLocal(here);
    one.setPeers([asPeer(there, here, there.vni, there.port)]);
    two.setLocal(there);
    two.setPeers([asPeer(here, there, here.vni, here.port)]);
    await Promise.all(overlays.map((overlay) => overlay.settled()));
    for (const overlay of overlays) {
      const status = overlay.status();
      assert.equal(status.error, undefined);
      assert.equal(status.ready, true);
    }
    for (const ip of pods[1]?.ips ?? []) await reaches(pods[0]?.ns as TestPod["ns"], ip);
  }

  before(async () => {
    cluster = testCluster(2);
    pods = cluster.nodes.map((node) => node.pod(2));
    [here, there] = [a().local, b().local];
    for (const node of cluster.nodes) overlays.push(await startOverlay(cluster, node));
    await become(here, there);
  });

  after(() => Promise.all(overlays.map((overlay) => overlay.stop())));

  afterEach(() => {
    for (const overlay of overlays) assert.equal(overlay.status().repairs.total, 0, "no change is a repair");
  });

  it("of a peer's underlay address", async () => {
    b().ns.exec("ip", "addr", "add", "172.30.0.22/24", "dev", "eth0");
    await become(here, { ...there, underlayIp: "172.30.0.22" });
    assert.match(shown(a().ns)["fdb"]?.join() ?? "", /dst 172\.30\.0\.22 self permanent/);
    assert.match(shown(b().ns)["link"]?.join() ?? "", /local 172\.30\.0\.22/);
  });

  it("of the underlay's family", async () => {
    await become({ ...here, underlayIp: "fd30::1" }, { ...there, underlayIp: "fd30::2" });
    assert.match(shown(a().ns)["fdb"]?.join() ?? "", /dst fd30::2 self permanent/);
    await become(a().local, b().local);
  });

  it("of MAC and MTU", async () => {
    await become({ ...here, mac: "02:aa:00:00:00:01", mtu: 1400 }, { ...there, mac: "02:aa:00:00:00:02" });
    assert.match(shown(a().ns)["link"]?.[0] ?? "", /^02:aa:00:00:00:01 mtu 1400 up$/);
    assert.match(shown(a().ns)["neighbours"]?.join() ?? "", /10\.244\.2\.0 02:aa:00:00:00:02 PERMANENT/);
  });

  it("of one side's VNI and port, with which it is reached at once, and then of the other's", async () => {
    await become(here, { ...there, vni: 5000, device: "sky.5000", port: 8472 });
    assert.match(shown(a().ns)["fdb"]?.join() ?? "", /dst 172\.30\.0\.2 port 8472 vni 5000/);
    const links = b()
      .ns.json("ip", "-j", "link")
      .map((link) => String(link["ifname"]));
    assert.deepEqual(
      links.filter((name) => name.startsWith("sky.")),
      ["sky.5000"],
    );
    await become({ ...here, vni: 5000, device: "sky.5000", port: 8472 }, there);
    assert.doesNotMatch(shown(a().ns, "sky.5000")["fdb"]?.join() ?? "", /vni|port/);
    await become(a().local, b().local);
  });

  it("of pod CIDRs", async () => {
    const cidrs = ["10.250.0.0/24", "fd00:10:250::/64"];
    const [one, two] = overlays as [OverlayReconciler, OverlayReconciler];
    one.setLocal({ ...here, podCidrs: cidrs });
    await one.settled();
    assert.deepEqual(shown(a().ns)["addresses"], ["10.250.0.0/32", "fd00:10:250::/128"]);
    assert.match(shown(a().ns)["routes"]?.join() ?? "", /10\.244\.2\.0\/24 .* src 10\.250\.0\.0 onlink/);
    two.setPeers([{ ...a().peer, podCidrs: cidrs }]);
    await two.settled();
    assert.deepEqual(
      shown(b().ns)["routes"]?.map((route) => route.split(" ")[0]),
      cidrs,
    );
    await become(a().local, b().local);
  });

  it("of the peers: one that goes leaves nothing, one that comes is reached", async () => {
    const [one] = overlays as [OverlayReconciler];
    one.setPeers([]);
    await one.settled();
    const { fdb, neighbours, routes } = shown(a().ns);
    assert.deepEqual([fdb, neighbours, routes], [[], [], []]);
    await become(here, there);
  });
});

describe("a thousand peers on a real kernel", () => {
  const peers = Array.from({ length: 1_000 }, (_, i): Peer => {
    const [hi, lo] = [i >> 8, i & 255];
    return {
      node: `node${i}`,
      mac: `02:00:00:01:${hi.toString(16).padStart(2, "0")}:${lo.toString(16).padStart(2, "0")}`,
      underlayIp: `172.31.${hi}.${lo}`,
      podCidrs: [`10.${hi}.${lo}.0/24`, `fd01:1:${(hi + 1).toString(16)}:${(lo + 1).toString(16)}::/64`],
    };
  });
  const local: LocalNetwork = {
    network: "default",
    node: "self",
    vni: 4096,
    device: "sky.4096",
    port: 4789,
    mtu: 1450,
    mac: "02:00:00:00:00:01",
    underlayIp: "172.30.0.1",
    podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
    clusterCidrs: [],
  };

  it("are programmed, changed and made anew while the event loop turns, each change with its own operations only", async () => {
    const ns = testNamespace("many");
    const operations: number[] = [];
    const overlay = new OverlayReconciler({
      local,
      netns: ns.path,
      logger: recordingLogger(),
      onPass: (pass) => operations.push(pass.operations),
    });
    overlay.setPeers(peers);
    let turns = 0;
    const counting = new AbortController();
    const count = (): void => {
      turns++;
      if (!counting.signal.aborted) setImmediate(count);
    };
    count();
    await overlay.start();
    counting.abort();
    try {
      assert.ok(turns > 10, `${turns} turns of the event loop`);
      const all = { fdb: 1_000, neighbour: 2_000, route: 2_000, address: 2 };
      const present = () =>
        Object.fromEntries(Object.entries(overlay.status().entries).map(([k, v]) => [k, v.present]));
      assert.deepEqual(present(), all);
      assert.equal(ns.exec("ip", "-4", "route", "show", "proto", "83").trim().split("\n").length, 1_000);
      await overlay.settled();
      operations.length = 0;
      overlay.setPeers(peers.slice(1));
      await overlay.settled();
      overlay.setPeers(peers);
      await overlay.settled();
      assert.deepEqual(
        operations.filter((count) => count > 0),
        [5, 5],
      );
      ns.exec("ip", "link", "del", "sky.4096");
      await eventually(() => overlay.status().repairs.byKind.route === 2_000, { timeoutMs: 5_000 });
      await overlay.settled();
      assert.deepEqual(present(), all);
      assert.equal(ns.exec("bridge", "fdb", "show", "dev", "sky.4096").trim().split("\n").length, 1_000);
    } finally {
      await overlay.stop();
    }
  });
});
