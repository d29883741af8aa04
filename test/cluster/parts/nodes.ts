/** Nodes fail, return, move and join: their peers follow, and nothing stale stays. */
import assert from "node:assert/strict";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, isReady, type KubeObject, type TestPod } from "../support/kube.ts";
import { allReach } from "./install.ts";

const PATIENCE = { timeoutMs: 3 * 60_000 };
/** The last part of an address on the underlay that no node has. */
const MOVED_TO = 33;

export function nodesPart(context: Context): void {
  describe("when nodes change", () => {
    const last = () => context.nodes.at(-1) as string;
    const underlayOf = (node: KubeObject) =>
      node.status.addresses?.find(({ type }) => type === "InternalIP")?.address as string;

    /** Waits until another node's kernel sends to that node's pods by that underlay address, or not at all. */
    async function fdbHas(observer: string, address: string, expected: boolean): Promise<void> {
      await eventually(async () => {
        const fdb = (await context.machine.hardware?.at(observer, ["bridge", "fdb", "show", "dev", "sky.759"])) ?? "";
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
      await kube.dismissPods(name);
    }

    it("nodes that lost power come back, one with its address, one with another, and peers follow", async function () {
      const { machine, kube, nodes } = context;
      const { hardware } = machine;
      needs(this, hardware, "access to the machines");
      const [observer, same] = nodes as [string, string];
      const moved = last();
      const off = [same, moved];
      const old = underlayOf(await kube.get("node", moved));
      const kept = underlayOf(await kube.get("node", same));
      await Promise.all(off.map(async (node) => hardware?.powerOff(node)));
      for (const node of off) await eventually(async () => !isReady(await kube.get("node", node)), PATIENCE);
      await Promise.all([hardware?.powerOn(same), hardware?.powerOn(moved, MOVED_TO)]);
      await kube.nodesReady(nodes.length);
      await kube.agentsReady(nodes.length);
      const now = underlayOf(await kube.get("node", moved));
      assert.equal(now, `172.30.0.${MOVED_TO}`);
      assert.equal(underlayOf(await kube.get("node", same)), kept);
      for (const address of [kept, now]) await fdbHas(observer, address, true);
      await fdbHas(observer, old, false);
      await Promise.all(off.map(reachable));
      // the pods that were there have begun anew, with other addresses
      context.pods = await Promise.all(context.pods.map(({ name }) => kube.podReady(name)));
      await eventually(
        async () => {
          await allReach(kube, context.pods);
          return true;
        },
        { timeoutMs: 60_000 },
      );
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
        const fdb = (await machine.hardware?.at(observer, ["bridge", "fdb", "show", "dev", "sky.759"])) ?? "";
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
