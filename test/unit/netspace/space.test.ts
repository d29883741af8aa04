import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listSpaces, openSpace, spaceName, spacePath } from "../../../src/dataplane/netns/index.ts";

describe("a pod network's namespace", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-space-"));
  });
  after(() => rmSync(dir, { recursive: true }));

  it("is called after the network, and after nothing else", () => {
    assert.equal(spaceName("blue-2"), "sky-blue-2");
    assert.equal(spacePath("x".repeat(40)), `/run/netns/sky-${"x".repeat(40)}`);
    for (const name of ["", "x".repeat(41), "Blue", "-blue", "blue-", "a.b", "a/b", "..", "a\n", "blau\u0000"])
      assert.throws(() => spaceName(name), RangeError, JSON.stringify(name));
  });

  it("is not there where its path leads to nothing, or to a file that a mount has left", () => {
    writeFileSync(join(dir, "sky-blue"), "");
    assert.equal(openSpace("blue", dir), undefined);
    assert.equal(openSpace("green", dir), undefined);
    assert.equal(openSpace("green", join(dir, "none")), undefined);
  });

  it("is listed by the name of its network", () => {
    for (const name of ["cni-1234", "sky-", "sky-Not", "sky-green"]) writeFileSync(join(dir, name), "");
    mkdirSync(join(dir, "other"));
    assert.deepEqual(listSpaces(dir), ["blue", "green"]);
    assert.deepEqual(listSpaces(join(dir, "none")), []);
  });
});
