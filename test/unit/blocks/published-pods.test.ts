/** What a node says on its own blocks about which pods have which addresses. */
import assert from "node:assert/strict";
import { blockObject, type NetworkBlock, PODS_ANNOTATION, readNetworkBlock } from "../../../src/crd/index.ts";
import { PublishedPods } from "../../../src/ipam/blocks/index.ts";
import { ApiError } from "../../../src/kube/index.ts";
import type { Logger } from "../../../src/log/index.ts";
import { eventually } from "../../support/eventually.ts";

type Objects = ConstructorParameters<typeof PublishedPods>[0]["objects"];
type ApiObject = Parameters<Objects["replace"]>[0];
const LOG = { warn: () => undefined } as unknown as Logger;

describe("pods on their node's blocks", () => {
  let objects: Map<string, ApiObject>;
  let writes: string[];
  let failing: number;
  let pods: PublishedPods;
  let version: number;

  function make(network: string, node: string, cidr: string): void {
    const object = blockObject({ network, node: { name: node, uid: "u" } }, cidr) as unknown as ApiObject;
    const { name } = object.metadata;
    const metadata = {
      ...object.metadata,
      uid: `uid-${name}`,
      resourceVersion: String(++version),
      creationTimestamp: "2026-01-01T00:00:00Z",
      annotations: { other: "kept" },
    };
    objects.set(name, { ...object, metadata });
  }
  const said = (name: string) => objects.get(name)?.metadata.annotations?.[PODS_ANNOTATION];
  const seen = (): NetworkBlock[] => [...objects.values()].map(readNetworkBlock);

  beforeEach(() => {
    [objects, writes, failing, version] = [new Map(), [], 0, 100];
    make("blue", "here", "10.50.0.0/26");
    make("blue", "here", "fd50::/122");
    make("blue", "there", "10.50.0.64/26");
    make("green", "here", "10.50.0.0/26");
    pods = new PublishedPods({
      network: "blue",
      node: "here",
      log: LOG,
      own: seen,
      objects: {
        get: async (name) => objects.get(name),
        replace: async (object) => {
          const before = objects.get(object.metadata.name);
          if (failing-- > 0 || before?.metadata.resourceVersion !== object.metadata.resourceVersion)
            throw new ApiError("replacing", 409, { reason: "Conflict" });
          writes.push(object.metadata.name);
          const next = { ...object, metadata: { ...object.metadata, resourceVersion: String(++version) } };
          objects.set(object.metadata.name, next);
          return next;
        },
      },
    });
  });
  afterEach(() => pods.stop());

  it("are each on the block that its address is in, and nowhere once nobody has to know", async () => {
    pods.look();
    pods.set(
      new Map([
        ["fd50::2", "shop/a"],
        ["10.50.0.3", "shop/b"],
        ["10.50.0.2", "shop/a"],
        // Of a claim: in no block of this node.
        ["10.50.9.9", "shop/c"],
      ]),
    );
    await eventually(() => writes.length === 2);
    assert.equal(said("blue.10-50-0-0-26"), '{"10.50.0.2":"shop/a","10.50.0.3":"shop/b"}');
    assert.equal(said("blue.fd50---122"), '{"fd50::2":"shop/a"}');
    const { annotations } = objects.get("blue.10-50-0-0-26")?.metadata ?? {};
    // The place in the order of creation is written down with the first change.
    assert.deepEqual([annotations?.["other"], annotations?.["skylane.dev/created-version"]], ["kept", "101"]);
    assert.deepEqual([said("blue.10-50-0-64-26"), said("green.10-50-0-0-26")], [undefined, undefined]);
    assert.deepEqual(
      seen().flatMap(({ pods }) => (pods ? [pods] : [])),
      [{ "10.50.0.2": "shop/a", "10.50.0.3": "shop/b" }, { "fd50::2": "shop/a" }],
    );
    pods.set(undefined);
    await eventually(() => writes.length === 4);
    assert.deepEqual([said("blue.10-50-0-0-26"), said("blue.fd50---122")], [undefined, undefined]);
  });

  it("are written again where somebody else changed the block, and left where it is gone", async () => {
    failing = 2;
    pods.set(new Map([["10.50.0.2", "shop/a"]]));
    await eventually(() => said("blue.10-50-0-0-26") === '{"10.50.0.2":"shop/a"}');
    const block = objects.get("blue.10-50-0-0-26") as ApiObject;
    objects.set("blue.10-50-0-0-26", { ...block, metadata: { ...block.metadata, annotations: {} } });
    pods.look();
    await eventually(() => said("blue.10-50-0-0-26") === '{"10.50.0.2":"shop/a"}');
    objects.delete("blue.10-50-0-0-26");
    pods.set(new Map());
    assert.equal(said("blue.10-50-0-0-26"), undefined);
  });
});
