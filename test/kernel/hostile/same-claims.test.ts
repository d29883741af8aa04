import assert from "node:assert/strict";
import { VTEP_ANNOTATION } from "../../../src/peers/index.ts";
import { eventuallyHolds } from "../../support/eventually.ts";
import { lost, useLab } from "../lab/support.ts";
import { attack, type Entry, hostileNode } from "./support.ts";

const NODES = "/api/v1/nodes";

describe("Nodes that claim what another node has", () => {
  const the = useLab({ nodes: 3 });
  let honest: Entry;

  before("a pod on each node", async () => {
    for (const node of [1, 2, 3]) await the().addPod(`node${node}`, `pod${node}`);
    const { items } = await the().api.call<{ items: { metadata: { name: string; creationTimestamp: string } }[] }>(
      "GET",
      NODES,
    );
    // Below, a node with a smaller number is the older one.
    const ages = items.map(({ metadata: { name, creationTimestamp } }) => `${creationTimestamp} ${name}`);
    assert.deepEqual(
      ages.toSorted().map((one) => one.split(" ")[1]),
      ["node1", "node2", "node3"],
    );
    const { metadata } = await the().api.call("GET", `${NODES}/node3`);
    honest = (JSON.parse(metadata.annotations?.[VTEP_ANNOTATION] ?? "{}") as Record<string, Entry>)["default"] ?? {};
  });

  /** Everybody reaches everybody but the liar, who is refused for this reason on all other nodes. */
  async function unharmed(liar: string, reason: RegExp): Promise<void> {
    const others = the()
      .nodes()
      .filter(({ name }) => name !== liar);
    for (const node of others) {
      await eventuallyHolds(
        async () => {
          const { networks, ready } = await the().status(node);
          const said = (networks[0]?.refused ?? []).map((one) => `${one.node} ${one.reason}: ${one.message}`);
          assert.equal(said.length, 1, said.join("\n"));
          assert.match(said.join(), reason);
          assert.ok(ready.ready, JSON.stringify(ready));
        },
        { timeoutMs: 60_000 },
      );
    }
    const pods = the()
      .pods()
      .filter(({ node }) => node !== liar);
    await eventuallyHolds(async () =>
      assert.deepEqual(
        (await the().ping(pods)).filter(({ rttMs }) => rttMs === undefined),
        [],
      ),
    );
  }

  for (const [what, change] of [
    ["address", { ips: ["172.30.0.13", "fd30::13"] }],
    ["IPv4 address beside its own IPv6 one", { ips: ["172.30.0.13", "fd30::11"] }],
    ["MAC", {}],
    ["address and MAC", { ips: ["172.30.0.13"] }],
  ] as [string, Entry][]) {
    attack("node", `that is older announces a younger one's ${what}`, async () => {
      const mallory = await hostileNode(the(), "node1");
      try {
        await mallory.change({ ...change, ...(what.includes("MAC") && { mac: honest["mac"] }) });
        await unharmed("node1", /^node1 (DuplicateVtep(Ip|Mac)|CollidesWithSelf): /);
      } finally {
        await mallory.repent();
      }
      await eventuallyHolds(async () => assert.deepEqual(await lost(the()), []));
      return "refused; the younger node kept what is its own";
    });
  }

  it("a dead Node, older and with the same address in its status, yields to the live one", async () => {
    const lab = the();
    // Its machine was turned off; its address is another's by now, and its object has been left behind.
    const name = "node2";
    const before = await lab.api.call("GET", `${NODES}/${name}`);
    const own = JSON.parse(before.metadata.annotations?.[VTEP_ANNOTATION] ?? "{}") as Record<string, Entry>;
    const entry = { ...own["default"], ips: ["172.30.0.13"] };
    await lab.killNode(name);
    const merge = "application/merge-patch+json";
    const addresses = [{ type: "InternalIP", address: "172.30.0.13" }];
    const status = { addresses, conditions: [{ type: "Ready", status: "True" }] };
    await lab.api.call("PATCH", `${NODES}/${name}/status`, { status }, merge);
    const annotations = { [VTEP_ANNOTATION]: JSON.stringify({ default: entry }) };
    // The kubelet's last word lasts for as long as it said; here ten seconds, so that nobody has to wait for long.
    const lease = `/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/${name}`;
    const renew = async (): Promise<void> => {
      const renewTime = new Date().toISOString().replace("Z", "000Z");
      await lab.api.call("PATCH", lease, { spec: { leaseDurationSeconds: 10, renewTime } }, merge);
    };
    await renew();
    await lab.api.call("PATCH", `${NODES}/${name}`, { metadata: { annotations } }, merge);
    // As long as its lease is renewed, the others cannot tell; the one that loses by it says so.
    const loser = lab.node("node3");
    await eventuallyHolds(
      async () => {
        await renew();
        const { checks, ready } = (await lab.status(loser)).ready;
        const published = checks.find((check) => check.name === "published");
        assert.equal(ready, false);
        assert.match(
          published?.message ?? "",
          /prefer node2 to this node: its underlay address 172\.30\.0\.13 is that of the /,
        );
      },
      { timeoutMs: 60_000 },
    );
    // No node controller has said anything: its condition is Ready still.
    await unharmed(name, /^node2 (DuplicateVtepIp: .* of the live node node3|CollidesWithSelf)/);
    await lab.restartNode(name);
    await eventuallyHolds(async () => assert.deepEqual(await lost(lab), []), { timeoutMs: 60_000 });
  });
});
