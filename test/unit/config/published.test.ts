import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import {
  ConfigError,
  type PublishedNetwork,
  parsePublished,
  readPublished,
  writePublished,
} from "../../../src/config/index.ts";

const PUBLISHED: PublishedNetwork = {
  version: 1,
  network: "default",
  node: "worker-1",
  vni: 4096,
  device: "sky.4096",
  mtu: 1450,
  podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
  clusterCidrs: ["10.244.0.0/16"],
};

describe("config: published state", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-published-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const parse = (change: Record<string, unknown>) => () =>
    parsePublished(JSON.stringify({ ...PUBLISHED, ...change }), "f.json");

  it("comes back as it was written, and is not there before", () => {
    assert.equal(readPublished(dir, "default"), undefined);
    assert.equal(readPublished(join(dir, "none"), "default"), undefined);
    writePublished(dir, PUBLISHED);
    assert.deepEqual(readPublished(dir, "default"), PUBLISHED);
    assert.deepEqual(readdirSync(dir), ["default.json"]);
  });

  it("is refused with file, key, value and what is allowed", () => {
    assert.throws(
      parse({ vni: 0 }),
      /^ConfigError: f\.json: vni: 0 is not allowed; allowed: a whole number from 1 to 16777215$/,
    );
    assert.throws(parse({ podCidrs: [] }), /podCidrs: an empty list is not allowed; allowed: one CIDR a family/);
    assert.throws(parse({ podCidrs: ["10.0.0.0/24", "10.1.0.0/24"] }), /podCidrs: has two CIDRs of one family/);
    assert.throws(parse({ podCidrs: ["10.0.0.1/24"] }), /podCidrs\[0\]: .*host bits/);
    assert.throws(parse({ mtu: undefined }), /mtu: is missing/);
    assert.throws(parse({ device: "a/b" }), /device/);
    assert.throws(() => parsePublished("{", "f.json"), /^ConfigError: f\.json: is not JSON/);
    assert.throws(() => parsePublished("null", "f.json"), ConfigError);
  });

  it("of another layout is refused for that, and a key of a later release is not", () => {
    assert.throws(parse({ version: 2, podCidrs: "?" }), /has layout version 2, .* same release/);
    assert.deepEqual(parse({ later: true })(), PUBLISHED);
  });

  it("of another network, too long, or unreadable is refused", () => {
    writePublished(dir, PUBLISHED);
    writeFileSync(join(dir, "blue.json"), JSON.stringify(PUBLISHED));
    assert.throws(() => readPublished(dir, "blue"), /blue\.json: network: "default" is not allowed; allowed: "blue"/);
    writeFileSync(join(dir, "long.json"), " ".repeat(70_000));
    assert.throws(() => readPublished(dir, "long"), /is 70000 bytes long/);
    mkdirSync(join(dir, "folder.json"));
    assert.throws(() => readPublished(dir, "folder"), /cannot be read: EISDIR/);
  });

  it("is never looked for outside its folder", () => {
    for (const name of ["../x", "a/b", "", ".hidden", "a\0b", "x".repeat(64)]) {
      assert.throws(() => readPublished(dir, name), ConfigError, JSON.stringify(name));
    }
  });

  it("is never published so that the plugin would refuse it", () => {
    assert.throws(() => writePublished(dir, { ...PUBLISHED, mtu: 10 }), ConfigError);
    assert.deepEqual(readdirSync(dir), []);
  });

  it("is refused by ConfigError alone, whatever it holds", function () {
    this.timeout(60_000); // on a machine with ten times as much to do
    const record = fc.record(Object.fromEntries(Object.keys(PUBLISHED).map((key) => [key, fc.jsonValue()])), {
      requiredKeys: [],
    });
    const broken = fc
      .tuple(fc.constantFrom(...Object.keys(PUBLISHED)), fc.jsonValue())
      .map(([key, value]) => ({ ...PUBLISHED, [key]: value }));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.oneof(fc.jsonValue(), record, broken).map((one) => JSON.stringify(one)),
        ),
        (text) => {
          try {
            parsePublished(text, "f.json");
          } catch (error) {
            assert.ok(error instanceof ConfigError, String((error as Error).stack));
            assert.match(error.message, /f\.json/);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
