/** Which of the transactions that touched a table were others'. That they are announced is the kernel tests' business. */
import assert from "node:assert/strict";
import { WatchedTable } from "../../../src/dataplane/nft/index.ts";

const NAME = "inet mine";
const of = (...generations: number[]) =>
  generations.map((generation) => ({ generation, tables: new Set([NAME]), chains: new Set<string>() }));

describe("a table that is watched", () => {
  it("is touched by others alone in transactions that its owner has not made, heard of before or after that is known", () => {
    const table = new WatchedTable(undefined, NAME, "inet beside");
    assert.equal(table.touchedByOthers(), false);
    table.made(5);
    table.notice(of(5));
    table.notice(of(6));
    table.made(6);
    assert.equal(table.touchedByOthers(), false);
    table.notice(of(7, 8));
    table.made(8);
    assert.equal(table.touchedByOthers(), true);
    assert.equal(table.touchedByOthers(), false, "each is judged once");
    table.notice(of(5));
    assert.equal(table.touchedByOthers(), true, "and asked about once");
  });

  it("is not touched by what happens to other tables, nor by a change that changed nothing", () => {
    const table = new WatchedTable(undefined, NAME, "inet beside");
    const elsewhere = { generation: 3, tables: new Set(["inet theirs"]), chains: new Set<string>() };
    table.made(undefined);
    table.notice([elsewhere]);
    assert.equal(table.touchedByOthers(), false);
    table.notice([{ ...elsewhere, tables: new Set(["inet theirs", "inet beside"]) }]);
    assert.equal(table.touchedByOthers(), true);
  });

  it("is not touched by what its owner has overwritten, also where generations wrap around", () => {
    const table = new WatchedTable(undefined, NAME);
    const [before, whole, after] = [0xffff_fffe, 0xffff_ffff, 1];
    table.made(before);
    table.notice(of(before - 1));
    table.made(whole);
    table.overwritten(whole);
    assert.equal(table.touchedByOthers(), false);
    // What was before is heard of late.
    table.notice(of(before, whole));
    assert.equal(table.touchedByOthers(), false);
    table.notice(of(after));
    assert.equal(table.touchedByOthers(), true);
    table.overwritten(undefined);
    table.notice(of(before));
    assert.equal(table.touchedByOthers(), true, "nothing is known to be overwritten");
  });
});
