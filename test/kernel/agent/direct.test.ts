/**
 * Direct routing between real agents. n1 and n2 are on one segment; n3 is, by host routes, behind a router, and the same
 * host route is what switches a peer while packets are under way.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";
import { pings, pod, reaches, type TestPod } from "../overlay/cluster.ts";
import { Fabric, type TestNode } from "./harness.ts";

const uninstallChild = fileURLToPath(new URL("uninstall-child.ts", import.meta.url));
const ROUTER = ["172.30.0.1", "fd30::1"] as const;
/** Under a second is promised; a loaded machine gets some more to show it. */
const REPAIR_MS = 5_000;

describe("direct routing", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;
  let n3: TestNode;
  const pods: TestPod[] = [];

  /** What a node's routes to a peer's pods lead over, IPv4 and IPv6. */
  const routes = (from: TestNode, to: TestNode): string[] =>
    to.podCidrs.map((cidr) => {
      const [route] = from.ns.json("ip", "-j", cidr.includes(":") ? "-6" : "-4", "route", "show", cidr);
      return route ? `${String(route["gateway"])} ${String(route["dev"])} ${String(route["protocol"])}` : "none";
    });
  const directly = (to: TestNode): string[] => to.ips.map((ip) => `${ip} eth0 83`);
  const tunnelled = (to: TestNode): string[] =>
    to.podCidrs.map((cidr) => `${cidr.slice(0, cidr.indexOf("/"))} sky.4096 83`);
  const goes = (from: TestNode, to: TestNode, how: (to: TestNode) => string[]): Promise<unknown> =>
    eventuallyHolds(() => assert.deepEqual(routes(from, to), how(to)), { timeoutMs: 30_000 });
  /** Puts a peer behind the router, as far as a node's own route goes, or takes it back. */
  const behind = (node: TestNode, peer: TestNode, op: "add" | "del"): void => {
    for (const [i, ip] of peer.ips.entries())
      node.ns.exec("ip", i === 0 ? "-4" : "-6", "route", op, ip, "via", ROUTER[i] as string, "dev", "eth0");
  };
  /** Packets that a node has sent into the tunnel. */
  const encapsulated = (node: TestNode): number => {
    const [link = {}] = node.ns.json("ip", "-j", "-s", "link", "show", "sky.4096");
    return (link["stats64"] as { tx: { packets: number } }).tx.packets;
  };
  const podOf = (node: number): TestPod => pods[node - 1] as TestPod;

  before(async () => {
    fabric = await Fabric.started();
    for (const key of ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.send_redirects=0"])
      fabric.ns.exec("sysctl", "-qw", key);
    fabric.ns.exec("sysctl", "-qw", "net.ipv4.conf.br0.send_redirects=0");
    [n1, n2, n3] = [fabric.node(1), fabric.node(2), fabric.node(3)];
    const nodes = [n1, n2, n3];
    behind(n1, n3, "add");
    behind(n3, n1, "add");
    for (const [i, node] of nodes.entries()) {
      node.ns.exec("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1");
      // The device counts what goes into the tunnel, unless a program makes the header.
      node.configure({
        directRouting: "auto",
        clusterCidrs: ["10.244.0.0/16", "fd00:10:244::/48"],
        fastPath: "off",
      });
      await node.register();
      pods.push(pod(node.ns, i + 1, 2));
    }
    for (const node of nodes) node.start();
    for (const node of nodes) await node.ready(nodes.filter((other) => other !== node).map(({ name }) => name));
  });
  after(() => fabric.stop());

  it("is by the peer's underlay addresses where it is on the segment, and through the tunnel where it is not", async () => {
    await goes(n1, n2, directly);
    await goes(n2, n1, directly);
    await goes(n1, n3, tunnelled);
    await goes(n3, n1, tunnelled);
    const [route] = n1.ns.json("ip", "-j", "route", "show", "10.244.2.0/24");
    assert.equal(route?.["prefsrc"], "10.244.1.0");
    assert.ok(
      n1.entries().some((line) => line.includes("dst 172.30.0.12 self permanent")),
      "the tunnel stays ready",
    );
    assert.equal(n1.ns.exec("sysctl", "-n", "net.ipv4.conf.eth0.rp_filter").trim(), "2");
    await n1.ready(["n2", "n3"]);
  });

  it("carries packets unencapsulated to the one and encapsulated to the other, unmasqueraded to both", async () => {
    for (const node of [2, 3]) {
      const { ns } = podOf(node);
      const [ip4, ip6] = podOf(1).ips as [string, string];
      ns.exec("nft", "add table inet t; add chain inet t c { type filter hook input priority 0; }");
      ns.exec("nft", `add rule inet t c icmp type echo-request ip saddr != ${ip4} drop`);
      ns.exec("nft", `add rule inet t c icmpv6 type echo-request ip6 saddr != ${ip6} drop`);
    }
    for (const [to, encapsulates] of [
      [2, false],
      [3, true],
    ] as const) {
      for (const ip of podOf(to).ips) {
        await reaches(podOf(1).ns, ip);
        const before = encapsulated(n1);
        podOf(1).ns.exec("ping", "-c", "50", "-i", "0.01", "-W", "2", ip);
        const sent = encapsulated(n1) - before;
        assert.ok(encapsulates ? sent >= 50 : sent < 10, `${sent} packets into the tunnel to ${ip}`);
      }
    }
    for (const node of [2, 3]) podOf(node).ns.exec("nft", "delete table inet t");
    for (const ip of podOf(2).ips) assert.ok(pings(n1.ns, ip), `from the node itself to ${ip}`);
  });

  it("loses no packet of a 10 ms ping, either way, while either side switches before the other and agents restart", async () => {
    const flows = podOf(2)
      .ips.map((ip) => ({ from: podOf(1), ip }))
      .concat(podOf(1).ips.map((ip) => ({ from: podOf(2), ip })));
    const running = flows.map(({ from, ip }) => {
      const ping = from.ns.spawn("ping", ["-i", "0.01", "-W", "3", "-q", ip], { stdio: ["ignore", "pipe", "inherit"] });
      let output = "";
      ping.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
      const ended = new Promise<string>((resolve) => ping.once("close", () => resolve(output)));
      return { ping, ended };
    });
    behind(n1, n2, "add");
    await goes(n1, n2, tunnelled);
    behind(n2, n1, "add");
    await goes(n2, n1, tunnelled);
    behind(n1, n2, "del");
    await goes(n1, n2, directly);
    await n1.stop();
    n1.start();
    behind(n2, n1, "del");
    await goes(n2, n1, directly);
    await n1.ready(["n2", "n3"]);
    assert.deepEqual(routes(n1, n2), directly(n2));
    // nothing is lost afterwards either
    await delay(2_000);
    for (const { ping } of running) ping.kill("SIGINT");
    for (const { ended } of running) {
      const output = await ended;
      const [sent = 0, received = 0] = Array.from(output.matchAll(/(\d+) (?=packets|received)/g), ([, n]) => Number(n));
      assert.ok(sent > 100, output);
      // the one that was under way when ping was told to end may be missing
      assert.ok(sent - received <= 1, output);
    }
  });

  it("is put right at once when somebody changes its routes or takes its interface down", async () => {
    const damages: string[][] = [
      ["ip", "route", "del", "10.244.2.0/24"],
      ["ip", "-6", "route", "del", "fd00:10:244:2::/64"],
      ["ip", "route", "replace", "10.244.2.0/24", "via", "172.30.0.1", "dev", "eth0", "proto", "83"],
      ["ip", "route", "replace", "10.244.2.0/24", "via", "172.30.0.1"],
      ["ip", "route", "add", "10.244.99.0/24", "via", "172.30.0.12", "proto", "83"],
      ["ip", "link", "del", "sky.4096"],
    ];
    for (const [command, ...args] of damages as [string, ...string[]][]) {
      n1.ns.exec(command, ...args);
      await eventually(
        () => routes(n1, n2).join() === directly(n2).join() && !n1.ns.exec("ip", "route").includes("10.244.99.0/24"),
        { timeoutMs: REPAIR_MS, message: `not repaired: ${command} ${args.join(" ")}` },
      );
    }
    // IPv4 routes go without a word here.
    n1.ns.exec("ip", "link", "set", "eth0", "down");
    n1.ns.exec("ip", "link", "set", "eth0", "up");
    n1.ns.exec("ip", "addr", "replace", `${n1.ips[1]}/64`, "dev", "eth0", "nodad");
    await goes(n1, n2, directly);
    for (const ip of podOf(2).ips) await reaches(podOf(1).ns, ip);
  });

  it("ends for a peer that no longer takes part in it, and begins again", async () => {
    await n2.stop();
    n2.configure({ directRouting: "off" });
    n2.start();
    await goes(n1, n2, tunnelled);
    await goes(n2, n1, tunnelled);
    for (const ip of podOf(2).ips) await reaches(podOf(1).ns, ip);
    await n2.stop();
    n2.configure({ directRouting: "auto" });
    n2.start();
    await goes(n1, n2, directly);
    await goes(n2, n1, directly);
  });

  it("drops what comes over the underlay in the name of a pod of this node", async () => {
    fabric.ns.exec("ip", "addr", "add", "10.244.1.77/32", "dev", "lo");
    fabric.ns.exec("ip", "route", "add", "10.244.1.2/32", "via", "172.30.0.11");
    const dropped = (): number => {
      const text = n1.ns.exec("nft", "list", "chain", "inet", "skylane", "from_outside");
      return Number(/counter packets (\d+)/.exec(text)?.[1]);
    };
    // A table that is put in place meanwhile, as some time after peers have changed, counts from nothing.
    await eventually(() => {
      const before = dropped();
      assert.ok(!pings(fabric.ns, "10.244.1.2", "-I", "10.244.1.77"));
      return dropped() === before + 1;
    });
  });

  it("is gone without a trace after the uninstallation", async () => {
    await n1.stop();
    const options = {
      runDir: `${n1.dir}/run`,
      dataDir: `${n1.dir}/data`,
      cni: { confDir: `${n1.dir}/conf`, confName: "10-skylane.conflist" },
      pods: true,
    };
    const inside = [`--net=${n1.ns.path}`, "--", process.execPath, "--disable-warning=ExperimentalWarning"];
    execFileSync("nsenter", [...inside, uninstallChild, JSON.stringify(options)]);
    assert.deepEqual(n1.entries(), []);
    assert.doesNotMatch(n1.ns.exec("ip", "route"), /10\.244/);
    assert.doesNotMatch(n1.ns.exec("ip", "-6", "route"), /fd00:10:244/);
  });
});
