import assert from "node:assert/strict";
import { Firewall, type NetworkRules, type RunTool, toolRunner } from "../../../src/dataplane/nft/index.ts";
import { eventually } from "../../support/eventually.ts";
import { recordingLogger } from "../overlay/cluster.ts";
import { testNamespace } from "../support/netns.ts";

const rulesOf = (network: string, vni: number, cidr: string): NetworkRules & { peers: string[] } => ({
  network,
  vni,
  port: 4789,
  peers: [],
  podCidrs: [cidr],
  clusterCidrs: [cidr],
  masquerade: { enabled: true, exclude: [] },
});

describe("networks that come one after the other", () => {
  it("are in place each by itself: none waits for those that came after it", async () => {
    const ns = testNamespace("place");
    const run = toolRunner({ netns: ns.path });
    let [before, release] = [Promise.resolve(), (): void => undefined];
    let asked = 0;
    const slow: RunTool = async (...command) => {
      asked++;
      await before;
      return run(...command);
    };
    const firewall = new Firewall({ netns: ns.path, logger: recordingLogger(), forwardPolicy: false, run: slow });
    const [blue, green] = [rulesOf("blue", 5001, "10.1.0.0/24"), rulesOf("green", 5002, "10.2.0.0/24")];
    const inPlace = () => ["blue", "green"].map((network) => firewall.isInPlace(network));
    firewall.set([blue]);
    assert.deepEqual(inPlace(), [false, false]);
    await firewall.start();
    try {
      assert.deepEqual(inPlace(), [true, false]);
      before = new Promise<void>((resolve) => {
        release = resolve;
      });
      firewall.set([blue, green]);
      assert.deepEqual([inPlace(), firewall.status().ready], [[true, false], false]);
      release();
      await firewall.settled();
      assert.deepEqual([inPlace(), firewall.status().ready], [[true, true], true]);
      // a peer that comes while the table is being put in place is let in after that, and its network is not in place before
      before = new Promise<void>((resolve) => {
        release = resolve;
      });
      asked = 0;
      firewall.set([blue, green, rulesOf("red", 5004, "10.3.0.0/24")]);
      await eventually(() => asked > 0);
      blue.peers.push("172.30.0.9");
      firewall.changePeers(blue, { come: ["172.30.0.9"], gone: [] }, false);
      assert.deepEqual(inPlace(), [false, true]);
      release();
      await firewall.settled();
      assert.deepEqual(inPlace(), [true, true]);
      firewall.set([rulesOf("blue", 5003, "10.1.0.0/24"), green]);
      assert.deepEqual(inPlace(), [false, true], "its rules have changed, and are not in force yet");
      await firewall.settled();
      firewall.set([green]);
      assert.deepEqual(inPlace(), [false, true], "it is gone");
    } finally {
      release();
      await firewall.stop();
    }
  });
});
