import assert from "node:assert/strict";
import { Metrics } from "../../../src/observe/metrics.ts";
import { type NetworkView, sampleInto } from "../../../src/network/report.ts";

const fine = { ok: true, message: "" };
const view: NetworkView = {
  waiting: undefined,
  local: undefined,
  peers: 3,
  overlay: {
    device: "sky.5000",
    ready: true,
    peers: [],
    entries: { fdb: { expected: 3, present: 2 } },
    repairs: { total: 0, byKind: {} },
  },
  worked: true,
  firewall: fine,
  selfTest: fine,
  published: fine,
  files: fine,
  losses: [],
  refused: [{ node: "n9", reason: "DuplicateVtepIp", message: "" }],
};

describe("the metrics of networks", () => {
  it("are those of the networks that the node is in at the scrape, and no figure of one that it has left", async () => {
    const metrics = new Metrics("0.0.0");
    const networks = new Set(["blue", "green"]);
    metrics.beforeScrape(() => {
      for (const network of networks) sampleInto(metrics, network, view);
    });
    const told = async (network: string) =>
      (await metrics.text()).split("\n").filter((line) => line.includes(`network="${network}"`));
    const blue = [
      'skylane_peers{network="blue"} 3',
      'skylane_refused_peers{network="blue",reason="DuplicateVtepIp"} 1',
      'skylane_entries{network="blue",kind="fdb",state="expected"} 3',
      'skylane_entries{network="blue",kind="fdb",state="present"} 2',
    ];
    assert.deepEqual(await told("blue"), blue);
    assert.equal((await told("green")).length, blue.length);
    networks.delete("green");
    assert.deepEqual(await told("green"), []);
    assert.deepEqual(await told("blue"), blue, "and nothing is counted twice");
  });
});
