import assert from "node:assert/strict";
import { timesOf } from "../../../bench/profile.ts";

describe("a processor profile", () => {
  it("counts a function's own time, and with what it called, once where it calls itself", () => {
    const frame = (functionName: string) => ({ functionName, url: "file:///x/agent.cjs", lineNumber: 9 });
    const times = timesOf({
      nodes: [
        { id: 1, callFrame: { functionName: "(root)", url: "", lineNumber: -1 }, children: [2] },
        { id: 2, callFrame: frame("walk"), children: [3] },
        { id: 3, callFrame: frame("walk"), children: [4] },
        { id: 4, callFrame: frame("") },
      ],
      samples: [2, 3, 4],
      timeDeltas: [1_000, 2_000, 4_000],
    });
    assert.deepEqual(times, [
      { name: "walk agent.cjs:10", alone: 3, all: 7 },
      { name: "(root)", alone: 0, all: 7 },
      { name: "(anonymous) agent.cjs:10", alone: 4, all: 4 },
    ]);
  });
});
