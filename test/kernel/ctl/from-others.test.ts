/**
 * Moving from Calico and Cilium as docs/operations.md says it: both data paths at once, each for its own pods' addresses, and one
 * node after the other changes sides. What the other plugin makes in the kernel is made here by hand, with its route layout: blocks
 * or pod CIDRs apart from the Nodes', host routes to its pods, and its masquerading of what leaves its own range.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { BIN } from "../cni/node.ts";
import { Fabric, type TestNode } from "../agent/harness.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { Runtime } from "../support/runtime.ts";

const POOL = "192.168.0.0/16";
/** The block of a node, the address that the plugin itself has in it, and that of its pod. */
const block = (node: number): string => `192.168.${node}.0/26`;
const router = (node: number): string => `192.168.${node}.1`;
const podOf = (node: number): string => `192.168.${node}.2`;
const underlay = (node: number): string => `172.30.0.1${node}`;
const mac = (node: number): string => `02:00:00:00:ca:0${node}`;

type Run = (line: string) => string;

/** The way to the other node's block, by plugin and mode. */
const LAYOUTS: Record<string, (run: Run, own: number, other: number) => void> = {
  // vxlan.calico has the very VNI and port that were Skylane's default once
  "Calico, VXLAN": (run, own, other) => {
    run(
      `ip link add vxlan.calico address ${mac(own)} mtu 1450 type vxlan id 4096 dstport 4789 local ${underlay(own)} nolearning`,
    );
    run(`ip addr add ${router(own)}/32 dev vxlan.calico`);
    run("ip link set vxlan.calico up");
    run(`bridge fdb add ${mac(other)} dev vxlan.calico dst ${underlay(other)}`);
    run(`ip neigh add ${router(other)} lladdr ${mac(other)} dev vxlan.calico nud permanent`);
    run(`ip route add blackhole ${block(own)} proto 80`);
    run(`ip route add ${block(other)} via ${router(other)} dev vxlan.calico onlink proto 80`);
  },
  "Calico, IPIP by BGP": (run, own, other) => {
    run(`ip link add tunl0 mtu 1480 type ipip local ${underlay(own)} ttl inherit`);
    run(`ip addr add ${router(own)}/32 dev tunl0`);
    run("ip link set tunl0 up");
    run(`ip route add blackhole ${block(own)} proto bird`);
    run(`ip route add ${block(other)} via ${underlay(other)} dev tunl0 onlink proto bird`);
  },
  // what its programs do between cilium_host and cilium_vxlan, which takes eBPF, a route to a device with entries does here
  "Cilium, VXLAN": (run, own, other) => {
    run("ip link add cilium_host type veth peer name cilium_net");
    run(`ip addr add ${router(own)}/32 dev cilium_host`);
    run("ip link set cilium_host up");
    run("ip link set cilium_net up");
    run(
      `ip link add cilium_vxlan address ${mac(own)} mtu 1450 type vxlan id 2 dstport 8472 local ${underlay(own)} nolearning`,
    );
    run("ip link set cilium_vxlan up");
    // as Cilium sets it for devices of its own
    run("sysctl -qw net.ipv4.conf.cilium_vxlan.rp_filter=0");
    run(`bridge fdb add ${mac(other)} dev cilium_vxlan dst ${underlay(other)}`);
    run(`ip neigh add ${router(other)} lladdr ${mac(other)} dev cilium_vxlan nud permanent`);
    run(`ip route add ${block(other)} via ${router(other)} dev cilium_vxlan onlink src ${router(own)} mtu 1450`);
  },
  "Cilium, native routing": (run, own, other) => {
    run("ip link add cilium_host type veth peer name cilium_net");
    run(`ip addr add ${router(own)}/32 dev cilium_host`);
    run("ip link set cilium_host up");
    run(`ip route add ${block(other)} via ${underlay(other)} dev eth0`);
  },
};

