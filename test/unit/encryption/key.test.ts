import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, diffieHellman } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { keepKey, keyPath, loadKey, NodeKey } from "../../../src/dataplane/encryption/key.ts";

describe("a node's key", () => {
  let dataDir: string;
  beforeEach(() => (dataDir = mkdtempSync(join(tmpdir(), "skylane-key-"))));
  afterEach(() => rmSync(dataDir, { recursive: true }));

  it("has two halves that belong together", () => {
    const [key, other] = [NodeKey.make(), NodeKey.make()];
    assert.equal(new NodeKey(key.secret).publicKey, key.publicKey);
    const jwk = ({ publicKey, secret }: NodeKey) => ({
      kty: "OKP",
      crv: "X25519",
      x: Buffer.from(publicKey, "base64").toString("base64url"),
      d: Buffer.from(secret).toString("base64url"),
    });
    const agree = (a: NodeKey, b: NodeKey): string =>
      diffieHellman({
        privateKey: createPrivateKey({ key: jwk(a), format: "jwk" }),
        publicKey: createPublicKey({ key: jwk(b), format: "jwk" }),
      }).toString("hex");
    assert.equal(agree(key, other), agree(other, key));
    assert.throws(() => new NodeKey(Buffer.alloc(31)), RangeError);
  });

  it("is made once, and is root's alone", () => {
    const key = loadKey(dataDir);
    assert.equal(loadKey(dataDir).publicKey, key.publicKey);
    assert.equal(statSync(keyPath(dataDir)).mode & 0o777, 0o600);
    assert.equal(statSync(join(dataDir, "wireguard")).mode & 0o777, 0o700);
    chmodSync(keyPath(dataDir), 0o644);
    loadKey(dataDir);
    assert.equal(statSync(keyPath(dataDir)).mode & 0o777, 0o600);
  });

  it("does not show what is secret of it, whoever prints it", () => {
    const key = NodeKey.make();
    const secret = Buffer.from(key.secret);
    for (const said of [
      JSON.stringify({ key }),
      inspect(key, { depth: 9, showHidden: true }),
      JSON.stringify([key]),
      inspect({ key }),
    ])
      for (const form of [secret.toString("base64"), secret.toString("hex"), secret.toString("base64url")])
        assert.ok(!said.includes(form), said);
  });

  it("is not replaced where its file says something else, and is not quoted", () => {
    loadKey(dataDir);
    writeFileSync(keyPath(dataDir), "hunter2\n");
    assert.throws(
      () => loadKey(dataDir),
      ({ message }: Error) => /is no key of WireGuard; remove it/.test(message) && !message.includes("hunter2"),
    );
    assert.equal(readFileSync(keyPath(dataDir), "utf8"), "hunter2\n");
  });

  it("is written again when its file was removed or changed", () => {
    const key = loadKey(dataDir);
    assert.equal(keepKey(dataDir, key), false);
    for (const change of [
      () => rmSync(keyPath(dataDir)),
      () => rmSync(join(dataDir, "wireguard"), { recursive: true }),
      () => writeFileSync(keyPath(dataDir), "x"),
      () => chmodSync(keyPath(dataDir), 0o640),
    ]) {
      change();
      assert.equal(keepKey(dataDir, key), true);
      assert.equal(loadKey(dataDir).publicKey, key.publicKey);
      assert.equal(keepKey(dataDir, key), false);
    }
  });
});
