/** Who has which address in a pod network beside the default one, by what nodes say and the API server has. */
import assert from "node:assert/strict";
import { NetworkAddresses } from "../../../../src/enforcement/further/network-addresses.ts";
import { NetworkWorld } from "../../../../src/enforcement/further/network-world.ts";
import { blockObject } from "../../../../src/crd/index.ts";
import { NetworkView, readPlaced } from "../../../../src/ipam/blocks/index.ts";
import { type Changes, type Pod } from "../../../../src/policy/index.ts";
import { keyOf } from "../../../../src/json/index.ts";

const HERE = "here";
const pod = (key: string, node: string, ips: string[] = []): Pod => {
  const [namespace = "", name = ""] = key.split("/");
  return { namespace, name, labels: {}, ips, ports: [], node, hostNetwork: false, ended: false };
};
let version = 1;
/** A node's block as the API server has it. */
function block(node: string, cidr: string, pods: unknown, addresses?: Record<string, string>) {
  const owner = { network: "blue", ...(node !== "" && { node: { name: node, uid: `uid-${node}` } }) };
  const object = blockObject(owner, cidr, addresses);
  const metadata = {
    ...(object["metadata"] as object),
    uid: `uid-${cidr}`,
    resourceVersion: String(version++),
    creationTimestamp: "2026-01-01T00:00:00Z",
    annotations: { "skylane.dev/pods": typeof pods === "string" ? pods : JSON.stringify(pods) },
  };
  return readPlaced({ ...object, metadata });
}

interface Claim {
  holder: string;
  node: string;
  ips: readonly string[];
  pod: string | undefined;
}

