import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  listNetworkNetns,
  openNetworkNetns,
  networkNetnsName,
  networkNetnsPath,
} from "../../../src/dataplane/netns/index.ts";

describe("a pod network's namespace", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-netns-"));
  });
  after(() => rmSync(dir, { recursive: true }));

  it("is called after the network, and after nothing else", () => {
    assert.equal(networkNetnsName("blue-2"), "sky-blue-2");
    assert.equal(networkNetnsPath("x".repeat(40)), `/run/netns/sky-${"x".repeat(40)}`);
    for (const name of ["", "x".repeat(41), "Blue", "-blue", "blue-", "a.b", "a/b", "..", "a\n", "blau\u0000"])
      assert.throws(() => networkNetnsName(name), RangeError, JSON.stringify(name));
  });

  it("is not there where its path leads to nothing, or to a file that a mount has left", () => {
    writeFileSync(join(dir, "sky-blue"), "");
    assert.equal(openNetworkNetns("blue", dir), undefined);
    assert.equal(openNetworkNetns("green", dir), undefined);
    assert.equal(openNetworkNetns("green", join(dir, "none")), undefined);
  });

  it("is listed by the name of its network", () => {
    for (const name of ["cni-1234", "sky-", "sky-Not", "sky-green"]) writeFileSync(join(dir, name), "");
    mkdirSync(join(dir, "other"));
    assert.deepEqual(listNetworkNetns(dir), ["blue", "green"]);
    assert.deepEqual(listNetworkNetns(join(dir, "none")), []);
  });
});
