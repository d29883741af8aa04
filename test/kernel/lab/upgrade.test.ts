/** Nodes of the version before and of this one in a cluster, and a node that is upgraded in place while its pods go on. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findBinDir } from "../../../lab/cluster/context.ts";
import { Lab } from "../../../lab/index.ts";
import { gapDuring } from "../../../lab/pods/gap.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";
import { skip } from "../../support/skip.ts";
import { missingHistory, Versions } from "./before.ts";
import { lost } from "./support.ts";

/** Builds and agents come up in seconds; on a machine with ten times the work it can do, in ten times that. */
const UP_MS = 300_000;
const NODES = ["node1", "node2"] as const;
const annotations = { [NETWORKS_ANNOTATION]: "blue, lan" };

describe("an upgrade", function () {
  this.timeout(UP_MS);
  let base = "";
  let lab: Lab | undefined;
  let versions: Versions | undefined;
  const the = (): Lab => lab ?? assert.fail("the lab is not up");

  before("nodes of the version before", async function () {
    const missing = missingHistory();
    if (missing !== undefined) skip(this, missing);
    versions = new Versions(join(findBinDir(), ".."));
    for (const node of NODES) versions.set(node, "before");
    const binDirs = Object.fromEntries(NODES.map((node) => [node, versions?.binDir(node) ?? ""]));
    base = mkdtempSync(join(tmpdir(), "sky-"));
    lab = await Lab.up({ name: "t", nodes: NODES.length, binDirs, base });
    await lab.addNetwork("blue", { cidrs: ["10.50.0.0/24", "fd50::/120"] });
    await lab.addNetwork("lan", { cidrs: ["10.80.0.0/24", "fd80::/120"], mode: "Bridged" });
    for (const node of NODES) await lab.addPod(node, `${node}-a`, { annotations });
  });
  after(async () => {
    await lab?.down();
    versions?.remove();
    if (base !== "") rmSync(base, { recursive: true, force: true });
  });

  /** What of a node's overlay is in the kernel, device and entries: an upgrade touches none of it. */
  const entries = async (node: string): Promise<string> => {
    const parts = await Promise.all([
      the().exec(node, "ip", "-o", "link", "show", "type", "vxlan"),
      the().exec(node, "sh", "-c", "ip route show proto 83; ip -6 route show proto 83"),
      // Those of pods are made permanent in their own time.
      the().exec(
        node,
        "sh",
        "-c",
        "{ ip neigh show nud permanent; ip -6 neigh show nud permanent; } | grep 'dev sky[.]'",
      ),
      the().exec(node, "sh", "-c", "for dev in /sys/class/net/sky.*; do bridge fdb show dev ${dev##*/}; done"),
    ]);
    return parts
      .map((part) =>
        part
          .split("\n")
          .map((line) => line.trim())
          .sort()
          .join("\n"),
      )
      .join("\n--\n");
  };
  const pid = async (node: string): Promise<string> =>
    (await the().exec(node, "pgrep", "-of", "skylane-agent.cjs")).trim();
  /** Has the agent of a node be another version, as a DaemonSet's rollout does: the old one gets SIGTERM, the new one comes. */
  const upgrade = async (node: string, to: "before" | "now"): Promise<void> => {
    const former = await pid(node);
    versions?.set(node, to);
    await the().exec(node, "kill", "-TERM", former);
    await eventually(async () => (await pid(node)) !== former, {
      timeoutMs: 60_000,
      message: "no other agent has come",
    });
    await eventually(async () => (await the().status(the().node(node))).ready.ready, {
      timeoutMs: 60_000,
      message: `${node} is not ready`,
    });
  };
  const versionOf = async (node: string): Promise<string> => {
    const executable = await the().exec(node, "readlink", `/proc/${await pid(node)}/exe`);
    return executable.includes("/before-") ? "before" : "now";
  };
  /** Every pod reaches every other one, by every network that they are in. */
  const allReached = async (): Promise<void> => {
    await eventually(async () => (assert.deepEqual(await lost(the()), []), true), { message: "the default network" });
    for (const from of the().pods())
      for (const to of the()
        .pods()
        .filter(({ name }) => name !== from.name))
        for (const ifname of ["net1", "net2"])
          for (const ip of the().ipsOf(to.name, ifname))
            await eventually(async () => (await the().pingFrom(from, ip, 2000)).rttMs !== undefined, {
              message: `${from.name} does not reach ${to.name} at ${ip}`,
            });
  };

  it("begins with nodes of the version before that have all networks", async () => {
    await allReached();
    assert.deepEqual(await Promise.all(NODES.map(versionOf)), ["before", "before"]);
  });

  for (const [node, other] of [
    ["node1", "node2"],
    ["node2", "node1"],
  ] as const) {
    it(`of ${node} loses no packet, in no network, and touches nothing of the overlay`, async () => {
      const before = await entries(node);
      const [from, to] = [the().pod(`${other}-a`), `${node}-a`];
      const ips = [the().pod(to).ips[0], the().ipsOf(to, "net1")[0], the().ipsOf(to, "net2")[0]];
      const asked = ips.map(() => Promise.withResolvers<void>());
      const upgraded = Promise.all(asked.map(({ promise }) => promise)).then(() => upgrade(node, "now"));
      const ask = async (ip: string | undefined, begun: PromiseWithResolvers<void>): Promise<void> => {
        const work = (): Promise<void> => {
          begun.resolve();
          return upgraded;
        };
        const { sent, answered } = await gapDuring(the(), from, ip ?? "", work, UP_MS / 1000);
        // The last one may be on its way when they end.
        assert.ok(sent - answered <= 1, `${sent - answered} of ${sent} echo requests to ${ip} were not answered`);
      };
      await Promise.all(asked.map((begun, n) => ask(ips[n], begun)));
      assert.equal(await versionOf(node), "now");
      assert.equal(await entries(node), before);
      // Of both versions together, and then of this one alone.
      await the().addPod(node, `${node}-b`, { annotations });
      await the().addPod(other, `${other}-${node === "node1" ? "c" : "d"}`, { annotations });
      await allReached();
      await the().deletePod(`${node}-b`);
    });
  }

  it("can be taken back, also with pods that this version has made", async () => {
    await upgrade("node1", "before");
    assert.deepEqual(await Promise.all(NODES.map(versionOf)), ["before", "now"]);
    await the().addPod("node1", "node1-e", { annotations });
    await allReached();
  });
});
