/** Egress gateways in a cluster: what a host outside sees, what becomes of it when a gateway dies, and what is left when they go. */
import assert from "node:assert/strict";
import { run } from "../../../lab/exec.ts";
import { eventually } from "../../support/eventually.ts";
import { OUTSIDE, useOutside } from "./outside.ts";
import { inStep, useLab } from "./support.ts";

const GATEWAYS = "/apis/skylane.dev/v1alpha1/egressgateways";
const MERGE = "application/merge-patch+json";
const EGRESS = { 4: "172.30.0.100", 6: "fd30::100" } as const;

describe("egress gateways", () => {
  const the = useLab({ nodes: 3, agentConfig: { fastPath: "auto" } });
  const { talk, seenOf, sees } = useOutside(the);
  const holders = async (name = "out"): Promise<Record<string, string>> => {
    const { status } = await the().api.call<{ status?: { addresses?: { address: string; node: string }[] } }>(
      "GET",
      `${GATEWAYS}/${name}`,
    );
    return Object.fromEntries((status?.addresses ?? []).map(({ address, node }) => [address, node]));
  };
  const holder = async (family: 4 | 6): Promise<string> =>
    await eventually(async () => (await holders())[EGRESS[family]], { message: `nobody has ${EGRESS[family]}` });
  const waysOf = (node: string, family: number): Promise<string> =>
    the().exec(node, "nft", "list", "map", "inet", "skylane_egress", `pods${family}`);
  const addressesOf = (node: string): Promise<string> => the().exec(node, "ip", "-o", "address", "show");
  const create = (name: string, spec: object): Promise<unknown> =>
    the().api.call("POST", GATEWAYS, {
      apiVersion: "skylane.dev/v1alpha1",
      kind: "EgressGateway",
      metadata: { name },
      spec,
    });

  before("two gateways, with a pod on one of them, and pods on a node that is none", async () => {
    for (const node of ["node2", "node3"])
      await the().api.call("PATCH", `/api/v1/nodes/${node}`, { metadata: { labels: { egress: "yes" } } }, MERGE);
    for (const app of ["chosen", "other"]) await the().addPod("node1", app, { labels: { app } });
    await the().addPod("node2", "nearby", { labels: { app: "chosen" } });
  });

  it("lead selected pods out behind the egress address of their family, and no others", async () => {
    assert.equal(await seenOf("chosen", 4), "172.30.0.11");
    await create("out", {
      podSelector: { matchLabels: { app: "chosen" } },
      nodeSelector: { matchLabels: { egress: "yes" } },
      egressAddresses: [EGRESS[4], EGRESS[6]],
    });
    for (const name of ["chosen", "nearby"])
      for (const family of [4, 6] as const) await sees(name, family, EGRESS[family]);
    assert.equal(await seenOf("other", 4), "172.30.0.11");
    for (const family of [4, 6] as const)
      assert.match(await addressesOf(await holder(family)), new RegExp(`${EGRESS[family].replaceAll(".", "\\.")}/`));
    const { egress } = await the().status(the().node("node1"));
    assert.deepEqual(egress?.faults, []);
    assert.deepEqual(
      egress?.gateways.map(({ gateway, pods }) => [gateway, new Set(pods.map(({ pod }) => pod)).size]),
      [["out", 1]],
    );
  });

  it("have the way of a pod that comes in place when its ADD is answered", async () => {
    for (const n of [1, 2, 3]) {
      await the().addPod("node1", `comes${n}`, { labels: { app: "chosen" } });
      const { ips } = the().pod(`comes${n}`);
      for (const [family, ip] of [4, 6].map((family) => [family, ips[family === 4 ? 0 : 1] ?? ""] as const))
        assert.ok((await waysOf("node1", family)).includes(ip), `${ip} has no way yet`);
      for (const family of [4, 6] as const) await sees(`comes${n}`, family, EGRESS[family]);
    }
    await the().deletePod("comes1");
    const [ip = ""] = the().pod("comes2").ips;
    await eventually(async () => (await waysOf("node1", 4)).includes(ip), {
      message: "another pod's end took its way",
    });
  });

  it("are repaired, whatever of them somebody takes away", async () => {
    const node = await holder(4);
    const gateway = { 4: await holder(4), 6: await holder(6) };
    for (const [where, command, whole] of [
      ["node1", "ip rule del priority 8400", async () => /8400:/.test(await the().exec("node1", "ip", "rule"))],
      [
        "node1",
        "ip route flush table 8401",
        async () => /default/.test(await the().exec("node1", "ip", "route", "show", "table", "8401")),
      ],
      [
        "node1",
        "nft delete table inet skylane_egress",
        async () => (await the().exec("node1", "nft", "list", "tables")).includes("skylane_egress"),
      ],
      [
        node,
        `ip address del ${EGRESS[4]}/32 dev eth0`,
        async () => (await addressesOf(node)).includes(`${EGRESS[4]}/32`),
      ],
      [
        gateway[6],
        `ip address del ${EGRESS[6]}/128 dev eth0`,
        async () => (await addressesOf(gateway[6])).includes(`${EGRESS[6]}/128`),
      ],
      [
        node,
        "nft flush chain inet skylane_egress postrouting",
        async () =>
          (await the().exec(node, "nft", "list", "chain", "inet", "skylane_egress", "postrouting")).includes("snat"),
      ],
    ] as const) {
      const [program = "", ...argv] = command.split(" ");
      await the().exec(where, program, ...argv);
      await eventually(whole, { message: command });
    }
    for (const family of [4, 6] as const) await sees("chosen", family, EGRESS[family]);
  });

  it("let nobody begin a connection to an egress address, nor send in a stranger's name through the tunnel", async () => {
    const dropped = async (node: string, table: string, comment: string): Promise<number> => {
      const text = await the().exec(node, "nft", "list", "table", "inet", table);
      return Number(new RegExp(`packets (\\d+) bytes \\d+ drop comment "${comment}"`).exec(text)?.[1] ?? 0);
    };
    const node = await holder(4);
    await assert.rejects(run(the().enterFabric("ping", "-n", "-c1", "-W1", EGRESS[4]), { env: the().context.env }));
    assert.ok((await dropped(node, "skylane_egress", "to an egress address")) > 0);
    const [ip] = the().pod("chosen").ips as [string];
    await assert.rejects(the().exec(node, "ping", "-n", "-c1", "-W1", "-I", EGRESS[4], ip));
    assert.ok((await dropped("node1", "skylane_egress", "not an answer to a pod")) > 0);
  });

  it("have a node that is cut off let go of its address by itself, and the other one take it", async () => {
    const before = await holder(4);
    await the().partition(before);
    try {
      await eventually(async () => !(await addressesOf(before)).includes(EGRESS[4]), {
        message: `${before} keeps the address that it cannot know to be its own`,
      });
      await sees("chosen", 4, EGRESS[4]);
      assert.notEqual(await holder(4), before);
    } finally {
      await the().heal();
    }
    await inStep(the());
  });

  it("keep a pod's connection when the node that has its address dies, and the other one takes it", async () => {
    const before = await holder(4);
    const said = talk("chosen", OUTSIDE[4]);
    await eventually(() => said().length > 3, { message: "a connection is not answered" });
    await the().killNode(before);
    await eventually(async () => (await holders())[EGRESS[4]] !== before, {
      message: `${before} still has the address`,
    });
    await sees("chosen", 4, EGRESS[4]);
    const at = said().length;
    await eventually(() => said().length > at, { message: "the connection from before is answered no more" });
    await sees("chosen", 6, EGRESS[6]);
    await the().restartNode(before);
  });

  it("leave nothing when they are deleted, and pods leave behind their node's address again", async () => {
    await the().api.call("DELETE", `${GATEWAYS}/out`);
    await sees("chosen", 4, "172.30.0.11");
    for (const { name } of the().nodes()) {
      await eventually(async () => !(await the().exec(name, "nft", "list", "tables")).includes("skylane_egress"));
      await eventually(async () => !/8400:/.test(await the().exec(name, "ip", "rule")));
      await eventually(async () => !(await addressesOf(name)).includes(EGRESS[4]));
      await eventually(async () => !(await addressesOf(name)).includes(EGRESS[6]));
    }
  });
});
