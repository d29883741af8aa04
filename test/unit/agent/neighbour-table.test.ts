import assert from "node:assert/strict";
import { ensureNeighbourRoom } from "../../../src/host/neighbour-table.ts";

describe("room for neighbours", () => {
  const key = (family: string, name: string): string => `net.${family}.neigh.default.${name}`;
  const run = (values: Map<string, string>): string[] =>
    ensureNeighbourRoom(
      (name) => values.get(name),
      (name, value) => void values.set(name, String(value)),
    );

  it("is raised in both families, once", () => {
    const values = new Map(
      ["ipv4", "ipv6"].flatMap((family) => [
        [key(family, "gc_thresh2"), "512"],
        [key(family, "gc_thresh3"), "1024"],
      ]),
    );
    assert.equal(run(values).length, 4);
    assert.deepEqual([...new Set(values.values())], ["16384", "65536"]);
    assert.deepEqual(run(values), []);
  });

  it("is never taken from an operator who wants more", () => {
    const values = new Map([
      [key("ipv4", "gc_thresh2"), "200000"],
      [key("ipv4", "gc_thresh3"), "400000"],
    ]);
    assert.deepEqual(run(values), []);
  });

  it("is nothing to be set where there are no such parameters", () => assert.deepEqual(run(new Map()), []));
});
