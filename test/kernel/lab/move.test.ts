import assert from "node:assert/strict";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { setTimeout as pause } from "node:timers/promises";
import { moveUnderLoad } from "../../../lab/index.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";
import { assertUnderASecond } from "../../support/pace.ts";

const API = "/apis/skylane.dev/v1alpha1";

interface Endpoint {
  mac: string;
  ips: string[];
  moves: number;
}
describe("a workload with a claim in a bridged network", function () {
  const the = useLab({ nodes: 3 });
  const endpoints = async (): Promise<Map<string, Endpoint[]>> => {
    const { items } = await the().api.call<{ items: { spec: { node: string; endpoints?: Endpoint[] } }[] }>(
      "GET",
      `${API}/networkendpoints`,
    );
    return new Map(items.map(({ spec: { node, endpoints: list = [] } }) => [node, list]));
  };
  const wants = (value: object) => ({
    annotations: { [NETWORKS_ANNOTATION]: JSON.stringify([{ name: "lan", ...value }]) },
  });
  /** Nodes that publish an address. */
  const ownersOf = async (ip: string): Promise<string[]> =>
    [...(await endpoints())].filter(([, list]) => list.some(({ ips }) => ips.includes(ip))).map(([node]) => node);

  before("a segment over three nodes, a witness and a workload", async () => {
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged" });
    await the().addClaim("vm", { network: "lan", podName: "vm" });
    await the().addPod("node1", "witness", wants({}));
    await the().addPod("node2", "vm", wants({}));
    // What its first pod in a network costs a node is not what a move costs.
    await the().addPod("node3", "resident", wants({}));
  });

  it("has the claim's addresses, which say whose they are", async () => {
    const { node, pod, ips, mac } = await the().claim("vm");
    assert.equal(node, "node2");
    assert.equal(pod, "vm");
    assert.deepEqual(the().ipsOf("vm", "net1").sort(), [...ips].sort());
    assert.match(await the().execInPod("vm", "ip", "-br", "link", "show", "net1"), new RegExp(mac as string));
    assert.deepEqual(await ownersOf(ips[0] as string), ["node2"]);
  });

  it("moves under a running ping in less than a second, with its addresses and connections", async function () {
    const before = await the().claim("vm");
    const [ip] = before.ips as [string];
    const witness = the().pod("witness");
    const { gap, transfer } = await moveUnderLoad(the(), { pod: "vm", to: "node3", from: witness, ip });
    assertUnderASecond(gap.longestMs, "the longest gap");
    assert.ok(gap.answered > 50, `${gap.answered} of ${gap.sent} echo requests answered`);
    assert.ok(transfer.same, `${transfer.received.bytes} of ${transfer.sent.bytes} bytes received, or others`);
    const after = await the().claim("vm");
    assert.deepEqual([after.ips, after.mac, after.node], [before.ips, before.mac, "node3"]);
    assert.deepEqual(await ownersOf(ip), ["node3"]);
    await the().checkPod("vm");
  });

  it("keeps its addresses when it is made again on another node", async () => {
    const { ips } = await the().claim("vm");
    await the().deletePod("vm");
    await the().addPod("node1", "vm", wants({}));
    assert.deepEqual(the().ipsOf("vm", "net1").sort(), [...ips].sort());
    const [ip] = ips as [string];
    // The other nodes hear a moment after ADD where a claim's addresses are.
    await eventually(async () => (await the().pingFrom(the().pod("witness"), ip, 1000)).rttMs !== undefined);
    await the().movePod("vm", "node2");
  });

  it("is refused to another pod while it has them", async () => {
    await assert.rejects(
      the().addPod("node3", "thief", { ...wants({ claim: "vm" }), timeoutMs: 100 }),
      /IPClaim default\/vm is in use by pod vm on node node2/,
    );
    await assert.rejects(
      the().addPod("node3", "thief", { ...wants({ claim: "none" }), timeoutMs: 100 }),
      /none.*does not exist/,
    );
  });

  it("is handed over by a pod on standby with its first frame, and not before", async () => {
    const { ips } = await the().claim("vm");
    const [ip] = ips as [string];
    await the().addPod("node3", "vm-target", wants({ claim: "vm", standby: true }));
    assert.deepEqual(the().ipsOf("vm-target", "net1").sort(), [...ips].sort());
    await pause(1_000);
    assert.deepEqual(await ownersOf(ip), ["node2"]);
    const [witness = ""] = the().ipsOf("witness", "net1");
    assert.ok((await the().pingFrom(the().pod("witness"), ip, 1000)).rttMs !== undefined);
    await eventually(
      async () => {
        await the().execInPod("vm-target", "sh", "-c", `ping -n -c1 -W1 ${witness} >/dev/null; true`);
        return (await ownersOf(ip)).join() === "node3";
      },
      { message: "not taken over" },
    );
    const now = await the().claim("vm");
    assert.deepEqual([now.node, now.pod], ["node3", "vm-target"]);
    await the().deletePod("vm-target");
    await the().deletePod("vm");
    await the().addPod("node2", "vm", wants({}));
  });

  it("is where it was last moved to after forty moves, by all nodes", async function () {
    this.timeout(240_000);
    const { ips, mac = "none" } = await the().claim("vm");
    const [ip] = ips as [string];
    const nodes = ["node1", "node2", "node3"];
    for (const name of ["node2", "node3"]) await the().addPod(name, `by-${name}`, wants({}));
    for (let n = 0; n < 40; n++) {
      const at = nodes.indexOf(the().pod("vm").node);
      await the().movePod("vm", nodes[(at + 1 + (n % 2)) % 3] as string);
    }
    const { node } = the().pod("vm");
    await eventually(async () => (await ownersOf(ip)).join() === node, { message: "published by another node" });
    for (const name of nodes) {
      const fdb = await the().exec(name, "bridge", "-n", "sky-lan", "fdb", "show", "br", "skybr");
      const lines = fdb.split("\n").filter((line) => line.startsWith(mac));
      const ports = lines.map((line) => /dev (\S+)/.exec(line)?.[1]);
      if (name === node)
        assert.ok(
          ports.every((port) => port !== "sky.5000"),
          `${name}: ${lines.join("; ")}`,
        );
      else assert.ok(ports.length > 0 && ports.every((port) => port === "sky.5000"), `${name}: ${lines.join("; ")}`);
    }
    assert.ok((await the().pingFrom(the().pod("witness"), ip, 1000)).rttMs !== undefined);
  });
});
