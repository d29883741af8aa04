/** Pod networks beside the default one: two tenants with the same addresses, by annotation alone. */
import assert from "node:assert/strict";
import { type Context, needs } from "../support/context.ts";
import { eventually, NODE, SYSTEM_NAMESPACE, TEST_NAMESPACE } from "../support/kube.ts";

const CIDRS = ["10.50.0.0/16", "fd50::/64"];
const ADDRESSES = `console.log(JSON.stringify(require("os").networkInterfaces().net1.filter(({scopeid})=>!scopeid).map(({address})=>address)))`;

interface Block {
  spec: { network: string; node: string };
}

export function networksPart(context: Context): void {
  describe("with pod networks of two tenants", () => {
    const made: string[] = [];

    async function podIn(network: string, node: string, name = `${network}-${node}`): Promise<string[]> {
      const { kube } = context;
      const pod = kube.podObject(name, node) as { metadata: object };
      Object.assign(pod.metadata, { annotations: { "skylane.dev/networks": network } });
      made.push(name);
      await kube.apply(pod);
      await kube.podReady(name);
      return JSON.parse(await kube.exec(name, NODE, "-e", ADDRESSES)) as string[];
    }
    const reach = (from: string, address: string) => context.kube.probe(from, "tcp", address, 7000);

    before(async () => {
      for (const [i, name] of ["blue", "green"].entries()) {
        await context.kube.apply({
          apiVersion: "skylane.dev/v1alpha1",
          kind: "PodNetwork",
          metadata: { name },
          spec: { vni: 5000 + i, cidrs: CIDRS, namespaceSelector: {} },
        });
      }
    });

    after(async () => {
      await context.kube.deletePods(...made);
      await context.kube.kubectl("delete", "podnetwork", "--all");
    });

    it("connects the pods of each across nodes, although both have the same addresses", async () => {
      const { nodes } = context;
      const [one, two] = nodes as [string, string];
      const each = ["blue", "green"].map(async (network) => {
        const [here, there] = await Promise.all([podIn(network, one), podIn(network, two)]);
        assert.equal(here.length, CIDRS.length);
        for (const address of there) assert.ok(here.includes((await reach(`${network}-${one}`, address)).seenAs));
        for (const address of here) assert.ok(there.includes((await reach(`${network}-${two}`, address)).seenAs));
      });
      await Promise.all(each);
    });

    it("keeps them apart", async () => {
      const [one, two] = context.nodes as [string, string];
      const [address] = await podIn("green", two, "green-alone");
      assert.ok(await reach(`green-${one}`, address as string));
      await assert.rejects(reach(`blue-${one}`, address as string));
    });

    it("shows what is claimed, and on which node", async () => {
      const { kube, nodes } = context;
      const blocks = (await kube.list("networkblocks")) as unknown as Block[];
      const claimed = blocks.map(({ spec }) => `${spec.network} ${spec.node}`);
      for (const node of nodes.slice(0, 2)) assert.ok(claimed.includes(`blue ${node}`), claimed.join(", "));
      assert.match(await kube.kubectl("get", "pn"), /blue +5000 +Routed/);
    });

    it("goes on while the agents are replaced", async () => {
      const { kube, nodes } = context;
      const [one, two] = nodes as [string, string];
      const [address] = JSON.parse(await kube.exec(`blue-${two}`, NODE, "-e", ADDRESSES)) as [string];
      await kube.kubectl(
        "delete",
        "pod",
        "-n",
        SYSTEM_NAMESPACE,
        "-l",
        "app.kubernetes.io/name=skylane",
        "--wait=false",
      );
      const wait = { over: false };
      const replaced = kube.agentsReady(nodes.length).finally(() => (wait.over = true));
      const goesOn = async (): Promise<void> => {
        do await reach(`blue-${one}`, address);
        while (!wait.over);
      };
      await Promise.all([replaced, goesOn()]);
      await reach(`blue-${one}`, address);
      const [late] = await podIn("blue", one, "blue-late");
      await eventually(() => reach(`blue-${two}`, late as string), { timeoutMs: 20_000 });
    });

    it("tells in the pod's events why it cannot have a network", async () => {
      const { kube, nodes } = context;
      const pod = kube.podObject("no-network", nodes[0] as string) as { metadata: object };
      Object.assign(pod.metadata, { annotations: { "skylane.dev/networks": "red" } });
      await kube.apply(pod);
      try {
        await eventually(
          async () => {
            const about = "--field-selector=involvedObject.name=no-network";
            const events = await kube.kubectl("get", "events", "-n", TEST_NAMESPACE, about, "-o", "json");
            if (!/there is no PodNetwork [^ ]*red/.test(events)) throw new Error(`no event says why: ${events}`);
            return true;
          },
          { timeoutMs: 60_000 },
        );
      } finally {
        await kube.dismissPods("no-network");
      }
    });

    it("leaves nothing on a node when the last pod has gone", async function () {
      const { machine, kube, nodes } = context;
      needs(this, machine.hardware, "machines");
      assert.match((await machine.hardware?.at(nodes[0] as string, ["ls", "/run/netns"])) ?? "", /sky-blue/);
      await kube.dismissPods(...made.splice(0));
      await eventually(
        async () => {
          const left = (await machine.hardware?.at(nodes[0] as string, ["ls", "/run/netns"])) ?? "";
          const blocks = await kube.list("networkblocks");
          if (left.includes("sky-") || blocks.length > 0) throw new Error(`${left}, ${blocks.length} blocks`);
          return true;
        },
        { timeoutMs: 60_000 },
      );
    });
  });
}
