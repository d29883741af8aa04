import assert from "node:assert/strict";
import { once } from "node:events";
import { Firewall, removeFirewall } from "../../../src/dataplane/nft/index.ts";
import type { OverlayReconciler } from "../../../src/dataplane/vxlan/index.ts";
import { eventually } from "../../support/eventually.ts";
import {
  pings,
  reaches,
  recordingLogger,
  startOverlay,
  testCluster,
  type TestCluster,
  type TestNode,
  type TestPod,
} from "../overlay/cluster.ts";
import type { TestNamespace } from "../support/netns.ts";
import { counted, rulesOf, send, table, vxlan } from "./support.ts";

/** Under a second is promised; a loaded machine gets some more to show it. */
const REPAIR_MS = 3_000;
const SPOOFED = "not the address of this pod";
const STRANGER = "VXLAN from no known peer";
const FROM_POD = "VXLAN from a pod";
const NOBODY = "no pod has this address";
const FROM_OUTSIDE = "a pod of this node, from outside";

describe("the packet filter on a real kernel", () => {
  let cluster: TestCluster;
  let stranger: TestNamespace;
  let pods: TestPod[];
  const overlays: OverlayReconciler[] = [];
  const firewalls: Firewall[] = [];
  const repairs: string[] = [];
  const node = (n: number): TestNode => cluster.nodes[n - 1] as TestNode;
  const pod = (n: number): TestPod => pods[n - 1] as TestPod;
  const firewall = (n: number): Firewall => firewalls[n - 1] as Firewall;

  before(async () => {
    cluster = testCluster(2);
    stranger = cluster.machine("stranger", 66);
    pods = cluster.nodes.map((node) => node.pod(2));
    for (const node of cluster.nodes) {
      overlays.push(await startOverlay(cluster, node));
      const common = { netns: node.ns.path, logger: recordingLogger() };
      const firewall = new Firewall({ ...common, onRepair: (kind) => repairs.push(kind) });
      firewall.set([rulesOf(cluster, node)]);
      await firewall.start();
      assert.deepEqual(firewall.status().error, undefined);
      firewalls.push(firewall);
    }
    for (const ip of pod(2).ips) await reaches(pod(1).ns, ip);
  });

  after(() => Promise.all([...overlays, ...firewalls].map((part) => part.stop())));

  it("lets pods, their neighbourhood discovery and duplicate detection pass", () => {
    const { ns, ips } = pod(1);
    // Duplicate detection sends from the unspecified address.
    ns.exec("ip", "addr", "add", "fe80::77/64", "dev", "eth0");
    for (const ip of ips) assert.ok(pings(node(1).ns, ip), ip);
    assert.ok(pings(ns, "fe80::1%eth0"));
    assert.equal(counted(node(1).ns, SPOOFED), 0);
    ns.exec("ip", "addr", "del", "fe80::77/64", "dev", "eth0");
  });

  it("drops what a pod sends from an address that is not its own: a neighbour's, the node's, anybody's", () => {
    const other = node(1).pod(3);
    const attempts: [string, string][] = [
      [other.ips[0] as string, pod(2).ips[0] as string],
      [other.ips[1] as string, pod(2).ips[1] as string],
      ["172.30.0.1", pod(2).ips[0] as string],
      ["10.244.2.77", "172.30.0.1"],
      ["192.0.2.1", "10.244.1.0"],
      ["2001:db8::1", "fd00:10:244:1::"],
    ];
    for (const [source, destination] of attempts) {
      const before = counted(node(1).ns, SPOOFED);
      const address = source.includes(":") ? [`${source}/128`, "nodad"] : [`${source}/32`];
      pod(1).ns.exec("ip", "addr", "add", address[0] as string, "dev", "eth0", ...address.slice(1));
      assert.ok(!pings(pod(1).ns, destination, "-I", source), `${source} to ${destination}`);
      assert.ok(counted(node(1).ns, SPOOFED) > before, `${source} to ${destination} was dropped elsewhere`);
      pod(1).ns.exec("ip", "addr", "del", address[0] as string, "dev", "eth0");
    }
    other.ns.delete();
  });

  it("drops VXLAN of our VNI from anybody who is no peer, and leaves other VNIs to others", () => {
    const at = node(1).ns;
    const count = () => counted(at, STRANGER);
    const before = count();
    for (const ip of ["172.30.0.1", "fd30::1"]) send(stranger, ip, 4789, vxlan(4096));
    assert.equal(count(), before + 2);
    send(stranger, "172.30.0.1", 4789, vxlan(77));
    send(stranger, "172.30.0.1", 4790, vxlan(4096));
    send(stranger, "172.30.0.1", 4789, Buffer.from([8]));
    assert.equal(count(), before + 2);
    for (const ip of pod(2).ips) assert.ok(pings(pod(1).ns, ip));
    assert.equal(count(), before + 2);
  });

  it("keeps a stranger with the right VNI, MAC and addresses out of the overlay, until it becomes a peer", async () => {
    const { mac } = node(1).local;
    const ip = (...args: string[]) => stranger.exec("ip", ...args);
    ip("link", "add", "vx", "type", "vxlan", "id", "4096", "dstport", "4789", "local", "172.30.0.66", "nolearning");
    ip("link", "set", "vx", "address", "02:00:00:00:66:66", "up");
    ip("addr", "add", "10.244.66.0/32", "dev", "vx");
    ip("route", "add", "10.244.1.0/24", "via", "10.244.1.0", "dev", "vx", "onlink");
    ip("neigh", "add", "10.244.1.0", "lladdr", mac, "dev", "vx", "nud", "permanent");
    stranger.exec("bridge", "fdb", "add", mac, "dev", "vx", "dst", "172.30.0.1");
    const guest = {
      node: "stranger",
      mac: "02:00:00:00:66:66",
      underlayIp: "172.30.0.66",
      podCidrs: ["10.244.66.0/24"],
    };
    overlays[0]?.setPeers([node(2).peer, guest]);
    await overlays[0]?.settled();
    assert.ok(!pings(stranger, pod(1).ips[0] as string, "-I", "10.244.66.0"));
    const rules = rulesOf(cluster, node(1));
    firewall(1).set([{ ...rules, peers: [...rules.peers, "172.30.0.66"] }]);
    await firewall(1).settled();
    await reaches(stranger, pod(1).ips[0] as string, "-I", "10.244.66.0");
    // A peer that pretends to be one of our own pods is heard no more than a stranger.
    ip("addr", "add", `${pod(1).ips[0]}`, "dev", "vx");
    const before = counted(node(1).ns, FROM_OUTSIDE);
    assert.ok(!pings(stranger, "10.244.1.0", "-I", pod(1).ips[0] as string));
    assert.ok(counted(node(1).ns, FROM_OUTSIDE) > before);
    ip("link", "del", "vx");
    firewall(1).set([rules]);
    overlays[0]?.setPeers([node(2).peer]);
    await Promise.all([firewall(1).settled(), overlays[0]?.settled()]);
  });

  it("keeps pods from sending VXLAN to nodes, their own and others, and lets them send it to pods", async () => {
    const at = node(1).ns;
    const { ns } = pod(1);
    let before = counted(at, FROM_POD);
    for (const ip of ["172.30.0.1", "172.30.0.2", "fd30::2", "10.244.1.0", "172.30.0.66"]) {
      send(ns, ip, 4789, vxlan(4096));
      assert.equal(counted(at, FROM_POD), ++before, ip);
    }
    for (const ip of pod(2).ips) send(ns, ip, 4789, vxlan(4096));
    send(ns, "172.30.0.2", 4790, vxlan(4096));
    assert.equal(counted(at, FROM_POD), before);
  });

  it("lets nothing for an address that no pod has out by the default route, and reaches what is on another device", () => {
    const at = node(1).ns;
    const nobody = ["10.244.1.200", "fd00:10:244:1::200"] as const;
    at.exec("ip", "route", "add", "default", "via", "172.30.0.66");
    at.exec("ip", "route", "add", "default", "via", "fd30::66");
    try {
      for (const [i, ip] of nobody.entries()) {
        for (const from of [pod(1), pod(2)]) {
          const before = counted(at, NOBODY);
          assert.ok(!pings(from.ns, ip), ip);
          assert.ok(counted(at, NOBODY) > before, `${ip} from ${from.ips[i]} went elsewhere`);
        }
      }
      // As a plugin before ours may still have pods in this CIDR, behind a bridge of its own.
      const before = counted(at, NOBODY);
      at.exec("ip", "link", "add", "cni0", "type", "bridge");
      at.exec("ip", "link", "set", "cni0", "up");
      at.exec("ip", "route", "add", "10.244.1.192/26", "dev", "cni0");
      assert.ok(!pings(pod(1).ns, nobody[0]));
      assert.equal(counted(at, NOBODY), before);
    } finally {
      at.exec("sh", "-c", "ip link del cni0; ip route del default; ip -6 route del default");
    }
  });

  describe("masquerading", () => {
    /** The source address under which a machine hears a datagram from a pod. */
    async function seenAs(from: TestPod, at: TestNamespace, address: string): Promise<string> {
      const program = `
        import { createSocket } from "node:dgram";
        const socket = createSocket({ type: ${JSON.stringify(address.includes(":") ? "udp6" : "udp4")} });
        socket.on("message", (_, { address }) => { console.log(address); socket.close(); });
        socket.bind(9999, ${JSON.stringify(address)}, () => console.log("ready"));
      `;
      const child = at.spawn(process.execPath, ["--input-type=module", "-e", program], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const closed = once(child, "close");
      let output = "";
      child.stdout?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
      try {
        await eventually(() => output.includes("ready"));
        await eventually(() => {
          send(from.ns, address, 9999, Buffer.from("x"));
          return output.split("\n").length > 2;
        });
        return output.split("\n")[1] as string;
      } finally {
        child.kill("SIGKILL");
        await closed;
      }
    }

    before(() => {
      for (const ns of [stranger, node(2).ns]) {
        ns.exec("ip", "route", "replace", "10.244.1.0/24", "via", "172.30.0.1", "table", "main", "metric", "5");
        ns.exec("ip", "route", "replace", "fd00:10:244:1::/64", "via", "fd30::1", "metric", "2048");
      }
    });

    it("gives pods the node's address outside of the cluster, another node's own address included", async () => {
      assert.equal(await seenAs(pod(1), stranger, "172.30.0.66"), "172.30.0.1");
      assert.equal(await seenAs(pod(1), stranger, "fd30::66"), "fd30::1");
      assert.equal(await seenAs(pod(1), node(2).ns, "172.30.0.2"), "172.30.0.1");
    });

    it("leaves pods their own address within the cluster", async () => {
      for (const [i, ip] of pod(2).ips.entries()) assert.equal(await seenAs(pod(1), pod(2).ns, ip), pod(1).ips[i]);
      assert.equal(await seenAs(pod(1), node(2).ns, "10.244.2.0"), pod(1).ips[0]);
    });

    it("leaves it to them in excluded networks, and everywhere when it is off", async () => {
      for (const masquerade of [
        { enabled: true, exclude: ["172.30.0.0/24", "fd30::/64"] },
        { enabled: false, exclude: [] },
      ]) {
        firewall(1).set([rulesOf(cluster, node(1), { masquerade })]);
        await firewall(1).settled();
        assert.equal(await seenAs(pod(1), stranger, "172.30.0.66"), pod(1).ips[0]);
        assert.equal(await seenAs(pod(1), stranger, "fd30::66"), pod(1).ips[1]);
      }
      firewall(1).set([rulesOf(cluster, node(1))]);
      await firewall(1).settled();
    });
  });

  describe("a table that somebody changes", () => {
    const nft = (...args: string[]) => node(1).ns.exec("nft", ...args);
    const drifts: [string, () => void][] = [
      ["the table is deleted", () => nft("delete", "table", "inet", "skylane")],
      ["all rules of the host are flushed", () => nft("flush", "ruleset")],
      ["the table is flushed", () => nft("flush", "table", "inet", "skylane")],
      ["a chain is flushed", () => nft("flush", "chain", "inet", "skylane", "input")],
      ["a peer is taken out", () => nft("delete", "element", "inet", "skylane", "peers4_4096", "{ 172.30.0.2 }")],
      ["a stranger is let in", () => nft("add", "element", "inet", "skylane", "peers4_4096", "{ 172.30.0.66 }")],
      ["a rule is added", () => nft("insert", "rule", "inet", "skylane", "prerouting", "accept")],
      ["a chain is added", () => nft("add", "chain", "inet", "skylane", "theirs")],
    ];
    for (const [what, drift] of drifts) {
      it(`is put back in under a second when ${what}`, async function () {
        const right = table(node(1).ns);
        const before = firewall(1).status().repairs.nft;
        drift();
        const start = performance.now();
        await eventually(() => firewall(1).status().repairs.nft > before, { timeoutMs: REPAIR_MS, intervalMs: 2 });
        if (this.test) this.test.title += ` (${Math.round(performance.now() - start)} ms)`;
        await firewall(1).settled();
        assert.equal(table(node(1).ns), right);
        assert.equal(firewall(1).status().repairs.nft, before + 1);
      });
    }

    it("is no other table: those are neither seen nor touched", async () => {
      const before = firewall(1).status().repairs.nft;
      nft("add", "table", "inet", "theirs");
      nft("add", "chain", "inet", "theirs", "input", "{ type filter hook input priority 0; policy accept; }");
      nft("add", "rule", "inet", "theirs", "input", "ip", "saddr", "192.0.2.1", "drop");
      nft("add", "table", "ip", "skylane");
      const theirs = () => nft("list", "table", "inet", "theirs") + nft("list", "table", "ip", "skylane");
      const shown = theirs();
      firewall(1).set([rulesOf(cluster, node(1), { peers: ["172.30.0.2", "172.30.0.3"] })]);
      await firewall(1).settled();
      assert.match(table(node(1).ns), /172\.30\.0\.3/);
      assert.equal(theirs(), shown);
      assert.equal(firewall(1).status().repairs.nft, before);
    });
  });

  it("loses no packet of a 1 ms ping while peers come and go and the agent restarts", async () => {
    const { ns } = pod(1);
    let changes = 0;
    // On a slow machine there are few changes in the two seconds of a ping.
    while (changes <= 10) {
      const ping = ns.spawn("ping", ["-i", "0.001", "-c", "2000", "-W", "2", "-q", pod(2).ips[0] as string], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let output = "";
      ping.stdout?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
      const ended = once(ping, "close");
      while (ping.exitCode === null) {
        const rules = rulesOf(cluster, node(1), { peers: ["172.30.0.2", `172.30.1.${++changes % 200}`] });
        firewall(1).set([rules]);
        await firewall(1).settled();
        if (changes % 10 !== 0) continue;
        await firewall(1).stop();
        firewalls[0] = new Firewall({ netns: node(1).ns.path, logger: recordingLogger() });
        firewall(1).set([rules]);
        await firewall(1).start();
      }
      await ended;
      assert.match(output, /2000 packets transmitted, 2000 received/);
    }
  });

  describe("at the end", () => {
    it("goes with everything of its own and nothing else", async () => {
      await firewall(1).stop();
      const { ns } = node(1);
      assert.deepEqual(await removeFirewall({ netns: ns.path }), ["nftables table inet skylane"]);
      assert.deepEqual(ns.exec("nft", "list", "tables").trim().split("\n").sort(), [
        "table inet theirs",
        "table ip skylane",
      ]);
      assert.deepEqual(await removeFirewall({ netns: ns.path }), []);
    });
  });
});
