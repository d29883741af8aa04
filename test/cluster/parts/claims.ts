/** A bridged network, and a StatefulSet's pod that keeps its addresses wherever it runs. */
import assert from "node:assert/strict";
import { type Context } from "../support/context.ts";
import { eventually, NODE, TEST_NAMESPACE } from "../support/kube.ts";

const API = "skylane.dev/v1alpha1";
const INTERFACE = `const [one] = require("os").networkInterfaces().net1; console.log(JSON.stringify({mac: one.mac, ips: require("os").networkInterfaces().net1.filter(({scopeid}) => !scopeid).map(({address}) => address).sort()}))`;

interface Has {
  mac: string;
  ips: string[];
}
interface Claim {
  status: { ips: string[]; mac: string; node: string; pod: string };
}

export function claimsPart(context: Context): void {
  describe("with a StatefulSet in a bridged network", () => {
    const wants = { "skylane.dev/networks": "lan" };
    const has = async (pod: string): Promise<Has> =>
      JSON.parse(await context.kube.exec(pod, NODE, "-e", INTERFACE)) as Has;
    const claim = async (): Promise<Claim> =>
      (await context.kube.get("ipclaim", "db-0", "-n", TEST_NAMESPACE)) as unknown as Claim;
    const nodeOf = async (pod: string): Promise<string | undefined> =>
      (await context.kube.get("pod", pod, "-n", TEST_NAMESPACE)).spec.nodeName;
    const reach = (from: string, address: string) => context.kube.probe(from, "tcp", address, 7000);

    /** The StatefulSet, kept to a node. */
    async function place(node: string): Promise<void> {
      const pod = context.kube.podObject("db", node) as { metadata: object; spec: { nodeName?: string } };
      const { nodeName: _, ...spec } = pod.spec;
      await context.kube.apply({
        apiVersion: "apps/v1",
        kind: "StatefulSet",
        metadata: { name: "db", namespace: TEST_NAMESPACE },
        spec: {
          replicas: 1,
          serviceName: "db",
          selector: { matchLabels: { db: "yes" } },
          template: {
            metadata: { labels: { db: "yes" }, annotations: wants },
            spec: { ...spec, nodeSelector: { "kubernetes.io/hostname": node } },
          },
        },
      });
    }

    before(async () => {
      const { kube, nodes } = context;
      await kube.apply(
        {
          apiVersion: API,
          kind: "PodNetwork",
          metadata: { name: "lan" },
          spec: { vni: 6000, cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged", namespaceSelector: {} },
        },
        {
          apiVersion: API,
          kind: "IPClaim",
          metadata: { name: "db-0", namespace: TEST_NAMESPACE },
          spec: { network: "lan", podName: "db-0" },
        },
      );
      const witness = kube.podObject("witness", nodes[0] as string) as { metadata: object };
      Object.assign(witness.metadata, { annotations: wants });
      await kube.apply(witness);
      await kube.podReady("witness");
    });

    after(async () => {
      const { kube } = context;
      await kube.kubectl("delete", "statefulset", "db", "-n", TEST_NAMESPACE, "--ignore-not-found");
      await kube.dismissPods("witness");
      await eventually(async () => (await kube.list("networkendpoints")).length === 0, {
        timeoutMs: 60_000,
        message: "nodes have not left the network",
      });
      await kube.kubectl("delete", "ipclaim", "--all", "-n", TEST_NAMESPACE);
      await kube.kubectl("delete", "podnetwork", "--all");
    });

    it("gives its pod the claim's addresses, and the others reach it", async () => {
      await place(context.nodes[1] as string);
      await context.kube.podReady("db-0");
      const { status } = await claim();
      assert.deepEqual(await has("db-0"), { mac: status.mac, ips: [...status.ips].sort() });
      assert.equal(status.node, context.nodes[1]);
      for (const ip of status.ips) await reach("witness", ip);
      assert.match(await context.kube.kubectl("get", "ipc", "-n", TEST_NAMESPACE), /db-0/);
    });

    it("keeps IP and MAC when it changes nodes", async () => {
      const { status: before } = await claim();
      const target = context.nodes.at(-1) as string;
      await place(target);
      await eventually(
        async () => {
          const node = await nodeOf("db-0");
          if (node !== target) throw new Error(`db-0 is on ${node}`);
          return true;
        },
        { timeoutMs: 120_000 },
      );
      await context.kube.podReady("db-0");
      assert.deepEqual(await has("db-0"), { mac: before.mac, ips: [...before.ips].sort() });
      const { status: after } = await claim();
      assert.deepEqual([after.ips, after.mac, after.node], [before.ips, before.mac, target]);
      for (const ip of after.ips) await reach("witness", ip);
      const endpoints = await context.kube.list("networkendpoints");
      const holders = endpoints.filter((one) => JSON.stringify(one).includes(before.mac));
      assert.deepEqual(
        holders.map(({ metadata }) => metadata.name),
        [`lan.${target}`],
      );
    });
  });
}
