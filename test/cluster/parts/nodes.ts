/** Nodes fail, return, move and join: their peers follow, and nothing stale stays. */
import assert from "node:assert/strict";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, isReady, type KubeObject, type TestPod } from "../support/kube.ts";

const PATIENCE = { timeoutMs: 3 * 60_000 };

export function nodesPart(context: Context): void {
  describe("when nodes change", () => {
    const last = () => context.nodes.at(-1) as string;
    const underlayOf = (node: KubeObject) =>
      node.status.addresses?.find(({ type }) => type === "InternalIP")?.address as string;

    /** Waits until another node's kernel sends to that node's pods by that underlay address, or not at all. */
    async function fdbHas(observer: string, address: string, expected: boolean): Promise<void> {
      await eventually(async () => {
        const fdb = (await context.machine.hardware?.at(observer, ["bridge", "fdb", "show", "dev", "sky.4096"])) ?? "";
        const has = fdb.includes(`dst ${address} `);
        if (has !== expected) throw new Error(`${observer}: ${fdb.trim()}`);
        return true;
      }, PATIENCE);
    }

    async function reachable(node: string): Promise<void> {
      const { kube } = context;
      const name = `back-${node}`;
      await kube.apply(kube.podObject(name, node));
      const pod = await kube.podReady(name);
      const [first] = context.pods as [TestPod];
      for (const ip of pod.ips) await eventually(() => kube.probe(first.name, "tcp", ip, 7000), { timeoutMs: 60_000 });
      await kube.deletePods(name);
    }

    async function cycle(address: number | undefined): Promise<void> {
      const { machine, kube, nodes } = context;
      const node = last();
      const before = underlayOf(await kube.get("node", node));
      await machine.hardware?.powerOff(node);
      await eventually(async () => !isReady(await kube.get("node", node)), PATIENCE);
      await machine.hardware?.powerOn(node, address);
      await kube.nodesReady(nodes.length);
      await kube.agentsReady(nodes.length);
      const now = underlayOf(await kube.get("node", node));
      await fdbHas(nodes[0] as string, now, true);
      if (now !== before) await fdbHas(nodes[0] as string, before, false);
      await reachable(node);
    }

    it("a node that lost power comes back with the same address", async function () {
      needs(this, context.machine.hardware, "access to the machines");
      await cycle(undefined);
    });

    it("a node that lost power comes back with another address, and peers follow", async function () {
      needs(this, context.machine.hardware, "access to the machines");
      await cycle(33);
    });

    it("a deleted Node goes from every peer", async function () {
      const { machine, kube, nodes } = context;
      needs(this, machine.hardware, "access to the machines");
      const node = last();
      const address = underlayOf(await kube.get("node", node));
      await machine.hardware?.powerOff(node);
      await kube.kubectl("delete", "node", node);
      for (const observer of nodes.filter((name) => name !== node)) await fdbHas(observer, address, false);
      nodes.pop();
      context.pods = context.pods.filter((pod) => pod.node !== node);
    });

    it("a node that joins is reachable at once", async function () {
      const { machine, kube, nodes } = context;
      needs(this, machine.hardware, "access to the machines");
      const started = performance.now();
      const watching = eventually(async () => {
        const [observer] = nodes as [string];
        const fdb = (await machine.hardware?.at(observer, ["bridge", "fdb", "show", "dev", "sky.4096"])) ?? "";
        if (!fdb.includes("dst 172.30.0.14 ")) throw new Error("not yet");
        return performance.now() - started;
      }, PATIENCE);
      await machine.hardware?.addNode(4);
      const programmed = await watching;
      nodes.push("node4");
      await kube.nodesReady(nodes.length);
      await kube.agentsReady(nodes.length);
      await reachable("node4");
      const node = await kube.get("node", "node4");
      const created = Date.parse((node.metadata as { creationTimestamp?: string }).creationTimestamp ?? "");
      const startedAt = Date.now() - (performance.now() - started);
      console.log(
        `        join: entries on node1 ${((startedAt + programmed - created) / 1000).toFixed(1)} s after the Node object (image start included)`,
      );
      context.pods.push(...(await kube.podsOn(["node4"], "mesh")));
      assert.equal(context.pods.length, nodes.length);
    });
  });
}
