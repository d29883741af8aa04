import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LimitRecord, LimitRecords } from "../../../src/dataplane/bandwidth/index.ts";

describe("records of limits", () => {
  let dir: string;
  let records: LimitRecords;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-bandwidth-"));
    records = new LimitRecords(dir);
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const owner = { containerId: "c1", ifname: "eth0" };
  const record: LimitRecord = {
    owner,
    network: "default",
    pod: "ns/pod",
    bootId: "b",
    limits: { ingress: { rate: 1e6 } },
  };

  it("are what was written last", () => {
    assert.deepEqual(records.list(), []);
    records.write(record);
    const later = { ...record, limits: { egress: { rate: 2e6, burst: 8_000 } }, annotated: true as const };
    records.write(later);
    assert.deepEqual(records.list(), [later]);
    assert.deepEqual(records.find(owner), later);
    assert.equal(records.find({ ...owner, ifname: "net1" }), undefined);
    assert.equal(readdirSync(join(dir, "bandwidth")).length, 1);
  });

  it("hold no longer once they are left, and are known until they are forgotten", () => {
    assert.equal(records.leave(owner), false);
    records.write(record);
    assert.equal(records.leave(owner), true);
    assert.deepEqual([records.list(), records.going(), records.find(owner)], [[], [record], undefined]);
    assert.equal(records.leave(owner), true, "somebody was killed over it");
    records.forget(owner);
    assert.equal(records.leave(owner), false);
    assert.deepEqual(records.going(), []);
  });

  it("pass over what is none of them", () => {
    const at = (name: string): string => join(dir, "bandwidth", name);
    mkdirSync(join(dir, "bandwidth"));
    writeFileSync(at("file"), "x");
    const bad = (limits: unknown): string => JSON.stringify({ ...record, limits });
    const targets = [
      "no JSON",
      "{}",
      "null",
      bad(null),
      bad({ ingress: { rate: -1 } }),
      bad({ egress: "1M" }),
      bad({ egress: { rate: 1e99 } }),
    ];
    targets.forEach((target, i) => symlinkSync(target, at(`skylink${i}`)));
    assert.deepEqual([...records.list(), ...records.going()], []);
  });
});
