import assert from "node:assert/strict";
import { parameterChanges } from "../../../src/host/parameter-watch.ts";
import type { DeviceParameters } from "../../../src/netlink/index.ts";

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
});
