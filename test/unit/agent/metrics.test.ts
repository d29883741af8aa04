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

describe("the metrics of encryption", () => {
  it("tell since when a node goes over to another key, and nothing of it otherwise", async () => {
    const metrics = new Metrics("0.0.0");
    const status = {
      mode: "wireguard" as const,
      ready: true,
      message: "",
      device: "skylane-wg",
      keySeconds: 8_000,
      keyDays: 90,
      port: 51_871,
      peers: [],
      repairs: 0,
    };
    const rotation = { publicKey: "NEXT=", seconds: 30, keySeconds: 4_000, standsStill: false, awaited: [] };
    const told = async () =>
      (await metrics.text()).split("\n").filter((line) => /^skylane_encryption_\S*key_age_seconds /.test(line));
    metrics.sampleEncryption({ ...status, rotation });
    const age = "skylane_encryption_key_age_seconds 8000";
    assert.deepEqual(await told(), [age, "skylane_encryption_next_key_age_seconds 4000"].toSorted());
    metrics.sampleEncryption(status);
    assert.deepEqual(await told(), [age, "skylane_encryption_next_key_age_seconds 0"].toSorted());
  });
});
