import assert from "node:assert/strict";
import { OVERLAY_LINK_GROUP, Rtnl } from "../../../src/netlink/index.ts";
import { OverlayReconciler, removeOverlay } from "../../../src/dataplane/vxlan/index.ts";
import { type Peer } from "../../../src/peers/index.ts";
import { capture } from "./capture.ts";
import {
  pings,
  reaches,
  recordingLogger,
  shown,
  startOverlay,
  testCluster,
  type TestCluster,
  type TestNode,
  type TestPod,
} from "./cluster.ts";

describe("the overlay on a real kernel", () => {
  let cluster: TestCluster;
  let pods: TestPod[];
  const overlays: OverlayReconciler[] = [];
  const passes: { operations: number; dumped: boolean }[] = [];
  const others = (node: TestNode): Peer[] => cluster.nodes.filter((other) => other !== node).map(({ peer }) => peer);
  const first = (): TestNode => cluster.nodes[0] as TestNode;

  before(async () => {
    cluster = testCluster(3);
    pods = cluster.nodes.map((node) => node.pod(2));
    for (const node of cluster.nodes) overlays.push(await startOverlay(cluster, node));
  });

  after(async () => {
    await Promise.all(overlays.map((overlay) => overlay.stop()));
  });

  it("shows in iproute2 one device, one FDB entry a peer, one neighbour and one route a pod CIDR, and nothing else", () => {
    const [, second, third] = cluster.nodes.map(({ local }) => local);
    assert.deepEqual(shown(first().ns), {
      link: [
        `${first().local.mac} mtu 1450 up`,
        "id 4096 local 172.30.0.1 dstport 4789",
        `learning false alias skylane network default group ${OVERLAY_LINK_GROUP}`,
      ],
      addresses: ["10.244.1.0/32", "fd00:10:244:1::/128"],
      fdb: [`${second?.mac} dst 172.30.0.2 self permanent`, `${third?.mac} dst 172.30.0.3 self permanent`].sort(),
      neighbours: [
        `10.244.2.0 ${second?.mac} PERMANENT`,
        `10.244.3.0 ${third?.mac} PERMANENT`,
        `fd00:10:244:2:: ${second?.mac} PERMANENT`,
        `fd00:10:244:3:: ${third?.mac} PERMANENT`,
      ],
      routes: [
        "10.244.2.0/24 via 10.244.2.0 proto 83 src 10.244.1.0 onlink",
        "10.244.3.0/24 via 10.244.3.0 proto 83 src 10.244.1.0 onlink",
        "fd00:10:244:2::/64 via fd00:10:244:2:: proto 83 src fd00:10:244:1:: onlink",
        "fd00:10:244:3::/64 via fd00:10:244:3:: proto 83 src fd00:10:244:1:: onlink",
      ],
    });
    const { ready, entries, peers, repairs } = (overlays[0] as OverlayReconciler).status();
    assert.equal(ready, true);
    assert.deepEqual(entries, {
      fdb: { expected: 2, present: 2 },
      neighbour: { expected: 4, present: 4 },
      route: { expected: 4, present: 4 },
      address: { expected: 2, present: 2 },
    });
    assert.deepEqual(
      peers.map(({ node, state }) => `${node} ${state}`),
      ["node2 programmed", "node3 programmed"],
    );
    assert.equal(repairs.total, 0);
  });

  it("prepares the device before it goes up", () => {
    const read = (key: string) => first().ns.exec("sysctl", "-n", key).trim();
    assert.equal(read("net.ipv4.conf.sky/4096.rp_filter"), "2");
    assert.equal(read("net.ipv6.conf.sky/4096.accept_ra"), "0");
    assert.equal(read("net.ipv6.conf.sky/4096.disable_ipv6"), "0");
    assert.doesNotMatch(first().ns.exec("ip", "-6", "addr", "show", "dev", "sky.4096"), /fe80/);
  });

  it("carries pods' and hosts' packets between all nodes in both families, as VXLAN and nothing but wanted unicast", async () => {
    using watching = await capture(cluster.underlay, "br0", "udp port 4789 or udp port 8472");
    for (const from of pods) {
      for (const to of pods) for (const ip of to.ips) await reaches(from.ns, ip);
    }
    for (const ip of pods[1]?.ips ?? []) {
      await reaches(first().ns, ip);
      // From the node's own underlay address, whose way back does not lead over the overlay device.
      await reaches(first().ns, ip, "-I", ip.includes(":") ? "fd30::1" : "172.30.0.1");
    }
    // Nobody is there: neither in a node's CIDR nor in one that no node has.
    for (const ip of ["10.244.2.99", "10.244.99.1", "fd00:10:244:2::99", "fd00:10:244:99::1"]) {
      assert.ok(!pings((pods[0] as TestPod).ns, ip));
    }
    const packets = await watching.stop();
    assert.ok(packets.length > 20, `${packets.length} packets`);
    for (const packet of packets) {
      assert.deepEqual([packet.port, packet.vni], [4789, 4096]);
      assert.ok(
        packet.etherType === 0x0800 || packet.etherType === 0x86dd,
        `EtherType ${packet.etherType.toString(16)}`,
      );
      assert.ok(
        cluster.nodes.some(({ local }) => local.mac.replaceAll(":", "") === packet.innerDst),
        packet.innerDst,
      );
      assert.ok(packet.icmp6Type === undefined || packet.icmp6Type < 130 || packet.icmp6Type > 143, "ND or MLD");
    }
  });

  it("does nothing at a restart", async () => {
    const before = shown(first().ns);
    await overlays[0]?.stop();
    passes.length = 0;
    const again = new OverlayReconciler({
      local: first().local,
      netns: first().ns.path,
      logger: recordingLogger(),
      onPass: (pass) => passes.push(pass),
    });
    overlays[0] = again;
    again.setPeers(others(first()));
    await again.start();
    assert.deepEqual(
      passes.map(({ operations, dumped }) => ({ operations, dumped })),
      [{ operations: 0, dumped: true }],
    );
    assert.deepEqual(shown(first().ns), before);
    assert.equal(again.status().repairs.total, 0);
  });

  it("removes at the start what nodes left behind that went while it was away", async () => {
    await overlays[0]?.stop();
    const again = new OverlayReconciler({ local: first().local, netns: first().ns.path, logger: recordingLogger() });
    overlays[0] = again;
    again.setPeers([(cluster.nodes[1] as TestNode).peer]);
    await again.start();
    const { fdb, neighbours, routes } = shown(first().ns);
    assert.deepEqual([fdb?.length, neighbours?.length, routes?.length], [1, 2, 2]);
    assert.equal(again.status().repairs.total, 0);
    again.setPeers(others(first()));
    await again.settled();
    assert.equal(shown(first().ns)["routes"]?.length, 4);
  });

  it("loses no packet of a 1 ms ping while it restarts, changes other peers and repairs other entries", async () => {
    const [from, to] = [pods[0] as TestPod, pods[1] as TestPod];
    for (const ip of to.ips) {
      const ping = from.ns.spawn("ping", ["-i", "0.001", "-c", "2000", "-W", "2", "-q", ip], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let output = "";
      ping.stdout?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
      const ended = new Promise((resolve) => ping.once("close", resolve));
      for (let round = 0; round < 3; round++) {
        await overlays[0]?.stop();
        const again = new OverlayReconciler({
          local: first().local,
          netns: first().ns.path,
          logger: recordingLogger(),
        });
        overlays[0] = again;
        again.setPeers(others(first()));
        await again.start();
        again.setPeers([(cluster.nodes[1] as TestNode).peer]);
        await again.settled();
        again.setPeers(others(first()));
        await again.settled();
        again.resync("the test wants it");
        await again.settled();
      }
      await ended;
      assert.match(output, /2000 packets transmitted, 2000 received/);
    }
  });

  it("goes with everything of its own and nothing else", async () => {
    const { ns } = cluster.nodes[2] as TestNode;
    await overlays[2]?.stop();
    ns.exec("ip", "link", "add", "vx9", "type", "vxlan", "id", "9", "dstport", "4789", "local", "172.30.0.3");
    ns.exec("ip", "link", "add", "sky.5", "type", "bridge");
    ns.exec("ip", "route", "add", "10.77.0.0/16", "dev", "eth0", "proto", "static");
    ns.exec("ip", "route", "add", "10.78.0.0/16", "dev", "eth0", "proto", "83");
    using rtnl = Rtnl.open({ netns: ns.path });
    const { removed, failures } = removeOverlay(rtnl, {
      podLinks: rtnl.links().filter(({ group }) => group === 0x534b),
    });
    assert.deepEqual(failures, []);
    assert.equal(removed.length, 3);
    const links = ns.json("ip", "-j", "link").map((link) => String(link["ifname"]));
    assert.deepEqual(links.sort(), ["eth0", "lo", "sky.5", "vx9"]);
    const routes = ns.exec("ip", "route");
    assert.match(routes, /10\.77\.0\.0\/16/);
    assert.doesNotMatch(routes, /10\.78|proto 83|sky/);
    assert.deepEqual(removeOverlay(rtnl).removed, []);
  });
});
