import assert from "node:assert/strict";
import { claimReady, networkStatus } from "../../../src/crd/index.ts";

const NOW = "2026-01-01T00:00:00Z";

describe("conditions of networks and claims", () => {
  it("say something in any case: API servers before 1.21 take an empty text for null, and refuse the whole status", () => {
    const obstacles = (["VniTaken", "Unserved", "Invalid"] as const).map((reason) => ({ reason, message: "why" }));
    for (const obstacle of [undefined, ...obstacles]) {
      const status = networkStatus({ status: {} }, { obstacle, nodes: 0 }, NOW);
      assert.ok(status);
      for (const { type, reason, message } of status["conditions"] as Record<string, string>[])
        assert.ok(reason && message, `${type} of ${obstacle?.reason}`);
    }
    assert.ok(claimReady(undefined, undefined, NOW)?.message);
  });
});
