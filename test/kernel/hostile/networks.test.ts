import assert from "node:assert/strict";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventuallyHolds } from "../../support/eventually.ts";
import { useLab } from "../lab/support.ts";
import { attack, type Entry, hostileNode } from "./support.ts";

const API = "/apis/skylane.dev/v1alpha1";
const MALLORY = "02:00:00:00:66:66";

describe("a hostile node in pod networks", function () {
  const the = useLab({ nodes: 3 });
  const wants = (networks: string) => ({ annotations: { [NETWORKS_ANNOTATION]: networks } });
  const others = ["node1", "node2"];
  /** What a node has of its peers in a network's namespace. */
  const tables = async (node: string, network: string): Promise<string> =>
    [
      await the().exec(node, "bridge", "-n", `sky-${network}`, "fdb", "show"),
      await the().exec(node, "ip", "-n", `sky-${network}`, "route"),
    ].join("");
  const refused = async (node: string, network: string): Promise<string[]> => {
    const { networks } = await the().status(the().node(node));
    const one = networks.find((status) => status.network === network);
    return (one?.refused ?? []).map(({ node: who, reason }) => `${who} ${reason}`);
  };
  const blocksOf = async (network: string, node: string): Promise<string[]> => {
    const { items } = await the().api.call<{ items: { spec: { cidr: string; network: string; node?: string } }[] }>(
      "GET",
      `${API}/networkblocks`,
    );
    return items.filter(({ spec }) => spec.network === network && spec.node === node).map(({ spec }) => spec.cidr);
  };
  const allReach = async (): Promise<void> => {
    for (const network of ["blue", "lan"])
      for (const [from, to] of [
        [1, 2],
        [2, 1],
      ])
        for (const ip of the().ipsOf(`${network}${to}`, "net1")) {
          const { rttMs, error } = await the().pingFrom(the().pod(`${network}${from}`), ip, 2000);
          assert.ok(rttMs !== undefined, `${network}${from} → ${ip}: ${error}`);
        }
  };
  const allReady = async (): Promise<void> => {
    for (const node of others) assert.ok((await the().status(the().node(node))).ready.ready, node);
  };

  before("a routed and a bridged network on two of three nodes", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/16", "fd50::/64"] });
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged" });
    for (const n of [1, 2])
      for (const network of ["blue", "lan"]) await the().addPod(`node${n}`, `${network}${n}`, wants(network));
    await the().addPod("node3", "pod3");
  });

  for (const network of ["blue", "lan"]) {
    attack("node", `announces itself in ${network}, where it has no block`, async () => {
      const mallory = await hostileNode(the(), "node3");
      const { vni } = await the()
        .api.call<{ spec: { vni: number } }>("GET", `${API}/podnetworks/${network}`)
        .then(({ spec }) => spec);
      const entry: Entry = { vni, mac: MALLORY, port: 4789, podCidrs: network === "lan" ? [] : ["10.50.77.0/26"] };
      await mallory.change(entry, network);
      const { metadata } = await the().api.call<{ metadata: { annotations: Record<string, string> } }>(
        "GET",
        "/api/v1/nodes/node3",
      );
      const said = JSON.parse(metadata.annotations["skylane.dev/vtep"] ?? "{}") as Record<string, Entry>;
      await mallory.change({ ...entry, ips: said["default"]?.["ips"] }, network);
      await eventuallyHolds(
        async () => {
          for (const node of others) assert.deepEqual(await refused(node, network), ["node3 NoNetworkBlock"]);
        },
        { timeoutMs: 60_000 },
      );
      for (const node of others) {
        const found = await tables(node, network);
        assert.doesNotMatch(found, new RegExp(MALLORY));
        assert.doesNotMatch(found, /10\.50\.77\./);
      }
      await allReach();
      await allReady();
      await mallory.repent();
      await eventuallyHolds(async () => assert.deepEqual(await refused("node1", network), []));
      return "refused by name; no entry of any kind leads there";
    });
  }

  attack("node", "with a block of its own announces others' blocks and everything besides", async () => {
    await the().addPod("node3", "blue3", wants("blue"));
    const own = await blocksOf("blue", "node3");
    const four = own.find((cidr) => cidr.includes(".")) as string;
    await eventuallyHolds(async () => {
      for (const node of others) assert.ok((await tables(node, "blue")).includes(four));
    });
    const mallory = await hostileNode(the(), "node3");
    const wanted = [...(await blocksOf("blue", "node1")), "10.50.128.0/17", "10.50.0.1/32", "10.50.0.0/16"];
    await mallory.change({ podCidrs: [...wanted, ...own] }, "blue");
    await eventuallyHolds(
      async () => {
        for (const node of others) {
          const log = await the().exec(node, "cat", "/var/log/skylane-agent.log");
          assert.match(log, /node node3 announces .*10\.50\.128\.0\/17.* in network blue without a NetworkBlock/);
        }
      },
      { timeoutMs: 60_000 },
    );
    for (const node of others) {
      const routes = await the().exec(node, "ip", "-n", "sky-blue", "route");
      assert.ok(routes.includes(four), `${node} has lost the node's own block`);
      assert.doesNotMatch(routes, /10\.50\.128\.0\/17|10\.50\.0\.0\/16 via|10\.50\.0\.1 via/);
    }
    await allReach();
    await allReady();
    await mallory.repent();
    return "its own block counts and nothing else does; told by name";
  });

  attack("node", "makes blocks of another size over another node's and announces them", async () => {
    const mallory = await hostileNode(the(), "node3");
    const [victim] = (await blocksOf("blue", "node1")).filter((cidr) => cidr.includes("."));
    const own = await blocksOf("blue", "node3");
    const [base = ""] = (victim ?? "").split("/");
    const wider = base.replace(/\d+$/, (last) => String(Number(last) & 128));
    const stolen = [`${base}/27`, `${wider}/25`];
    const { metadata } = await the().api.call<{ metadata: { uid: string } }>("GET", "/api/v1/nodes/node3");
    for (const cidr of stolen)
      await the().api.call("POST", `${API}/networkblocks`, {
        apiVersion: "skylane.dev/v1alpha1",
        kind: "NetworkBlock",
        metadata: {
          name: `blue.${cidr.replace(/[.:/]/g, "-")}`,
          labels: { "skylane.dev/network": "blue", "skylane.dev/node": "node3", "skylane.dev/block-size": "32" },
          ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "node3", uid: metadata.uid }],
        },
        spec: { network: "blue", cidr, node: "node3" },
      });
    await mallory.change({ podCidrs: [...stolen, ...own] }, "blue");
    // A pod that comes is the proof that its node has looked at all blocks since.
    await the().addPod("node1", "blue4", wants("blue"));
    await eventuallyHolds(
      async () => {
        const log = await the().exec("node2", "cat", "/var/log/skylane-agent.log");
        assert.ok(log.includes(`announces ${stolen.join(", ")} in network blue without a NetworkBlock`));
      },
      { timeoutMs: 60_000 },
    );
    for (const cidr of stolen) {
      const routes = await the().exec("node2", "ip", "-n", "sky-blue", "route");
      assert.ok(!routes.includes(cidr), routes);
    }
    assert.ok((await blocksOf("blue", "node1")).includes(victim as string));
    await allReach();
    await allReady();
    await mallory.repent();
    return "the older block has the addresses; its node keeps it";
  });
});
