import assert from "node:assert/strict";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";
import { assertUnderASecond } from "../../support/pace.ts";
import { useLab } from "./support.ts";

const NETWORKS = 150;
/** Of a pod; it may have up to 32. */
const INTERFACES = 30;
const PODS = NETWORKS / INTERFACES;

const nameOf = (network: number): string => `net-${network}`;
/** Interfaces are named in the order in which a pod asks for its networks. */
const ifnameOf = (network: number): string => `net${(network % INTERFACES) + 1}`;

describe("a hundred and fifty pod networks at once", function () {
  this.timeout(600_000);
  const the = useLab({ nodes: 3 });
  /** On each node the one with number n is in networks 30 n to 30 n + 29. */
  const everywhere = (work: (node: string, pod: number) => Promise<unknown>): Promise<unknown> =>
    Promise.all(
      the()
        .nodes()
        .map(async ({ name }) => {
          for (let pod = 0; pod < PODS; pod++) await work(name, pod);
        }),
    );
  const podOf = (node: string, network: number): string => `${node}-${Math.floor(network / INTERFACES)}`;
  const processorSeconds = async (node: string): Promise<number> => {
    const [user = 0, system = 0] = (
      await the().exec(node, "sh", "-c", "cut -d' ' -f14,15 /proc/$(pgrep -of skylane-agent.cjs)/stat")
    )
      .split(" ")
      .map(Number);
    return (user + system) / 100;
  };

  before("a hundred and fifty networks on each of three nodes", async () => {
    for (let n = 0; n < NETWORKS; n++) {
      const cidr = `10.${100 + (n >> 8)}.${n & 255}.0/24`;
      await the().addNetwork(nameOf(n), { cidrs: [cidr], vni: 5000 + n, blockSize: 16 });
    }
    await everywhere((node, pod) => {
      const networks = Array.from({ length: INTERFACES }, (_, n) => nameOf(pod * INTERFACES + n));
      const annotations = { [NETWORKS_ANNOTATION]: networks.join(",") };
      return the().addPod(node, `${node}-${pod}`, { annotations, timeoutMs: 120_000 });
    });
  });

  it("are all ready, and their agents are", async () => {
    for (const node of the().nodes()) {
      const { ready, networks } = await the().status(node);
      assert.ok(ready.ready, JSON.stringify(ready));
      assert.equal(networks.length, 1 + NETWORKS);
      assert.deepEqual(
        networks.filter((network) => !network.ready).map(({ network }) => network),
        [],
      );
    }
  });

  it("carry their pods' packets", async () => {
    for (const [at, network] of [0, 1, 29, 30, 59, 60, 90, 120, 149].entries()) {
      const other = at % 2 === 0 ? "node2" : "node3";
      const [ip] = the().ipsOf(podOf(other, network), ifnameOf(network)) as [string];
      const pod = the().pod(podOf("node1", network));
      await eventually(async () => (await the().pingFrom(pod, ip, 500)).rttMs !== undefined, {
        timeoutMs: 30_000,
        message: `${nameOf(network)}: ${pod.name} does not reach ${ip} on ${other}`,
      });
    }
  });

  it("cost an agent that has nothing to do next to nothing", async () => {
    // A minute has six rounds of housekeeping; two of them say as much.
    const before = await processorSeconds("node1");
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    const spent = (await processorSeconds("node1")) - before;
    // A tenth of a processor; what a processor gets done in a time is less where others have its caches.
    assertUnderASecond((spent / 1.5) * 1_000, `the agent took ${spent} s of processor time in 15 s`);
  });

  it("leave nothing when their pods go", async () => {
    await everywhere((node, pod) => the().deletePod(`${node}-${pod}`));
    for (const node of the().nodes()) {
      const spaces = async () =>
        (await the().exec(node.name, "ls", "/run/netns")).split("\n").filter((one) => one.startsWith("sky-"));
      await eventually(async () => (await spaces()).length === 0, {
        timeoutMs: 30_000,
        message: `${node.name} has namespaces left`,
      });
      const status = await the().status(node);
      assert.ok(status.ready.ready, JSON.stringify(status.ready));
      assert.equal(status.networks.length, 1);
      const tunnels = async () =>
        /vxlan_5\d\d\d/.test(await the().exec(node.name, "nft", "list", "table", "inet", "skylane"));
      await eventually(async () => !(await tunnels()), { timeoutMs: 15_000, message: `${node.name} has rules left` });
    }
    const { items } = await the().api.call<{ items: unknown[] }>("GET", "/apis/skylane.dev/v1alpha1/networkblocks");
    assert.deepEqual(items, []);
  });
});
