import assert from "node:assert/strict";
import { durationOf, renderFlows } from "../../../src/cli/flows/index.ts";

const status = { on: true, flows: 1, sampled: 4, leftOut: { sampled: 30, dropped: 2, table: 0 } };
const flow = {
  seq: 1,
  network: "blue",
  state: "ended" as const,
  verdict: "denied" as const,
  protocol: 6,
  source: { ip: "10.0.1.2", port: 0, pod: "shop/front\u001b[2J" },
  destination: { ip: "fd00::2", port: 80, node: "node2" },
  service: { ip: "10.96.0.9", port: 443, name: "shop/web", portName: "https" },
  policy: "NetworkPolicy shop/x",
  start: 0,
  end: 1_000,
  packets: 3,
  bytes: 300,
  atLeast: true as const,
  sampled: 4,
};

describe("skylanectl flows", () => {
  it("shows who talks to whom, and what was left out", () => {
    const text = renderFlows({ flows: [flow], next: 1, missed: 0, status });
    assert.match(text, /1970-01-01T00:00:01.000Z +blue +denied +TCP/);
    assert.match(
      text,
      /\[fd00::2\]:80 \(node2\) +shop\/web:https 10\.96\.0\.9:443 +ended, 1 of 4 +>=3 +>=300 +NetworkPolicy shop\/x/,
    );
    assert.match(text, /^Left out: about 30 events .*, 2 events dropped by the kernel\.$/m);
    assert.ok(!text.includes("\u001b"));
  });

  it("says so where there is nothing, and why", () => {
    const error = "no connection tracking";
    const none = { on: false, error, flows: 0, sampled: 1, leftOut: { sampled: 0, dropped: 0, table: 0 } };
    const text = renderFlows({ flows: [], next: 0, missed: 0, status: none });
    assert.equal(text, "Flows are not recorded: no connection tracking\nNo flows.\n");
  });

  it("takes times in seconds, minutes and hours", () => {
    assert.deepEqual(["30s", "5m", "2h"].map(durationOf), [30_000, 300_000, 7_200_000]);
    assert.throws(() => durationOf("5"), /30s, 5m or 2h/);
  });
});
