import assert from "node:assert/strict";
import { LocalPods } from "../../../src/enforcement/local-pods.ts";
import { mergeChanges } from "../../../src/enforcement/merge-changes.ts";
import type { Pod } from "../../../src/policy/index.ts";

const pod = (name: string, ...ips: string[]) => ({ namespace: "shop", name, ips });

describe("pods of this node by their attachments", () => {
  it("have the addresses of all their attachments, until the last one is gone", () => {
    const pods = new LocalPods();
    assert.equal(pods.ipsOf("shop/web"), undefined);
    pods.add("sky1", pod("web", "10.244.1.2", "fd00::2"));
    pods.add("sky2", pod("web", "10.244.1.3"));
    assert.deepEqual(pods.ipsOf("shop/web"), ["10.244.1.2", "fd00::2", "10.244.1.3"]);
    assert.equal(pods.holderOf("fd00::2")?.name, "web");
    pods.remove("sky1");
    assert.deepEqual(pods.ipsOf("shop/web"), ["10.244.1.3"]);
    assert.equal(pods.holderOf("fd00::2"), undefined);
    assert.equal(pods.remove("sky2")?.name, "web");
    assert.equal(pods.ipsOf("shop/web"), undefined);
    assert.equal(pods.remove("sky2"), undefined);
  });

  it("lose an attachment whose address another one has got, whoever took the first one away", () => {
    const pods = new LocalPods();
    pods.add("sky1", pod("old", "10.244.1.2"));
    assert.deepEqual(
      pods.add("sky2", pod("new", "10.244.1.2")).map(({ name }) => name),
      ["old"],
    );
    assert.equal(pods.ipsOf("shop/old"), undefined);
    assert.equal(pods.holderOf("10.244.1.2")?.name, "new");
    assert.deepEqual(pods.names(), ["sky2"]);
    // Made anew, as the same request may be made again.
    pods.add("sky2", pod("new", "10.244.1.9"));
    assert.equal(pods.holderOf("10.244.1.2"), undefined);
    assert.deepEqual(pods.ipsOf("shop/new"), ["10.244.1.9"]);
  });
});

describe("pods of this node in a network with claims", () => {
  it("may share an address, which the younger holds while it is there", () => {
    const pods = new LocalPods(true);
    pods.add("sky1", pod("running", "10.50.1.2"));
    assert.deepEqual(pods.add("sky2", pod("standby", "10.50.1.2")), []);
    assert.equal(pods.holderOf("10.50.1.2")?.name, "standby");
    assert.deepEqual([pods.ipsOf("shop/running"), pods.ipsOf("shop/standby")], [["10.50.1.2"], ["10.50.1.2"]]);
    pods.remove("sky2");
    assert.equal(pods.holderOf("10.50.1.2")?.name, "running");
    pods.add("sky3", pod("standby", "10.50.1.2"));
    pods.remove("sky1");
    assert.equal(pods.holderOf("10.50.1.2")?.name, "standby");
    pods.remove("sky3");
    assert.equal(pods.holders.size, 0);
  });
});

describe("changes as one", () => {
  const labelled = (name: string, app: string): Pod => ({
    ...pod(name),
    labels: { app },
    ports: [],
    node: "n1",
    hostNetwork: false,
    ended: false,
  });

  it("are of each object the last word", () => {
    const { pods, namespaces } = mergeChanges([
      { pods: { set: [labelled("a", "1"), labelled("b", "1")] }, namespaces: { gone: ["shop"] } },
      { pods: { set: [labelled("a", "2")], gone: [{ namespace: "shop", name: "b" }] } },
      {
        pods: { gone: [{ namespace: "shop", name: "c" }] },
        namespaces: { set: [{ name: "shop", labels: {}, audit: false }] },
      },
      { pods: { set: [labelled("c", "3")] } },
    ]);
    assert.deepEqual(
      pods?.set?.map(({ name, labels }) => `${name} ${labels["app"]}`),
      ["a 2", "c 3"],
    );
    assert.deepEqual(
      pods?.gone?.map(({ name }) => name),
      ["b"],
    );
    assert.deepEqual([namespaces?.set?.length, namespaces?.gone], [1, []]);
  });

  it("take what is gone first within one of them, as the model does", () => {
    const { pods } = mergeChanges([
      { pods: { set: [labelled("a", "1")] } },
      { pods: { gone: [{ namespace: "shop", name: "a" }], set: [labelled("a", "2")] } },
    ]);
    assert.deepEqual(
      pods?.set?.map(({ labels }) => labels["app"]),
      ["2"],
    );
    assert.deepEqual(pods?.gone, []);
  });
});
