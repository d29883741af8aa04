import assert from "node:assert/strict";
import { endpointsName, NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import type { PodOptions } from "../../../lab/pods/pods.ts";
import { eventuallyHolds } from "../../support/eventually.ts";
import { useLab } from "../lab/support.ts";
import { attack, hostileNode } from "./support.ts";

const API = "/apis/skylane.dev/v1alpha1";
const MOST = Number.MAX_SAFE_INTEGER - 1;
/** One that proves nothing and contradicts nothing: where it is believed, everything before it has been looked at. */
const SENTINEL = "02:00:00:00:77:77";

interface Endpoint {
  mac: string;
  ips: string[];
  moves?: number;
}

describe("what a hostile node publishes of a network's endpoints", function () {
  const the = useLab({ nodes: 3 });
  const wants = (network: string, more: object = {}): PodOptions => ({
    annotations: { [NETWORKS_ANNOTATION]: JSON.stringify([{ name: network, ...more }]) },
  });
  const others = ["node1", "node2"];
  const macOf = (pod: string): string => {
    const { interfaces = [] } = the().pod(pod).result as { interfaces?: { name: string; mac: string }[] };
    return interfaces.find(({ name }) => name === "net1")?.mac as string;
  };
  const endpointOf = (pod: string): Endpoint => ({ mac: macOf(pod), ips: the().ipsOf(pod, "net1") });
  const pathOf = (network: string, node: string): string => `${API}/networkendpoints/${endpointsName(network, node)}`;
  const publish = async (network: string, endpoints: unknown): Promise<void> => {
    const spec = { network, node: "node3", endpoints };
    await the().api.call("PATCH", pathOf(network, "node3"), { spec }, "application/merge-patch+json");
  };
  const published = async (network: string, node: string): Promise<Endpoint[]> => {
    const { spec } = await the().api.call<{ spec: { endpoints?: Endpoint[] } }>("GET", pathOf(network, node));
    return spec.endpoints ?? [];
  };
  const reaches = async (from: string, to: string): Promise<void> => {
    for (const ip of the().ipsOf(to, "net1")) {
      const { rttMs, error } = await the().pingFrom(the().pod(from), ip, 2000);
      assert.ok(rttMs !== undefined, `${from} → ${to} (${ip}): ${error}`);
    }
  };
  const nothingLost = async (): Promise<void> => {
    for (const network of ["lan", "blue"]) {
      await reaches(`${network}-near`, `${network}-db`);
      await reaches(`${network}-far`, `${network}-db`);
    }
    await reaches("lan-far", "lan-near");
    await reaches("lan-far", "lan-named");
    for (const node of others) assert.ok((await the().status(the().node(node))).ready.ready, node);
  };
  /** Node3's own address in a network that no pod has: the sentinel's. */
  const spare = (pod: string): string => {
    const [ip = ""] = the().ipsOf(pod, "net1");
    return ip.replace(/\d+$/, (last) => String((Number(last) & ~63) + 60));
  };
  /** Publishes in lan what node3's agent had, and more; resolves when the others have taken it in. */
  const tryOut = async (network: string, honest: Endpoint[], more: Endpoint[]): Promise<void> => {
    const pod = `${network}-three`;
    const sentinel = { mac: SENTINEL, ips: [spare(pod)], moves: 0 };
    await publish(network, [...honest, ...more, ...(network === "lan" ? [sentinel] : [])]);
    if (network !== "lan") return;
    for (const node of others)
      await eventuallyHolds(async () => {
        const fdb = await the().exec(node, "bridge", "-n", "sky-lan", "fdb", "show");
        assert.match(fdb, new RegExp(SENTINEL));
      });
  };

  before("pods with claims and without on two nodes, and one of each on the third", async () => {
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged" });
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/16", "fd50::/64"] });
    for (const network of ["lan", "blue"]) {
      for (const name of network === "blue" ? ["db", "three", "idle"] : ["db", "idle"])
        await the().addClaim(`${network}-${name}`, { network, podName: `${network}-${name}` });
      // The third node's object is the oldest.
      await the().addPod("node3", `${network}-three`, wants(network));
      await the().addPod("node1", `${network}-db`, wants(network));
      await the().addPod("node1", `${network}-near`, wants(network));
      await the().addPod("node2", `${network}-far`, wants(network));
      // A claim that has addresses, and no pod.
      await the().addPod("node2", `${network}-idle`, wants(network));
      await the().deletePod(`${network}-idle`);
    }
    await the().addPod("node1", "lan-named", wants("lan", { mac: "02:00:00:00:0b:0b" }));
    await nothingLost();
  });

  for (const network of ["lan", "blue"])
    attack(
      "node",
      `publishes other nodes' addresses and claims in ${network}, with the most moves there can be`,
      async () => {
        const mallory = await hostileNode(the(), "node3");
        const honest = await published(network, "node3");
        const own = spare(`${network}-three`);
        const victims = [`${network}-db`, `${network}-near`, ...(network === "lan" ? ["lan-named"] : [])].map(
          endpointOf,
        );
        const idle = await the().claim(`${network}-idle`);
        const lies: Endpoint[] = [
          ...victims,
          // Another's address behind a MAC of its own, and another's MAC with an address of its own.
          ...victims.map(({ ips }, n) => ({ mac: `02:00:00:00:66:0${n}`, ips })),
          ...victims.map(({ mac }) => ({ mac, ips: [own] })),
          { mac: idle.mac as string, ips: [...idle.ips] },
        ].map((one) => ({ ...one, moves: MOST }));
        for (const lie of lies) {
          await tryOut(network, honest, [lie]);
          await nothingLost();
        }
        await tryOut(network, honest, lies);
        await nothingLost();
        // Whoever has them goes on to publish, and a claim that was idle is used.
        await the().addPod("node2", `${network}-idle`, wants(network));
        // The other nodes hear a moment after ADD where a claim's addresses are.
        await eventuallyHolds(() => reaches(`${network}-near`, `${network}-idle`));
        await the().deletePod(`${network}-idle`);
        await eventuallyHolds(
          async () => {
            const log = await the().exec("node2", "cat", "/var/log/skylane-agent.log");
            assert.match(log, new RegExp(`network ${network}: node node3 may not publish what it does`));
          },
          { timeoutMs: 60_000 },
        );
        await publish(network, honest);
        await mallory.repent();
        return "passed over, and told by name; every pod keeps its packets, and a claim that was idle gets its addresses";
      },
    );

  attack("node", "publishes what is no address, and more than there can be", async () => {
    const mallory = await hostileNode(the(), "node3");
    const honest = await published("lan", "node3");
    const nonsense: unknown[] = [
      [...honest, { mac: "ff:ff:ff:ff:ff:ff", ips: [] }],
      [...honest, { mac: "00:00:00:00:00:00", ips: ["10.80.0.0"] }],
      [...honest, { mac: "01:80:c2:00:00:00", ips: ["10.80.255.255"] }],
      [...honest, { mac: "ee:ee:ee:ee:ee:ee", ips: [] }],
      [...honest, { mac: "02:00:00:00:66:66", ips: ["224.0.0.1"] }],
      Array.from({ length: 5_000 }, (_, n) => ({
        mac: `02:66:00:00:${(n >> 8).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}`,
        ips: [],
      })),
    ];
    let refused = 0;
    for (const endpoints of nonsense) await publish("lan", endpoints).catch(() => refused++);
    await tryOut("lan", honest, []);
    await nothingLost();
    for (const node of others) {
      const fdb = await the().exec(node, "bridge", "-n", "sky-lan", "fdb", "show");
      assert.doesNotMatch(fdb, /02:66:00|02:00:00:00:66:66|01:80:c2:00:00:00 dev sky\.|ee:ee:ee:ee:ee:ee dev sky\./);
    }
    await the().addPod("node1", "late", wants("lan"));
    await reaches("lan-far", "late");
    await the().deletePod("late");
    await publish("lan", honest);
    await mallory.repent();
    return `the object is left as it was before (${refused} refused by the API server already); other agents publish on`;
  });

  for (const network of ["lan", "blue"])
    attack(
      "node",
      `writes itself into the status of a claim in use in ${network}, and publishes its addresses`,
      async () => {
        const mallory = await hostileNode(the(), "node3");
        const honest = await published(network, "node3");
        const path = `${API}/namespaces/default/ipclaims/${network}-db/status`;
        const stolen = { ...endpointOf(`${network}-db`), moves: MOST };
        for (const [pod, podUID] of [
          [`${network}-db`, "made-up"],
          ["nobody", "made-up"],
          [`${network}-three`, "made-up"],
        ]) {
          const status = { node: "node3", pod, podUID };
          await the().api.call("PATCH", path, { status }, "application/merge-patch+json");
          await tryOut(network, honest, [stolen]);
          await nothingLost();
        }
        // The node of the pod that has it puts that right.
        await eventuallyHolds(
          async () => {
            const { node, pod } = await the().claim(`${network}-db`);
            assert.deepEqual([node, pod], ["node1", `${network}-db`]);
          },
          { timeoutMs: 60_000 },
        );
        await nothingLost();
        await publish(network, honest);
        await mallory.repent();
        return "no node believes it without such a pod; the pod's node writes the status anew";
      },
    );
});
