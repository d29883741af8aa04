import assert from "node:assert/strict";
import { readVtepAnnotation, VTEP_ANNOTATION } from "../../../src/peers/index.ts";
import { eventuallyHolds } from "../../support/eventually.ts";
import { inStep, lost, useLab } from "./support.ts";

describe("the underlay family of a dual-stack node", () => {
  const the = useLab({ nodes: 3 });
  const STATUS = "/api/v1/nodes/node2/status";

  before("a pod on each node", async () => {
    for (const node of [1, 2, 3]) await the().addPod(`node${node}`, `pod${node}`);
  });

  /** What its kubelet reports from now on; the lab's own would put it right in ten seconds, and is not let. */
  async function report(...ips: string[]): Promise<void> {
    await the().setFaults({
      rules: [
        {
          match: { verbs: ["patch"], resources: ["nodes"], names: ["node2"], users: ["system:node:node2"] },
          action: { kind: "status", code: 503 },
        },
      ],
    });
    const addresses = ips.map((address) => ({ type: "InternalIP", address }));
    await the().api.call("PATCH", STATUS, { status: { addresses } }, "application/merge-patch+json");
  }

  afterEach(() => the().clearFaults());

  const published = async (): Promise<string[]> => {
    const { metadata } = await the().api.call("GET", "/api/v1/nodes/node2");
    return readVtepAnnotation(metadata.annotations?.[VTEP_ANNOTATION] ?? "{}", "default")?.ips ?? [];
  };

  for (const [what, ips] of [
    ["its InternalIPs change their order", ["fd30::12", "172.30.0.12"]],
    ["one family is missing in them", ["fd30::12"]],
  ] as [string, string[]][]) {
    it(`stays when ${what}, also over a restart of the agent`, async () => {
      await report(...ips);
      await the().exec("node2", "pkill", "-KILL", "-f", "skylane-agent.cjs");
      await eventuallyHolds(
        async () => {
          const { networks, api } = await the().status(the().node("node2"));
          assert.equal(api.state, "synced");
          assert.equal(networks[0]?.underlayIp, "172.30.0.12");
          assert.deepEqual(networks[0]?.refused, []);
        },
        { timeoutMs: 60_000 },
      );
      await inStep(the());
      assert.deepEqual(await lost(the()), []);
      assert.equal((await published())[0], "172.30.0.12");
    });
  }

  it("is another one by the operator's word, and then everybody is told by name why they do not hear each other", async () => {
    const annotate = (value: string | null) =>
      the().api.call(
        "PATCH",
        "/api/v1/nodes/node2",
        { metadata: { annotations: { "skylane.dev/underlay-ip": value } } },
        "application/merge-patch+json",
      );
    await annotate("fd30::12,172.30.0.12");
    await eventuallyHolds(
      async () => {
        const one = await the().status(the().node("node1"));
        assert.deepEqual(
          one.networks[0]?.refused.map(({ node, message }) => `${node}: ${message}`),
          ["node2: it receives over IPv6 (fd30::12), this node's over IPv4 (172.30.0.11)"],
        );
        const two = await the().status(the().node("node2"));
        assert.equal(two.networks[0]?.refused.length, 2);
      },
      { timeoutMs: 30_000 },
    );
    await annotate(null);
    await eventuallyHolds(async () => assert.deepEqual(await lost(the()), []), { timeoutMs: 60_000 });
  });
});
