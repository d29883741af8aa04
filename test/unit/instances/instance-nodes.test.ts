/** Other nodes in a pod network by two watches that come in any order: what they announce, and the blocks that they have. */
import assert from "node:assert/strict";
import { InstanceNodes } from "../../../src/instances/instance-nodes.ts";
import { eventually } from "../../support/eventually.ts";
import { keptLog, otherNode } from "../network/harness.ts";

describe("the other nodes of a pod network", () => {
  const announced = (cidr: string) => otherNode(12, "blue", { podCidrs: [cidr] });
  const watched = (graceMs: number) => {
    const blocks = new Map<string, string[]>();
    const events: string[] = [];
    const log = keptLog();
    let due = 0;
    const nodes = new InstanceNodes({
      network: "blue",
      view: { blocksOf: (name) => blocks.get(name) ?? [] },
      log,
      event: (type, reason, message) => void events.push(`${type} ${reason} ${message}`),
      onDue: () => void due++,
      graceMs,
    });
    return { nodes, blocks, events, log, dues: () => due };
  };

  it("are quiet until their first block is known, and are then what they announce", () => {
    const { nodes, blocks } = watched(60_000);
    const node = announced("10.1.0.0/28");
    const [first] = [...nodes.changed(new Map([[node.name, node]])).values()];
    assert.equal(first?.vtepAnnotation, undefined);
    assert.deepEqual(first?.blocks, []);
    blocks.set("n12", ["10.1.0.0/28"]);
    const [second] = [...nodes.all([node])];
    assert.equal(second?.vtepAnnotation, node.vtepAnnotation);
    assert.deepEqual([...nodes.due([node], new Set(["n12"])).keys()], ["n12"]);
    assert.equal(nodes.due([node], new Set()).size, 0);
    nodes.stop();
  });

  it("are told of, once, when they go on announcing what they have no block for", async () => {
    const { nodes, blocks, events, log, dues } = watched(1);
    blocks.set("n12", ["10.1.0.0/28"]);
    const node = otherNode(12, "blue", { podCidrs: ["10.1.0.0/28", "10.1.0.16/28"] });
    const [early] = [...nodes.all([node])];
    assert.equal(early?.vtepAnnotation, node.vtepAnnotation);
    await eventually(() => dues() > 0);
    assert.equal(nodes.due([node], new Set()).size, 1);
    assert.equal([...nodes.all([node])].length, 1);
    assert.deepEqual(events, [
      "Warning SkylanePrefixRefused node n12 announces 10.1.0.16/28 in network blue without a NetworkBlock; no packets are sent there",
    ]);
    assert.equal(log.lines.length, 1);
    // Once it is gone it may be told of anew.
    nodes.changed(new Map([["n12", undefined]]));
    nodes.stop();
  });

  it("are left to who judges peers where nothing can be read", () => {
    const { nodes } = watched(60_000);
    const broken = { ...announced("10.1.0.0/28"), vtepAnnotation: "{" };
    const [facts] = [...nodes.all([broken])];
    assert.equal(facts?.vtepAnnotation, "{");
    const { vtepAnnotation: _none, ...silent } = broken;
    assert.deepEqual([...nodes.all([silent])][0]?.blocks, []);
    nodes.stop();
  });
});
