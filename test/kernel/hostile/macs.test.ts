import assert from "node:assert/strict";
import type { PodOptions } from "../../../lab/pods/pods.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { useLab } from "../lab/support.ts";
import { attack } from "./support.ts";

const wants = (value: object): PodOptions => ({
  annotations: { [NETWORKS_ANNOTATION]: JSON.stringify([{ name: "lan", ...value }]) },
});

describe("pods that name what is another pod's in a bridged network", function () {
  const the = useLab({ nodes: 2 });
  const macOf = (pod: string): string => {
    const { interfaces = [] } = the().pod(pod).result as { interfaces?: { name: string; mac: string }[] };
    return interfaces.find(({ name }) => name === "net1")?.mac as string;
  };
  const reaches = async (from: string, to: string): Promise<boolean> =>
    (await the().pingFrom(the().pod(from), the().ipsOf(to, "net1")[0] as string, 2000)).rttMs !== undefined;
  /** Tries to start a pod with another's MAC, from another namespace, and sees that the victim keeps its frames. */
  const steal = async (node: string, mac: string, victim: string, by: RegExp): Promise<void> => {
    const options = { ...wants({ mac }), namespace: "thieves", timeoutMs: 100 };
    await assert.rejects(the().addPod(node, "thief", options), by);
    for (const from of ["near", "far"]) assert.ok(await reaches(from, victim), `${from} → ${victim}`);
    assert.deepEqual(
      the()
        .pods()
        .filter(({ name }) => name === "thief"),
      [],
    );
  };

  before("a segment over two nodes, with pods that have a claim, a name of their own, and neither", async () => {
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged" });
    await the().addClaim("db", { network: "lan", podName: "db" });
    await the().addClaim("idle", { network: "lan", mac: "02:00:00:00:0a:0a" });
    await the().addPod("node1", "db", wants({}));
    await the().addPod("node1", "named", wants({ mac: "02:00:00:00:0b:0b" }));
    await the().addPod("node1", "near", wants({}));
    await the().addPod("node2", "far", wants({}));
  });

  for (const node of ["node1", "node2"]) {
    const where = node === "node1" ? "on its node" : "on another node";
    attack("pod", `names the MAC of a pod without a claim ${where}`, async () => {
      await steal(node, macOf("near"), "named", /MAC address .* is that of/);
      return "refused by name; the other pod keeps its frames";
    });
    attack("pod", `names the MAC that another pod named before ${where}`, async () => {
      await steal(node, macOf("named"), "named", /MAC address .* is that of/);
      return "refused by name; the other pod keeps its frames";
    });
    attack("pod", `names the MAC of a claim in use ${where}`, async () => {
      await steal(node, macOf("db"), "db", /belongs to IPClaim default\/db/);
      return "refused by name; the claim's pod keeps its frames";
    });
    attack("pod", `names the MAC that a claim asks for which nobody uses, ${where}`, async () => {
      await steal(node, "02:00:00:00:0a:0a", "named", /belongs to IPClaim default\/idle/);
      return "refused by name";
    });
  }

  attack("pod", "names the MAC of every host end", async () => {
    await steal("node1", "ee:ee:ee:ee:ee:ee", "near", /ee:ee:ee:ee:ee:ee/);
    return "refused by name";
  });

  attack("pod", "uses a claim of its own namespace that asks for another pod's MAC", async () => {
    await the().addClaim("greedy", { network: "lan", mac: macOf("named") });
    const options = { ...wants({ claim: "greedy" }), timeoutMs: 100 };
    await assert.rejects(the().addPod("node2", "thief", options), /a pod without a claim has/);
    assert.ok(await reaches("far", "named"));
    return "the claim is refused, and says so; the other pod keeps its frames";
  });

  attack("pod", "names the address of another pod, and that of a claim", async () => {
    for (const victim of ["near", "db"]) {
      const ips = the().ipsOf(victim, "net1");
      for (const node of ["node1", "node2"]) {
        const options = { ...wants({ ips }), namespace: "thieves", timeoutMs: 100 };
        await assert.rejects(the().addPod(node, "thief", options), new RegExp(ips[0] as string));
      }
      assert.ok(await reaches("far", victim));
    }
    return "refused by name: an address is its block's node's or its claim's";
  });
});
