/** Network policies on a cluster of two nodes: what the API server says is what packets meet with, from a pod's first moment on. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { initOf } from "../../../lab/cluster/context.ts";
import { tryRun } from "../../../lab/exec.ts";
import { askAgent } from "../../../src/cli/index.ts";
import type { Explanation, PolicyList } from "../../../src/enforcement/index.ts";
import { eventually } from "../../support/eventually.ts";
import { pinging, useLab } from "./support.ts";

const POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const MERGE = "application/merge-patch+json";

describe("network policies of a cluster", () => {
  const the = useLab({ nodes: 2 });
  const add = (node: string, name: string, app: string) => the().addPod(node, name, { labels: { app } });
  const answered = async (from: string, to: string): Promise<boolean> => {
    const { ips } = the().pod(to);
    const all = await Promise.all(ips.map((ip) => the().pingFrom(the().pod(from), ip, 500)));
    const got = all.map(({ rttMs }) => rttMs !== undefined);
    assert.equal(new Set(got).size, 1, `${from} reaches ${to} in one family alone`);
    return got[0] as boolean;
  };
  const soon = (from: string, to: string, is: boolean): Promise<unknown> =>
    eventually(async () => (await answered(from, to).catch(() => !is)) === is, {
      timeoutMs: 10_000,
      message: `${from} ${is ? "does not reach" : "reaches"} ${to}`,
    });
  const tables = (node: string): Promise<string> => the().exec(node, "nft", "list", "tables");
  const hasTable = async (node: string): Promise<boolean> => (await tables(node)).includes("inet skylane_policy");
  const relabel = (name: string, app: string) =>
    the().api.call("PATCH", `/api/v1/namespaces/default/pods/${name}`, { metadata: { labels: { app } } }, MERGE);

  before("pods that reach each other, as there are no policies", async () => {
    await add("node1", "server", "server");
    await add("node1", "near", "stranger");
    await add("node2", "far", "stranger");
    await add("node2", "client", "client");
    for (const from of ["near", "far", "client"]) await soon(from, "server", true);
    for (const node of ["node1", "node2"]) assert.equal(await hasTable(node), false);
  });

  it("hold for pods that are there, from the moment that the policy is", async () => {
    const from = [{ podSelector: { matchLabels: { app: "client" } } }];
    await the().api.call("POST", POLICIES, {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "server" },
      spec: { podSelector: { matchLabels: { app: "server" } }, policyTypes: ["Ingress"], ingress: [{ from }] },
    });
    for (const one of ["near", "far"]) await soon(one, "server", false);
    assert.equal(await answered("client", "server"), true);
    assert.equal(await answered("server", "far"), true);
    const [ip] = the().pod("server").ips;
    await the().exec("node1", "ping", "-n", "-c", "1", "-W", "2", ip as string);
    // No pod of node2 has a policy.
    assert.equal(await hasTable("node2"), false);
  });

  it("can be seen: which are in force, why a packet passes or not, and what was denied", async () => {
    const ctl = async <T>(...args: string[]): Promise<T> => {
      const skylanectl = join(the().context.binDir, "skylanectl");
      // Exit status 1 says that a packet is denied.
      const argv = the().enter("node1", skylanectl, "policy", ...args, "-o", "json");
      return JSON.parse((await tryRun(argv, { env: the().context.env })).stdout) as T;
    };
    assert.equal(await answered("near", "server"), false);
    assert.equal(await answered("client", "server"), true);
    const { policies, others } = await ctl<PolicyList>("list");
    const [policy] = policies;
    assert.deepEqual(
      [policy?.name, policy?.state, policy?.pods, policy?.generation, policy?.why],
      ["server", "in force", ["default/server"], 1, []],
    );
    assert.ok((policy?.rules[0]?.packets ?? 0) >= 2);
    const denied = others.find(({ what, direction }) => what === "default deny" && direction === "ingress");
    assert.ok((denied?.packets ?? 0) >= 2);
    for (const [from, allowed, why] of [
      ["near", false, /isolated by NetworkPolicy default\/server/],
      ["client", true, /NetworkPolicy default\/server allows it by ingress\[0\]/],
    ] as const) {
      const { packets = [] } = await ctl<Explanation>("explain", "server", "--from", from, "--protocol", "icmp");
      assert.equal(packets.length, 2, "one a family");
      for (const packet of packets) {
        assert.equal(packet.allowed, allowed);
        assert.match(packet.ingress?.why ?? "", why);
        assert.equal(packet.ingress?.rules, "the same");
      }
    }
    const socket = `/proc/${initOf(the().node("node1"))}/root/run/skylane/agent.sock`;
    await assert.rejects(askAgent("/policies/explain?pod=default/nobody", socket), /no pod default\/nobody is known/);
    const metrics = await askAgent("/metrics", socket);
    assert.match(metrics, /skylane_policy_packets_total{[^}]*policy="default deny"[^}]*verdict="deny"[^}]*} [1-9]/);
    assert.match(
      metrics,
      /skylane_policy_packets_total{[^}]*policy="NetworkPolicy default\/server"[^}]*"allow"[^}]*} [1-9]/,
    );
    const { policies: state } = await the().status(the().node("node1"));
    assert.deepEqual([state?.presence, state?.inForce], ["some", true]);
    await eventually(async () => {
      const { items } = await the().api.call<{ items: { reason: string; involvedObject: { name: string } }[] }>(
        "GET",
        "/api/v1/namespaces/default/events",
      );
      return items.some(({ reason, involvedObject }) => reason === "PolicyDenied" && involvedObject.name === "server");
    });
    const log = await the().exec("node1", "cat", "/var/log/skylane-agent.log");
    assert.match(log, /a network policy denied a packet.*pod=default\/server.*peer="pod default\/near"/);
  });

  it("are in force when a pod has come", async () => {
    for (let i = 0; i < 5; i++) {
      const name = `late${i}`;
      await add("node1", name, "server");
      for (const one of ["near", "far"]) assert.equal(await answered(one, name), false, `${one} reaches ${name}`);
      assert.equal(await answered("client", name), true);
      await the().deletePod(name);
    }
  });

  it("follow labels of pods on either side", async () => {
    await relabel("far", "client");
    await soon("far", "server", true);
    await relabel("far", "stranger");
    await soon("far", "server", false);
    await relabel("near", "server");
    await soon("far", "near", false);
    await relabel("near", "stranger");
    await soon("far", "near", true);
  });

  /** Waits until another one's echo requests are answered, and none of those. */
  const endsAnswering = (answers: () => number): Promise<unknown> =>
    eventually(
      async () => {
        const before = answers();
        for (let i = 0; i < 5; i++) assert.equal(await answered("client", "server"), true);
        return answers() === before;
      },
      { timeoutMs: 10_000, message: "a ping that is not allowed any more is answered" },
    );

  it("end what goes on and is not allowed any more", async () => {
    await relabel("far", "client");
    await soon("far", "server", true);
    await pinging(the(), "far", the().pod("server").ips[0] as string, async (answers) => {
      await relabel("far", "stranger");
      await soon("far", "server", false);
      await endsAnswering(answers);
    });
  });

  it("are put back where somebody has taken them away", async () => {
    await the().exec("node1", "nft", "delete", "table", "inet", "skylane_policy");
    await soon("far", "server", false);
    await the().exec("node1", "nft", "flush", "map", "inet", "skylane_policy", "peers4");
    await soon("client", "server", true);
    assert.equal(await answered("far", "server"), false);
  });

  it("end what has begun while somebody had taken them away", async () => {
    const agent = (signal: string): Promise<string> => the().exec("node1", "pkill", signal, "-f", "skylane-agent.cjs");
    await agent("-STOP");
    try {
      await the().exec("node1", "nft", "delete", "table", "inet", "skylane_policy");
      await pinging(the(), "far", the().pod("server").ips[0] as string, async (answers) => {
        await agent("-CONT");
        await soon("far", "server", false);
        await endsAnswering(answers);
      });
    } finally {
      await agent("-CONT");
    }
  });

  it("stay while the agent is away, when no pod can come, and go on when it is back", async () => {
    await the().exec("node1", "pkill", "-STOP", "-f", "skylane-agent.cjs");
    assert.equal(await answered("far", "server"), false);
    assert.equal(await answered("client", "server"), true);
    await assert.rejects(
      the().addPod("node1", "early", { labels: { app: "server" }, timeoutMs: 1_000 }),
      /only skylane-agent knows which networks and network policies/,
    );
    // It is started again at once.
    await the().exec("node1", "pkill", "-KILL", "-f", "skylane-agent.cjs");
    await add("node1", "early", "server");
    assert.equal(await answered("far", "early"), false);
    assert.equal(await answered("client", "early"), true);
    assert.equal(await answered("far", "server"), false);
  });

  it("leave nothing in the kernel once there are none", async () => {
    await the().api.call("DELETE", `${POLICIES}/server`);
    await soon("far", "server", true);
    await eventually(async () => !(await hasTable("node1")), { timeoutMs: 10_000 });
  });
});