describe("pods of a routed network by their addresses", () => {
  let view: NetworkView;
  let addresses: NetworkAddresses;
  let world: NetworkWorld;
  let known: Map<string, Pod>;
  let claims: Claim[];
  let claimsChanged: () => void;
  /** What was told, put together. */
  let told: Map<string, readonly string[]>;
  const take = ({ pods }: Changes): void => {
    for (const one of pods?.gone ?? []) told.delete(keyOf(one));
    for (const one of pods?.set ?? []) told.set(keyOf(one), one.ips);
  };
  const know = (...pods: Pod[]): void => {
    for (const one of pods) known.set(keyOf(one), one);
  };

  beforeEach(() => {
    [known, claims, told] = [new Map(), [], new Map()];
    view = new NetworkView(["10.50.0.0/16", "fd50::/64"], (nodes) => addresses.blocksChanged(nodes), 0);
    addresses = new NetworkAddresses({
      network: "blue",
      view,
      places: {
        start: () => undefined,
        whenSynced: async () => undefined,
        follow: (_, onChange) => {
          claimsChanged = onChange;
          return () => undefined;
        },
        in: function* () {
          yield* claims;
        },
      },
      onChange: (nodes) => take(world.readdressed(nodes)),
    });
    world = new NetworkWorld({
      nodeName: HERE,
      addresses,
      pod: (key) => known.get(key),
      podsHere: () => [...known.values()].filter(({ node }) => node === HERE),
      namespaces: () => [{ name: "shop", labels: {}, audit: false }],
    });
    addresses.start();
  });
  afterEach(() => view.close());

  it("are those that a node says on its own blocks, of its own pods", () => {
    know(pod("shop/a", "n1"), pod("shop/b", "n2"), pod("shop/local", HERE, ["10.244.0.5"]));
    view.replace([
      block("n1", "10.50.0.0/26", {
        "10.50.0.2": "shop/a",
        // another node's pod, one that there is not, and one here
        "10.50.0.3": "shop/b",
        "10.50.0.4": "shop/nobody",
        "10.50.0.5": "shop/local",
        // outside of the block
        "10.50.0.99": "shop/a",
      }),
      block("n1", "fd50::/122", { "fd50::2": "shop/a" }),
      block("n2", "10.50.0.64/26", { "10.50.0.66": "shop/b" }),
    ]);
    told.clear();
    const whole = world.whole();
    take(whole);
    assert.deepEqual(Object.fromEntries(told), {
      "shop/a": ["10.50.0.2", "fd50::2"],
      "shop/b": ["10.50.0.66"],
      "shop/local": [],
    });
    assert.deepEqual(
      whole.namespaces?.set?.map(({ name }) => name),
      ["shop"],
    );
  });

  it("have nothing of blocks that are not valid, nor of other networks", () => {
    know(pod("shop/a", "n1"), pod("shop/b", "n2"));
    view.replace([
      { ...block("n1", "10.50.0.0/26", { "10.50.0.2": "shop/a" }), created: "1" },
      // Younger, and it overlaps.
      { ...block("n2", "10.50.0.0/27", { "10.50.0.2": "shop/b" }), created: "2" },
      block("n2", "10.99.0.0/26", { "10.99.0.2": "shop/b" }),
    ]);
    take(world.whole());
    assert.deepEqual(Object.fromEntries(told), { "shop/a": ["10.50.0.2"] });
  });

  it("are nobody by what makes no sense", () => {
    know(pod("shop/a", "n1"));
    for (const text of [
      "no JSON",
      "[]",
      '"x"',
      '{"10.50.0.2": 7}',
      '{"10.50.0.2": "shop"}',
      '{"10.50.0.2": "shop/a/b"}',
      '{"10.50.0.002": "shop/a"}',
      '{"__proto__": "shop/a"}',
      '{"::ffff:10.50.0.2": "shop/a"}',
    ]) {
      view.replace([block("n1", "10.50.0.0/26", text)]);
      take(world.whole());
      assert.deepEqual([...told], [], text);
    }
  });

  it("follow pods and blocks in whatever order they come and go", () => {
    take(world.whole());
    view.replace([block("n1", "10.50.0.0/26", { "10.50.0.2": "shop/a" })]);
    assert.equal(told.size, 0, "the pod is not known yet");
    know(pod("shop/a", "n1"));
    take(world.translate({ pods: { set: [pod("shop/a", "n1", ["10.244.1.7"])] } }));
    assert.deepEqual(told.get("shop/a"), ["10.50.0.2"]);
    view.replace([block("n1", "10.50.0.0/26", { "10.50.0.7": "shop/a" })]);
    assert.deepEqual(told.get("shop/a"), ["10.50.0.7"]);
    // Made anew on another node: what the former says is nothing.
    know(pod("shop/a", "n2"));
    take(world.translate({ pods: { set: [pod("shop/a", "n2")] } }));
    assert.equal(told.has("shop/a"), false);
    know(pod("shop/a", "n1"));
    take(world.translate({ pods: { set: [pod("shop/a", "n1")] } }));
    assert.ok(told.has("shop/a"));
    view.replace([block("n1", "10.50.0.0/26", {})]);
    assert.equal(told.has("shop/a"), false);
    view.replace([block("n1", "10.50.0.0/26", { "10.50.0.2": "shop/a" })]);
    assert.ok(told.has("shop/a"));
    take(world.nothing());
    assert.equal(told.size, 0);
  });

  it("have the addresses of their claims, which the claims' block and their status give them both", () => {
    know(pod("shop/a", "n1"), pod("shop/b", "n2"));
    view.replace([block("", "10.50.1.0/26", {}, { "10.50.1.2": "shop/claim/u1" })]);
    take(world.whole());
    claims = [
      { holder: "shop/claim/u1", node: "n1", ips: ["10.50.1.2"], pod: "shop/a" },
      // A status is any agent's to write.
      { holder: "shop/other/u2", node: "n2", ips: ["10.50.1.2", "10.50.1.3"], pod: "shop/b" },
    ];
    claimsChanged();
    assert.deepEqual(Object.fromEntries(told), { "shop/a": ["10.50.1.2"] });
    claims = [{ holder: "shop/claim/u1", node: "n2", ips: ["10.50.1.2"], pod: "shop/b" }];
    claimsChanged();
    assert.deepEqual(Object.fromEntries(told), { "shop/b": ["10.50.1.2"] });
  });
});
