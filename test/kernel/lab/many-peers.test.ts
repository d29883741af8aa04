import assert from "node:assert/strict";
import { cidrsOverlap } from "../../../src/addr/index.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

const NETWORKS = 20;
const PEERS = 250;
const BLOCKS = "/apis/skylane.dev/v1alpha1/networkblocks";
const nameOf = (network: number): string => `net-${network}`;

describe("a node with five thousand peers in twenty pod networks", function () {
  this.timeout(300_000);
  const the = useLab({ nodes: 2 });

  /** Nodes that exist in the API server only, each in one network with one block. */
  async function addPeers(): Promise<void> {
    const { items } = await the().api.call<{ items: { spec: { cidr: string } }[] }>("GET", BLOCKS);
    const taken = items.map(({ spec }) => spec.cidr);
    const nodes = Array.from({ length: NETWORKS }, (_, network) => {
      const blocks = Array.from({ length: 1_024 }, (_, n) => `10.${100 + network}.${n >> 2}.${(n & 3) * 64}/26`);
      const free = blocks.filter((cidr) => !taken.some((one) => cidrsOverlap(one, cidr)));
      return free.slice(0, PEERS).map((cidr, n) => ({
        name: `peer-${network}-${n}`,
        network: nameOf(network),
        cidr,
        vtep: {
          [nameOf(network)]: {
            vni: 5000 + network,
            mac: `02:00:00:00:${network.toString(16).padStart(2, "0")}:${n.toString(16).padStart(2, "0")}`,
            ips: [`10.9.${network}.${n + 1}`],
            podCidrs: [cidr],
            port: 4789,
          },
        },
      }));
    }).flat();
    const waiting = nodes.values();
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (const { name, network, cidr, vtep } of waiting) {
          const { metadata } = await the().api.call<{ metadata: { uid: string } }>("POST", "/api/v1/nodes", {
            apiVersion: "v1",
            kind: "Node",
            metadata: { name, annotations: { "skylane.dev/vtep": JSON.stringify(vtep) } },
          });
          await the().api.call("POST", BLOCKS, {
            apiVersion: "skylane.dev/v1alpha1",
            kind: "NetworkBlock",
            metadata: {
              name: `${network}.${cidr.replace(/[./]/g, "-")}`,
              labels: { "skylane.dev/network": network, "skylane.dev/node": name },
              ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid: metadata.uid }],
            },
            spec: { network, cidr, node: name },
          });
        }
      }),
    );
  }

  /** Every network has all peers in the kernel, the other node among them. */
  async function complete(): Promise<true> {
    const { networks, ready } = await the().status(the().node("node1"));
    assert.ok(ready.ready, JSON.stringify(ready));
    const further = networks.slice(1);
    assert.equal(further.length, NETWORKS);
    for (const { network, ready, peers, refused, entries } of further) {
      assert.ok(ready, `${network} is not ready`);
      assert.deepEqual(refused, []);
      assert.equal(peers.filter(({ state }) => state === "programmed").length, PEERS + 1, network);
      for (const { expected, present } of Object.values(entries)) assert.equal(present, expected);
    }
    return true;
  }

  before("two nodes in twenty networks, and two hundred and fifty peers in each", async () => {
    for (let n = 0; n < NETWORKS; n++)
      await the().addNetwork(nameOf(n), { cidrs: [`10.${100 + n}.0.0/16`], vni: 5000 + n });
    const annotations = { [NETWORKS_ANNOTATION]: Array.from({ length: NETWORKS }, (_, n) => nameOf(n)).join(",") };
    for (const node of ["node1", "node2"]) await the().addPod(node, node, { annotations, timeoutMs: 60_000 });
    await addPeers();
    await eventually(complete, { timeoutMs: 60_000, intervalMs: 500 });
  });

  for (const signal of ["TERM", "KILL"]) {
    it(`loses no packet when its agent is restarted by SIG${signal}`, async () => {
      const { netns } = the().pod("node1");
      const pings = [0, 7, 19].map((network) => {
        const [ip] = the().ipsOf("node2", `net${network + 1}`) as [string];
        const ping = ["ping", "-n", "-q", "-c", "1000", "-i", "0.01", ip] as const;
        return the().exec("node1", "nsenter", `--net=${netns}`, ...ping);
      });
      const began = Date.now();
      await the().exec("node1", "pkill", `-${signal}`, "-f", "skylane-agent.cjs");
      await eventually(
        async () => (await the().status(the().node("node1"))).uptimeSeconds < (Date.now() - began) / 1_000 + 1,
        {
          timeoutMs: 20_000,
          message: "there is no new agent",
        },
      );
      for (const ping of await Promise.all(pings)) assert.match(ping, /1000 received, 0% packet loss/);
      await eventually(complete, { timeoutMs: 60_000, intervalMs: 500 });
    });
  }
});
