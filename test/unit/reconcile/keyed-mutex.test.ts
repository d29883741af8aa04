/** One thing at a time with each, as pod networks are joined and left. */
import assert from "node:assert/strict";
import { KeyedMutex } from "../../../src/reconcile/index.ts";

describe("a keyed mutex", () => {
  /** Work that ends when it is told to, and what has begun so far. */
  const workshop = () => {
    const begun: string[] = [];
    const ends = new Map<string, (error?: Error) => void>();
    const work = (name: string) => () => {
      begun.push(name);
      return new Promise<string>((resolve, reject) =>
        ends.set(name, (error) => (error ? reject(error) : resolve(name))),
      );
    };
    return { begun, end: (name: string, error?: Error) => ends.get(name)?.(error), work };
  };
  /** Whatever could begin now has begun after a turn of the event loop. */
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it("begins what has the same key in the order in which it was asked for, one at a time", async () => {
    const mutex = new KeyedMutex();
    const { begun, end, work } = workshop();
    const all = ["join", "leave", "join again"].map((name) => mutex.run("blue", work(name)));
    await turn();
    assert.deepEqual(begun, ["join"]);
    end("join");
    await turn();
    assert.deepEqual(begun, ["join", "leave"]);
    end("leave");
    await turn();
    end("join again");
    assert.deepEqual(await Promise.all(all), ["join", "leave", "join again"]);
  });

  it("lets others go on meanwhile", async () => {
    const mutex = new KeyedMutex();
    const { begun, end, work } = workshop();
    const blue = mutex.run("blue", work("blue"));
    const red = mutex.run("red", work("red"));
    await turn();
    assert.deepEqual(begun, ["blue", "red"]);
    end("red");
    assert.equal(await red, "red");
    end("blue");
    await blue;
  });

  it("goes on after a failure, of which only those hear who asked for what failed", async () => {
    const mutex = new KeyedMutex();
    const { end, work } = workshop();
    const first = mutex.run("blue", work("first"));
    const second = mutex.run("blue", work("second"));
    await turn();
    end("first", new Error("no"));
    await assert.rejects(first, /no/);
    await turn();
    end("second");
    assert.equal(await second, "second");
    await mutex.settled();
  });

  it("is settled once all is over that is under way", async () => {
    const mutex = new KeyedMutex();
    const { end, work } = workshop();
    void mutex.run("blue", work("blue"));
    let settled = false;
    const over = mutex.settled().then(() => (settled = true));
    await turn();
    assert.equal(settled, false);
    end("blue");
    await over;
  });
});
