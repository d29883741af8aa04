import assert from "node:assert/strict";
import { Firewall, removeFirewall } from "../../../src/dataplane/nft/index.ts";
import { hasLegacyTable } from "../../../src/dataplane/nft/forward-policy.ts";
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
import { testNamespace, type TestNamespace } from "../support/netns.ts";
import { rulesOf } from "./support.ts";
import { skip } from "../../support/skip.ts";

const REPAIR_MS = 5_000;

for (const backend of ["nft", "legacy"] as const) {
  describe(`a FORWARD policy of drop in ${backend} iptables`, () => {
    let cluster: TestCluster;
    let here: TestNode;
    let near: TestPod;
    let far: TestPod;
    let firewall: Firewall;
    const overlays: OverlayReconciler[] = [];
    const repairs: string[] = [];
    const tables = (ns: TestNamespace, ...args: string[]): string =>
      ["iptables", "ip6tables"].map((tool) => ns.exec(`${tool}-${backend}`, "-w", ...args)).join("");
    /** Rules of the filter table but for the counters, as anybody would list them. */
    const listed = () => tables(here.ns, "-S");

    before(async function () {
      if (backend === "legacy") {
        const probe = testNamespace("legacy");
        try {
          probe.exec("iptables-legacy", "-S");
        } catch (error) {
          // Newer kernels are built without it; then no policy of that kind can be set either.
          if (/Table does not exist|can't initialize|not installed|ENOENT|No such file/.test(String(error)))
            skip(this, "this kernel has no iptables-legacy");
          throw error;
        }
      }
      cluster = testCluster(2);
      here = cluster.nodes[0] as TestNode;
      [near, far] = cluster.nodes.map((node) => node.pod(2)) as [TestPod, TestPod];
      for (const node of cluster.nodes) overlays.push(await startOverlay(cluster, node));
      for (const ip of far.ips) await reaches(near.ns, ip);
      // A host with a rule of its own, whose policy then becomes drop.
      tables(here.ns, "-A", "FORWARD", "-p", "tcp", "--dport", "25", "-j", "DROP");
      tables(here.ns, "-P", "FORWARD", "DROP");
      firewall = new Firewall({
        netns: here.ns.path,
        logger: recordingLogger(),
        legacyLookMs: 500,
        onRepair: (kind) => repairs.push(kind),
      });
      firewall.set([rulesOf(cluster, here)]);
    });

    after(async () => {
      await Promise.all([...overlays, ...(firewall ? [firewall] : [])].map((part) => part.stop()));
    });

    const fine = async (): Promise<void> => {
      for (const ip of far.ips) await reaches(near.ns, ip);
      for (const ip of near.ips) await reaches(far.ns, ip);
    };

    it("keeps pods apart without us", () => {
      for (const ip of far.ips) assert.ok(!pings(near.ns, ip), ip);
    });

    describe("with us", () => {
      before(() => firewall.start());

      it("lets them talk: the last rule of FORWARD accepts our interfaces, every rule of the host's comes before", async () => {
        assert.deepEqual([firewall.status().error, firewall.status().acceptedForward], [undefined, 2]);
        await fine();
        const one = [
          "-P INPUT ACCEPT",
          "-P FORWARD DROP",
          "-P OUTPUT ACCEPT",
          "-N SKYLANE-FORWARD",
          "-A FORWARD -p tcp -m tcp --dport 25 -j DROP",
          "-A FORWARD -j SKYLANE-FORWARD",
          "-A SKYLANE-FORWARD -i sky+ -j ACCEPT",
          "-A SKYLANE-FORWARD -o sky+ -j ACCEPT",
        ];
        assert.deepEqual(listed().trim().split("\n"), [...one, ...one]);
        assert.deepEqual(repairs, []);
      });

      it("still lets a rule of the host's decide first", () => {
        tables(here.ns, "-I", "FORWARD", "-i", near.hostIfname, "-j", "DROP");
        for (const ip of far.ips) assert.ok(!pings(near.ns, ip), ip);
        tables(here.ns, "-D", "FORWARD", "-i", near.hostIfname, "-j", "DROP");
      });

      it("is put right when somebody flushes FORWARD", async function () {
        const before = firewall.status().repairs.forward;
        tables(here.ns, "-F", "FORWARD");
        // Legacy iptables announces nothing: it is looked at on a timer.
        await eventually(() => firewall.status().repairs.forward > before, {
          timeoutMs: REPAIR_MS,
        });
        await firewall.settled();
        await fine();
        assert.equal(listed().match(/-A FORWARD -j SKYLANE-FORWARD/g)?.length, 2);
      });

      it("that comes back to accept has ours taken away, and one that is set to drop again has it at once", async () => {
        const timeoutMs = REPAIR_MS;
        tables(here.ns, "-P", "FORWARD", "ACCEPT");
        await eventually(() => !listed().includes("SKYLANE"), { timeoutMs });
        tables(here.ns, "-P", "FORWARD", "DROP");
        await eventually(() => listed().match(/-A FORWARD -j SKYLANE-FORWARD/g)?.length === 2, { timeoutMs });
        await fine();
      });

      it("is left as it was by the uninstallation", async () => {
        const lines = (): string[] => listed().trim().split("\n");
        const others = lines().filter((line) => !line.includes("SKYLANE"));
        await firewall.stop();
        const removed = await removeFirewall({ netns: here.ns.path });
        assert.equal(removed.length, 3);
        assert.deepEqual(lines(), others);
        for (const ip of far.ips) assert.ok(!pings(near.ns, ip), ip);
      });
    });
  });
}

describe("a host without iptables", () => {
  it("gets no table but our own: looking makes none", async () => {
    const ns = testNamespace("plain");
    const firewall = new Firewall({ netns: ns.path, logger: recordingLogger() });
    await firewall.start();
    await firewall.stop();
    assert.equal(ns.exec("nft", "list", "tables"), "table inet skylane\ntable arp skylane\n");
    for (const family of [4, 6] as const) assert.equal(hasLegacyTable(family, ns.path), false);
  });
});
