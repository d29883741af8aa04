import assert from "node:assert/strict";
import { Firewall } from "../../../src/dataplane/nft/index.ts";
import type { OverlayReconciler } from "../../../src/dataplane/vxlan/index.ts";
import { counted, rulesOf } from "../nft/support.ts";
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
import { echo, frame, FrameSender } from "../support/frames.ts";
import type { TestNamespace } from "../support/netns.ts";
import { attack } from "./support.ts";

const OWN = "a pod of this node, from outside";
const BESIDE = "a pod of another node, not through the tunnel";
const NO_PEER = "not from a peer";

describe("addresses of pods from where they are not", () => {
  let cluster: TestCluster;
  let stranger: TestNamespace;
  let pods: TestPod[];
  let firewall: Firewall;
  const overlays: OverlayReconciler[] = [];
  const node = (n: number): TestNode => cluster.nodes[n - 1] as TestNode;
  const pod = (n: number): TestPod => pods[n - 1] as TestPod;
  const macOf = (ns: TestNamespace, device: string): string =>
    String(ns.json("ip", "-j", "link", "show", "dev", device)[0]?.["address"]);

  before(async () => {
    cluster = testCluster(2);
    stranger = cluster.machine("stranger", 66);
    pods = cluster.nodes.map((one) => one.pod(2));
    for (const one of cluster.nodes) overlays.push(await startOverlay(cluster, one));
    firewall = new Firewall({ netns: node(1).ns.path, logger: recordingLogger() });
    firewall.set([rulesOf(cluster, node(1))]);
    await firewall.start();
    assert.equal(firewall.status().error, undefined);
    for (const ip of pod(2).ips) await reaches(pod(1).ns, ip);
    // Whatever comes over the underlay, there is some way back over it.
    for (const [family, gateway] of [
      ["-4", "172.30.0.66"],
      ["-6", "fd30::66"],
    ] as const)
      node(1).ns.exec("ip", family, "route", "add", "default", "via", gateway);
  });

  after(() => Promise.all([...overlays, firewall].map((part) => part.stop())));

  /** Sends packets from each of these sources to each of the destinations of its family, and expects a rule to drop them all. */
  function dropped(from: FrameSender, to: string, sources: string[], destinations: string[], rule: string): void {
    for (const source of sources)
      for (const destination of destinations.filter((ip) => ip.includes(":") === source.includes(":"))) {
        const before = counted(node(1).ns, rule);
        from.send(frame(from.mac, to, echo(source, destination)));
        assert.equal(counted(node(1).ns, rule), before + 1, `${source} to ${destination}`);
      }
  }

  attack("stranger", "sends as a pod of the very node, without a tunnel", async () => {
    using from = new FrameSender(stranger.path, "eth0");
    const own = pod(1).ips;
    dropped(from, macOf(node(1).ns, "eth0"), own, [...pod(1).ips, "172.30.0.1", "fd30::1"], OWN);
    return "dropped";
  });

  attack("stranger", "sends as a pod of another node, without a tunnel", async () => {
    using from = new FrameSender(stranger.path, "eth0");
    const to = [...pod(1).ips, "172.30.0.1", "fd30::1"];
    dropped(from, macOf(node(1).ns, "eth0"), [...pod(2).ips, "10.244.2.0"], to, BESIDE);
    for (const ip of pod(2).ips) assert.ok(pings(pod(1).ns, ip), ip);
    return "dropped; what comes through the tunnel is not";
  });

  it("answers to this node's own address come beside the tunnel, as they did", async () => {
    for (const [source, ip] of [
      ["172.30.0.1", pod(2).ips[0]],
      ["fd30::1", pod(2).ips[1]],
    ] as const)
      await reaches(node(1).ns, ip as string, "-I", source);
  });

  attack("node", "sends as somebody outside of the cluster, through the tunnel", async () => {
    using from = new FrameSender(node(2).ns.path, "sky.4096");
    dropped(from, node(1).local.mac, ["192.0.2.1", "172.30.0.99", "2001:db8::1", "fe80::99"], pod(1).ips, NO_PEER);
    for (const ip of pod(1).ips) assert.ok(pings(pod(2).ns, ip), ip);
    for (const ip of pod(1).ips) assert.ok(pings(node(2).ns, ip), `a node to ${ip}`);
    return "dropped; its pods and the node itself are heard";
  });

  it("pods that keep their addresses on their way to nodes are heard by nodes", async () => {
    const rules = rulesOf(cluster, node(1), { masquerade: { enabled: true, exclude: ["172.30.0.0/24", "fd30::/64"] } });
    firewall.set([rules]);
    await firewall.settled();
    for (const ip of ["172.30.0.1", "fd30::1"]) await reaches(pod(2).ns, ip);
    firewall.set([rulesOf(cluster, node(1))]);
    await firewall.settled();
  });

  it("link-local addresses beyond the node see the node's address, unless that is excluded", async () => {
    stranger.exec("ip", "addr", "add", "169.254.169.254/32", "dev", "eth0");
    node(1).ns.exec("ip", "route", "add", "169.254.169.254/32", "dev", "eth0");
    await reaches(pod(1).ns, "169.254.169.254");
    firewall.set([rulesOf(cluster, node(1), { masquerade: { enabled: true, exclude: ["169.254.0.0/16"] } })]);
    await firewall.settled();
    assert.ok(!pings(pod(1).ns, "169.254.169.254"));
    firewall.set([rulesOf(cluster, node(1))]);
    await firewall.settled();
  });
});
