/** The objects of the API server that belong to a node: whoever takes them away, they come back while the node's pods run. */
import assert from "node:assert/strict";
import { ApiError, type KubeObject } from "../../../lab/api-client.ts";
import { nodeObject } from "../../../lab/cluster/nodes.ts";
import type { PodOptions } from "../../../lab/pods/pods.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
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

  it("are missed by an agent that comes back from its cache after the Node was deleted", async () => {
    const agent = (signal: string): Promise<string> =>
      the().exec("node1", "pkill", `-${signal}`, "-f", "skylane-agent.cjs");
    // It sees nothing of the deletion, and the one that comes after it has only the cache to know of a Node from.
    await agent("STOP");
    await the().api.call("DELETE", "/api/v1/nodes/node1");
    await agent("KILL");
    const published = async (): Promise<string> => {
      const { ready } = await the().status(the().node("node1"));
      const { ok, message } = ready.checks.find(({ name }) => name === "published") ?? { ok: true, message: "" };
      return `${ready.ready} ${ok} ${message}`;
    };
    await eventually(async () => (await published()).startsWith("false false there is no Node node1 any more"), {
      timeoutMs: 60_000,
      message: "the agent does not say that its Node is gone",
    });
    await the().api.call("POST", "/api/v1/nodes", nodeObject(the().context, 1));
    await eventually(async () => (await the().status(the().node("node1"))).ready.ready, {
      timeoutMs: 60_000,
      message: "the agent is not ready again",
    });
    await isReached();
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

describe("a pod network that is deleted while it has pods", () => {
  const the = useLab({ nodes: 2 });
  const path = `${API}/podnetworks/blue`;
  const refused = (networks: string, pattern: RegExp, node = "node1"): Promise<void> =>
    assert.rejects(the().addPod(node, "no", { ...wants(networks), timeoutMs: 100 }), pattern);
  const network = (): Promise<KubeObject | undefined> =>
    the()
      .api.call("GET", path)
      .catch((error: unknown) => {
        if (error instanceof ApiError && error.status === 404) return undefined;
        throw error;
      });
  const drop = (): Promise<unknown> =>
    the().api.call("PATCH", path, { metadata: { finalizers: null } }, "application/merge-patch+json");

  before("pods of one on both nodes", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/24"], vni: 6100 });
    for (const node of [1, 2]) await the().addPod(`node${node}`, `blue${node}`, wants("blue"));
  });

  it("stays until its last pod has gone, takes no more of them, and says so", async () => {
    await the().api.call("DELETE", path);
    await eventually(async () => (await network())?.metadata["deletionTimestamp"] !== undefined);
    await eventually(() => refused("blue", /PodNetwork "blue" is being deleted/).then(() => true), {
      timeoutMs: 20_000,
    });
    await refused("blue", /PodNetwork "blue" is being deleted/, "node2");
    const [ip] = the().ipsOf("blue2", "net1") as [string];
    assert.notEqual((await the().pingFrom(the().pod("blue1"), ip, 2000)).rttMs, undefined, "its pods are cut off");
    await the().deletePod("blue1");
    assert.ok(await network());
    await the().deletePod("blue2");
    await eventually(async () => (await network()) === undefined, { timeoutMs: 20_000, message: "it does not go" });
  });

  it("is another tenant's when it is made anew in spite of its finalizer, and no pod gets into the one before", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/24"], vni: 6100 });
    await eventually(() => the().addPod("node1", "old1", wants("blue")), { timeoutMs: 20_000 });
    await drop();
    await the().api.call("DELETE", path);
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/24"], vni: 6200 });
    const told = (pattern: RegExp, node: string): Promise<unknown> =>
      eventually(() => refused("blue", pattern, node).then(() => true), { timeoutMs: 20_000 });
    await told(/made anew, and this node still has pods of the one before/, "node1");
    await told(/made anew, and node node1 still has pods of the one before/, "node2");
    assert.match(await the().exec("node1", "ip", "-n", "sky-blue", "-br", "link"), /sky\.6100/);
    // An agent that starts now goes on with the network that its pods are in.
    await the().exec("node1", "pkill", "-TERM", "-f", "skylane-agent.cjs");
    const vnis = async (): Promise<string> => {
      const { networks } = await the().status(the().node("node1"));
      return networks.map(({ network: name, vni }) => `${name} ${vni}`).join();
    };
    await eventually(async () => /blue 6100/.test(await vnis()), {
      timeoutMs: 30_000,
      message: "the agent does not look after the network of its pods",
    });
    await told(/made anew, and this node still has pods of the one before/, "node1");
    await the().deletePod("old1");
    await the().addPod("node1", "new1", wants("blue"));
    await the().addPod("node2", "new2", wants("blue"));
    assert.match(await the().exec("node1", "ip", "-n", "sky-blue", "-br", "link"), /sky\.6200/);
    assert.doesNotMatch(await the().exec("node1", "ip", "-n", "sky-blue", "-br", "link"), /sky\.6100/);
    const [ip] = the().ipsOf("new2", "net1") as [string];
    assert.notEqual((await the().pingFrom(the().pod("new1"), ip, 2000)).rttMs, undefined);
  });
});

