import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, publishedReader, writePublished } from "../../../src/config/index.ts";

describe("published state that is read again and again", () => {
  let dir: string;
  const write = (mtu: number) =>
    writePublished(dir, {
      version: 1,
      network: "default",
      node: "a",
      vni: 4096,
      device: "sky.4096",
      mtu,
      podCidrs: ["10.244.0.0/24"],
      clusterCidrs: [],
    });
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-published-"));
  });
  afterEach(() => {
    rmSync(dir, { recursive: true, force: true });
  });

  it("is what the file says now, through every change of it", () => {
    const read = publishedReader();
    assert.equal(read(dir, "default"), undefined);
    for (const mtu of [1450, 1400, 1450]) {
      write(mtu);
      assert.equal(read(dir, "default")?.mtu, mtu);
      assert.equal(read(dir, "default")?.mtu, mtu);
    }
    rmSync(join(dir, "default.json"));
    assert.equal(read(dir, "default"), undefined);
  });

  it("is not what it was before somebody broke the file", () => {
    const read = publishedReader();
    write(1450);
    assert.equal(read(dir, "default")?.mtu, 1450);
    writeFileSync(join(dir, "default.json"), "{");
    assert.throws(() => read(dir, "default"), ConfigError);
  });
});
