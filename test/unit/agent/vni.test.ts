import assert from "node:assert/strict";
import type { Inputs, NodeFacts } from "../../../src/nodes/inputs.ts";
import { DEFAULT_VNI, FORMER_VNI, vniOf } from "../../../src/nodes/vni.ts";
import { linkOf } from "../../support/link.ts";

const annotation = (vni: number, network = "default"): string =>
  JSON.stringify({
    [network]: { vni, mac: "02:00:00:00:00:02", ips: ["172.30.0.12"], podCidrs: ["10.244.2.0/24"], port: 4789 },
  });
const node = (name: string, vtepAnnotation?: string): NodeFacts => ({
  name,
  uid: "u",
  creationTimestamp: "2024-01-01T00:00:00Z",
  ...(vtepAnnotation !== undefined && { vtepAnnotation }),
});
const inputs = (nodes: NodeFacts[], own?: string): Inputs => ({
  own: { name: "n1", podCidrs: [], internalIps: [], ...(own !== undefined && { vtepAnnotation: own }) },
  nodes,
});
const auto = { network: "default", vni: "auto" } as const;
const device = (vni: number, alias: string) =>
  linkOf(9, `sky.${vni}`, { kind: "vxlan", alias, vxlan: { vni, port: 4789, learning: false } });

describe("the default network's VNI", () => {
  it("is the configured one, whatever the cluster has", () => {
    const old = [node("n2", annotation(FORMER_VNI))];
    assert.equal(vniOf({ ...auto, vni: 77 }, inputs(old, annotation(FORMER_VNI)), []), 77);
  });

  it("is not Docker Swarm's in a new cluster", () => {
    assert.equal(vniOf(auto, inputs([]), []), DEFAULT_VNI);
    assert.equal(vniOf(auto, inputs([node("n1"), node("n2")]), []), DEFAULT_VNI);
    assert.ok(DEFAULT_VNI < 4096);
  });

  it("stays what this node has: its device's, else its annotation's", () => {
    assert.equal(vniOf(auto, inputs([], annotation(FORMER_VNI)), []), FORMER_VNI);
    assert.equal(vniOf(auto, inputs([], annotation(5)), []), 5);
    const links = [device(5001, "skylane network blue"), device(6, "skylane network default")];
    assert.equal(vniOf(auto, inputs([node("n2", annotation(FORMER_VNI))], annotation(5)), links), 6);
    assert.equal(vniOf(auto, inputs([], "rubbish"), []), DEFAULT_VNI);
  });

  it("is the former default for a node that comes into a cluster of such nodes", () => {
    const old = ["n2", "n3", "n4"].map((name) => node(name, annotation(FORMER_VNI)));
    assert.equal(vniOf(auto, inputs([node("n1"), ...old]), []), FORMER_VNI);
    assert.equal(vniOf(auto, inputs([...old, node("n5", annotation(DEFAULT_VNI))]), []), FORMER_VNI);
  });

  it("is chosen by no Node alone", () => {
    const good = ["n2", "n3"].map((name) => node(name, annotation(DEFAULT_VNI)));
    assert.equal(vniOf(auto, inputs([...good, node("evil", annotation(FORMER_VNI))]), []), DEFAULT_VNI);
    assert.equal(vniOf(auto, inputs([node("evil", annotation(6100))]), []), DEFAULT_VNI);
    assert.equal(vniOf(auto, inputs([node("evil", "{")]), []), DEFAULT_VNI);
    assert.equal(vniOf(auto, inputs([node("n2", annotation(FORMER_VNI, "blue"))]), []), DEFAULT_VNI);
  });
});
