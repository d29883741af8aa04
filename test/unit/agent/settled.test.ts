import assert from "node:assert/strict";
import { mock } from "node:test";
import { Settled } from "../../../src/agent/settled.ts";

describe("an agent that comes up", () => {
  let ready = false;
  let settled: Settled;
  let has = false;

  beforeEach(() => {
    mock.timers.enable({ apis: ["setTimeout"] });
    [ready, has] = [false, false];
    settled = new Settled(() => ready);
    void settled.promise.then(() => (has = true));
  });
  afterEach(() => mock.timers.reset());
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it("has settled once it is ready and has heard of it", async () => {
    settled.poke();
    ready = true;
    await turn();
    assert.equal(has, false, "nobody has told it");
    settled.poke();
    await turn();
    assert.equal(has, true);
  });

  it("has settled after a while that is not ready, and asks no more then", async () => {
    mock.timers.tick(4_999);
    await turn();
    assert.equal(has, false);
    mock.timers.tick(1);
    await turn();
    assert.equal(has, true);
    const asked = new Settled(() => assert.fail("it is asked"));
    mock.timers.tick(5_000);
    asked.poke();
  });
});
