import assert from "node:assert/strict";
import { UsedAddresses } from "../../../src/enforcement/used-addresses.ts";

const [ONE, OTHER, FOREIGN] = ["10.0.0.1", "10.0.0.2", "192.0.2.1"] as const;

describe("addresses that may have connections", () => {
  let held: Set<string>;
  let used: UsedAddresses;
  /** Reads a table in which these addresses occur. */
  const read = (...seen: string[]): void => {
    used.reading((ip) => held.has(ip));
    for (const ip of seen) used.see(ip);
    used.wasRead();
  };

  beforeEach(() => {
    held = new Set();
    used = new UsedAddresses((ip) => ip !== FOREIGN);
  });

  it("are all as long as the table was not read", () => {
    assert.equal(used.isFresh(ONE), false);
    read();
    assert.equal(used.isFresh(ONE), true);
  });

  it("are those that the first reading shows, and never others than pods' of this node", () => {
    read(ONE, FOREIGN);
    assert.deepEqual(
      [ONE, OTHER, FOREIGN].map((ip) => used.isFresh(ip)),
      [false, true, false],
    );
  });

  it("are those that a pod has, whatever the table shows, and had, until it shows none", () => {
    read();
    held.add(ONE);
    used.use(ONE);
    read();
    assert.equal(used.isFresh(ONE), false, "the pod may connect at any time");
    held.delete(ONE);
    assert.equal(used.isFresh(ONE), false, "nobody has looked since");
    read(ONE);
    assert.equal(used.isFresh(ONE), false, "it has some");
    read();
    assert.equal(used.isFresh(ONE), true);
  });

  it("are those of a pod that came and left while the table was read", () => {
    read();
    held.add(ONE);
    used.use(ONE);
    held.delete(ONE);
    used.reading((ip) => held.has(ip));
    used.use(ONE);
    used.wasRead();
    assert.equal(used.isFresh(ONE), false);
    used = new UsedAddresses(() => true);
    used.reading(() => false);
    used.use(OTHER);
    used.wasRead();
    assert.equal(used.isFresh(OTHER), false, "also while it was read for the first time");
  });
});
