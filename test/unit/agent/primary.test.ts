import assert from "node:assert/strict";
import { type Cluster, withPrimary } from "../../../src/pod-requests/primary.ts";
import { CniError } from "../../../src/cni/index.ts";
import { parsePodNetwork } from "../../../src/crd/index.ts";

const network = (cidrs: string[], more: object = {}) =>
  parsePodNetwork({
    apiVersion: "skylane.dev/v1alpha1",
    kind: "PodNetwork",
    metadata: { name: "blue", uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { vni: 5000, cidrs, ...more },
  });
const CLUSTER: Cluster = {
  config: {
    network: "default",
    clusterCidrs: ["10.244.0.0/16", "fd00:10::/48"],
    serviceCidrs: ["10.96.0.0/12", "fd00:20::/112"],
  },
  own: { podCidrs: ["10.244.1.0/24", "fd00:10:0:1::/64"], internalIps: ["172.30.0.11", "fd30::11"] },
};
const FURTHER = [
  { network: "red", ifname: "net1" },
  { network: "blue", ifname: "net2", mac: "02:00:00:00:00:01" },
];
const V4 = ["10.244.0.0/16", "10.96.0.0/12", "172.30.0.11/32"];
const V6 = ["fd00:10::/48", "fd00:20::/112", "fd30::11/128"];

describe("the ways of a pod with another primary network", () => {
  it("lead everything into it, and the cluster through the first interface, in the families that it has", () => {
    assert.deepEqual(withPrimary(FURTHER, network(["10.50.0.0/16", "fd50::/64"]), CLUSTER), {
      additional: [FURTHER[0], { ...FURTHER[1], destinations: ["0.0.0.0/0", "::/0"] }],
      destinations: [...V4, ...V6],
    });
    const four = withPrimary(FURTHER, network(["10.50.0.0/16"]), CLUSTER);
    assert.deepEqual(four.additional[1]?.destinations, ["0.0.0.0/0"]);
    assert.deepEqual(four.destinations, [...V4, "::/0"]);
  });

  it("have nothing of a family that the default network does not have", () => {
    const own = { podCidrs: ["10.244.1.0/24"], internalIps: ["172.30.0.11"] };
    const config = { ...CLUSTER.config, clusterCidrs: ["10.244.0.0/16"] };
    const { destinations } = withPrimary(FURTHER, network(["fd50::/64"]), { config, own });
    assert.deepEqual(destinations, ["0.0.0.0/0"]);
  });

  it("are refused with words where they cannot be told apart", () => {
    const refuses = (cidrs: string[], pattern: RegExp, more: object = {}, cluster = CLUSTER): void =>
      assert.throws(() => withPrimary(FURTHER, network(cidrs, more), cluster), pattern);
    refuses(["10.50.0.0/16"], /"blue" is Bridged and has no gateway/, { mode: "Bridged" });
    refuses(["10.0.0.0/8"], /"blue" has 10\.0\.0\.0\/8, where the cluster's pods.*"default"/);
    refuses(["10.96.8.0/24"], /"blue" has 10\.96\.8\.0\/24/);
    const config = { ...CLUSTER.config, clusterCidrs: ["10.244.0.0/16"] };
    refuses(["fd50::/64"], /clusterCidrs has no IPv6 prefix/, {}, { ...CLUSTER, config });
    const noServices = { ...CLUSTER.config, serviceCidrs: [] };
    refuses(["10.50.0.0/16"], /nobody says which addresses Services have/, {}, { ...CLUSTER, config: noServices });
    assert.throws(
      () => withPrimary(FURTHER, network(["10.50.0.0/16"]), { ...CLUSTER, own: undefined }),
      (error: unknown) => error instanceof CniError && error.code === 11,
    );
  });
});
