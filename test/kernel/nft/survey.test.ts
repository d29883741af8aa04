import assert from "node:assert/strict";
import { isThere, surveyChains, toolRunner } from "../../../src/dataplane/nft/index.ts";
import { testNamespace } from "../support/netns.ts";
import { skip } from "../../support/skip.ts";

describe("a survey of others' chains", () => {
  it("names every chain of nftables with its hook and policy, and makes nothing", async () => {
    using ns = testNamespace("survey");
    const run = toolRunner({ netns: ns.path });
    assert.deepEqual(await surveyChains(run, ns.path), []);
    ns.exec(
      "nft",
      "add table inet own; add chain inet own mine { type filter hook forward priority 0; policy drop; }; add table ip filter; add chain ip filter FLANNEL-FWD",
    );
    assert.deepEqual(await surveyChains(run, ns.path), [
      { table: "inet own", name: "mine", hook: "forward", policy: "drop" },
      { table: "ip filter", name: "FLANNEL-FWD" },
    ]);
  });

  it("is not needed to know whether one of them is there", () => {
    using ns = testNamespace("survey");
    const at = (family: "inet" | "ip" | "ip6", chain?: string) =>
      isThere({ family, table: "filter", ...(chain !== undefined && { chain }) }, ns.path);
    assert.deepEqual([at("ip"), at("ip", "FORWARD"), at("inet")], [false, false, false]);
    ns.exec("nft", "add table ip filter; add table inet filter; add chain inet filter FORWARD");
    assert.deepEqual([at("ip"), at("ip", "FORWARD"), at("ip6")], [true, false, false]);
    assert.deepEqual([at("inet"), at("inet", "FORWARD"), at("inet", "FORWARDS")], [true, true, false]);
  });

  it("sees legacy tables where there are some", async function () {
    using ns = testNamespace("survey");
    try {
      ns.exec("iptables-legacy", "-w", "-P", "FORWARD", "DROP");
    } catch (error) {
      // Newer kernels are built without it; then nobody has such a table.
      if (!/Table does not exist|can't initialize|not found|ENOENT/.test(String(error))) throw error;
      skip(this, "this kernel has no iptables-legacy");
    }
    ns.exec("iptables-legacy", "-w", "-N", "cali-FORWARD");
    const chains = await surveyChains(toolRunner({ netns: ns.path }), ns.path);
    assert.deepEqual(
      chains.find(({ name }) => name === "FORWARD"),
      { table: "legacy ip filter", name: "FORWARD", hook: "forward", policy: "drop" },
    );
    assert.deepEqual(
      chains.find(({ name }) => name === "cali-FORWARD"),
      { table: "legacy ip filter", name: "cali-FORWARD" },
    );
  });
});
