/** Domain names in policies on a cluster: a pod asks the cluster's DNS, here one that sends back what it is sent, and may reach what it was told. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { stringify } from "yaml";
import { initOf } from "../../../lab/cluster/context.ts";
import { entering, run, tryRun } from "../../../lab/exec.ts";
import { podNetns } from "../../../lab/pods/pods.ts";
import { ipToBytes } from "../../../src/addr/index.ts";
import { PacketQueue } from "../../../src/dataplane/nfqueue/index.ts";
import type { Explanation, PolicyList } from "../../../src/enforcement/index.ts";
import { ANSWER_QUEUE } from "../../../src/policy/index.ts";
import { eventually } from "../../support/eventually.ts";
import { answerBytes } from "../../unit/dns/messages.ts";
import { CLUSTER_POLICIES, define, useLab } from "./support.ts";

const ECHO = `
  const socket = require("node:dgram").createSocket("udp6");
  socket.on("message", (message, { port, address }) => socket.send(message, port, address));
  socket.bind(53, "::", () => console.log("ready"));
`;
const ASK = `
  const [host, message] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket(host.includes(":") ? "udp6" : "udp4");
  const say = (text) => { console.log(text); process.exit(); };
  socket.on("message", () => say("answered"));
  setTimeout(say, 20_000, "no answer");
  socket.send(Buffer.from(message, "hex"), 53, host);
`;

describe("domain names in policies of a cluster", () => {
  const the = useLab({ nodes: 2 });
  let dns: ChildProcess | undefined;
  const inPod = (name: string, ...args: string[]): string[] =>
    entering({ netns: podNetns(the().context, the().pod(name)) }, process.execPath, args);
  const ask = async (name: string, ip: string): Promise<void> => {
    const type = ip.includes(":") ? "AAAA" : "A";
    const message = answerBytes(name, [{ owner: name, type, ttl: 300, data: Buffer.from(ipToBytes(ip)) }], { type });
    const server = the()
      .pod("coredns")
      .ips.find((one) => one.includes(":") === ip.includes(":")) as string;
    assert.equal((await run(inPod("client", "-e", ASK, server, message.toString("hex")))).trim(), "answered");
  };
  const reached = async (): Promise<boolean[]> =>
    Promise.all(
      the()
        .pod("target")
        .ips.map(async (ip) => (await the().pingFrom(the().pod("client"), ip, 500)).rttMs !== undefined),
    );
  /** On a busy machine an echo may take longer than is waited for. */
  const isReached = (): Promise<unknown> =>
    eventually(async () => (await reached()).every((one) => one), { message: "the target is not reached" });
  const ctl = async <T>(...args: string[]): Promise<T> => {
    const argv = the().enter("node1", join(the().context.binDir, "skylanectl"), "policy", ...args, "-o", "json");
    return JSON.parse((await tryRun(argv, { env: the().context.env })).stdout) as T;
  };

  before("a DNS server, and a pod that may reach it and one name", async () => {
    await define(the(), CLUSTER_POLICIES);
    await the().addPod("node2", "coredns", { namespace: "kube-system", labels: { "k8s-app": "kube-dns" } });
    await the().addPod("node2", "target", { labels: { app: "target" } });
    await the().addPod("node1", "client", { labels: { app: "client" } });
    const [command, ...args] = inPod("coredns", "-e", ECHO);
    dns = spawn(command as string, args, { stdio: ["ignore", "pipe", "inherit"] });
    await once(dns.stdout as NodeJS.ReadableStream, "data");
    await the().applyPolicies(
      stringify({
        apiVersion: `${CLUSTER_POLICIES.group}/${CLUSTER_POLICIES.version}`,
        kind: "ClusterNetworkPolicy",
        metadata: { name: "names" },
        spec: {
          tier: "Admin",
          priority: 1,
          subject: { pods: { podSelector: { matchLabels: { app: "client" } } } },
          egress: [
            { action: "Accept", to: [{ domainNames: ["*.example.com"] }] },
            { action: "Accept", to: [{ pods: { podSelector: { matchLabels: { "k8s-app": "kube-dns" } } } }] },
            { action: "Deny", to: [{ networks: ["0.0.0.0/0", "::/0"] }] },
          ],
        },
      }),
    );
    await eventually(async () => (await reached()).every((one) => !one), { message: "the policy is not in force" });
    await eventually(
      async () => (await the().exec("node1", "cat", "/proc/net/netfilter/nfnetlink_queue")).includes(" 83 "),
      { message: "nobody listens to the queue" },
    );
  });
  after(async () => {
    if (!dns) return;
    const closed = once(dns, "close");
    dns.kill("SIGKILL");
    await closed;
  });

  it("let a pod reach what a name was answered to be, and are explained", async () => {
    for (const ip of the().pod("target").ips) await ask("other.example.org", ip);
    assert.deepEqual(await reached(), [false, false]);
    for (const ip of the().pod("target").ips) await ask("www.example.com", ip);
    await isReached();
    const { policies } = await ctl<PolicyList>("list");
    assert.deepEqual([policies[0]?.name, policies[0]?.state, policies[0]?.why], ["names", "in force", []]);
    const { packets = [] } = await ctl<Explanation>("explain", "client", "--to", "target", "--protocol", "icmp");
    assert.equal(packets.length, 2);
    for (const { allowed, egress } of packets) {
      assert.equal(allowed, true);
      assert.match(egress?.why ?? "", /ClusterNetworkPolicy names allows it by egress\[0\]/);
      assert.equal(egress?.rules, "the same");
    }
  });

  it("are in the policy's status: on which nodes they allow nothing, and no more once they do", async () => {
    const path = `/apis/${CLUSTER_POLICIES.group}/${CLUSTER_POLICIES.version}/clusternetworkpolicies/names`;
    type Condition = Record<"type" | "status" | "reason" | "message", string>;
    const condition = async (): Promise<Condition | undefined> => {
      const { status } = (await the().api.call("GET", path)) as unknown as { status?: { conditions?: Condition[] } };
      return status?.conditions?.find(({ type }) => type === "skylane.dev/DomainNames");
    };
    const annotation = async (): Promise<string | undefined> =>
      (await the().api.call("GET", "/api/v1/nodes/node2")).metadata.annotations?.["skylane.dev/policy-faults"];
    const says = (status: string): Promise<unknown> =>
      eventually(async () => (await condition())?.status === status, {
        timeoutMs: 60_000,
        message: `the policy does not say ${status}`,
      });
    await says("True");
    assert.equal(await annotation(), undefined);
    // No pod of node2 has rules with names yet: whoever comes first has the queue.
    const pid = initOf(the().node("node2"));
    const taken = PacketQueue.open({
      queue: ANSWER_QUEUE,
      netns: `/proc/${pid}/ns/net`,
      onPacket: ({ release }) => release(),
      onLost: () => {},
    });
    try {
      await the().addPod("node2", "client-2", { labels: { app: "client" } });
      await says("False");
      const { reason, message } = (await condition()) as Condition;
      assert.equal(reason, "NodesCannotHold");
      assert.match(message, /: node2 \(queue 83 of held packets cannot be listened to: .*\)$/);
      assert.match((await annotation()) ?? "", /queue 83/);
    } finally {
      await taken.close();
    }
    await says("True");
    assert.equal(await annotation(), undefined);
  });

  it("hold while the agent is away and when it is back", async () => {
    await eventually(
      async () => (await the().exec("node1", "cat", "/var/lib/cni/skylane/cache/domain-names.json")).includes(":"),
      { message: "addresses are not written down" },
    );
    await the().exec("node1", "pkill", "-KILL", "-f", "skylane-agent.cjs");
    await isReached();
    await eventually(async () => (await ctl<PolicyList>("list").catch(() => undefined))?.inForce === true, {
      timeoutMs: 60_000,
    });
    await isReached();
  });
});
