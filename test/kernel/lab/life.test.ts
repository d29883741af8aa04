/** The objects of the API server that belong to a node: whoever takes them away, they come back while the node's pods run. */
import assert from "node:assert/strict";
import type { KubeObject } from "../../../src/lab/api-client.ts";
import { nodeObject } from "../../../src/lab/nodes.ts";
import type { PodOptions } from "../../../src/lab/pods.ts";
import { NETWORKS_ANNOTATION } from "../../../src/networks/index.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

const API = "/apis/skylane.dev/v1alpha1";
const wants = (networks: string): PodOptions => ({ annotations: { [NETWORKS_ANNOTATION]: networks } });

interface Owned extends KubeObject {
  spec: { node?: string; network: string; cidr?: string };
}

describe("a node's objects in the API server", () => {
  const the = useLab({ nodes: 2 });
  const reaches = async (from: string, ip: string): Promise<boolean> =>
    (await the().pingFrom(the().pod(from), ip, 1000)).rttMs !== undefined;
  const list = async (kind: string): Promise<Owned[]> =>
    (await the().api.call<{ items: Owned[] }>("GET", `${API}/${kind}`)).items;
  /** Blocks and endpoints of node1, as "kind name owner". */
  const owned = async (): Promise<string[]> => {
    const all = await Promise.all(
      ["networkblocks", "networkendpoints"].map(async (kind) =>
        (await list(kind))
          .filter(({ spec }) => spec.node === "node1")
          .map(({ metadata }) => {
            const owners = (metadata["ownerReferences"] ?? []) as { uid: string }[];
            return `${kind} ${metadata.name} ${owners.map(({ uid }) => uid).join()}`;
          }),
      ),
    );
    return all.flat().sort();
  };
  const names = (all: readonly string[]): string[] => all.map((one) => one.split(" ").slice(0, 2).join(" "));
  const backWith = async (before: readonly string[], uid: string | undefined): Promise<void> => {
    const wanted = names(before)
      .map((one) => `${one} ${uid ?? ""}`)
      .join("\n");
    let now = "";
    const isBack = async (): Promise<boolean> => (now = (await owned()).join("\n")) === wanted;
    await eventually(isBack, { timeoutMs: 20_000 }).catch(() => assert.equal(now, wanted));
  };
  const uidOf = async (path: string): Promise<string> => (await the().api.call("GET", path)).metadata["uid"] as string;
  const isReached = async (): Promise<void> => {
    for (const [from, to] of [
      ["lan2", "lan1"],
      ["blue2", "blue1"],
    ] as const) {
      const ips = the().ipsOf(to, "net1");
      for (const ip of ips)
        await eventually(() => reaches(from, ip), { timeoutMs: 20_000, message: `${from} does not reach ${to}` });
    }
  };

  before("a bridged and a routed network on both nodes", async () => {
    // Two blocks of four addresses, one a node: what one loses the other would take.
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/28", "fd50::/124"], blockSize: 8 });
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/28", "fd80::/124"], mode: "Bridged", blockSize: 8 });
    for (const node of [1, 2]) {
      await the().addPod(`node${node}`, `blue${node}`, wants("blue"));
      await the().addPod(`node${node}`, `lan${node}`, wants("lan"));
    }
    await isReached();
  });

  it("are put back when somebody deletes them, before anybody else has their addresses", async () => {
    const before = await owned();
    const uid = await uidOf("/api/v1/nodes/node1");
    assert.equal(before.length, 5, before.join("\n"));
    for (const kind of ["networkblocks", "networkendpoints"])
      for (const { metadata, spec } of await list(kind))
        if (spec.node === "node1") await the().api.call("DELETE", `${API}/${kind}/${metadata.name}`);
    await backWith(before, uid);
    await isReached();
  });

  it("stay while the Node is gone, and belong to the one that is registered again", async () => {
    const before = await owned();
    const first = await uidOf("/api/v1/nodes/node1");
    await the().api.call("DELETE", "/api/v1/nodes/node1");
    await backWith(before, undefined);
    await the().api.call("POST", "/api/v1/nodes", nodeObject(the().context, 1));
    const second = await uidOf("/api/v1/nodes/node1");
    assert.notEqual(second, first);
    await backWith(before, second);
    await isReached();
    await eventually(async () => (await the().status(the().node("node1"))).ready.ready, {
      timeoutMs: 20_000,
      message: "the agent is not ready again",
    });
    await the().addPod("node1", "blue3", wants("blue"));
    const all = ["blue1", "blue2", "blue3"].flatMap((name) => the().ipsOf(name, "net1"));
    assert.equal(new Set(all).size, all.length, all.join(" "));
    const [ip] = the().ipsOf("blue3", "net1") as [string];
    assert.ok(await reaches("blue2", ip));
    assert.match(
      await the().exec("node1", "cat", "/var/log/skylane-agent.log"),
      /Node node1 was deleted and registered again/,
    );
  });

  it("give no address of a block that another node has taken", async () => {
    const [block] = (await list("networkblocks")).filter(
      ({ spec }) => spec.node === "node1" && spec.network === "blue" && spec.cidr?.includes(".") === true,
    );
    assert.ok(block);
    const path = `${API}/networkblocks/${block.metadata.name}`;
    const { uid: _, resourceVersion: __, creationTimestamp: ___, ownerReferences: ____, ...metadata } = block.metadata;
    const thief = { ...block, metadata: { ...metadata, labels: {} }, spec: { ...block.spec, node: "elsewhere" } };
    const agent = (signal: string): Promise<string> =>
      the().exec("node1", "pkill", `-${signal}`, "-f", "skylane-agent.cjs");
    await agent("STOP");
    try {
      await the().api.call("DELETE", path);
      await the().api.call("POST", `${API}/networkblocks`, thief);
    } finally {
      await agent("CONT");
    }
    await assert.rejects(the().addPod("node1", "blue4", { ...wants("blue"), timeoutMs: 100 }), /network.* blue/);
  });
});
