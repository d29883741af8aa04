import assert from "node:assert/strict";
import { appendFileSync, closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { DurationSpool, parseDuration } from "../../../src/cni-server/durations.ts";
import { DURATIONS_FILE } from "../../../src/cni/index.ts";

const line = (verb: string, ms: number, result: string | number = "ok") =>
  `${JSON.stringify({ verb, result, ms, time: "2026-01-01T00:00:00Z" })}\n`;

describe("the plugin's timings", () => {
  let dir: string;
  let file: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-spool-"));
    file = join(dir, DURATIONS_FILE);
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("are read once each and leave no file", () => {
    const spool = new DurationSpool(dir);
    assert.deepEqual(spool.drain(), []);
    appendFileSync(file, line("ADD", 41) + line("DEL", 12, 7));
    assert.deepEqual(spool.drain(), [
      { verb: "ADD", result: "ok", ms: 41 },
      { verb: "DEL", result: "7", ms: 12 },
    ]);
    assert.equal(existsSync(file), false);
    assert.deepEqual(spool.drain(), []);
    spool.close();
    assert.deepEqual(readdirSync(dir), []);
  });

  it("lose no line of a plugin that had the file open while it was taken", () => {
    const spool = new DurationSpool(dir);
    const fd = openSync(file, "a");
    writeSync(fd, line("ADD", 1));
    assert.equal(spool.drain().length, 1);
    writeSync(fd, line("ADD", 2));
    closeSync(fd);
    appendFileSync(file, line("ADD", 3));
    assert.deepEqual(
      spool.drain().map(({ ms }) => ms),
      [2, 3],
    );
    spool.close();
  });

  it("are only what the plugin can have written", () => {
    assert.deepEqual(parseDuration('{"verb":"ADD","result":"ok","ms":1.5}'), { verb: "ADD", result: "ok", ms: 1.5 });
    for (const bad of [
      "",
      "{",
      "[]",
      "null",
      '{"verb":"DROP","result":"ok","ms":1}',
      '{"verb":"ADD","result":"ok","ms":-1}',
      '{"verb":"ADD","result":"ok","ms":"1"}',
      '{"verb":"ADD","result":"a b\\n","ms":1}',
      '{"verb":"ADD","ms":1}',
    ]) {
      assert.equal(parseDuration(bad), undefined, bad);
    }
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => parseDuration(text) === undefined));
  });
});
