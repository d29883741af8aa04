/** Where the first frame of a workload that moves is listened for. That it is heard is the kernel tests' business. */
import assert from "node:assert/strict";
import { FirstFrames } from "../../../src/endpoints/index.ts";

/** No machine has that many interfaces. */
const NOWHERE = 0x7fff_fff0;
const MAC = "0a:00:00:00:00:01";

describe("listening for first frames", () => {
  it("says where that cannot be, and goes on with all others", () => {
    const frames = new FirstFrames(undefined, () => assert.fail("nobody sends there"));
    const unmonitored = frames.follow([
      { ifname: "sky1", ifindex: NOWHERE, macs: [MAC] },
      { ifname: "sky2", ifindex: NOWHERE + 1, macs: [] },
    ]);
    assert.deepEqual([...unmonitored.keys()], ["sky1"]);
    assert.deepEqual([...frames.follow([{ ifname: "sky3", ifindex: NOWHERE, macs: [MAC] }]).keys()], ["sky3"]);
    assert.deepEqual([...frames.follow([]).keys()], []);
    frames.close();
  });
});
