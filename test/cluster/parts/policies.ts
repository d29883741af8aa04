/** Network policies by the real API server, between real pods, behind the real kube-proxy. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Context, needs } from "../support/context.ts";
import { PATIENCE } from "../../support/eventually.ts";
import { eventually, type KubeObject, TEST_NAMESPACE, type TestPod } from "../support/kube.ts";
import { findNamespace } from "./install.ts";

const PORT = 7000;
const HOST_PORT = 7070;
/** A namespace beside that of the tests. */
const ELSEWHERE = "skylane-test-elsewhere";
const MINUTE = 60_000;
const PROBE = fileURLToPath(new URL("../support/probe.cjs", import.meta.url));
const GROUP = "policy.networking.k8s.io";
const TABLE = "inet skylane_policy";
const run = promisify(execFile);

/** What came of one try: the probe's words. */
interface Try {
  target: string;
  seenAs?: string;
  instead?: string;
}

/** Tries whatever it is given, all at once, from one place. */
type Reach = (targets: readonly string[]) => Promise<string>;

const target = (protocol: "tcp" | "udp", address: string, port = PORT): string => `${protocol},${address},${port}`;
const tcp = ({ ips }: TestPod): string[] => ips.map((ip) => target("tcp", ip));
const udp = ({ ips }: TestPod): string[] => ips.map((ip) => target("udp", ip));
const triesOf = (text: string): Try[] =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Try);

const withRole = (...roles: string[]) => ({ matchExpressions: [{ key: "role", operator: "In", values: roles }] });
const pods = (...roles: string[]) => ({ podSelector: withRole(...roles) });

/** A NetworkPolicy in the namespace of the tests. */
const policy = (name: string, podSelector: object, rules: { ingress?: object[]; egress?: object[] }) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name, namespace: TEST_NAMESPACE },
  spec: {
    podSelector,
    policyTypes: [...(rules.ingress ? ["Ingress"] : []), ...(rules.egress ? ["Egress"] : [])],
    ...rules,
  },
});

const service = (name: string, type: string, role: string) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: TEST_NAMESPACE },
  spec: {
    type,
    selector: { role },
    ports: ["TCP", "UDP"].map((protocol) => ({ name: protocol.toLowerCase(), port: PORT, protocol })),
  },
});

/** The definition of ClusterNetworkPolicies, with as much of a schema as keeps all fields. */
const DEFINITION = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: {
    name: `clusternetworkpolicies.${GROUP}`,
    annotations: { "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/network-policy-api/pull/300" },
  },
  spec: {
    group: GROUP,
    scope: "Cluster",
    names: { plural: "clusternetworkpolicies", singular: "clusternetworkpolicy", kind: "ClusterNetworkPolicy" },
    versions: [
      {
        name: "v1alpha2",
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      },
    ],
  },
};

const ofTests = { matchLabels: { "skylane-test": "here" } };
const inCluster = (labels: Record<string, string>) => ({
  pods: { namespaceSelector: ofTests, podSelector: { matchLabels: labels } },
});
const clusterPolicy = (name: string, tier: "Admin" | "Baseline", role: string, ingress: object[]) => ({
  apiVersion: `${GROUP}/v1alpha2`,
  kind: "ClusterNetworkPolicy",
  metadata: { name },
  spec: { tier, priority: 10, subject: inCluster({ role }), ingress },
});