/** The other plugin on a node of two, and a pod of it. */
function other(node: TestNode, layout: string, own: number, peer: number): TestNamespace {
  const run: Run = (line) => node.ns.exec(...(line.split(" ") as [string, ...string[]]));
  run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=1");
  LAYOUTS[layout]?.(run, own, peer);
  const pod = testNamespace(`other-pod${own}`);
  run(`ip link add cali0123456789${own} type veth peer name eth0 netns ${pod.name}`);
  run(`ip addr add 169.254.1.1/32 dev cali0123456789${own} scope host`);
  run(`ip link set cali0123456789${own} up`);
  run(`ip route add ${podOf(own)} dev cali0123456789${own} scope link src ${router(own)}`);
  pod.exec("ip", "addr", "add", `${podOf(own)}/32`, "dev", "eth0");
  pod.exec("ip", "link", "set", "eth0", "mtu", "1430", "up");
  pod.exec("ip", "route", "add", "default", "via", "169.254.1.1", "dev", "eth0", "onlink");
  node.ns.exec(
    "nft",
    `add table ip other; add chain ip other post { type nat hook postrouting priority 100; }; add rule ip other post ip saddr ${POOL} ip daddr != ${POOL} masquerade`,
  );
  return pod;
}

/** Whether this kernel has the devices of a layout: tunl0 needs the module ipip. */
function canHave(layout: string): boolean {
  if (!layout.includes("IPIP")) return true;
  try {
    execFileSync("unshare", ["--net", "ip", "link", "add", "probe", "type", "ipip", "local", "192.0.2.1"], {
      stdio: "pipe",
    });
    return true;
  } catch (error) {
    if (String((error as { stderr?: Buffer }).stderr).includes("Unknown device type")) return false;
    throw error;
  }
}

const ping = (from: TestNamespace, ip: string): string => from.exec("ping", "-c", "2", "-i", "0.2", "-W", "5", ip);

for (const layout of Object.keys(LAYOUTS))
  describe(`moving from ${layout}`, function () {
    if (!canHave(layout)) {
      it("(skipped: this kernel has no IPIP tunnels)");
      return;
    }
    this.timeout(180_000);
    let fabric: Fabric | undefined;
    let nodes: [TestNode, TestNode];
    let theirs: [TestNamespace, TestNamespace];
    const ours: { ns: TestNamespace; ip: string }[] = [];
    const sandboxes: TestNamespace[] = [];

    before("both plugins are on both nodes", async () => {
      fabric = await Fabric.started();
      nodes = [fabric.node(1), fabric.node(2)];
      theirs = [other(nodes[0], layout, 1, 2), other(nodes[1], layout, 2, 1)];
      sandboxes.push(...theirs);
      for (const node of nodes) {
        node.configure({ vni: "auto" });
        await node.register();
      }
      ping(theirs[0], podOf(2));
      for (const node of nodes) node.start();
      await nodes[0].ready(["n2"], 60_000);
      await nodes[1].ready(["n1"], 60_000);
    });
    after(async () => {
      await fabric?.stop();
      for (const ns of sandboxes.splice(0)) ns.delete();
      ours.splice(0);
    });

    async function add(node: TestNode): Promise<void> {
      const ns = testNamespace(`ours-${node.name}`);
      sandboxes.push(ns);
      const dirs = { runDir: join(node.dir, "run"), dataDir: join(node.dir, "data") };
      const config = { cniVersion: "1.1.0", name: "skylane", type: "skylane", ...dirs };
      const request = { containerId: node.name, netns: ns.path };
      const { json } = await new Runtime(node.ns, [BIN]).exec("skylane", "ADD", config, request);
      const [ip] = json["ips"] as { address: string }[];
      ours.push({ ns, ip: (ip?.address ?? "").replace("/32", "") });
    }

    /** Every pod of either plugin reaches every other one. */
    function allReach(): void {
      const all = [...theirs.map((ns, i) => ({ ns, ip: podOf(i + 1) })), ...ours];
      for (const from of all) for (const to of all) if (from !== to) ping(from.ns, to.ip);
    }

    it("keeps its pods talking while Skylane's agents are on all nodes", () => {
      ping(theirs[0], podOf(2));
      ping(theirs[1], podOf(1));
    });

    it("lets pods of both reach each other, with the first node moved, and with both", async () => {
      await add(nodes[0]);
      allReach();
      await add(nodes[1]);
      allReach();
    });

    it("does without the other plugin in the end", () => {
      for (const [i, node] of nodes.entries()) {
        const links = node.ns.json("ip", "-j", "link").map(({ ifname }) => String(ifname));
        for (const name of links.filter((one) => /^(vxlan\.calico|cilium_(host|vxlan)|cali)/.test(one)))
          node.ns.exec("ip", "link", "del", name);
        node.ns.exec("nft", "delete", "table", "ip", "other");
        assert.equal(node.name, `n${i + 1}`);
      }
      const [a, b] = ours as [(typeof ours)[number], (typeof ours)[number]];
      ping(a.ns, b.ip);
      ping(b.ns, a.ip);
    });
  });
