/** Flows of pods of two nodes as agents tell of them: with names, figures and verdicts, in both families; and nothing of it where they are off. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Talk } from "../../../lab/pods/talk.ts";
import type { Flow } from "../../../src/flows/index.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

const ACCOUNTING = "net.netfilter.nf_conntrack_acct";

describe("flows of a cluster's pods", () => {
  const the = useLab({ nodes: 2, agentConfig: { flows: "on" } });
  const flowsOf = async (node: string, ...options: string[]): Promise<Flow[]> => {
    const skylanectl = join(the().context.binDir, "skylanectl");
    const said = await the().exec(node, skylanectl, "flows", "-o", "json", ...options);
    return said
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Flow);
  };
  const talks: Talk[] = [];

  before("a server and a client on two nodes", async () => {
    await the().addPod("node1", "server", { labels: { app: "server" } });
    await the().addPod("node2", "client", { labels: { app: "client" } });
    for (const node of ["node1", "node2"])
      await eventually(async () => (await the().status(the().node(node))).flows?.on === true);
    talks.push(await Talk.answering(the().context, the().pod("server"), 8080));
  });
  after("the programs in pods end", async () => {
    for (const talk of talks.splice(0)) await talk[Symbol.asyncDispose]();
  });

  it("names both ends of a connection across nodes in both families", async () => {
    for (const ip of the().pod("server").ips) {
      talks.push(await Talk.connected(the().context, the().pod("client"), ip, 8080));
      for (const [node, own] of [
        ["node1", "destination"],
        ["node2", "source"],
      ] as const)
        await eventually(
          async () => {
            const flow = (await flowsOf(node, "--port", "8080")).find((one) => one.destination.ip === ip);
            return (
              flow?.verdict === "allowed" &&
              flow[own].pod === `default/${own === "source" ? "client" : "server"}` &&
              flow.source.node === "node2" &&
              flow.destination.node === "node1"
            );
          },
          { message: `${node} tells of the connection to ${ip}` },
        );
    }
  });

  it("shows what was asked for beside who answered, and figures once it is over", async function () {
    // The kernel looks through its table once a minute.
    this.timeout(300_000);
    const [ip] = the().pod("server").ips as [string];
    const service = "10.96.0.7";
    await the().exec(
      "node2",
      "nft",
      `table ip services { chain c { type nat hook prerouting priority dstnat; ip daddr ${service} udp dport 53 dnat to ${ip}:5353; }; }`,
    );
    await the().exec("node2", "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=1");
    try {
      await the().execInPod("client", "bash", "-c", `echo hello >/dev/udp/${service}/53`);
      const found = async (): Promise<Flow | undefined> =>
        (await flowsOf("node2", "--protocol", "udp", "--port", "53")).find(({ destination }) => destination.ip === ip);
      const open = await eventually(found);
      assert.deepEqual([open.service, open.destination.port], [{ ip: service, port: 53 }, 5353]);
      assert.equal(open.source.pod, "default/client");
      const over = await eventually(async () => (await found())?.state === "ended" && found(), { timeoutMs: 240_000 });
      assert.ok(over.packets === 1 && (over.bytes ?? 0) > 28, JSON.stringify(over));
    } finally {
      await the().exec("node2", "nft", "delete table ip services");
    }
  });

  it("names the policy that denies", async () => {
    const path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
    await the().api.call("POST", path, {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "closed" },
      spec: { podSelector: { matchLabels: { app: "server" } }, policyTypes: ["Ingress"] },
    });
    try {
      const [ip] = the().pod("server").ips as [string];
      const denied = await eventually(async () => {
        await the().execInPod("client", "bash", "-c", `echo hello >/dev/udp/${ip}/5354`);
        return (await flowsOf("node1", "--verdict", "denied", "--port", "5354", "--pod", "default/server"))[0];
      });
      assert.match(denied.policy ?? "", /closed/);
      // Where there are policies, the agent knows who is at the other node.
      assert.equal(denied.source.pod, "default/client");
    } finally {
      await the().api.call("DELETE", `${path}/closed`);
    }
  });

  it("sets the kernel's accounting, and sets it again when somebody changes it", async () => {
    const value = async (): Promise<string> => (await the().exec("node1", "sysctl", "-n", ACCOUNTING)).trim();
    assert.equal(await value(), "1");
    await the().exec("node1", "sysctl", "-w", `${ACCOUNTING}=0`);
    await eventually(async () => (await value()) === "1");
  });

  it("leaves nothing behind where they are off, also of an agent that was killed", async () => {
    const config = "/etc/skylane/agent.yaml";
    await the().exec("node2", "sed", "-i", 's/"flows": "on"/"flows": "off"/', config);
    await the().exec("node2", "pkill", "-KILL", "-f", "skylane-agent.cjs");
    await eventually(async () => (await the().exec("node2", "sysctl", "-n", ACCOUNTING)).trim() === "0");
    await eventually(async () => (await the().status(the().node("node2"))).ready.ready);
    await assert.rejects(flowsOf("node2"), /records no flows/);
    assert.equal((await the().status(the().node("node2"))).flows, undefined);
  });
});