export function policiesPart(context: Context): void {
  describe("under network policies", () => {
    /** On the first node. */
    let server: TestPod;
    let near: TestPod;
    let nearby: TestPod;
    let hostHere: TestPod;
    /** On the second node. */
    let client: TestPod;
    let stranger: TestPod;
    let hostThere: TestPod;
    const made: string[] = [];

    /** The object of a pod with a role, which policies select. */
    function podOf(
      name: string,
      node: string,
      role: string,
      more: { hostNetwork?: boolean; command?: string[]; labels?: object; namespace?: string } = {},
    ): KubeObject & { spec: { containers: object[] } } {
      const object = context.kube.podObject(name, node, more) as KubeObject & { spec: { containers: object[] } };
      Object.assign(object.metadata, { labels: { role, ...more.labels } });
      if (more.namespace) Object.assign(object.metadata, { namespace: more.namespace });
      else made.push(name);
      // one that only tries ends with that
      if (more.command?.[0] === "reach") Object.assign(object.spec, { restartPolicy: "Never" });
      return object;
    }

    /** From inside a pod, by way of the API server. */
    const inside =
      ({ name }: { name: string }, namespace?: string): Reach =>
      (targets) =>
        context.kube.reach(name, targets, namespace);
    /** From a pod's network namespace, by way of its machine alone. */
    async function behind(pod: TestPod): Promise<Reach> {
      const enter = ["ip", "netns", "exec", await findNamespace(context, pod), process.execPath, PROBE, "reach"];
      return async (targets) => (await context.machine.hardware?.at(pod.node, [...enter, ...targets])) ?? "";
    }
    /** From the machine of the API server, which is no node and in no pod. */
    const outside: Reach = async (targets) => {
      const { kubectlCommand } = context.machine;
      const [command = "", ...where] = kubectlCommand.slice(0, kubectlCommand.indexOf("kubectl"));
      return (await run(command, [...where, process.execPath, PROBE, "reach", ...targets])).stdout;
    };

    /** One try at each: those answer, and nothing at all comes of these. @throws AssertionError */
    async function look(from: Reach, wanted: { answer?: string[]; silent?: string[] }): Promise<true> {
      const { answer = [], silent = [] } = wanted;
      const expected = Object.fromEntries([
        ...answer.map((one) => [one, "answer"] as const),
        ...silent.map((one) => [one, "silence"] as const),
      ]);
      const tries = triesOf(await from([...answer, ...silent]));
      assert.deepEqual(Object.fromEntries(tries.map((one) => [one.target, one.instead ?? "answer"])), expected);
      return true;
    }
    /** Waits until it is so, in one look. */
    const settles = (from: Reach, wanted: { answer?: string[]; silent?: string[] }): Promise<true> =>
      eventually(() => look(from, wanted), { timeoutMs: MINUTE });

    const label = (pod: string, value: string): Promise<string> =>
      context.kube.kubectl("label", "pod", "-n", TEST_NAMESPACE, pod, value, "--overwrite");
    const remove = (...names: string[]): Promise<string> =>
      context.kube.kubectl("delete", "networkpolicy", "-n", TEST_NAMESPACE, ...(names.length > 0 ? names : ["--all"]));

    /** Waits for a pod that only tries, and returns what came of it. */
    async function tried(name: string): Promise<Try[]> {
      const { kube } = context;
      await eventually(
        async () => {
          const { status } = await kube.get("pod", name, "-n", TEST_NAMESPACE);
          if (status.phase !== "Succeeded") throw new Error(`pod ${name} is ${status.phase}`);
          return true;
        },
        { timeoutMs: 2 * MINUTE },
      );
      return triesOf(await kube.kubectl("logs", "-n", TEST_NAMESPACE, name));
    }
    /** Holds what a pod tried with its first packets against what its policies say. */
    function assertTried(tries: Try[], answer: string[], silent: string[]): void {
      const found = tries.map((one) => `${one.target} ${one.instead ?? "answer"}`).sort();
      const expected = [...answer.map((one) => `${one} answer`), ...silent.map((one) => `${one} silence`)].sort();
      assert.deepEqual(found, expected);
    }

    async function agentOf(node: string): Promise<KubeObject> {
      const agents = await context.kube.agentsReady(context.nodes.length);
      return agents.find((pod) => pod.spec.nodeName === node) as KubeObject;
    }
    const containerOf = (agent: KubeObject): string =>
      agent.status.containerStatuses?.[0]?.containerID.replace(/^containerd:\/\//, "") ?? "";
    const signal = (node: string, container: string, name: string): Promise<string | undefined> =>
      Promise.resolve(
        context.machine.hardware?.at(node, ["ctr", "-n", "k8s.io", "tasks", "kill", "-a", "-s", name, container]),
      );
    /** When the agent that answers on a node began. @throws when none answers */
    async function startOfAgent(node: string): Promise<string> {
      const ask = `fetch("http://127.0.0.1:9473/metrics").then((response) => response.text()).then(console.log)`;
      const metrics = (await context.machine.hardware?.at(node, [process.execPath, "-e", ask])) ?? "";
      const [, start] = /^process_start_time_seconds (\S+)$/m.exec(metrics) ?? [];
      if (start === undefined) throw new Error(`the agent of ${node} does not say when it began`);
      return start;
    }
    const nodeIp = async (node: string): Promise<string> =>
      (await context.kube.get("node", node)).status.addresses?.find(({ type }) => type === "InternalIP")
        ?.address as string;
    const serverFromClients = () => policy("server", withRole("server"), { ingress: [{ from: [pods("client")] }] });

    before(async () => {
      const { kube, nodes } = context;
      const [here, there] = nodes as [string, string];
      await kube.kubectl("label", "namespace", TEST_NAMESPACE, "skylane-test=here", "--overwrite");
      const serving = podOf("server", here, "server");
      Object.assign(serving.spec.containers[0] as object, {
        ports: [{ name: "echo", containerPort: PORT, hostPort: HOST_PORT }],
      });
      await kube.apply(
        serving,
        podOf("near", here, "client", { labels: { tier: "vip" } }),
        podOf("nearby", here, "stranger"),
        podOf("host-here", here, "stranger", { hostNetwork: true }),
        podOf("client", there, "client"),
        podOf("stranger", there, "stranger"),
        podOf("host-there", there, "client", { hostNetwork: true }),
        service("inside", "ClusterIP", "server"),
        service("outside", "NodePort", "server"),
        service("strangers", "ClusterIP", "stranger"),
      );
      const names = ["server", "near", "nearby", "host-here", "client", "stranger", "host-there"];
      [server, near, nearby, hostHere, client, stranger, hostThere] = (await Promise.all(
        names.map((name) => kube.podReady(name)),
      )) as [TestPod, TestPod, TestPod, TestPod, TestPod, TestPod, TestPod];
      await settles(inside(client), { answer: [...tcp(server), ...udp(server), ...tcp(stranger), ...tcp(nearby)] });
    });

    afterEach(() => remove());

    after(async () => {
      const { kube } = context;
      await kube.kubectl("delete", "service", "-n", TEST_NAMESPACE, "inside", "outside", "strangers");
      await kube.kubectl("delete", "namespace", ELSEWHERE, "--ignore-not-found", "--wait=false");
      await kube.dismissPods(...made);
    });

    it("lets no packet to a new pod before its policies, nor from it, and refuses none that they allow", async () => {
      const { kube, nodes } = context;
      const [here, there] = nodes as [string, string];
      await kube.apply(
        policy("server", withRole("server"), { ingress: [{}] }),
        policy("witness", withRole("client"), { egress: [{ ports: [{ protocol: "UDP" }] }] }),
        policy("sweeper", withRole("sweeper"), { egress: [{}] }),
        policy("open", withRole("open"), { ingress: [{ from: [pods("sweeper")] }] }),
        policy("newcomer", withRole("newcomer"), { egress: [{ to: [pods("server")] }] }),
        policy("deny-all", {}, { ingress: [], egress: [] }),
      );
      // Who has heard of the last one has heard of all.
      for (const from of [client, near]) await settles(inside(from), { answer: udp(server), silent: udp(stranger) });
      const prefix = server.ips[0]?.split(".").slice(0, 3).join(".") as string;
      await kube.apply(podOf("sweeper", there, "sweeper", { command: ["sweep", prefix] }));
      await kube.podReady("sweeper");
      const allowed = [...tcp(server), ...udp(server)];
      const denied = [...tcp(nearby), ...udp(nearby), ...tcp(stranger), ...udp(stranger)];
      const command = ["reach", ...allowed, ...denied];
      await kube.apply(
        podOf("closed-1", here, "closed"),
        podOf("closed-2", here, "closed"),
        podOf("open", here, "open"),
        podOf("newcomer-1", here, "newcomer", { command }),
        podOf("newcomer-2", there, "newcomer", { command }),
      );
      await Promise.all(["closed-1", "closed-2", "open"].map((name) => kube.podReady(name)));
      for (const name of ["newcomer-1", "newcomer-2"]) assertTried(await tried(name), allowed, denied);
      await eventually(async () => (await datagrams("open")) > 0, { timeoutMs: MINUTE });
      for (const name of ["closed-1", "closed-2"])
        assert.equal(await datagrams(name), 0, `packets that reached ${name} since its network is there`);
      await kube.dismissPods("sweeper");
    });

    /** All datagrams that the kernel of a pod's namespace was ever given, whether somebody listened or not. */
    async function datagrams(name: string): Promise<number> {
      const lines = (await context.kube.exec(name, "cat", "/proc/net/snmp")).split("\n");
      const [names = [], values = []] = lines.filter((line) => line.startsWith("Udp:")).map((line) => line.split(" "));
      return ["InDatagrams", "NoPorts"].reduce((sum, key) => sum + Number(values[names.indexOf(key)]), 0);
    }

    it("judges pods by their own addresses, behind ClusterIP, NodePort and hostPort", async () => {
      const { kube } = context;
      await kube.apply(serverFromClients());
      const clusterIp = (await kube.get("service", "inside", "-n", TEST_NAMESPACE)).spec.clusterIPs?.[0] as string;
      const [{ nodePort }] = (await kube.get("service", "outside", "-n", TEST_NAMESPACE)).spec.ports as [
        { nodePort: number },
      ];
      const ip = await nodeIp(server.node);
      const byService = [target("tcp", clusterIp), target("udp", clusterIp)];
      const byNode = [target("tcp", ip, nodePort), target("tcp", ip, HOST_PORT)];
      await settles(inside(client), { answer: [...tcp(server), ...byService] });
      await settles(inside(stranger), { silent: [...tcp(server), ...byService], answer: tcp(client) });
      await settles(inside(near), { answer: [...tcp(server), ...byService, ...byNode] });
      await settles(inside(nearby), { silent: [...tcp(server), ...byService, ...byNode], answer: tcp(client) });
    });

    it("has a hostPort lead to its pod, from pods and nodes here and elsewhere, by Skylane's own table", async () => {
      const ip = await nodeIp(server.node);
      for (const from of [client, near, hostHere, hostThere])
        await settles(inside(from), { answer: [target("tcp", ip, HOST_PORT)] });
      await settles(inside(hostHere), { answer: [target("tcp", "127.0.0.1", HOST_PORT)] });
      const list = ["nft", "list", "map", "inet", "skylane_hostports", "all4"];
      const elements = await context.machine.hardware?.at(server.node, list);
      const [ipv4 = ""] = server.ips;
      if (elements !== undefined)
        assert.match(elements, new RegExp(`tcp \\. ${HOST_PORT} : ${ipv4.replaceAll(".", "\\.")} \\. ${PORT}`));
    });

    it("counts pods of the host's network as their node, whatever their labels", async () => {
      const { kube } = context;
      await kube.apply(
        serverFromClients(),
        policy("clients", withRole("client"), { egress: [{ to: [pods("server")] }] }),
      );
      await settles(inside(client), { silent: tcp(stranger), answer: tcp(server) });
      await look(inside(hostThere), { silent: tcp(server), answer: [...tcp(stranger), ...tcp(nearby)] });
      await look(inside(hostHere), { answer: tcp(server) });
      const seen = triesOf(await inside(hostThere)(tcp(nearby))).map(({ seenAs }) => seenAs as string);
      const from = seen.map((ip) => ({ ipBlock: { cidr: `${ip}/${ip.includes(":") ? 128 : 32}` } }));
      await kube.apply(policy("server", withRole("server"), { ingress: [{ from }] }));
      await settles(inside(hostThere), { answer: tcp(server) });
      await settles(inside(near), { silent: tcp(server) });
    });

    it("knows ports by the names that containers give them", async () => {
      await context.kube.apply(policy("server", withRole("server"), { ingress: [{ ports: [{ port: "echo" }] }] }));
      for (const from of [client, nearby]) await settles(inside(from), { answer: tcp(server), silent: udp(server) });
      await context.kube.apply(policy("server", withRole("server"), { ingress: [{ ports: [{ port: "other" }] }] }));
      await settles(inside(client), { answer: tcp(stranger), silent: [...tcp(server), ...udp(server)] });
    });

    it("knows pods by their namespaces, whose labels change", async () => {
      const { kube, nodes } = context;
      await kube.prepare(ELSEWHERE);
      const visitor = podOf("visitor", nodes[1] as string, "client", { namespace: ELSEWHERE });
      const team = (namespace: string, value: string) =>
        kube.kubectl("label", "namespace", namespace, value, "--overwrite");
      await team(ELSEWHERE, "team=a");
      const from = [{ namespaceSelector: { matchLabels: { team: "a" } }, ...pods("client") }];
      await kube.apply(visitor, policy("server", withRole("server"), { ingress: [{ from }] }));
      const visiting = inside(await kube.podReady("visitor", ELSEWHERE), ELSEWHERE);
      await settles(visiting, { answer: tcp(server) });
      await settles(inside(client), { silent: tcp(server), answer: tcp(stranger) });
      await Promise.all([team(ELSEWHERE, "team=b"), team(TEST_NAMESPACE, "team=a")]);
      await settles(visiting, { silent: tcp(server), answer: tcp(stranger) });
      await settles(inside(client), { answer: tcp(server) });
      await settles(inside(stranger), { silent: tcp(server), answer: tcp(client) });
      await team(TEST_NAMESPACE, "team-");
    });

    it("follows a pod whose label changes, and ends what it has open", async () => {
      const { kube, nodes } = context;
      const names = ["steady", "fickle"];
      await kube.apply(policy("server", withRole("server"), { ingress: [{ from: [pods("client")] }] }));
      await settles(inside(stranger), { silent: tcp(server), answer: tcp(client) });
      await kube.apply(
        ...names.map((name) => podOf(name, nodes[1] as string, "client", { command: ["watch", ...server.ips] })),
      );
      await Promise.all(names.map((name) => kube.podReady(name)));
      /** How long each connection of a watcher has been without an answer. */
      const gaps = async (name: string): Promise<number[]> => {
        const [line = ""] = (await kube.kubectl("logs", "-n", TEST_NAMESPACE, name, "--tail=1")).split("\n");
        const { connections } = JSON.parse(line) as { connections: { gapMs: number; closed: boolean }[] };
        assert.ok(!connections.some(({ closed }) => closed) && connections.length === server.ips.length);
        return connections.map(({ gapMs }) => gapMs);
      };
      for (const name of names)
        await eventually(async () => Math.max(...(await gaps(name))) < 1_000, { timeoutMs: MINUTE });
      await label("fickle", "role=stranger");
      await settles(inside({ name: "fickle" }), { silent: tcp(server), answer: tcp(client) });
      // the one that is allowed goes on all the while
      await eventually(
        async () => {
          const [steady, fickle] = [await gaps("steady"), await gaps("fickle")];
          if (!(Math.min(...fickle) > 2_000 && Math.max(...steady) < Math.min(...fickle)))
            throw new Error(`without an answer: fickle ${fickle.join(", ")} ms, steady ${steady.join(", ")} ms`);
          return true;
        },
        { timeoutMs: MINUTE },
      );
      await label("fickle", "role=client");
      await settles(inside({ name: "fickle" }), { answer: tcp(server) });
    });

    it("leaves out of a block what the policy leaves out", async function () {
      const { kube, machine } = context;
      const wide = (except: boolean) =>
        (["0.0.0.0/0", "::/0"] as const).map((cidr) => {
          const own = [...stranger.ips, "172.30.0.10", "fd30::10"].filter(
            (ip) => ip.includes(":") === cidr.includes(":"),
          );
          const cidrs = own.map((ip) => `${ip}/${ip.includes(":") ? 128 : 32}`);
          return { ipBlock: { cidr, ...(except && { except: cidrs }) } };
        });
      await kube.apply(policy("server", withRole("server"), { ingress: [{ from: wide(true) }] }));
      await settles(inside(stranger), { silent: tcp(server), answer: tcp(client) });
      await settles(inside(client), { answer: tcp(server) });
      needs(this, machine.hardware, "a machine that is no node");
      const [{ nodePort }] = (await kube.get("service", "outside", "-n", TEST_NAMESPACE)).spec.ports as [
        { nodePort: number },
      ];
      const ip = await nodeIp(server.node);
      const patch = JSON.stringify({ spec: { externalTrafficPolicy: "Local" } });
      await kube.kubectl("patch", "service", "-n", TEST_NAMESPACE, "outside", "--type=merge", "-p", patch);
      const ways = [target("tcp", ip, nodePort), target("tcp", ip, HOST_PORT)];
      await settles(outside, { silent: ways });
      await kube.apply(policy("server", withRole("server"), { ingress: [{ from: wide(false) }] }));
      await settles(outside, { answer: ways });
    });

    it("keeps a pod from everything but asking one service by UDP", async () => {
      const { kube } = context;
      const ports = [{ protocol: "UDP", port: PORT }];
      await kube.apply(policy("clients", withRole("client"), { egress: [{ to: [pods("server")], ports }] }));
      const addressOf = async (name: string): Promise<string> =>
        (await kube.get("service", name, "-n", TEST_NAMESPACE)).spec.clusterIPs?.[0] as string;
      const [names, others] = [await addressOf("inside"), await addressOf("strangers")];
      for (const from of [client, near])
        await settles(inside(from), {
          answer: [...udp(server), target("udp", names)],
          silent: [...tcp(server), ...udp(stranger), ...tcp(nearby), target("tcp", names), target("udp", others)],
        });
      await look(inside(stranger), { answer: [...tcp(client), target("tcp", names)] });
    });

    it("takes ClusterNetworkPolicies from the moment that the cluster has them, without new agents", async () => {
      const { kube, nodes } = context;
      const agents = async (): Promise<string[]> =>
        (await kube.agentsReady(nodes.length)).map((agent) => `${agent.metadata.uid} ${containerOf(agent)}`).sort();
      const before = await agents();
      await kube.apply(serverFromClients());
      await settles(inside(client), { answer: tcp(server) });
      try {
        await kube.apply(DEFINITION);
        await kube.kubectl(
          "wait",
          "--for=condition=Established",
          `crd/${DEFINITION.metadata.name}`,
          `--timeout=${60 * PATIENCE}s`,
        );
        await eventually(
          () =>
            kube
              .apply(
                clusterPolicy("admin", "Admin", "server", [
                  { action: "Pass", from: [inCluster({ tier: "vip" })] },
                  { action: "Deny", from: [inCluster({ role: "client" })] },
                  { action: "Accept", from: [inCluster({ role: "stranger" })] },
                ]),
                clusterPolicy("baseline", "Baseline", "stranger", [
                  { action: "Deny", from: [inCluster({ role: "client" })] },
                ]),
              )
              .then(() => true),
          { timeoutMs: MINUTE },
        );
        // passed on to the NetworkPolicy, which allows it; denied although that allows it; accepted although it does not
        await settles(inside(near), { answer: tcp(server), silent: [...tcp(stranger), ...tcp(nearby)] });
        await settles(inside(client), { silent: [...tcp(server), ...tcp(nearby)], answer: tcp(near) });
        await settles(inside(stranger), { answer: tcp(server) });
        // what a NetworkPolicy says goes before the baseline
        await kube.apply(policy("strangers", withRole("stranger"), { ingress: [{ from: [pods("client")] }] }));
        await settles(inside(client), { answer: [...tcp(nearby), ...tcp(stranger)], silent: tcp(server) });
      } finally {
        await kube.kubectl("delete", "crd", DEFINITION.metadata.name, "--ignore-not-found");
      }
      await settles(inside(client), { answer: tcp(server) });
      await settles(inside(stranger), { silent: tcp(server), answer: tcp(client) });
      assert.deepEqual(await agents(), before, "the agents are those that were there");
    });

    it("lets a pod wait while its node's agent is away, and the rules stay", async function () {
      const { machine, kube, nodes } = context;
      needs(this, machine.hardware, "access to the machines");
      const node = nodes[1] as string;
      await kube.apply(
        serverFromClients(),
        policy("late", withRole("late"), { egress: [{ to: [pods("near", "client")] }] }),
      );
      await settles(inside(stranger), { silent: tcp(server), answer: tcp(client) });
      const container = containerOf(await agentOf(node));
      const command = ["reach", ...tcp(near), ...tcp(nearby)];
      await signal(node, container, "SIGSTOP");
      try {
        await kube.apply(podOf("late", node, "late", { command }));
        await eventually(
          async () => {
            const about = "--field-selector=involvedObject.name=late";
            const events = await kube.kubectl("get", "events", "-n", TEST_NAMESPACE, about, "-o", "json");
            if (!/only skylane-agent knows which networks and network policies/.test(events))
              throw new Error(`no event says why: ${events}`);
            return true;
          },
          { timeoutMs: MINUTE },
        );
        await look(inside(stranger), { silent: tcp(server), answer: tcp(client) });
        await look(inside(client), { answer: tcp(server) });
        assert.notEqual((await kube.get("pod", "late", "-n", TEST_NAMESPACE)).status.phase, "Succeeded");
      } finally {
        await signal(node, container, "SIGKILL");
      }
      assertTried(await tried("late"), tcp(near), tcp(nearby));
      await kube.agentsReady(nodes.length);
      await look(inside(stranger), { silent: tcp(server), answer: tcp(client) });
    });

    it("keeps them while the API server is away, also when an agent begins anew meanwhile", async function () {
      const { machine, kube, nodes } = context;
      const { hardware } = machine;
      needs(this, hardware, "access to the machines");
      const node = server.node;
      await kube.apply(serverFromClients());
      await settles(inside(stranger), { silent: tcp(server), answer: tcp(client) });
      const container = containerOf(await agentOf(node));
      const start = await startOfAgent(node);
      const [asClient, asNearby] = [await behind(client), await behind(nearby)];
      const asBefore = async (): Promise<void> => {
        await look(asNearby, { silent: tcp(server), answer: tcp(client) });
        await look(asClient, { answer: tcp(server) });
      };
      await hardware?.component("stop", "apiserver");
      try {
        await asBefore();
        await signal(node, container, "SIGKILL");
        // kubelet starts it again by itself; it answers, although it cannot be ready
        await eventually(async () => (await startOfAgent(node)) !== start, { timeoutMs: 2 * MINUTE });
        await asBefore();
      } finally {
        await hardware?.component("start", "apiserver");
      }
      await kube.nodesReady(nodes.length);
      await kube.agentsReady(nodes.length);
      await asBefore();
    });

    it("opens again when a policy goes, and leaves nothing in the kernel when it was the last", async () => {
      const { kube, machine, nodes } = context;
      await kube.apply(serverFromClients(), policy("closed", withRole("stranger"), { ingress: [] }));
      await settles(inside(stranger), { silent: tcp(server), answer: tcp(client) });
      await settles(inside(client), { silent: tcp(stranger), answer: tcp(server) });
      await remove("server");
      await settles(inside(stranger), { answer: tcp(server), silent: tcp(nearby) });
      await remove("closed");
      await settles(inside(client), { answer: [...tcp(stranger), ...tcp(nearby), ...tcp(server)] });
      for (const node of machine.hardware ? nodes : [])
        await eventually(
          async () => {
            const tables = (await machine.hardware?.at(node, ["nft", "list", "tables"])) ?? "";
            if (tables.includes(TABLE)) throw new Error(`${node} still has table ${TABLE}`);
            return true;
          },
          { timeoutMs: MINUTE },
        );
    });
  });
}
