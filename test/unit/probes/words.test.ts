import assert from "node:assert/strict";
import { FAULTS, type Verdict } from "../../../src/probes/judge.ts";
import { inWords } from "../../../src/probes/words.ts";

const HERE = { node: "node1", port: 4789, mtu: 1450, overhead: 50 };
const of = (verdict: Partial<Verdict>): Verdict => ({
  fault: "tunnel",
  scope: "pair",
  nodes: ["node1"],
  others: ["node2"],
  ...verdict,
});

describe("verdicts in words", () => {
  it("say for each fault and scope who it is about, what follows and what to do", () => {
    for (const fault of FAULTS)
      for (const scope of ["node", "link", "pair", "all"] as const) {
        const nodes = scope === "all" ? [] : ["node7"];
        const { found, meaning, cure } = inWords(of({ fault, scope, nodes, others: ["node1", "node2"] }), HERE);
        if (scope !== "all") assert.match(found, /node7/);
        assert.match(meaning, /^[A-Z].*\.$/);
        assert.match(cure, /^[A-Z]/);
        assert.doesNotMatch(`${found} ${meaning} ${cure}`, /undefined|\[object/);
      }
  });

  it("name the direction in which a port is blocked", () => {
    const found = (lost: "to" | "from" | "both"): string => inWords(of({ lost }), HERE).found;
    assert.match(found("from"), /what node1 \(this node\) sends to node2 is lost, the other direction is open$/);
    assert.match(found("to"), /what node2 sends to node1 \(this node\) is lost, the other direction is open$/);
    assert.match(found("both"), /in both directions$/);
  });

  it("say of this node that it is cut off, and of another that it is off", () => {
    const down = (node: string): string =>
      inWords(of({ fault: "down", scope: "node", nodes: [node], others: ["node3", "node4"] }), HERE).found;
    assert.match(down("node1"), /^node1 \(this node\) reaches none of the 2 peers/);
    assert.match(down("node7"), /^node7 answers none of the 2 nodes/);
  });

  it("say which size passes, and propose an MTU that fits", () => {
    const { found, cure } = inWords(of({ fault: "narrow" }), { ...HERE, passes: 1387 });
    assert.match(found, /packets of 1450 bytes are lost .* 1387 pass/);
    assert.match(cure, /mtu: 1380/);
  });

  it("name a few of many", () => {
    const others = Array.from({ length: 9 }, (_, n) => `other${n}`);
    assert.match(inWords(of({ scope: "link", others }), HERE).found, /other4 and 4 more/);
  });
});
