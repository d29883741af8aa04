import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { Task } from "../../../src/reconcile/index.ts";

describe("a task for the latest state", () => {
  const quick = { baseMs: 1, maxMs: 8 };
  const never = (error: unknown): never => assert.fail(String(error));

  it("never overlaps itself, and runs once more for any number of requests meanwhile", async () => {
    let running = 0;
    let runs = 0;
    const started = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const task = new Task(
      async () => {
        assert.equal(++running, 1);
        started.resolve();
        await goOn.promise;
        running--;
        runs++;
      },
      quick,
      never,
    );
    for (let i = 0; i < 5; i++) task.want();
    await started.promise;
    for (let i = 0; i < 100; i++) task.want();
    assert.ok(task.running);
    goOn.resolve();
    await task.settled();
    assert.equal(runs, 2);
    await task.stop();
  });

  it("runs with the end of the turn where somebody waits for it, whatever was planned, and not when it is stopped before", async () => {
    let runs = 0;
    const task = new Task(() => void runs++, quick, never);
    task.want(60_000);
    task.wantAtOnce();
    assert.equal(runs, 0);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(runs, 1);
    task.wantAtOnce();
    await task.stop();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(runs, 1);
  });

  it("keeps to the delay of requests that come while it runs, and to the shortest of them", async () => {
    const starts: number[] = [];
    const task: Task = new Task(
      () => {
        starts.push(performance.now());
        if (starts.length === 1) for (const delayMs of [60_000, 100, 30_000]) task.want(delayMs);
      },
      quick,
      never,
    );
    task.want();
    await task.settled();
    const [first = 0, second = 0] = starts;
    assert.equal(starts.length, 2);
    // timers may be early by less than a millisecond
    assert.ok(second - first >= 98, `${second - first} ms`);
    await task.stop();
  });

  it("hears requests that it makes itself", async () => {
    let runs = 0;
    const task: Task = new Task(
      () => {
        if (++runs === 1) for (let i = 0; i < 5; i++) task.want();
      },
      quick,
      never,
    );
    task.want();
    await task.settled();
    assert.equal(runs, 2);
    await task.stop();
  });

  it("is tried again after a failure until it succeeds, with the number of the attempt, and is settled meanwhile", async () => {
    const attempts: number[] = [];
    let left = 3;
    const succeeded = Promise.withResolvers<void>();
    const task = new Task(
      async () => {
        if (left-- > 0) throw new Error("not yet");
        succeeded.resolve();
      },
      quick,
      (_error, attempt) => attempts.push(attempt),
    );
    task.want();
    await task.settled();
    assert.equal(attempts[0], 1);
    assert.equal(task.failures, attempts.length);
    await succeeded.promise;
    await task.settled();
    assert.deepEqual(attempts, [1, 2, 3]);
    assert.equal(task.failures, 0);
    await task.stop();
  });

  it("does not cut a pause after a failure short", async () => {
    let runs = 0;
    const task = new Task(
      () => {
        runs++;
        throw new Error("never");
      },
      { baseMs: 60_000, maxMs: 60_000 },
      () => undefined,
    );
    task.want();
    await task.settled();
    task.want();
    await delay(10);
    assert.equal(runs, 1);
    await task.stop();
  });

  it("counts requests within a delay as one, of which the earliest counts, and runs no more once stopped", async () => {
    let runs = 0;
    const task = new Task(
      () => {
        runs++;
      },
      quick,
      never,
    );
    task.want(60_000);
    task.want(5);
    task.want(60_000);
    await task.settled();
    assert.equal(runs, 1);
    await task.stop();
    task.want();
    await task.settled();
    await delay(10);
    assert.equal(runs, 1);
  });
});
