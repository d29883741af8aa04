/** Nodes on one underlay, their tunnels inside WireGuard: what pods notice of it, what is on the wire, and a node that cannot. */
import assert from "node:assert/strict";
import { NodeKey } from "../../../src/dataplane/encryption/key.ts";
import { EncryptionReconciler } from "../../../src/dataplane/encryption/reconciler.ts";
import { renderEncryption } from "../../../src/dataplane/encryption/table.ts";
import type { OverlayReconciler } from "../../../src/dataplane/vxlan/index.ts";
import type { Encryption, Peer } from "../../../src/peers/index.ts";
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
import { missingWireguard } from "../support/wireguard.ts";

const why = missingWireguard();
const PORT = 51_871;

/** The same without a key. */
function keyless({ wireguard, ...peer }: Peer): Peer {
  assert.ok(wireguard === undefined || wireguard.port === PORT);
  return peer;
}

describe("tunnels inside WireGuard", function () {
  if (why !== undefined) {
    it(`(skipped: ${why})`);
    return;
  }
  this.timeout(60_000);
  let cluster: TestCluster;
  let pods: [TestPod, TestPod, TestPod];
  const overlays: OverlayReconciler[] = [];
  const encryptions: EncryptionReconciler[] = [];
  const keys = [NodeKey.make(), NodeKey.make()];
  const [first, second] = [0, 1].map((index) => () => encryptions[index] as EncryptionReconciler) as [
    () => EncryptionReconciler,
    () => EncryptionReconciler,
  ];

  const peersOf = (node: TestNode): Peer[] =>
    cluster.nodes
      .filter((other) => other !== node)
      .map(({ peer, number }) => {
        const key = keys[number - 1]?.publicKey;
        return key === undefined ? peer : { ...peer, wireguard: { key, port: PORT } };
      });
  const localOf = (node: TestNode, encryption: Encryption) => ({ ...node.local, mtu: 1390, encryption });
  const wire = (port: number): number => {
    const text = cluster.underlay.exec("nft", "list", "table", "bridge", "wire");
    return Number(new RegExp(`udp dport ${port} counter packets (\\d+)`).exec(text)?.[1]);
  };
  const newWire = (): void => {
    cluster.underlay.exec("nft", "add table bridge wire; delete table bridge wire");
    cluster.underlay.exec(
      "nft",
      `table bridge wire { chain c { type filter hook forward priority 0; udp dport 4789 counter; udp dport ${PORT} counter; }; }`,
    );
  };
  const agreed = (encryption: EncryptionReconciler): number =>
    [...encryption.states.values()].filter(({ lastHandshake }) => lastHandshake !== undefined).length;

  before(async () => {
    cluster = testCluster(3);
    newWire();
    pods = cluster.nodes.map((node) => node.pod(2)) as [TestPod, TestPod, TestPod];
    for (const [index, key] of keys.entries()) {
      const node = cluster.nodes[index] as TestNode;
      const local = localOf(node, "wireguard");
      const encryption = new EncryptionReconciler({
        local,
        keys: { slot: 0, key, made: 0 },
        port: PORT,
        netns: node.ns.path,
        logger: recordingLogger(),
      });
      encryptions.push(encryption);
      encryption.setPeers(peersOf(node));
      await encryption.start();
      overlays.push(await startOverlay(cluster, { ...node, local }));
    }
    overlays.push(await startOverlay(cluster, cluster.nodes[2] as TestNode));
  });
  after(() => Promise.all([...encryptions, ...overlays].map((one) => one.stop())));

  it("agree on keys as soon as both nodes know each other, without a packet of a pod", async () => {
    for (const encryption of [first(), second()]) await eventually(() => agreed(encryption) === 1);
    assert.equal(wire(4789), 0);
  });

  it("carry pods' packets in both families, and nothing of them is in the clear", async () => {
    for (const ip of pods[1].ips) await reaches(pods[0].ns, ip);
    for (const ip of pods[0].ips) await reaches(pods[1].ns, ip);
    assert.equal(wire(4789), 0);
    assert.ok(wire(PORT) > 8);
  });

  it("let pods that still have the larger MTU find out how large packets may be", async () => {
    for (const ip of pods[1].ips) await reaches(pods[0].ns, ip, "-s", "1400");
  });

  it("leave a node without a key as it was", async () => {
    for (const ip of pods[2].ips) await reaches(pods[0].ns, ip);
    for (const ip of pods[0].ips) await reaches(pods[2].ns, ip);
    assert.ok(wire(4789) > 0);
  });

  it("are in the clear again where keys go, and inside WireGuard again when they come back", async () => {
    const node = cluster.nodes[0] as TestNode;
    const plain = peersOf(node).map(keyless);
    first().setPeers(plain);
    second().setPeers(peersOf(cluster.nodes[1] as TestNode).map(keyless));
    for (const ip of pods[1].ips) await reaches(pods[0].ns, ip);
    first().setPeers(peersOf(node));
    second().setPeers(peersOf(cluster.nodes[1] as TestNode));
    for (const encryption of [first(), second()]) await eventually(() => agreed(encryption) === 1);
    newWire();
    for (const ip of pods[1].ips) await reaches(pods[0].ns, ip);
    assert.equal(wire(4789), 0);
  });

  it("are refused in the clear in the name of a node that encrypts", async () => {
    const node = cluster.nodes[0] as TestNode;
    const rules = { mode: "wireguard", port: 4789, peerPorts: [], keyed: ["172.30.0.3"] } as const;
    assert.ok(pings(pods[2].ns, pods[0].ips[0] as string));
    node.ns.exec("nft", renderEncryption(rules));
    assert.ok(!pings(pods[2].ns, pods[0].ips[0] as string));
    node.ns.exec("nft", "delete table inet skylane_encryption");
  });

  it("are all there is where it is strict: nothing goes to a node without a key, nothing comes from there", async () => {
    const node = cluster.nodes[0] as TestNode;
    first().setLocal(localOf(node, "strict"));
    await first().settled();
    newWire();
    const to = pods[2].ips[0] as string;
    assert.ok(!pings(pods[0].ns, to));
    assert.equal(wire(4789), 0, "by the routes alone");
    // and by the packet filter alone
    first().setLocal(localOf(node, "wireguard"));
    await first().settled();
    await reaches(pods[0].ns, to);
    newWire();
    node.ns.exec("nft", renderEncryption({ mode: "strict", port: 4789, peerPorts: [], keyed: [] }));
    assert.ok(!pings(pods[0].ns, to));
    assert.equal(wire(4789), 0);
    assert.ok(!pings(pods[2].ns, pods[0].ips[0] as string));
    await reaches(pods[0].ns, pods[1].ips[0] as string);
  });
});
