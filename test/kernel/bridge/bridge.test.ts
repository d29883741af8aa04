/** One subnet over several nodes: who reaches whom, what the underlay sees of it, and what is dropped. */
import assert from "node:assert/strict";
import { BridgeReconciler } from "../../../src/dataplane/bridge/index.ts";
import { Rtnl } from "../../../src/netlink/index.ts";
import type { PassReport } from "../../../src/reconcile/index.ts";
import { capture } from "../overlay/capture.ts";
import { pings, reaches } from "../overlay/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { skip } from "../../support/skip.ts";
import { assertUnderASecond } from "../../support/pace.ts";
import { setTimeout as delay } from "node:timers/promises";
import {
  bridgeCluster,
  type BridgeNode,
  type BridgePod,
  gratuitousArp,
  introduce,
  remote,
  sendFrame,
} from "./support.ts";
import { missingLockedPorts } from "../support/bridged.ts";

const why = missingLockedPorts();

const ARP = 0x0806;
const UNUSED = "02:00:00:00:0f:0f";

/** What somebody changed and was put right, as the log of a node has it. */
const repaired = ({ log }: Pick<BridgeNode, "log">): string[] =>
  log.lines.flatMap(({ message }) => (message.startsWith("repaired ") ? message : []));

/** Frames that a pod receives while `act` runs and a little longer, by a filter of tcpdump's. */
async function received(pod: BridgePod, filter: string, act: () => void): Promise<number> {
  const child = pod.ns.spawn(
    "tcpdump",
    ["-i", "eth0", "-Q", "in", "--immediate-mode", "-l", "-n", "-e", ...filter.split(" ")],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let lines = 0;
  let listening = false;
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (lines += text.match(/^\S/gm)?.length ?? 0));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (listening ||= text.includes("listening on")));
  try {
    await eventually(() => listening);
    act();
    await delay(300);
    return lines;
  } finally {
    child.kill("SIGKILL");
  }
}

