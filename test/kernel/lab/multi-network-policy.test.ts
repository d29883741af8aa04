/**
 * MultiNetworkPolicies on a cluster of two nodes: they hold in the pod networks that they name, in both families and from a pod's first moment on, and
 * nowhere else.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import type { Explanation, PolicyList } from "../../../src/enforcement/index.ts";
import { POLICY_FOR_ANNOTATION } from "../../../src/policy/index.ts";
import { eventually } from "../../support/eventually.ts";
import { tryRun } from "../../../lab/exec.ts";
import { type Definition, define, pinging, useLab } from "./support.ts";

const GROUP = "/apis/k8s.cni.cncf.io";
const POLICIES = `${GROUP}/v1beta1/namespaces/default/multi-networkpolicies`;
const ATTACHMENTS = `${GROUP}/v1/namespaces/default/network-attachment-definitions`;
const CIDRS = ["10.50.0.0/16", "fd50::/64"];
const MERGE = "application/merge-patch+json";
const TABLE = "inet skylane_policy";

const definition = (plural: string, kind: string, version: string): Definition => ({
  group: "k8s.cni.cncf.io",
  version,
  plural,
  kind,
  scope: "Namespaced",
  status: false,
});

describe("policies of pod networks", () => {
  const the = useLab({ nodes: 2 });
  const add = (node: string, name: string, app: string, network = "blue") =>
    the().addPod(node, name, { labels: { app }, annotations: { [NETWORKS_ANNOTATION]: network } });
  /** Whether one reaches another by all of its addresses at an interface, or by none. */
  const reaches = async (from: string, to: string, ifname = "net1"): Promise<boolean> => {
    const ips = ifname === "eth0" ? the().pod(to).ips : the().ipsOf(to, ifname);
    assert.equal(ips.length, 2);
    const all = await Promise.all(ips.map((ip) => the().pingFrom(the().pod(from), ip, 500)));
    const got = all.map(({ rttMs }) => rttMs !== undefined);
    assert.equal(new Set(got).size, 1, `${from} reaches ${to} in one family alone`);
    return got[0] as boolean;
  };
  const soon = (from: string, to: string, is: boolean): Promise<unknown> =>
    eventually(async () => (await reaches(from, to).catch(() => !is)) === is, {
      timeoutMs: 20_000,
      message: `${from} ${is ? "does not reach" : "reaches"} ${to}`,
    });
  const inBlue = (node: string, ...command: string[]) =>
    the().exec(node, "ip", "netns", "exec", "sky-blue", ...command);
  const hasTable = async (node: string): Promise<boolean> =>
    (await inBlue(node, "nft", "list", "tables")).includes(TABLE);
  const onHost = async (node: string): Promise<boolean> =>
    (await the().exec(node, "nft", "list", "tables")).includes(TABLE);
  const policy = (name: string, networks: string, spec: Record<string, unknown>) =>
    the().api.call("POST", POLICIES, {
      apiVersion: "k8s.cni.cncf.io/v1beta1",
      kind: "MultiNetworkPolicy",
      metadata: { name, annotations: { [POLICY_FOR_ANNOTATION]: networks } },
      spec,
    });
  const fromClients = { from: [{ podSelector: { matchLabels: { app: "client" } } }] };
  const server = { matchLabels: { app: "server" } };
  const relabel = (name: string, app: string) =>
    the().api.call("PATCH", `/api/v1/namespaces/default/pods/${name}`, { metadata: { labels: { app } } }, MERGE);

  before("a network of both families, and pods that reach each other in it", async () => {
    await the().addNetwork("blue", { cidrs: CIDRS });
    await add("node1", "server", "server");
    await add("node1", "near", "stranger");
    await add("node2", "far", "stranger");
    await add("node2", "client", "client");
    for (const from of ["near", "far", "client"]) await soon(from, "server", true);
  });

  it("begin with their definition, without which there is nothing of them", async () => {
    const { items } = await the().api.call<{ items: { metadata: { annotations?: object } }[] }>(
      "GET",
      "/apis/skylane.dev/v1alpha1/networkblocks",
    );
    assert.ok(items.length > 0);
    for (const { metadata } of items) assert.ok(!("skylane.dev/pods" in (metadata.annotations ?? {})));
    await define(the(), definition("multi-networkpolicies", "MultiNetworkPolicy", "v1beta1"));
    await policy("server", "blue", { podSelector: server, policyTypes: ["Ingress"], ingress: [fromClients] });
    for (const one of ["near", "far"]) await soon(one, "server", false);
    await soon("client", "server", true);
    assert.equal(await reaches("server", "far"), true);
    // No pod of node2 has a policy.
    assert.deepEqual([await hasTable("node1"), await hasTable("node2")], [true, false]);
  });

  it("leave other networks as they are, also those with the same addresses", async () => {
    await the().addNetwork("green", { cidrs: CIDRS });
    await add("node1", "green-server", "server", "green");
    await add("node2", "green-far", "stranger", "green");
    await soon("green-far", "green-server", true);
    for (const name of ["green-server", "green-far"]) await the().deletePod(name);
  });

  it("leave the default network as it was", async () => {
    for (const node of ["node1", "node2"]) assert.equal(await onHost(node), false);
    for (const one of ["near", "far", "client"]) assert.equal(await reaches(one, "server", "eth0"), true);
  });

  it("are not the default network's, whose own do not hold here", async () => {
    const path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
    await the().api.call("POST", path, {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "far" },
      spec: { podSelector: { matchLabels: { app: "client" } }, policyTypes: ["Ingress"] },
    });
    await eventually(async () => !(await reaches("far", "client", "eth0").catch(() => true)), { timeoutMs: 20_000 });
    assert.equal(await reaches("far", "client"), true);
    await the().api.call("DELETE", `${path}/far`);
    await eventually(async () => await reaches("far", "client", "eth0").catch(() => false), { timeoutMs: 20_000 });
  });

  it("are in force when a pod has come", async () => {
    for (let i = 0; i < 3; i++) {
      const name = `late${i}`;
      await add("node1", name, "server");
      for (const one of ["near", "far"]) assert.equal(await reaches(one, name), false, `${one} reaches ${name}`);
      assert.equal(await reaches("client", name), true);
      await the().deletePod(name);
    }
    // A peer that is new is known to the other node a moment later.
    await add("node2", "newcomer", "client");
    await soon("newcomer", "server", true);
    await the().deletePod("newcomer");
  });

  it("end what goes on and is not allowed any more, and follow labels", async () => {
    await relabel("far", "client");
    await soon("far", "server", true);
    const [ip] = the().ipsOf("server", "net1") as [string];
    await pinging(the(), "far", ip, async (answers) => {
      await relabel("far", "stranger");
      await soon("far", "server", false);
      await eventually(
        async () => {
          const before = answers();
          for (let i = 0; i < 5; i++) assert.equal(await reaches("client", "server"), true);
          return answers() === before;
        },
        { timeoutMs: 20_000, message: "a ping that is not allowed any more is answered" },
      );
    });
  });

  it("hold in the other direction, and by blocks of addresses", async () => {
    const [near4, near6] = the().ipsOf("near", "net1") as [string, string];
    await policy("far-out", "default/blue", {
      podSelector: { matchLabels: { app: "stranger" } },
      policyTypes: ["Egress"],
      egress: [{ to: [{ ipBlock: { cidr: `${near4}/32` } }, { ipBlock: { cidr: `${near6}/128` } }] }],
    });
    await soon("far", "client", false);
    assert.equal(await reaches("far", "near"), true);
    assert.equal(await reaches("client", "far"), true);
    await the().api.call("DELETE", `${POLICIES}/far-out`);
    await soon("far", "client", true);
  });

  it("are put back where somebody has taken them away", async () => {
    await inBlue("node1", "nft", "delete", "table", "inet", "skylane_policy");
    await soon("far", "server", false);
    await inBlue("node1", "nft", "flush", "map", "inet", "skylane_policy", "peers4");
    await soon("client", "server", true);
    assert.equal(await reaches("far", "server"), false);
  });

  it("are listed with what they select and have counted, and explained", async () => {
    const ctl = async <T>(...args: string[]): Promise<T> => {
      const skylanectl = join(the().context.binDir, "skylanectl");
      // Exit status 1 says that a packet is denied.
      const argv = the().enter("node1", skylanectl, "policy", ...args, "-o", "json");
      return JSON.parse((await tryRun(argv, { env: the().context.env })).stdout) as T;
    };
    const listed = await ctl<PolicyList>("list");
    assert.deepEqual([listed.presence, listed.inForce], ["some", true]);
    const { policies, ready } = await the().status(the().node("node1"));
    assert.deepEqual([policies?.presence, policies?.inForce], ["some", true]);
    const check = ready.checks.find(({ name }) => name === "policies");
    assert.match(check?.message ?? "", /; MultiNetworkPolicies are in force$/);
    const [one] = listed.policies;
    assert.deepEqual(
      [listed.policies.length, one?.kind, one?.state, one?.pods],
      [1, "MultiNetworkPolicy", "in force", ["default/server"]],
    );
    assert.ok((one?.rules[0]?.packets ?? 0) > 0);
    assert.ok(listed.others.some(({ verdict, packets }) => verdict === "deny" && packets > 0));
    for (const [from, allowed] of [
      ["near", false],
      ["far", false],
      ["client", true],
    ] as const) {
      const question = ["explain", "server", "--from", from, "--protocol", "icmp"];
      const { packets = [] } = await ctl<Explanation>(...question, "--network", "blue");
      const sources = packets.map(({ source }) => source.ip);
      assert.deepEqual(sources.toSorted(), the().ipsOf(from, "net1").toSorted());
      for (const packet of packets) assert.deepEqual([packet.allowed, packet.ingress?.rules], [allowed, "the same"]);
      // The default network has no policy.
      assert.equal((await ctl<Explanation>(...question)).presence, "none");
    }
  });

  it("stay while the agent is away, and go on when it is back with the connections that are allowed", async () => {
    const ended = async (): Promise<number> =>
      (await the().exec("node1", "cat", "/var/log/skylane-agent.log")).split("ended connections").length;
    const before = await ended();
    // One that connection tracking remembers.
    assert.equal(await reaches("client", "server"), true);
    await the().exec("node1", "pkill", "-KILL", "-f", "skylane-agent.cjs");
    assert.equal(await reaches("far", "server"), false);
    await add("node1", "early", "server");
    assert.equal(await reaches("far", "early"), false);
    assert.equal(await reaches("client", "early"), true);
    assert.equal(await reaches("far", "server"), false);
    assert.equal(await ended(), before, "an allowed connection was ended");
    await the().deletePod("early");
  });

  it("know pods by the addresses of their claims, as peers and as those that are selected", async () => {
    await the().addClaim("lasting", { network: "blue" });
    const annotations = {
      [NETWORKS_ANNOTATION]: JSON.stringify([{ name: "blue", interface: "net1", claim: "lasting" }]),
    };
    await the().addPod("node2", "claimer", { labels: { app: "client" }, annotations });
    await soon("claimer", "server", true);
    await relabel("claimer", "server");
    await soon("claimer", "server", false);
    for (const [from, is] of [
      ["client", true],
      ["far", false],
      ["near", false],
    ] as const)
      await soon(from, "claimer", is);
    await the().deletePod("claimer");
    // It has its addresses there at once, and its policies with them.
    await the().addPod("node1", "claimer", { labels: { app: "server" }, annotations });
    assert.equal(await reaches("near", "claimer"), false);
    await soon("client", "claimer", true);
    assert.equal(await reaches("far", "claimer"), false);
    await the().deletePod("claimer");
    await the().removeClaim("lasting");
  });

  it("hold from the first packet on where the node leaves the network and comes back", async () => {
    const there = async (): Promise<boolean> =>
      (await the().exec("node1", "ls", "/run/netns")).split("\n").includes("sky-blue");
    for (const name of ["server", "near"]) await the().deletePod(name);
    await eventually(async () => !(await there()), { timeoutMs: 20_000 });
    await add("node1", "server", "server");
    for (let i = 0; i < 3; i++) assert.equal(await reaches("far", "server"), false);
    await soon("client", "server", true);
    await add("node1", "near", "stranger");
    assert.equal(await reaches("near", "server"), false);
  });

  it("name networks by definitions of the attachment as well, and no others", async () => {
    await the().api.call("DELETE", `${POLICIES}/server`);
    await soon("far", "server", true);
    await eventually(async () => !(await hasTable("node1")), { timeoutMs: 20_000 });
    await define(the(), definition("network-attachment-definitions", "NetworkAttachmentDefinition", "v1"));
    const config = JSON.stringify({ cniVersion: "1.0.0", name: "tenant", type: "skylane", network: "blue" });
    const attachment = (name: string, text: string) =>
      the().api.call("POST", ATTACHMENTS, {
        apiVersion: "k8s.cni.cncf.io/v1",
        kind: "NetworkAttachmentDefinition",
        metadata: { name },
        spec: { config: text },
      });
    await attachment("tenant", config);
    await attachment("odd", "{no JSON");
    await policy("others", "odd,elsewhere/tenant,green", { podSelector: {}, policyTypes: ["Ingress"] });
    await policy("server", "tenant", { podSelector: server, policyTypes: ["Ingress"], ingress: [fromClients] });
    await soon("far", "server", false);
    assert.equal(await reaches("client", "server"), true);
    assert.equal(await reaches("far", "near"), true);
    for (const one of ["others", "server"]) await the().api.call("DELETE", `${POLICIES}/${one}`);
    await soon("far", "server", true);
  });

  it("keep a pod from a bridged network where they cannot be enforced", async () => {
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/16"], mode: "Bridged" });
    await policy("lan", "lan", { podSelector: server, policyTypes: ["Ingress"] });
    await add("node1", "free", "stranger", "lan");
    await eventually(
      async () =>
        await add("node1", "held", "server", "lan").then(
          () =>
            the()
              .deletePod("held")
              .then(() => false),
          (error: unknown) => {
            assert.match(
              String(error),
              /MultiNetworkPolicy default\/lan selects pod default\/held, and cannot be enforced in network lan, which is bridged/,
            );
            return true;
          },
        ),
      { timeoutMs: 20_000 },
    );
    await the().api.call("DELETE", `${POLICIES}/lan`);
    // One that runs already is told of.
    await policy("too-late", "lan", { podSelector: { matchLabels: { app: "stranger" } } });
    await eventually(
      async () => {
        const { items } = await the().api.call<{ items: { reason: string; message: string }[] }>(
          "GET",
          "/api/v1/namespaces/default/events",
        );
        return items.some(
          ({ reason, message }) =>
            reason === "SkylanePolicyNotEnforced" &&
            message.includes("MultiNetworkPolicy default/too-late does not hold for pod default/free"),
        );
      },
      { timeoutMs: 20_000 },
    );
    await the().api.call("DELETE", `${POLICIES}/too-late`);
  });

  it("leave nothing behind once there are none", async () => {
    await eventually(
      async () => {
        for (const node of ["node1", "node2"]) if (await hasTable(node)) return false;
        const { items } = await the().api.call<{ items: { metadata: { annotations?: object } }[] }>(
          "GET",
          "/apis/skylane.dev/v1alpha1/networkblocks",
        );
        return items.every(({ metadata }) => !("skylane.dev/pods" in (metadata.annotations ?? {})));
      },
      { timeoutMs: 20_000 },
    );
  });
});
