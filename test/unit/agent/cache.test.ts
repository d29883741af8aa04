import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type CachedInputs, CacheWriter, cachePath, parseCache, readCache } from "../../../src/nodes/cache.ts";

const inputs = (): CachedInputs["inputs"] => ({
  own: { name: "a", podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"], internalIps: ["172.30.0.11"] },
  nodes: [
    { name: "a", uid: "u-a", creationTimestamp: "2026-01-01T00:00:00Z" },
    {
      name: "b",
      uid: "u-b",
      creationTimestamp: "2026-01-02T00:00:00Z",
      vtepAnnotation: '{"default":{}}',
      granted: { podCidrs: ["10.244.2.0/24"], addresses: ["172.30.0.12"] },
    },
  ],
});

describe("the cache of last known inputs", () => {
  let dir: string;
  let path: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-cache-"));
    path = cachePath(dir, "default");
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("comes back as it was written, and is nobody else's to read", async () => {
    assert.equal(await readCache(path, "a"), undefined);
    assert.equal(await new CacheWriter(path).save(inputs(), 1_000), true);
    assert.deepEqual(await readCache(path, "a"), { savedAt: 1_000, inputs: inputs() });
    const reserved = { services: ["10.96.0.0/12"], pods: ["10.244.0.0/16"] };
    assert.equal(await new CacheWriter(path).save({ ...inputs(), reserved }, 1_000), true);
    assert.deepEqual(await readCache(path, "a"), { savedAt: 1_000, inputs: inputs(), reserved });
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(join(dir, "cache")), ["default.json"]);
  });

  it("is written again only when something changed or it grew old", async () => {
    const writer = new CacheWriter(path);
    await writer.save(inputs(), 1_000);
    assert.equal(await writer.save(inputs(), 2_000), false);
    assert.deepEqual(readdirSync(join(dir, "cache")), ["default.json"]);
    const changed = inputs();
    changed.nodes.pop();
    assert.equal(await writer.save(changed, 3_000), true);
    assert.equal(await writer.save(changed, 3_000 + 3_600_000), true);
    assert.equal((await readCache(path, "a"))?.savedAt, 3_603_000);
  });

  it("keeps the former file, and leaves no draft, when writing fails", async () => {
    const writer = new CacheWriter(path);
    await writer.save(inputs(), 1_000);
    const before = readFileSync(path, "utf8");
    const bad = { ...inputs(), toJSON: 0 };
    Object.defineProperty(bad, "nodes", {
      get: () => {
        throw new Error("no");
      },
    });
    await assert.rejects(writer.save(bad, 2_000), /no/);
    assert.equal(readFileSync(path, "utf8"), before);
    assert.deepEqual(readdirSync(join(dir, "cache")), ["default.json"]);
  });

  it("is refused with its name and the reason when it is damaged or another node's", async () => {
    await new CacheWriter(path).save(inputs(), 1_000);
    await assert.rejects(readCache(path, "b"), /default\.json is not usable: it is of node a, and this node is b/);
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.slice(0, 40));
    await assert.rejects(readCache(path, "a"), /default\.json is not usable/);
    assert.throws(() => parseCache(text.replace("10.244.1.0/24", "10.244.1.7/24"), "a"), /10\.244\.1\.0\/24/);
    assert.throws(() => parseCache(text.replace('"version":1', '"version":2'), "a"), /version 2/);
  });

  it("never crashes its reader in another way than by an Error", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        assert.throws(() => parseCache(text, "a"), Error);
      }),
    );
  });
});
