import assert from "node:assert/strict";
import { Writable } from "node:stream";
import fc from "fast-check";
import { createLogger, errorText, type LogFormat, type LogLevel } from "../../../src/log/index.ts";

const TIME = Date.parse("2026-01-31T09:15:02.345Z");

/** Everything written, in pieces as they came; `hold` makes it a reader that does not read. */
class Sink extends Writable {
  text = "";
  release: (() => void) | undefined;
  hold = false;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString("utf8");
    if (this.hold) this.release = done;
    else done();
  }
}

describe("log", () => {
  let sink: Sink;
  const logger = (format: LogFormat, level: LogLevel = "info", base = {}) =>
    createLogger({ format, level, base, stream: sink, now: () => TIME });
  beforeEach(() => {
    sink = new Sink();
  });

  it("writes a line for people", async () => {
    const log = logger("text", "info", { node: "n1" });
    log.info("peer programmed", { peer: "worker 2", count: 3, ips: ["10.0.0.1"], none: undefined, big: 7n, empty: "" });
    await log.drain();
    assert.equal(
      sink.text,
      '2026-01-31T09:15:02.345Z info  peer programmed node=n1 peer="worker 2" count=3 ips=["10.0.0.1"] big=7 empty=""\n',
    );
  });

  it("writes a JSON object for machines, without losing a field that is called like one of its own", async () => {
    const log = logger("json");
    log.warn("x", {
      level: "mine",
      n: 7n,
      at: new Date(TIME),
      map: new Map([["k", new Set([1])]]),
      bytes: new Uint8Array(3),
    });
    await log.drain();
    assert.deepEqual(JSON.parse(sink.text), {
      time: "2026-01-31T09:15:02.345Z",
      level: "warn",
      message: "x",
      level_: "mine",
      n: "7",
      at: "2026-01-31T09:15:02.345Z",
      map: { k: [1] },
      bytes: "[3 bytes]",
    });
  });

  it("prints errors with all that caused them", async () => {
    const kernel = Object.assign(new Error("adding route 10.244.2.0/24: File exists"), { code: "EEXIST" });
    const error = new Error("cannot apply peer worker-2", { cause: new Error("plan failed", { cause: kernel }) });
    assert.equal(
      errorText(error),
      "cannot apply peer worker-2: plan failed: adding route 10.244.2.0/24: File exists (EEXIST)",
    );
    assert.equal(errorText(new Error("outer: inner", { cause: new Error("inner") })), "outer: inner");
    assert.equal(
      errorText(new AggregateError([new Error("a"), Object.assign(new Error(""), { code: "ECONNREFUSED" })])),
      "a; ECONNREFUSED",
    );
    assert.equal(errorText(new TypeError("x is not a function")), "TypeError: x is not a function");
    assert.equal(errorText("text"), "text");
    assert.equal(errorText(undefined), "undefined");
    const circle = new Error("circle");
    circle.cause = circle;
    assert.equal(errorText(circle), "circle");

    const text = logger("text");
    text.error("failed", { error });
    text.error("bug", { error: new TypeError("oops") });
    await text.drain();
    const [first, second] = sink.text.split("\n");
    assert.match(first ?? "", /failed error="cannot apply peer worker-2: plan failed: .*\(EEXIST\)"$/);
    assert.match(second ?? "", /bug error="TypeError: oops" stack="TypeError: oops\\n {4}at /);

    sink.text = "";
    const json = logger("json");
    json.error("failed", { error, list: [{ deep: new Error("in a list") }] });
    await json.drain();
    const parsed = JSON.parse(sink.text) as {
      error: { cause: { cause: object }; stack: string };
      list: [{ deep: object }];
    };
    assert.deepEqual(parsed.error.cause.cause, { name: "Error", message: kernel.message, code: "EEXIST" });
    assert.match(parsed.error.stack, /at /);
    assert.deepEqual(parsed.list[0].deep, { name: "Error", message: "in a list" });
  });

  it("leaves out what is below its level, and says so beforehand", async () => {
    const log = logger("text", "warn");
    log.info("no");
    log.debug("no");
    log.warn("yes");
    await log.drain();
    assert.equal(sink.text.split("\n").length, 2);
    assert.deepEqual([log.enabled("error"), log.enabled("warn"), log.enabled("info")], [true, true, false]);
  });

  it("gives children their fields, which a line may override", async () => {
    const log = logger("text", "info", { a: 1 });
    log.child({ component: "kube" }).child({ b: 2 }).info("x", { a: 3 });
    await log.drain();
    assert.match(sink.text, /x a=3 component=kube b=2\n$/);
  });

  it("keeps a line a line, whatever comes from outside", async () => {
    for (const format of ["text", "json"] as const) {
      sink = new Sink();
      const log = logger(format);
      log.info("a\nb\u001b[31m\u009b\u2028\u202e", {
        "k\n=": "v\r\n\u0000",
        error: new Error("x\ny"),
        o: { "\u007f": "\ufeff" },
      });
      await log.drain();
      assert.equal(sink.text.indexOf("\n"), sink.text.length - 1, format);
      // oxlint-disable-next-line no-control-regex
      assert.doesNotMatch(sink.text.slice(0, -1), /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202e\ufeff]/);
    }
    assert.equal(
      (JSON.parse(sink.text) as { message: string }).message,
      "a\nb\u001b[31m\u009b\u2028\u202e",
      "JSON loses nothing",
    );
  });

  it("logs any value without throwing", async () => {
    const nasty: Record<string, unknown> = {
      self: undefined,
      f: () => 1,
      s: Symbol("s"),
      u: undefined,
      d: new Date(Number.NaN),
    };
    nasty["self"] = nasty;
    let deep: unknown = "end";
    for (let i = 0; i < 50_000; i++) deep = { deep };
    for (const format of ["text", "json"] as const) {
      const log = logger(format);
      log.info("x", { nasty, deep, long: "x".repeat(1_000_000), many: Array.from({ length: 100_000 }, () => 1) });
      await log.drain();
      assert.ok(sink.text.length < 20_000, `${sink.text.length} bytes`);
      sink.text = "";
    }
    const json = logger("json");
    const text = logger("text");
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.dictionary(fc.string(), fc.anything()), (message, fields) => {
        json.info(message, fields);
        text.info(message, fields);
      }),
    );
    await json.drain();
  });

  it("drops and counts lines when nobody reads, and says so when somebody does again", async () => {
    sink.hold = true;
    const log = logger("text");
    const line = "x".repeat(4000);
    for (let i = 0; i < 1000; i++) log.info(line);
    assert.ok(sink.writableLength < 1.2 * 2 ** 20, `${sink.writableLength} bytes wait`);
    await log.drain(20); // gives up
    sink.hold = false;
    sink.release?.();
    await log.drain();
    log.info("back");
    await log.drain();
    assert.match(sink.text, /warn {2}log lines were dropped: nobody read them dropped=\d+\n.* back\n$/);
  });

  it("outlives its reader", async () => {
    const log = logger("text");
    sink.destroy(new Error("EPIPE"));
    await new Promise(setImmediate);
    log.info("x");
    await log.drain();
  });

  it("changes its level at any time, for its children as well", () => {
    const lines: string[] = [];
    const stream = new Writable({ write: (chunk, _encoding, done) => (lines.push(String(chunk)), done()) });
    const log = createLogger({ level: "warn", format: "text", stream });
    const child = log.child({ part: "a" });
    child.debug("one");
    log.level = "debug";
    assert.equal(log.level, "debug");
    assert.equal(child.enabled("debug"), true);
    child.debug("two");
    log.level = "error";
    child.warn("three");
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /debug two/);
  });
});
