import assert from "node:assert/strict";
import { NetworkView, type PlacedBlock, readPlaced } from "../../../src/ipam/blocks/index.ts";
import { blockName, blockObject } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";

let uid = 0;
const block = (cidr: string, node: string, created: number, addresses: Record<string, string> = {}): PlacedBlock => ({
  name: blockName("blue", cidr),
  uid: `u${++uid}`,
  resourceVersion: String(created),
  creationTimestamp: "2026-01-01T00:00:00Z",
  network: "blue",
  cidr,
  node,
  addresses,
  created: String(created),
});
const LONG_MS = 3_600_000;

describe("the blocks of a network as all nodes see them", () => {
  const viewOf = (blocks: PlacedBlock[], lingerMs = LONG_MS) => {
    const told: string[][] = [];
    const view = new NetworkView(["10.50.0.0/16", "fd50::/64"], (nodes) => told.push([...nodes].sort()), lingerMs);
    view.replace(blocks);
    return { view, told };
  };
  const views: NetworkView[] = [];
  const tracked = (...args: Parameters<typeof viewOf>) => {
    const made = viewOf(...args);
    views.push(made.view);
    return made;
  };
  afterEach(() => {
    for (const view of views.splice(0)) view.close();
  });

  it("take no place in their order that nobody can have had, nor one that their age belies", () => {
    const placed = (created: string) =>
      readPlaced({
        ...(blockObject({ network: "blue", node: { name: "a", uid: "u" } }, "10.50.0.0/26") as { spec: object }),
        metadata: {
          name: "blue.10-50-0-0-26",
          uid: "u1",
          resourceVersion: "77",
          creationTimestamp: "2026-01-01T00:00:00Z",
          labels: { "skylane.dev/network": "blue" },
          annotations: { "skylane.dev/created-version": created },
        },
      }).created;
    for (const none of ["", "0", "-1", "01", "1e3", "0x1", "abc", "9".repeat(30), " 5"])
      assert.equal(placed(none), "77");
    assert.equal(placed("76"), "76");
    const victim = block("10.50.0.0/26", "a", 500);
    const thief = (creationTimestamp: string) => ({ ...block("10.50.0.0/25", "b", 1), creationTimestamp });
    const owner = (creationTimestamp: string) =>
      tracked([victim, thief(creationTimestamp)]).view.blockWith("10.50.0.5")?.node;
    assert.equal(owner("2026-01-01T00:06:00Z"), "a");
    // Clocks of API servers may differ by so much.
    assert.equal(owner("2026-01-01T00:01:00Z"), "b");
  });

  it("tell which a node has and whose an address is, and are told of once even where there are none", () => {
    assert.deepEqual(tracked([]).told, [[]]);
    const a = block("10.50.0.0/26", "a", 1);
    const claims = block("10.50.1.0/26", "", 2, { "10.50.1.5": "ns/db/1" });
    const macs = block("fe80::/122", "", 3);
    const { view, told } = tracked([a, claims, macs]);
    assert.deepEqual(told, [["", "a"]]);
    assert.deepEqual([view.blocksOf("a"), view.blocksOf("b")], [["10.50.0.0/26"], []]);
    assert.equal(view.blockWith("10.50.0.63")?.node, "a");
    assert.equal(view.blockWith("10.50.1.5")?.addresses["10.50.1.5"], "ns/db/1");
    assert.equal(view.blockWith("fe80::5")?.node, "");
    assert.equal(view.blockWith("10.50.2.1"), undefined);
  });

  it("give nothing to a younger one that overlaps, nor to one outside of the network, whatever its size", () => {
    const honest = block("10.50.0.64/26", "a", 50);
    for (const cidr of ["10.50.0.0/16", "10.50.0.64/27", "10.50.0.96/32", "10.50.0.0/24"]) {
      const { view } = tracked([honest, block(cidr, "b", 51)]);
      assert.deepEqual([view.blocksOf("a"), view.blocksOf("b")], [["10.50.0.64/26"], []], cidr);
      assert.equal(view.blockWith("10.50.0.100")?.node, "a");
    }
    for (const cidr of ["10.51.0.0/26", "10.0.0.0/8", "fe80::/64"])
      assert.deepEqual(tracked([block(cidr, "b", 1)]).view.blocksOf("b"), [], cidr);
    // 9 is before 10, as numbers are.
    const { view } = tracked([block("10.50.0.0/26", "a", 9), block("10.50.0.0/25", "b", 10)]);
    assert.deepEqual([view.blocksOf("a"), view.blocksOf("b")], [["10.50.0.0/26"], []]);
  });

  it("tell of those on whose validity a change has a bearing", () => {
    const older = block("10.50.0.0/25", "a", 1);
    const younger = block("10.50.0.64/26", "b", 2);
    const { view, told } = tracked([older, younger], 0);
    view.change([], [older.name]);
    assert.deepEqual(told.at(-1), ["a", "b"]);
    assert.deepEqual([view.blocksOf("a"), view.blocksOf("b")], [[], ["10.50.0.64/26"]]);
  });

  it("count for a while after they are gone, and no longer than until another one has their place", async () => {
    const a = block("10.50.0.0/26", "a", 1);
    const { view, told } = tracked([a]);
    view.change([], [a.name]);
    assert.deepEqual([view.blocksOf("a"), view.all, told.length], [["10.50.0.0/26"], [], 1]);
    const again = block("10.50.0.0/26", "a", 5);
    view.change([again], []);
    view.replace([]);
    assert.deepEqual(view.blocksOf("a"), ["10.50.0.0/26"]);
    view.change([block("10.50.0.32/27", "b", 7)], []);
    assert.deepEqual([view.blocksOf("a"), view.blocksOf("b")], [[], ["10.50.0.32/27"]]);

    const soon = tracked([a], 20);
    soon.view.change([], [a.name]);
    await eventually(async () => soon.view.blocksOf("a").length === 0, { message: "it counts for ever" });
    assert.deepEqual(soon.told.at(-1), ["a"]);
  });

  it("are read with their place in the order, and only under their network's label", () => {
    const object = blockObject({ network: "blue", node: { name: "a", uid: "u" } }, "10.50.0.0/26") as {
      metadata: Record<string, unknown>;
    };
    const meta = { uid: "1", resourceVersion: "77", creationTimestamp: "2026-01-01T00:00:00Z" };
    assert.equal(readPlaced({ ...object, metadata: { ...object.metadata, ...meta } }).created, "77");
    const annotations = { "skylane.dev/created-version": "12" };
    assert.equal(readPlaced({ ...object, metadata: { ...object.metadata, ...meta, annotations } }).created, "12");
    const labels = { "skylane.dev/network": "green" };
    assert.throws(() => readPlaced({ ...object, metadata: { ...object.metadata, ...meta, labels } }), /label/);
  });
});
