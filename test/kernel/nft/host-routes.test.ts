import assert from "node:assert/strict";
import { Firewall } from "../../../src/dataplane/nft/index.ts";
import type { OverlayReconciler } from "../../../src/dataplane/vxlan/index.ts";
import { eventually } from "../../support/eventually.ts";
import {
  pings,
  pod,
  reaches,
  recordingLogger,
  startOverlay,
  testCluster,
  type TestCluster,
  type TestPod,
} from "../overlay/cluster.ts";
import { counted, rulesOf } from "./support.ts";

const FROM_OUTSIDE = "a pod of this node, from outside";

describe("a peer's host routes into this node's own prefixes", () => {
  let cluster: TestCluster;
  let near: TestPod;
  let far: TestPod;
  const overlays: OverlayReconciler[] = [];
  const firewalls: Firewall[] = [];
  const [first, second] = [
    () => cluster.nodes[0] as (typeof cluster.nodes)[0],
    () => cluster.nodes[1] as (typeof cluster.nodes)[0],
  ];
  const overlay = (): OverlayReconciler => overlays[0] as OverlayReconciler;
  const set = async (hostRoutes: boolean): Promise<void> => {
    const firewall = firewalls[0] as Firewall;
    firewall.set([rulesOf(cluster, first(), { hostRoutes })]);
    await eventually(
      () => /oif exists accept/.test(first().ns.exec("nft", "list", "table", "inet", "skylane")) === hostRoutes,
      {
        message: "the rules are not in force",
      },
    );
  };
  /** Has the second node have these addresses. */
  const give = async (hosts: readonly string[]): Promise<void> => {
    overlay().changePeers([[second().local.node, { ...second().peer, hosts }]]);
    await overlay().settled();
  };

  before("two nodes, and a pod on the second one with addresses out of the first one's prefixes", async () => {
    cluster = testCluster(2);
    near = first().pod(2);
    far = pod(second().ns, 1, 9);
    for (const node of cluster.nodes) {
      overlays.push(await startOverlay(cluster, node));
      const firewall = new Firewall({ netns: node.ns.path, logger: recordingLogger() });
      firewall.set([rulesOf(cluster, node)]);
      await firewall.start();
      firewalls.push(firewall);
    }
    await give(far.ips);
  });

  after(() => Promise.all([...overlays, ...firewalls].map((part) => part.stop())));

  it("win over the prefix, but what comes from there is no pod's of this node where nobody says that it may", () => {
    for (const ip of far.ips) {
      assert.match(first().ns.exec("ip", "route", "get", ip), / dev sky\.4096 /);
      const before = counted(first().ns, FROM_OUTSIDE);
      assert.ok(!pings(near.ns, ip), ip);
      assert.ok(counted(first().ns, FROM_OUTSIDE) > before);
    }
  });

  it("let in what comes from these addresses, and from no other", async () => {
    await set(true);
    for (const ip of far.ips) await reaches(near.ns, ip);
    const other = pod(second().ns, 1, 8);
    for (const ip of near.ips) {
      const source = other.ips[near.ips.indexOf(ip)] as string;
      const before = counted(first().ns, FROM_OUTSIDE);
      assert.ok(!pings(other.ns, ip, "-I", source), `${source} to ${ip}`);
      assert.ok(counted(first().ns, FROM_OUTSIDE) > before);
    }
  });

  it("let nothing in any more when they are gone", async () => {
    await give([]);
    for (const ip of far.ips) assert.ok(!pings(near.ns, ip), ip);
  });
});
