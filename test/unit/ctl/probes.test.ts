import assert from "node:assert/strict";
import { renderProbes } from "../../../src/cli/probes/index.ts";

const path = {
  path: "tunnel" as const,
  ip: "10.244.2.0",
  seen: "narrow" as const,
  rttMs: 0.1234,
  loss: 0.0123,
  mtu: 1380,
  routes: 1376,
};
const document = {
  on: true,
  message: "every peer within 1 seconds",
  roundSeconds: 1,
  peers: { all: 2, measured: 1, faulty: 1 },
  verdicts: [
    {
      fault: "narrow" as const,
      scope: "pair" as const,
      nodes: ["node1"],
      others: ["node2"],
      found: "packets are lost\u001b[2J",
      meaning: "they stall",
      cure: "mtu: 1380",
      since: "2026-01-01T00:00:00Z",
    },
  ],
  figures: [
    { node: "node2", fault: "narrow" as const, paths: [path] },
    { node: "node3", paths: [{ path: "underlay" as const, ip: "172.30.0.13" }] },
  ],
};

describe("skylanectl probes", () => {
  it("shows each path of each peer, and each verdict with its cure", () => {
    const text = renderProbes(document);
    assert.match(text, /^Peers: +2, 1 measured, 1 faulty$/m);
    assert.match(text, /^node2 +tunnel +10\.244\.2\.0 +narrow +0\.12 ms +1\.2 % +1380 +1376$/m);
    assert.match(text, /^node3 +underlay +172\.30\.0\.13 +not measured yet/m);
    assert.match(text, /packets are lost\\x1b.*\n {2}means: they stall\n {2}cure: {2}mtu: 1380$/m);
    assert.ok(!text.includes("\u001b"));
  });

  it("shows one peer when asked for it", () => {
    const text = renderProbes(document, "node3");
    assert.doesNotMatch(text, /^node2/m);
    assert.match(text, /^node3/m);
    assert.match(renderProbes({ ...document, figures: [] }), /^No peers\.$/m);
  });
});