describe("a network whose last pod goes unnoticed", () => {
  const the = useLab({ nodes: 2 });
  const left = async (node: string): Promise<string[]> => {
    const all = await Promise.all(
      ["networkblocks", "networkendpoints"].map(async (kind) => {
        const { items } = await the().api.call<{ items: Owned[] }>("GET", `${API}/${kind}`);
        return items.filter(({ spec }) => spec.node === node).map(({ metadata }) => metadata.name);
      }),
    );
    const { metadata } = await the().api.call("GET", `/api/v1/nodes/${node}`);
    const named = Object.keys(JSON.parse(metadata.annotations?.["skylane.dev/vtep"] ?? "{}") as object);
    const spaces = (await the().exec(node, "ls", "/run/netns")).split("\n").filter((name) => name.startsWith("sky-"));
    const devices: string[] = [];
    for (const space of spaces) {
      const links = await the().exec(node, "ip", "-n", space, "-br", "link");
      devices.push(...links.split("\n").filter((line) => /^(sky\.|skybr)/.test(line)));
    }
    return [...all.flat(), ...named.filter((name) => name !== "default"), ...devices];
  };
  const clean = (node: string): Promise<unknown> =>
    eventually(async () => (await left(node)).length === 0, {
      timeoutMs: 60_000,
      message: `something is left on ${node}`,
    });

  before("pods of a routed and of a bridged network on node1", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/24", "fd50::/112"] });
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/24"], mode: "Bridged" });
    for (const network of ["blue", "lan"]) await the().addPod("node1", `${network}1`, wants(network));
    await eventually(async () => (await left("node1")).length >= 7, { timeoutMs: 20_000 });
  });

  it("leaves nothing on a node whose agent was away meanwhile", async () => {
    // A signal to its supervisor keeps the agent from coming back before the pods have gone.
    await the().exec("node1", "pkill", "-STOP", "-f", "skylane-agent.cjs");
    for (const network of ["blue", "lan"]) {
      await the().exec("node1", "ip", "netns", "del", the().pod(`${network}1`).netns.replace("/run/netns/", ""));
      for (const dir of ["attachments", "ipam"])
        await the().exec("node1", "rm", "-rf", `/var/lib/cni/skylane/${dir}/${network}`);
    }
    for (const network of ["blue", "lan"]) await the().api.call("DELETE", `${API}/podnetworks/${network}`);
    await the().exec("node1", "pkill", "-KILL", "-f", "skylane-agent.cjs");
    await clean("node1");
    await eventually(
      async () =>
        (await the().api.call<{ items: Owned[] }>("GET", `${API}/podnetworks`)).items.every(
          ({ metadata }) => metadata.name === "default",
        ),
      { timeoutMs: 90_000, message: "the networks do not go" },
    );
  });
});

