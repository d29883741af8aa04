/** Pod networks over the cluster's own addresses: which are refused, in which words, and where that is said. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DefinedNetworks } from "../../../src/network-definitions/defined-networks.ts";
import { type ClusterAddresses, overlapsWithCluster } from "../../../src/network-definitions/network-overlaps.ts";
import { connect, createObject, type KubeClient } from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { createLogger } from "../../../src/log/index.ts";
import { parsePodNetwork, POD_NETWORKS, type PodNetworkInfo } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";

const CLUSTER: ClusterAddresses = {
  pods: ["10.244.0.0/16", "fd00:244::/48"],
  services: ["10.96.0.0/12", "fd00:96::/112"],
  segments: ["172.30.0.0/24", "fd30::/64"],
  nodes: [{ name: "far", addresses: ["192.0.2.9", "2001:db8::9"], podCidrs: ["203.0.113.64/26", "fd99:3::/64"] }],
};
const object = (name: string, spec: object) => ({
  apiVersion: "skylane.dev/v1alpha1",
  kind: "PodNetwork",
  metadata: { name, uid: `u-${name}`, resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { vni: 6_100, blockSize: 4, ...spec },
});
const network = (name: string, ...cidrs: string[]): PodNetworkInfo => parsePodNetwork(object(name, { cidrs }));

describe("a pod network over the cluster's own addresses", () => {
  for (const [cidr, why] of [
    ["10.244.0.0/16", /the default network's pods, 10\.244\.0\.0\/16 \(clusterCidrs\)/],
    ["10.244.7.0/24", /the default network's pods/],
    ["10.0.0.0/8", /the default network's pods/],
    ["fd00:244:0:5::/64", /the default network's pods, fd00:244::\/48/],
    ["10.100.0.0/16", /the addresses of Services, 10\.96\.0\.0\/12/],
    ["fd00:96::/64", /the addresses of Services, fd00:96::\/112/],
    ["172.30.0.128/25", /the nodes' own network, 172\.30\.0\.0\/24/],
    ["fd30::/56", /the nodes' own network, fd30::\/64/],
    ["192.0.2.0/24", /the address of node far, 192\.0\.2\.9/],
    ["2001:db8::/64", /the address of node far, 2001:db8::9/],
    ["203.0.113.0/24", /the addresses of node far's pods, 203\.0\.113\.64\/26/],
    ["fd99:3::/60", /the addresses of node far's pods, fd99:3::\/64/],
  ] as const)
    it(`with ${cidr} is refused, and one beside it is not`, () => {
      const other = cidr.includes(":") ? "10.50.0.0/16" : "fd50::/64";
      const all = [network("blue", "10.50.0.0/16", "fd50::/64"), network("over", other, cidr)];
      const found = overlapsWithCluster(all, CLUSTER);
      assert.deepEqual([...found.keys()], ["over"]);
      assert.match(found.get("over") ?? "", why);
      assert.match(found.get("over") ?? "", new RegExp(`^PodNetwork over has ${cidr}, .* delete it and make it again`));
    });
});

describe("definitions of pod networks", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-defined-"));
  const events: string[] = [];
  let cluster: ClusterAddresses | undefined;
  let server: ApiServer;
  let client: KubeClient;
  let defined: DefinedNetworks;
  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
    defined = new DefinedNetworks({
      client,
      config: { network: "default" },
      log: createLogger({ level: "fatal" as never, format: "text" }),
      cluster: () => cluster,
      event: (type, reason, message) => events.push(`${type} ${reason} ${message}`),
    });
    defined.start(() => undefined);
  });
  after(async () => {
    await defined.stop();
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true });
  });

  it("over the cluster's addresses are refused by name, once these are known, with an Event and an obstacle for the status", async () => {
    for (const [name, vni, cidr] of [
      ["over", 6_101, "10.244.8.0/24"],
      ["blue", 6_102, "10.50.0.0/24"],
    ] as const) {
      const { metadata: _, ...rest } = object(name, { vni, cidrs: [cidr] });
      await createObject(client, POD_NETWORKS, { ...rest, metadata: { name } });
    }
    await eventually(() => defined.accepted.size === 2);
    assert.equal(defined.refused.size, 0, "nobody knows the cluster's addresses yet");
    cluster = CLUSTER;
    defined.look();
    const why = defined.refused.get("over") ?? "";
    assert.match(
      why,
      /^PodNetwork over has 10\.244\.8\.0\/24, which overlaps with the addresses of the default network's pods/,
    );
    assert.deepEqual([...defined.refused.keys()], ["over"]);
    // Pods that are in it keep it.
    assert.ok(defined.accepted.has("over"));
    assert.deepEqual(defined.unserved(defined.accepted.get("over") as PodNetworkInfo), {
      reason: "Overlap",
      message: why,
    });
    assert.equal(defined.unserved(defined.accepted.get("blue") as PodNetworkInfo), undefined);
    assert.deepEqual(events, [`Warning SkylaneNetworkRefused ${why}`]);
    defined.look();
    assert.equal(events.length, 1, "it is said once");
  });
});
