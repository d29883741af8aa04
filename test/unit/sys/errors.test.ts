import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { errnoName, errnoText, SysError } from "../../../src/sys/index.ts";

describe("system errors", () => {
  it("have the names and texts that every other tool prints", () => {
    const known: [number, string, string][] = [
      [2, "ENOENT", "No such file or directory"],
      [11, "EAGAIN", "Resource temporarily unavailable"],
      [17, "EEXIST", "File exists"],
      [95, "EOPNOTSUPP", "Operation not supported"],
      [101, "ENETUNREACH", "Network is unreachable"],
      [105, "ENOBUFS", "No buffer space available"],
    ];
    for (const [errno, name, text] of known) assert.deepEqual([errnoName(errno), errnoText(errno)], [name, text]);
    assert.equal(errnoName(4_000), "E4000");
  });

  it("keep code, number, call and cause of fs errors, and pass anything else through", () => {
    try {
      readFileSync("/no/such/file");
      assert.fail();
    } catch (thrown) {
      const error = SysError.from(thrown, "looking for it");
      assert.ok(error instanceof SysError);
      assert.equal(error.message, "ENOENT looking for it: No such file or directory");
      assert.deepEqual([error.code, error.errno, error.syscall, error.cause], ["ENOENT", 2, "open", thrown]);
    }
    const other = new TypeError("x");
    assert.equal(SysError.from(other, "y"), other);
    assert.equal(SysError.from("text", "y"), "text");
  });
});
