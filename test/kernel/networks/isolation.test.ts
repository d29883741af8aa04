import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { Firewall } from "../../../src/dataplane/nft/index.ts";
import { checkPod } from "../../../src/dataplane/pod-link/index.ts";
import type { OverlayReconciler } from "../../../src/dataplane/vxlan/index.ts";
import { eventually } from "../../support/eventually.ts";
import {
  pings,
  reaches,
  startOverlay,
  testCluster,
  type TestCluster,
  type TestNode,
  type TestPod,
} from "../overlay/cluster.ts";
import type { TestNamespace } from "../support/netns.ts";
import {
  datagrams,
  echoes,
  hostFirewall,
  type NetworkPod,
  Part,
  sendFrom,
  type TestNetwork,
  vxlanFrame,
} from "./support.ts";
import { assertUnderASecond } from "../../support/pace.ts";

const BLUE: TestNetwork = { name: "blue", vni: 100 };
const RED: TestNetwork = { name: "red", vni: 200 };
const PORT = 4789;

describe("pod networks in namespaces of their own", function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let stranger: TestNamespace;
  const parts = new Map<TestNetwork, Part[]>([
    [BLUE, []],
    [RED, []],
  ]);
  const closers: { stop(): Promise<void> }[] = [];
  const overlays: OverlayReconciler[] = [];
  const firewalls: Firewall[] = [];
  /** By network and node: pods 2 in both networks, 70 in blue alone, 80 in red alone; and pods of the default network. */
  const blue: NetworkPod[] = [];
  const red: NetworkPod[] = [];
  /** Another pod of blue on the first node. */
  let neighbour: NetworkPod;
  let blueOnly: NetworkPod;
  let redOnly: NetworkPod;
  let ordinary: TestPod[];
  const at = <T>(list: readonly T[], n: number): T => list[n] as T;
  const nodeAt = (n: number): TestNode => at(cluster.nodes, n);
  const partOf = (network: TestNetwork, n: number): Part => at(parts.get(network) ?? [], n);

  // Nodes 1 and 2 take part in both networks, node 3 in the default one alone.
  before(async () => {
    cluster = testCluster(3);
    stranger = cluster.machine("stranger", 9);
    for (const node of cluster.nodes) overlays.push(await startOverlay(cluster, node));
    for (const [network, list] of parts) {
      for (const node of cluster.nodes.slice(0, 2)) list.push(new Part(node, network));
      for (const part of list) await part.start(list.map(({ peer }) => peer));
    }
    const peers = new Map(Array.from(parts, ([network, list]) => [network, list.map(({ peer }) => peer)]));
    for (const node of cluster.nodes)
      firewalls.push(
        await hostFirewall(
          node,
          cluster.nodes.map(({ peer }) => peer),
          peers,
        ),
      );
    closers.push(...overlays, ...firewalls, ...[...parts.values()].flat());
    for (const n of [0, 1]) {
      blue.push(await partOf(BLUE, n).pod(2));
      red.push(await partOf(RED, n).pod(2));
    }
    neighbour = await partOf(BLUE, 0).pod(3);
    blueOnly = await partOf(BLUE, 1).pod(70);
    redOnly = await partOf(RED, 1).pod(80);
    ordinary = [nodeAt(0).pod(200), nodeAt(1).pod(201)];
  });
  after(async () => {
    for (const one of closers) await one.stop();
  });

  it("have every entry in place, in their own namespaces, and nothing of the underlay there", () => {
    for (const [{ vni }, list] of parts) {
      for (const { ns, node, run } of list) {
        assert.ok(run.ready, JSON.stringify(run.status()));
        const devices = ns.json("ip", "-j", "link").map(({ ifname }) => String(ifname));
        assert.ok(devices.includes(`sky.${vni}`));
        assert.ok(!devices.includes("eth0"));
        assert.ok(!node.ns.json("ip", "-j", "link").some(({ ifname }) => ifname === `sky.${vni}`));
        // The UDP socket is the host's.
        assert.equal(ns.exec("ss", "-Huln").trim(), "");
        assert.deepEqual(ns.json("ip", "-j", "route", "show", "default"), []);
      }
    }
  });

  it("carry pods of one network from node to node, in both families and from every block", async () => {
    for (const pods of [blue, red]) {
      for (const [from, to] of [
        [at(pods, 0), at(pods, 1)],
        [at(pods, 1), at(pods, 0)],
      ] as const) {
        for (const ip of to.ips) {
          const before = echoes(to);
          await reaches(from.ns, ip);
          assert.ok(echoes(to) > before, `${ip} was answered by somebody else`);
        }
      }
    }
    await reaches(at(blue, 0).ns, blueOnly.ips[0]);
    await reaches(at(red, 0).ns, redOnly.ips[0]);
    await reaches(at(ordinary, 0).ns, at(at(ordinary, 1).ips, 0));
  });

  it("say that such a pod's link is as it should be, and what is not", () => {
    const { ns, containerId, ips } = at(blue, 0);
    const part = partOf(BLUE, 0);
    const expected = {
      netns: ns.path,
      ifname: "eth0",
      containerId,
      addresses: ips,
      mtu: 1450,
      hostNetns: part.run.netns.path,
    };
    assert.deepEqual(checkPod(expected), []);
    const { hostNetns: _, ...elsewhere } = expected;
    assert.match(checkPod(elsewhere).join(), /host interface \S+ is missing/);
    assert.deepEqual(checkPod({ ...expected, hostNetns: "/run/netns/there-is-none" }), [
      "the pod network's namespace /run/netns/there-is-none is gone",
    ]);
  });

  it("never carry one network's packets to another one's pods, whatever has the same address there", () => {
    const others = [at(blue, 1), blueOnly];
    const before = others.map(echoes);
    // Addresses that one network alone has, and one that both have: that is answered by the other red pod.
    assert.equal(pings(at(red, 0).ns, blueOnly.ips[0]), false);
    assert.equal(pings(at(blue, 0).ns, redOnly.ips[0]), false);
    assert.ok(pings(at(red, 0).ns, at(red, 1).ips[0]));
    assert.deepEqual(others.map(echoes), before);
  });

  it("let no pod reach the host, the underlay, or the default network, and nobody of those a pod", () => {
    const targets = [
      "172.30.0.1",
      "172.30.0.2",
      "fd30::1",
      "172.30.0.9",
      ...at(ordinary, 0).ips,
      ...at(ordinary, 1).ips,
    ];
    for (const ip of targets) assert.equal(pings(at(blue, 0).ns, ip), false, `blue reaches ${ip}`);
    for (const ns of [nodeAt(0).ns, nodeAt(1).ns, at(ordinary, 0).ns, stranger])
      assert.equal(pings(ns, blueOnly.ips[0]), false, `${ns.name} reaches blue`);
  });

  it("drop what a pod sends from an address that is not its own", () => {
    const [from, to] = [at(blue, 0), at(blue, 1)];
    const heard = echoes(to);
    for (const ip of to.ips) assert.ok(pings(from.ns, ip));
    assert.equal(echoes(to) - heard, 2, "what a pod sends from its own address is counted");
    for (const [ip, source] of [
      [to.ips[0], "10.244.1.9"],
      [to.ips[0], blueOnly.ips[0]],
      [to.ips[0], "172.30.0.1"],
      [to.ips[1], "fd00:10:244:1::9"],
    ] as const) {
      from.ns.exec("ip", "addr", "add", source, "dev", "lo", ...(source.includes(":") ? ["nodad"] : []));
      const before = echoes(to);
      assert.equal(pings(from.ns, ip, "-I", source), false);
      assert.equal(echoes(to), before, `a packet from ${source} came through`);
      from.ns.exec("ip", "addr", "del", source, "dev", "lo");
    }
  });

  it("let VXLAN in from peers of that network alone, whoever sends it", async () => {
    const target = at(blue, 0);
    const [node1, node2, node3] = [nodeAt(0), nodeAt(1), nodeAt(2)];
    const { mac } = partOf(BLUE, 0).local;
    const frame = vxlanFrame({ vni: BLUE.vni, mac, from: at(blue, 1).ips[0], to: target.ips[0] });
    const host = node1.local.underlayIp;
    const arrive = async (ns: TestNamespace, to: string, data: Buffer): Promise<number> => {
      const before = datagrams(target);
      sendFrom(ns, to, PORT, data);
      await delay(100);
      return datagrams(target) - before;
    };
    // The same bytes from a peer of the network do come in: otherwise nothing below would mean anything.
    assert.ok((await arrive(node2.ns, host, frame)) > 0);
    for (const [who, ns] of [
      ["a machine that is no node", stranger],
      ["a node that takes no part in the network", node3.ns],
      ["the node itself", node1.ns],
      ["a pod of another network on that node", at(red, 0).ns],
      ["a pod of another network on a peer", at(red, 1).ns],
      ["a pod of the network itself", at(blue, 1).ns],
      ["a pod of the default network on that node", at(ordinary, 0).ns],
      ["a pod of the default network on a peer", at(ordinary, 1).ns],
    ] as const)
      assert.equal(await arrive(ns, host, frame), 0, who);
    // A peer that lies about where its pods are is not heard either: there is such a pod, but it is on this node.
    const own = vxlanFrame({ vni: BLUE.vni, mac, from: neighbour.ips[0], to: target.ips[0] });
    assert.equal(await arrive(node2.ns, host, own), 0, "a pod of this node, from outside");
    // Nor does a frame of red's get into blue.
    const other = vxlanFrame({ vni: RED.vni, mac, from: at(blue, 1).ips[0], to: target.ips[0] });
    assert.equal(await arrive(node2.ns, host, other), 0, "another VNI");
  });

  it("answer no ARP and no neighbour discovery for anybody else's addresses", () => {
    const pod = at(blue, 0);
    const asked = [
      redOnly.ips[0],
      at(ordinary, 0).ips[0] as string,
      "172.30.0.1",
      at(blue, 1).ips[0],
      "fd00:10:244:1::50",
      "fd30::1",
    ];
    for (const ip of asked) {
      const family = ip.includes(":") ? "-6" : "-4";
      pod.ns.exec("ip", family, "route", "add", ip, "dev", "eth0");
      assert.equal(pings(pod.ns, ip), false);
      const [entry] = pod.ns.json("ip", "-j", family, "neigh", "show", "to", ip, "dev", "eth0");
      assert.ok(!entry?.["lladdr"], `${ip} was answered by ${String(entry?.["lladdr"])}`);
      pod.ns.exec("ip", family, "route", "del", ip, "dev", "eth0");
    }
  });

  for (const [what, change] of [
    ["deleted", (ns, device) => ns.exec("ip", "link", "del", device)],
    ["set down", (ns, device) => ns.exec("ip", "link", "set", device, "down")],
    ["moved into the host's namespace", (ns, device, host) => ns.exec("ip", "link", "set", device, "netns", host)],
    [
      "made anew inside the namespace, where there is no underlay",
      (ns, device) => {
        ns.exec("ip", "link", "del", device);
        ns.exec("ip", "link", "add", device, "type", "vxlan", "id", "100", "dstport", "4789");
      },
    ],
  ] as [string, (ns: TestNamespace, device: string, host: string) => void][]) {
    it(`get their device back in under a second when it is ${what}`, async () => {
      const { ns, node, run } = partOf(BLUE, 0);
      change(ns, "sky.100", node.ns.name);
      const start = performance.now();
      await eventually(() => run.ready && pings(at(blue, 0).ns, at(blue, 1).ips[0], "-W", "0.1"), {
        timeoutMs: 30_000,
      });
      const took = performance.now() - start;
      assertUnderASecond(took, "the repair of the device");
      assert.ok(!node.ns.json("ip", "-j", "link").some(({ ifname }) => ifname === "sky.100"));
      assert.ok(pings(at(red, 0).ns, at(red, 1).ips[0]), "the other network is not concerned");
    });
  }

  it("say what is in the way when somebody else has the VNI on the host", async () => {
    const { ns, node, run } = partOf(BLUE, 0);
    await run.overlay.stop();
    ns.exec("ip", "link", "del", "sky.100");
    node.ns.exec("ip", "link", "add", "vx100", "type", "vxlan", "id", "100", "dstport", "4789");
    await run.stop();
    const again = await partOf(BLUE, 0).start((parts.get(BLUE) ?? []).map(({ peer }) => peer));
    assert.match(again.overlay.error ?? "", /device vx100 uses VNI 100 on UDP port 4789/);
    node.ns.exec("ip", "link", "del", "vx100");
    await eventually(() => again.ready);
    await reaches(at(blue, 0).ns, at(blue, 1).ips[0]);
  });

  it("lose no packet when the agent restarts", async () => {
    const part = partOf(BLUE, 1);
    const ping = at(blue, 0).ns.spawn("ping", ["-q", "-i", "0.01", "-c", "300", "-W", "1", at(blue, 1).ips[0]], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    ping.stdout?.on("data", (data: Buffer) => (said += data.toString()));
    const ended = new Promise((resolve) => ping.once("close", resolve));
    for (let i = 0; i < 3; i++) {
      await delay(300);
      await part.run.stop();
      await delay(100);
      await part.start((parts.get(BLUE) ?? []).map(({ peer }) => peer));
    }
    await ended;
    assert.match(said, /300 packets transmitted, 300 received/);
  });

  it("take a pod back by its host end, and leave the network with the device gone at once", async () => {
    const part = partOf(RED, 1);
    const { containerId, link, ips } = redOnly;
    await part.run.queue.detach({ containerId, ifname: "eth0" });
    assert.ok(!part.ns.json("ip", "-j", "link").some(({ ifname }) => ifname === link.hostIfname));
    assert.equal(pings(at(red, 0).ns, ips[0]), false);
    await part.run.remove();
    assert.ok(!part.ns.json("ip", "-j", "link").some(({ ifname }) => ifname === "sky.200"));
    // The VNI is free again on that host.
    nodeAt(1).ns.exec("ip", "link", "add", "vx200", "type", "vxlan", "id", "200", "dstport", "4789");
    nodeAt(1).ns.exec("ip", "link", "del", "vx200");
    assert.ok(pings(at(blue, 0).ns, at(blue, 1).ips[0]));
  });
});
