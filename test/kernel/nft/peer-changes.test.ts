import assert from "node:assert/strict";
import { Firewall, type NetworkRules } from "../../../src/nft/index.ts";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";
import { recordingLogger } from "../overlay/cluster.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { table } from "./support.ts";

const numbered = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `10.9.${(from + i) >> 8}.${(from + i) & 255}`);

describe("peers that come and go in the table that is in place", () => {
  let ns: TestNamespace;
  let other: TestNamespace;
  let firewall: Firewall;
  let peers: string[];
  let rules: NetworkRules;
  let applied: number;
  let repaired: number;

  before(() => {
    [ns, other] = [testNamespace("peers"), testNamespace("whole")];
  });

  beforeEach(async () => {
    peers = ["172.30.0.2", "fd00:30::2"];
    [applied, repaired] = [0, 0];
    rules = {
      network: "default",
      vni: 4096,
      port: 4789,
      get peers() {
        return peers;
      },
      podCidrs: ["10.244.1.0/24"],
      clusterCidrs: ["10.244.0.0/16"],
      masquerade: { enabled: true, exclude: [] },
    };
    firewall = new Firewall({
      netns: ns.path,
      logger: recordingLogger(),
      forwardPolicy: false,
      onApply: () => applied++,
      onRepair: () => repaired++,
    });
    firewall.set([rules]);
    await firewall.start();
  });

  afterEach(() => firewall.stop());

  /** Takes peers for the ones that are, and tells the firewall what that changes. */
  function become(now: string[]): void {
    const change = { come: now.filter((ip) => !peers.includes(ip)), gone: peers.filter((ip) => !now.includes(ip)) };
    peers = now;
    firewall.changePeers(rules, change, false);
  }

  /** The table as it is when it is put in place whole for these peers. */
  async function whole(of: string[]): Promise<string> {
    const one = new Firewall({ netns: other.path, logger: recordingLogger(), forwardPolicy: false });
    one.set([{ ...rules, peers: of }]);
    await one.start();
    await one.stop();
    return table(other);
  }

  it("are there at once, of both families, in a table that is otherwise left alone and is not taken for changed", async () => {
    const now = ["172.30.0.3", "fd00:30::2", "fd00:30::3"];
    become(now);
    assert.match(table(ns), /172\.30\.0\.3/);
    await firewall.settled();
    assert.equal(table(ns), await whole(now));
    assert.deepEqual([applied, repaired, firewall.status().ready], [1, 0, true]);
    become(["172.30.0.2", "172.30.0.3"]);
    await firewall.settled();
    assert.equal(table(ns), await whole(["172.30.0.2", "172.30.0.3"]));
    assert.deepEqual([applied, repaired], [1, 0]);
  });

  it("have their prefixes known as the cluster's at once, beside those that are", async () => {
    const clusterCidrs = ["10.250.0.0/24", "fd00:250::/64"];
    rules = { ...rules, clusterCidrs };
    firewall.set([rules]);
    await firewall.settled();
    applied = 0;
    const know = (...prefixes: string[]): void => firewall.changePeers(rules, { come: [], gone: [], prefixes }, false);
    const isKnown = (address: string): boolean => {
      const set = `direct${address.includes(":") ? 6 : 4}_4096`;
      try {
        return ns.exec("nft", "get", "element", "inet", "skylane", set, `{ ${address} }`).includes(set);
      } catch {
        return false;
      }
    };
    know("10.250.1.0/24", "10.250.255.0/24", "fd00:250:0:1::/64");
    know("10.250.7.0/24");
    for (const address of [
      "10.250.0.9",
      "10.250.1.0",
      "10.250.1.255",
      "10.250.255.255",
      "10.250.7.1",
      "fd00:250:0:1::9",
    ])
      assert.ok(isKnown(address), address);
    for (const address of ["10.250.2.0", "10.251.0.0", "10.250.6.255", "10.250.8.0", "fd00:250:0:2::"])
      assert.ok(!isKnown(address), address);
    await firewall.settled();
    assert.deepEqual([applied, repaired, firewall.status().ready], [0, 0, true], "the table was left in place");
  });

  it("have the table put in place whole, some time later, for a prefix that cannot be put in beside the others", async function () {
    this.timeout(15_000);
    let clusterCidrs = ["10.250.0.0/16"];
    rules = {
      ...rules,
      get clusterCidrs() {
        return clusterCidrs;
      },
    };
    firewall.set([rules]);
    await firewall.settled();
    applied = 0;
    clusterCidrs = ["10.250.0.0/16", "10.250.0.0/15"];
    firewall.changePeers(rules, { come: [], gone: [], prefixes: ["10.250.0.0/15"] }, false);
    assert.equal(applied, 0);
    await eventually(() => applied === 1, { timeoutMs: 10_000 });
    await firewall.settled();
    assert.match(table(ns), /10\.250\.0\.0\/15/);
  });

  it("are made up for when they come and go while the table is being put in place", async () => {
    ns.exec("nft", "add", "chain", "inet", "skylane", "theirs");
    await eventually(() => applied === 2);
    firewall.set([{ ...rules, port: 4790 }]);
    firewall.set([rules]);
    for (const n of [3, 4, 5]) {
      become(["172.30.0.2", `172.30.0.${n}`]);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await firewall.settled();
    assert.equal(table(ns), await whole(["172.30.0.2", "172.30.0.5"]));
    assert.ok(firewall.status().ready);
  });

  it("have the table put in place whole where their set has gone, or where they are many", async () => {
    ns.exec("nft", "delete", "table", "inet", "skylane");
    become(["172.30.0.7"]);
    const right = await whole(["172.30.0.7"]);
    await eventuallyHolds(() => assert.equal(table(ns), right));
    await firewall.settled();
    const before = applied;
    const many = numbered(0, 600);
    become(many);
    await firewall.settled();
    assert.equal(table(ns), await whole(many));
    assert.equal(applied, before + 1);
  });
});
