import assert from "node:assert/strict";
import { ParameterWatch, parameterChanges } from "../../../src/host/parameter-watch.ts";
import { type DeviceParameters, Rtnl } from "../../../src/netlink/index.ts";

const table = (...devices: DeviceParameters[]): Map<number, DeviceParameters> =>
  new Map(devices.map((device) => [device.index, device]));

describe("kernel parameters that the kernel does not announce", () => {
  it("are told by device and family where they are others than before, and not of devices that come or go", () => {
    const before = table({ index: 1, 4: "a", 6: "b" }, { index: 2, 4: "a", 6: "b" }, { index: 3, 4: "a", 6: "b" });
    const now = table({ index: 1, 4: "a", 6: "c" }, { index: 2, 4: "a", 6: "b" }, { index: 4, 4: "x", 6: "y" });
    assert.deepEqual(parameterChanges(before, now), [
      { event: "new", kind: "netconf", netconf: { family: 6, ifindex: 1 } },
    ]);
  });

  it("are heard of soon also where others have the processor while they are asked for", async () => {
    const stalled = new Int32Array(new SharedArrayBuffer(4));
    const open = Rtnl.open.bind(Rtnl);
    let asked = 0;
    const answers: DeviceParameters[][] = [[{ index: 1, 4: "a", 6: "b" }], [{ index: 1, 4: "c", 6: "b" }]];
    const rtnl = {
      parameters() {
        // Waits without using the processor, as whoever does not get it does.
        Atomics.wait(stalled, 0, 0, 300);
        return answers[Math.min(asked++, 1)] as DeviceParameters[];
      },
      close: () => undefined,
    };
    Rtnl.open = () => rtnl as unknown as Rtnl;
    try {
      const watch = new Promise<ParameterWatch>((resolve, reject) => {
        const made: ParameterWatch = new ParameterWatch({
          onEvents: () => resolve(made),
          onResync: (reason) => reject(new Error(reason)),
        });
        // Two hundred times 300 ms is a minute, and the longest pause half of one.
        setTimeout(() => {
          made.close();
          reject(new Error("not asked a second time within 15 s"));
        }, 15_000).unref();
      });
      (await watch).close();
    } finally {
      Rtnl.open = open;
    }
  });
});