describe("a bridged network", () => {
  if (why !== undefined) {
    it(`(skipped: ${why})`);
    return;
  }
  let nodes: BridgeNode[];
  let [one, two, three] = [] as unknown as [BridgeNode, BridgeNode, BridgeNode];
  let [a, b, c, d] = [] as unknown as [BridgePod, BridgePod, BridgePod, BridgePod];

  before(async () => {
    ({ nodes } = bridgeCluster(3));
    [one, two, three] = nodes as [BridgeNode, BridgeNode, BridgeNode];
    [a, b, c, d] = [one.pod(1), two.pod(1), one.pod(2), three.pod(1)];
    await introduce(
      nodes,
      new Map([
        [one, [a, c]],
        [two, [b]],
        [three, [d]],
      ]),
    );
    for (const { bridge } of nodes) await bridge.start();
  });
  after(() => Promise.all(nodes.map(({ bridge }) => bridge.stop())));

  it("is ready, and nothing had to be repaired", () => {
    for (const node of nodes) {
      const { ready, error, problems, repairs } = node.bridge.status();
      assert.deepEqual({ ready, error, problems }, { ready: true, error: undefined, problems: [] });
      assert.deepEqual(repaired(node), []);
      assert.ok(Object.values(repairs).every((count) => count === 0));
    }
  });

  it("carries both families across nodes and within one, and the underlay sees no ARP and no ND", async () => {
    using wire = await capture(one.host, "eth0", "udp port 4789");
    for (const pod of [b, c, d]) for (const ip of pod.ips) await reaches(a.ns, ip);
    for (const ip of a.ips) await reaches(b.ns, ip);
    const packets = await wire.stop();
    assert.ok(packets.length > 8, `only ${packets.length} packets were seen`);
    const asked = packets.filter(({ etherType, icmp6Type }) => etherType === ARP || (icmp6Type ?? 0) >= 133);
    assert.deepEqual(asked, []);
  });

  it("answers for addresses elsewhere with their own MAC", () => {
    const neighbours = a.ns.exec("ip", "neigh", "show", "dev", "eth0");
    for (const ip of b.ips) assert.match(neighbours, new RegExp(`${ip} lladdr ${b.mac}`));
  });

  it("sends no frame anywhere whose destination is unknown", async () => {
    using wire = await capture(one.host, "eth0", "udp port 4789");
    const elsewhere = await received(c, "ether proto 0x88b5", () => sendFrame(a, UNUSED, a.mac, "88b5"));
    assert.equal(elsewhere, 0, "not to a pod on the same node");
    const packets = await wire.stop();
    assert.deepEqual(
      packets.filter(({ etherType }) => etherType === 0x88b5),
      [],
      "and not to another node",
    );
  });

  it("replicates broadcast and multicast to the nodes that take part, and no other", async () => {
    for (const dst of ["ff:ff:ff:ff:ff:ff", "01:00:5e:01:02:03"]) {
      assert.equal(await received(b, "ether proto 0x88b5", () => sendFrame(a, dst, a.mac, "88b5")), 1);
    }
    two.bridge.changePeers([[three.name, undefined]]);
    await two.bridge.settled();
    const send = () => sendFrame(b, "ff:ff:ff:ff:ff:ff", b.mac, "88b5");
    assert.equal(await received(d, "ether proto 0x88b5", send), 0);
    assert.equal(await received(a, "ether proto 0x88b5", send), 1);
    two.bridge.changePeers([[three.name, three.peer]]);
    await two.bridge.settled();
    assert.equal(await received(d, "ether proto 0x88b5", send), 1);
  });

  it("lets a pod send from its own MAC alone, to whomever and by whatever frame", async () => {
    const spoof = (src: string, dst: string) => () => sendFrame(c, dst, src, "88b5");
    assert.equal(await received(b, "ether proto 0x88b5", spoof(c.mac, b.mac)), 1, "the frame itself is fine");
    const others = { "a pod's on another node": d.mac, "a pod's on this node": a.mac, "nobody's": UNUSED };
    for (const [whose, src] of Object.entries(others)) {
      assert.equal(await received(b, "ether proto 0x88b5", spoof(src, b.mac)), 0, whose);
      assert.equal(await received(b, "ether proto 0x88b5", spoof(src, "ff:ff:ff:ff:ff:ff")), 0, whose);
    }
    const before = one.net.exec("bridge", "fdb", "show", "br", "skybr");
    for (const group of ["01:80:c2:00:00:00", "01:80:c2:00:00:03", "01:80:c2:00:00:0e"]) spoof(d.mac, group)();
    assert.equal(one.net.exec("bridge", "fdb", "show", "br", "skybr"), before, "link-local groups teach nothing");
    for (const ip of d.ips) await reaches(a.ns, ip);
  });

  it("tells of a MAC that nobody has, and of none that is another's without a claim to it", async function () {
    using rtnl = Rtnl.open({ netns: one.net.path });
    if (rtnl.links().find(({ name }) => name === c.ifname)?.port?.mab === undefined)
      skip(this, "this kernel announces none; Linux 6.2 and later do");
    one.seen.length = 0;
    const mac = "02:00:00:00:0f:01";
    sendFrame(c, "ff:ff:ff:ff:ff:ff", d.mac, "88b5");
    gratuitousArp(c, mac, "10.7.9.9");
    // The command has ended: from here on it is the time that we take to hear of it.
    const start = performance.now();
    const seen = await eventually(() => one.seen.find((each) => each.mac === mac));
    assert.deepEqual({ ifname: seen.ifname, claimed: seen.claimed }, { ifname: c.ifname, claimed: false });
    assertUnderASecond(seen.at - start, "a MAC that is told of");
    assert.equal(one.seen.filter((each) => each.mac === d.mac).length, 0);
  });

  it("drops frames that another node sends from the MAC of a pod here", async () => {
    two.bridge.setLocalPorts([[b.ifname, { ifname: b.ifname, endpoints: [b, { mac: c.mac, ips: [] }] }]]);
    await two.bridge.settled();
    const lying = () => sendFrame(b, a.mac, c.mac, "88b5");
    assert.equal(await received(a, "ether proto 0x88b5", lying), 0);
    two.bridge.setLocalPorts([[b.ifname, { ifname: b.ifname, endpoints: [b] }]]);
    await two.bridge.settled();
    for (const ip of c.ips) await reaches(b.ns, ip);
  });

  it("hears within moments of a claimed MAC that appears here, and after the take-over traffic goes here", async () => {
    // Without IPv6 it says nothing by itself.
    const [ipv4, ipv6] = a.ips as [string, string];
    const moved = three.pod(2, { mac: a.mac, ips: [ipv4] });
    three.bridge.setLocalPorts([[moved.ifname, { ifname: moved.ifname, endpoints: [], claims: [a.mac] }]]);
    await three.bridge.settled();
    for (const ip of a.ips) await reaches(d.ns, ip);
    assert.equal(
      three.seen.some(({ mac }) => mac === a.mac),
      false,
      "nothing was sent yet",
    );
    gratuitousArp(moved, a.mac, ipv4);
    const start = performance.now();
    const seen = await eventually(() => three.seen.find(({ mac }) => mac === a.mac), { intervalMs: 1 });
    assert.deepEqual({ ifname: seen.ifname, claimed: seen.claimed }, { ifname: moved.ifname, claimed: true });
    assertUnderASecond(seen.at - start, "a MAC that is told of");
    moved.ns.exec("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0");
    moved.ns.exec("ip", "addr", "add", `${ipv6}/64`, "dev", "eth0", "nodad");
    three.bridge.permit(moved.ifname, { mac: a.mac, ips: a.ips });
    two.bridge.setEndpoints([remote(three, a)]);
    one.bridge.setLocalPorts([[a.ifname, { ifname: a.ifname, endpoints: [] }]]);
    one.bridge.setEndpoints([remote(three, a)]);
    await Promise.all(nodes.map(({ bridge }) => bridge.settled()));
    for (const [from, ip] of [b, c, d].flatMap((pod) => a.ips.map((each) => [pod, each] as const))) {
      assert.equal(
        await received(a, "icmp[0]==8 or ip6[40]==128", () => assert.ok(pings(from.ns, ip), `${from.ns.name} ${ip}`)),
        0,
      );
    }
    assert.equal(
      await received(b, "ether proto 0x88b5", () => sendFrame(a, b.mac, a.mac, "88b5")),
      0,
      "the old one is out",
    );
    assert.deepEqual(repaired(three), []);
  });

  it("is found as it should be by another reconciler, which changes nothing", async () => {
    const shown = () => [
      two.net.exec("bridge", "fdb", "show").split("\n").sort(),
      two.net.exec("ip", "neigh", "show", "dev", "skybr").split("\n").sort(),
    ];
    const before = shown();
    await two.bridge.stop();
    const reports: PassReport[] = [];
    two.bridge = new BridgeReconciler({ ...two.options, onPass: (report) => reports.push(report) });
    const pods: [BridgeNode, BridgePod][] = [
      [one, c],
      [three, d],
      [three, a],
    ];
    two.bridge.setPeers([one.peer, three.peer]);
    two.bridge.setEndpoints(pods.map(([node, pod]) => remote(node, pod)));
    two.bridge.setLocalPorts([[b.ifname, { ifname: b.ifname, endpoints: [b] }]]);
    await two.bridge.start();
    assert.deepEqual(shown(), before);
    assert.deepEqual(
      reports.map(({ dumped, operations }) => ({ dumped, operations })),
      [{ dumped: true, operations: 0 }],
    );
  });
});

describe("a bridged network without broadcast", () => {
  if (why !== undefined) {
    it(`(skipped: ${why})`);
    return;
  }
  it("keeps broadcast on its node and carries all else", async () => {
    const { nodes } = bridgeCluster(2, "Drop");
    const [one, two] = nodes as [BridgeNode, BridgeNode];
    const [a, b, c] = [one.pod(1), two.pod(1), one.pod(2)];
    await introduce(
      nodes,
      new Map([
        [one, [a, c]],
        [two, [b]],
      ]),
    );
    try {
      for (const { bridge } of nodes) await bridge.start();
      for (const ip of [...b.ips, ...c.ips]) await reaches(a.ns, ip);
      using wire = await capture(one.host, "eth0", "udp port 4789");
      const send = () => sendFrame(a, "ff:ff:ff:ff:ff:ff", a.mac, "88b5");
      assert.equal(await received(b, "ether proto 0x88b5", send), 0);
      assert.equal(await received(c, "ether proto 0x88b5", send), 1);
      assert.deepEqual(await wire.stop(), []);
    } finally {
      await Promise.all(nodes.map(({ bridge }) => bridge.stop()));
    }
  });
});
