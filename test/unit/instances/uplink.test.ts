/** When a pod network's way to the outside is made. What it consists of is the kernel tests' business. */
import assert from "node:assert/strict";
import { InstanceUplink } from "../../../src/instances/instance-uplink.ts";
import { parsePodNetwork } from "../../../src/crd/index.ts";
import { createLogger } from "../../../src/log/index.ts";
import type { Rtnl } from "../../../src/netlink/index.ts";
import { Metrics } from "../../../src/observe/index.ts";

describe("the uplink of a pod network", () => {
  it("is not touched before the rules that guard it are in force", () => {
    let guarded = false;
    const calls: string[] = [];
    const uplink = new InstanceUplink({
      machine: {
        uplink: () => ({
          hostIndex: undefined,
          ensure: (mtu) => {
            calls.push(`ensure ${mtu}`);
            return ["made it"];
          },
          remove: () => void calls.push("remove"),
        }),
      },
      info: parsePodNetwork({
        metadata: { name: "blue", uid: "u1", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" },
        spec: { vni: 77, cidrs: ["10.80.0.0/16"], masquerade: true },
      }),
      host: {} as Rtnl,
      rtnl: {} as Rtnl,
      netns: -1,
      guarded: () => guarded,
      log: createLogger({ level: "error", format: "text" }),
      metrics: new Metrics("test"),
    });
    uplink.keep(1450);
    uplink.look();
    assert.deepEqual(calls, []);
    guarded = true;
    uplink.keep(1450);
    assert.deepEqual(calls, ["ensure 1450"]);
  });
});