describe("a node whose records are removed under running pods", () => {
  const the = useLab({ nodes: 2 });
  const reaches = async (from: string, ip: string): Promise<boolean> =>
    (await the().pingFrom(the().pod(from), ip, 1000)).rttMs !== undefined;

  before("pods in all kinds of networks", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/27"], blockSize: 8 });
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/27"], mode: "Bridged", blockSize: 8 });
    await the().addPod("node1", "first", wants("blue,lan"));
    await the().addPod("node2", "other", wants("blue,lan"));
  });

  for (const restarted of [false, true])
    it(`gives nobody an address that one of them has${restarted ? ", after a restart of its agent too" : ""}`, async () => {
      const before = ["eth0", "net1", "net2"].flatMap((ifname) => the().ipsOf("first", ifname));
      // The agent may put files of its own back meanwhile, so that a directory is not empty.
      await the().exec("node1", "sh", "-c", "rm -rf /var/lib/cni/skylane/* || true");
      if (restarted) {
        await the().exec("node1", "pkill", "-TERM", "-f", "skylane-agent.cjs");
        await eventually(async () => (await the().status(the().node("node1"))).networks.length === 3, {
          timeoutMs: 60_000,
          message: "the agent does not look after its pods' networks",
        });
      }
      const name = restarted ? "third" : "second";
      await the().addPod("node1", name, wants("blue,lan"));
      const now = ["eth0", "net1", "net2"].flatMap((ifname) => the().ipsOf(name, ifname));
      assert.deepEqual(
        now.filter((ip) => before.includes(ip)),
        [],
      );
      // The other pod may know an earlier pod's MAC address by this IP address, until its neighbour entry has aged.
      for (const [ifname, pod] of [
        ["net1", "first"],
        ["net2", "first"],
        ["net1", name],
        ["net2", name],
      ] as const)
        for (const ip of the().ipsOf(pod, ifname))
          await eventually(() => reaches("other", ip), { timeoutMs: 90_000, message: `${pod} ${ifname} is cut off` });
      await the().deletePod(name);
    });
});

describe("a Node that comes back with another pod CIDR", () => {
  const the = useLab({ nodes: 2 });
  const outside = async (): Promise<string[]> => {
    const { networks } = await the().status(the().node("node1"));
    return (networks[0]?.outside ?? []).map(({ pod, ip }) => `${pod} ${ip}`);
  };

  it("says which pods have to be made again: status, doctor and an Event; and no more once they are", async () => {
    await the().addPod("node1", "old1");
    await the().addPod("node1", "old2");
    assert.deepEqual(await outside(), []);
    const node = nodeObject(the().context, 1) as KubeObject & { spec: { podCIDR: string; podCIDRs: string[] } };
    const podCIDRs = node.spec.podCIDRs.map((cidr) => (cidr.includes(":") ? cidr : "10.244.99.0/24"));
    await the().api.call("DELETE", "/api/v1/nodes/node1");
    await the().api.call("POST", "/api/v1/nodes", { ...node, spec: { podCIDR: podCIDRs[0], podCIDRs } });
    const wanted = ["old1", "old2"].flatMap((name) =>
      the()
        .ipsOf(name, "eth0")
        .filter((ip) => !ip.includes(":"))
        .map((ip) => `default/${name} ${ip}`),
    );
    let now: string[] = [];
    await eventually(async () => (now = await outside()).join() === wanted.join(), { timeoutMs: 60_000 }).catch(() =>
      assert.deepEqual(now, wanted),
    );
    const isTold = async (): Promise<boolean> => {
      const { items } = await the().api.call<{ items: { reason: string; message: string }[] }>("GET", "/api/v1/events");
      const found = items.filter(({ reason }) => reason === "SkylanePodsOutsideCidr");
      assert.ok(found.length <= 1, JSON.stringify(found));
      return found.some(({ message }) => /default\/old1 .*default\/old2 /.test(message));
    };
    await eventually(isTold, { timeoutMs: 20_000, message: "there is no Event" });
    for (const name of ["old1", "old2"]) await the().deletePod(name);
    await the().addPod("node1", "new1");
    assert.ok(
      the()
        .ipsOf("new1", "eth0")
        .some((ip) => ip.startsWith("10.244.99.")),
    );
    await eventually(async () => (await outside()).length === 0, {
      timeoutMs: 30_000,
      message: "the list does not end",
    });
  });
});
