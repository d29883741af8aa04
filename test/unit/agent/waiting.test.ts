import assert from "node:assert/strict";
import { Waiting } from "../../../src/nodes/waiting.ts";

describe("waiting", () => {
  it("is said once, as a line and an Event, until it changes or grows long", () => {
    const lines: string[] = [];
    const events: string[] = [];
    const say = (message: string) => lines.push(message);
    const log = { error: say, warn: say, info: say, debug: say, enabled: () => true, child: () => log };
    const waiting = new Waiting(log, (reason) => events.push(reason));
    waiting.for("node", "no Node a", 0);
    waiting.for("node", "no Node a", 1_000);
    waiting.for("podCidr", "no CIDR", 2_000);
    waiting.for("podCidr", "no CIDR", 2_000 + 600_000);
    waiting.over();
    waiting.over();
    assert.deepEqual(events, ["SkylaneWaitingForNode", "SkylaneWaitingForPodCIDR", "SkylaneWaitingForPodCIDR"]);
    assert.deepEqual(lines, ["waiting: no Node a", "waiting: no CIDR", "waiting: no CIDR", "no longer waiting"]);
  });
});
