/** Flows of pods of two nodes as agents tell of them: with names, Services, networks, figures and verdicts, in both families; and nothing of it where they are off. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { Talk } from "../../../lab/pods/talk.ts";
import type { Flow } from "../../../src/flows/index.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

const ACCOUNTING = "net.netfilter.nf_conntrack_acct";
/** In the node's namespace, and in the pod network's. */
const SYSCTLS: readonly (readonly [string, ...string[]])[] = [
  ["sysctl"],
  ["ip", "netns", "exec", "sky-blue", "sysctl"],
];

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

  it("names the Service that was asked for beside who answered, and has figures once it is over", async function () {
    // The kernel looks through its table once a minute.
    this.timeout(300_000);
    const [ip] = the().pod("server").ips as [string];
    const [service, node] = ["10.96.0.7", "172.30.0.12"];
    await the().api.call("POST", "/api/v1/namespaces/default/services", {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "names" },
      spec: {
        type: "NodePort",
        clusterIP: service,
        clusterIPs: [service],
        ports: [{ name: "dns", protocol: "UDP", port: 53, nodePort: 30_053 }],
      },
    });
    // As kube-proxy does it.
    const rules = [
      `ip daddr ${service} udp dport 53 dnat to ${ip}:5353;`,
      `ip daddr ${node} udp dport 30053 dnat to ${ip}:5354;`,
    ];
    await the().exec(
      "node2",
      "nft",
      `table ip services { chain c { type nat hook prerouting priority dstnat; ${rules.join(" ")} }; }`,
    );
    await the().exec("node2", "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=1");
    const names = { name: "default/names", portName: "dns" };
    const flowTo = (port: number) => async (): Promise<Flow | undefined> =>
      (await flowsOf("node2", "--service", "default/names")).find(({ destination }) => destination.port === port);
    const asked = (to: string, port: number, found: () => Promise<Flow | undefined>): Promise<Flow> =>
      eventually(async () => {
        // Another one each time: the agent may not have heard of the Service yet.
        await the().execInPod("client", "bash", "-c", `echo hello >/dev/udp/${to}/${port}`);
        return found();
      });
    try {
      const open = await asked(service, 53, flowTo(5353));
      assert.deepEqual([open.service, open.destination.ip], [{ ip: service, port: 53, ...names }, ip]);
      assert.equal(open.source.pod, "default/client");
      const byNode = await asked(node, 30_053, flowTo(5354));
      assert.deepEqual([byNode.service, byNode.destination.ip], [{ ip: node, port: 30_053, ...names }, ip]);
      const over = await eventually(
        async () => (await flowsOf("node2", "--service", "default/names")).find(({ state }) => state === "ended"),
        { timeoutMs: 240_000 },
      );
      assert.ok(over.packets === 1 && (over.bytes ?? 0) > 28, JSON.stringify(over));
    } finally {
      await the().exec("node2", "nft", "delete table ip services");
    }
  });

  it("tells of connections in a pod network of their own by its name", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/16", "fd50::/64"] });
    await the().addPod("node1", "store", { annotations: { [NETWORKS_ANNOTATION]: "blue" } });
    await the().addPod("node2", "buyer", { annotations: { [NETWORKS_ANNOTATION]: "blue" } });
    talks.push(await Talk.answering(the().context, the().pod("store"), 8081));
    for (const ip of the().ipsOf("store", "net1")) {
      talks.push(await Talk.connected(the().context, the().pod("buyer"), ip, 8081));
      for (const [node, own] of [
        ["node1", "destination"],
        ["node2", "source"],
      ] as const)
        await eventually(
          async () => {
            const flow = (await flowsOf(node, "--network", "blue")).find(({ destination }) => destination.ip === ip);
            return (
              flow?.network === "blue" &&
              flow[own].pod === `default/${own === "source" ? "buyer" : "store"}` &&
              flow.source.node === "node2" &&
              flow.destination.node === "node1"
            );
          },
          { message: `${node} tells of the connection to ${ip}` },
        );
    }
    assert.deepEqual(
      (await flowsOf("node1", "--network", "default")).filter(({ destination }) => destination.port === 8081),
      [],
    );
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

  it("sets the kernel's accounting, and sets it again when somebody changes it, also in a pod network's namespace", async () => {
    for (const sysctl of SYSCTLS) {
      const value = async (): Promise<string> => (await the().exec("node1", ...sysctl, "-n", ACCOUNTING)).trim();
      assert.equal(await value(), "1");
      await the().exec("node1", ...sysctl, "-w", `${ACCOUNTING}=0`);
      await eventually(async () => (await value()) === "1");
    }
  });

  it("leaves nothing behind where they are off, also of an agent that was killed", async () => {
    const config = "/etc/skylane/agent.yaml";
    await the().exec("node2", "sed", "-i", 's/"flows": "on"/"flows": "off"/', config);
    await the().exec("node2", "pkill", "-KILL", "-f", "skylane-agent.cjs");
    for (const sysctl of SYSCTLS)
      await eventually(async () => (await the().exec("node2", ...sysctl, "-n", ACCOUNTING)).trim() === "0");
    await eventually(async () => (await the().status(the().node("node2"))).ready.ready);
    await assert.rejects(flowsOf("node2"), /records no flows/);
    assert.equal((await the().status(the().node("node2"))).flows, undefined);
  });
});
