import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isOld } from "../../../src/dataplane/encryption/encryption.ts";
import { keyPath, loadKey, NodeKey, writeKey } from "../../../src/dataplane/encryption/key.ts";
import {
  keepKeys,
  type Keys,
  keysPath,
  loadKeys,
  publicOf,
  writeKeys,
} from "../../../src/dataplane/encryption/keys.ts";

const DAY_MS = 86_400_000;

describe("a node's keys on disk", () => {
  let dataDir: string;
  beforeEach(() => (dataDir = mkdtempSync(join(tmpdir(), "skylane-keys-"))));
  afterEach(() => rmSync(dataDir, { recursive: true }));

  const modes = (): number[] => [keyPath(dataDir), keysPath(dataDir)].map((path) => statSync(path).mode & 0o777);
  const same = (a: Keys, b: Keys): void => {
    assert.deepEqual([publicOf(a), a.made, a.next?.made], [publicOf(b), b.made, b.next?.made]);
  };

  it("are one in the first slot, as old as the file of a version that knew no other", () => {
    const key = loadKey(dataDir);
    utimesSync(keyPath(dataDir), 1_000, 2_000);
    const keys = loadKeys(dataDir);
    assert.deepEqual([publicOf(keys), keys.made], [{ slot: 0, key: key.publicKey }, 2_000_000]);
    assert.deepEqual(modes(), [0o600, 0o600]);
    // The age stays, whatever becomes of the file.
    writeKey(dataDir, key);
    same(loadKeys(dataDir), keys);
  });

  it("are two while the node goes over to another one, and then that one in the other slot", () => {
    const first = loadKeys(dataDir);
    const next = { key: NodeKey.make(), made: 7_000 };
    const both = { ...first, next };
    writeKeys(dataDir, both, first);
    same(loadKeys(dataDir), both);
    assert.equal(loadKey(dataDir).publicKey, first.key.publicKey, "an older version goes on with the key that it had");
    assert.deepEqual(modes(), [0o600, 0o600]);
    const after: Keys = { slot: 1, ...next };
    writeKeys(dataDir, after, both);
    same(loadKeys(dataDir), after);
    assert.equal(loadKey(dataDir).publicKey, next.key.publicKey);
    assert.ok(!readFileSync(keysPath(dataDir), "utf8").includes("next"));
  });

  it("mean one thing also where the power goes between the writes of both files", () => {
    const first = loadKeys(dataDir);
    const both = { ...first, next: { key: NodeKey.make(), made: 7_000 } };
    writeKeys(dataDir, both, first);
    writeKey(dataDir, both.next.key);
    same(loadKeys(dataDir), { slot: 1, ...both.next });
    same(loadKeys(dataDir), { slot: 1, ...both.next });
  });

  it("forget a next key with the one that it was to follow", () => {
    const first = loadKeys(dataDir);
    writeKeys(dataDir, { ...first, next: { key: NodeKey.make(), made: 7_000 } }, first);
    const another = NodeKey.make();
    writeKey(dataDir, another);
    const keys = loadKeys(dataDir);
    assert.deepEqual(publicOf(keys), { slot: 0, key: another.publicKey });
    assert.equal(keepKeys(dataDir, keys), false);
  });

  it("are one where nobody can read what is said of them", () => {
    const key = loadKey(dataDir);
    for (const text of [
      "",
      "null",
      "[]",
      "{}",
      '{"slot":2,"of":"x","made":"2026-01-01"}',
      `{"slot":1,"of":"${key.publicKey}","made":"then"}`,
      `{"slot":1,"of":"${key.publicKey}","made":"2026-01-01","next":{"key":"hunter2","made":"2026-01-01"}}`,
    ]) {
      writeFileSync(keysPath(dataDir), text, { mode: 0o644 });
      assert.deepEqual(publicOf(loadKeys(dataDir)), { slot: 0, key: key.publicKey }, text);
      assert.deepEqual(modes(), [0o600, 0o600]);
    }
  });

  it("are written again when a file was removed or changed", () => {
    const first = loadKeys(dataDir);
    const both = { ...first, next: { key: NodeKey.make(), made: 7_000 } };
    writeKeys(dataDir, both, first);
    assert.equal(keepKeys(dataDir, both), false);
    for (const change of [
      () => rmSync(keysPath(dataDir)),
      () => rmSync(keyPath(dataDir)),
      () => writeFileSync(keysPath(dataDir), "x"),
      () => chmodSync(keysPath(dataDir), 0o640),
    ]) {
      change();
      assert.equal(keepKeys(dataDir, both), true);
      assert.ok(existsSync(keysPath(dataDir)));
      same(loadKeys(dataDir), both);
      assert.equal(keepKeys(dataDir, both), false);
    }
  });

  it("are too old after the days that are set, or up to a tenth of them earlier, not all nodes at once", () => {
    const early = Buffer.alloc(32, 255).toString("base64");
    const late = Buffer.alloc(32, 0).toString("base64");
    const days = (n: number) => [isOld(n * DAY_MS, 100, early), isOld(n * DAY_MS, 100, late)];
    assert.deepEqual(
      [days(89), days(91), days(99), days(100)],
      [
        [false, false],
        [true, false],
        [true, false],
        [true, true],
      ],
    );
  });
});
