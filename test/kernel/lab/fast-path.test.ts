/** The fast path in a cluster: what policies no longer allow is off it at once, whichever end they are about; and pod networks have one of their own. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { entering } from "../../../lab/exec.ts";
import type { Flow } from "../../../src/flows/index.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { podNetns } from "../../../lab/pods/pods.ts";
import { stream, Talk } from "../../../lab/pods/talk.ts";
import { eventually } from "../../support/eventually.ts";
import { narrowTo, routesTo } from "./narrow.ts";
import { useLab } from "./support.ts";

const POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const PORT = "5201";
const SERVER = `require("node:net").createServer(s=>s.on("data",d=>s.write(d)).on("error",()=>{})).listen({port:${PORT},host:"::"},()=>console.log("listening"))`;
/** A byte there and back again and again, one connection; prints a dot for every ten. */
const CLIENT = `let n=0;const s=require("node:net").connect({port:${PORT},host:process.argv[1]},()=>s.write("x"));s.on("data",()=>{if(++n%10===0)process.stdout.write(".");setTimeout(()=>s.write("x"),1)}).on("error",()=>{})`;

describe("the fast path of a cluster with network policies", () => {
  const the = useLab({ nodes: 2, agentConfig: { fastPath: "auto" } });
  const children: ChildProcess[] = [];

  // While the lab is there, which takes what runs in it along.
  afterEach(() => {
    // One whose connection was ended may have ended with it.
    for (const { pid, exitCode, signalCode } of children.splice(0))
      if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, "SIGKILL");
  });

  function run(pod: string, script: string, ...args: string[]): () => string {
    // A program of this machine in a pod's network: a node's own files need not have it.
    const inside = { netns: podNetns(the().context, the().pod(pod)) };
    const [command, ...all] = entering(inside, process.execPath, ["-e", script, ...args]);
    const child = spawn(command as string, all, { stdio: ["ignore", "pipe", "inherit"], detached: true });
    children.push(child);
    let said = "";
    child.stdout.on("data", (text: Buffer) => (said += String(text)));
    return () => said;
  }

  const fast = async (node: string): Promise<number> => {
    const { fastPath } = await the().status(the().node(node));
    assert.ok(fastPath);
    return fastPath.packets.filter(({ path }) => path === "fast").reduce((sum, { packets }) => sum + packets, 0);
  };

  before("pods on two nodes", async () => {
    for (const [node, name] of [
      ["node1", "server"],
      ["node1", "near"],
      ["node2", "far"],
    ] as const)
      await the().addPod(node, name, { labels: { app: name } });
  });

  it("ends connections that policies no longer allow, across nodes and on one, and leaves others on it", async () => {
    const server = run("server", SERVER);
    await eventually(() => server().includes("listening"));
    const [ip] = the().pod("server").ips as [string];
    const [near, far] = ["near", "far"].map((pod) => run(pod, CLIENT, ip)) as [() => string, () => string];
    const goesOn = async (said: () => string): Promise<void> => {
      const before = said().length;
      await eventually(() => said().length > before + 1, { message: "requests are answered" });
    };
    await goesOn(near);
    await goesOn(far);
    // Pods of a second are still in the making; then they have it.
    const before = [await fast("node1"), await fast("node2")] as const;
    await eventually(async () => (await fast("node1")) > before[0] + 100 && (await fast("node2")) > before[1] + 100);
    await the().api.call("POST", POLICIES, {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "server" },
      spec: {
        podSelector: { matchLabels: { app: "server" } },
        policyTypes: ["Ingress"],
        ingress: [{ from: [{ podSelector: { matchLabels: { app: "near" } } }] }],
      },
    });
    // The one that is not allowed stops, and while dozens of the other's are answered it stays so.
    await eventually(
      async () => {
        const stopped = far().length;
        await goesOn(near);
        return far().length === stopped;
      },
      { message: "a connection that is not allowed any more is answered" },
    );
    const more = await fast("node1");
    await goesOn(near);
    assert.ok((await fast("node1")) > more, "the allowed one is still on the fast path");
  });
});

describe("the fast path of a pod network with a namespace of its own", () => {
  const the = useLab({ nodes: 2, agentConfig: { fastPath: "auto" } });
  const BYTES = 4 << 20;

  const fast = async (node: string, from: "pod" | "wire"): Promise<number> => {
    const { networks } = await the().status(the().node(node));
    const path = networks.find(({ network }) => network === "blue")?.fastPath;
    const packets = path?.packets.filter((one) => one.from === from && one.path === "fast") ?? [];
    return packets.reduce((sum, one) => sum + one.packets, 0);
  };
  const on = async (node: string): Promise<boolean> => {
    const { networks } = await the().status(the().node(node));
    const path = networks.find(({ network }) => network === "blue")?.fastPath;
    return path?.on === true && path.pods > 0 && path.prefixes > 0;
  };

  before("pods of it on both nodes", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/24", "fd50::/112"], blockSize: 16 });
    for (const [node, name] of [
      ["node1", "one"],
      ["node1", "two"],
      ["node2", "three"],
    ] as const)
      await the().addPod(node, name, { annotations: { [NETWORKS_ANNOTATION]: "blue" } });
    for (const node of ["node1", "node2"]) await eventually(() => on(node), { message: `the fast path of ${node}` });
  });

  it("carries connections across nodes and on one, and all of their bytes", async () => {
    for (const [from, to, node] of [
      ["one", "three", "node2"],
      ["two", "one", "node1"],
    ] as const)
      for (const ip of the().ipsOf(to, "net1")) {
        const before = [await fast("node1", "pod"), await fast(node, "wire")] as const;
        const { same } = await the().transfer(the().pod(from), the().pod(to), ip, BYTES);
        assert.ok(same, `what came from ${from} to ${ip} is what was sent`);
        assert.ok((await fast("node1", "pod")) > before[0], `packets of ${from} to ${ip}`);
        if (node === "node2") assert.ok((await fast(node, "wire")) > before[1], `packets out of the tunnel to ${ip}`);
      }
  });
});

describe("the fast path of a cluster whose nodes measure each other", () => {
  const the = useLab({ nodes: 2, agentConfig: { fastPath: "auto", probes: "on", flows: "on" } });
  const PORT = 8080;
  /** A narrow path is found within half a minute; a busy machine has more. */
  const FOUND_MS = 90_000;

  const packets = async (wanted: { from: string; outcome: string }): Promise<number> => {
    const { fastPath } = await the().status(the().node("node1"));
    const counts = fastPath?.packets ?? [];
    return counts.find(({ from, outcome }) => from === wanted.from && outcome === wanted.outcome)?.packets ?? 0;
  };

  before("pods on both nodes", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/24", "fd50::/112"], blockSize: 16 });
    const annotations = { [NETWORKS_ANNOTATION]: "blue" };
    await the().addPod("node1", "near", { annotations });
    await the().addPod("node2", "far", { annotations });
    await eventually(async () => {
      const { fastPath, probes } = await the().status(the().node("node1"));
      return fastPath?.on === true && fastPath.pods > 0 && fastPath.prefixes > 0 && probes?.peers.measured === 1;
    });
  });

  it("has a marked packet go the ordinary path, and its trace say where it passed unseen", async function () {
    this.timeout(300_000);
    await using _server = await Talk.answering(the().context, the().pod("far"), PORT);
    for (const family of [4, 6] as const)
      for (const live of [{ protocol: "icmp" }, { protocol: "tcp", port: PORT }]) {
        const port = "port" in live ? [`--port=${live.port}`] : [];
        const options = [`--protocol=${live.protocol}`, ...port, "--timeout=10000"];
        const { live: way } = await the().trace("near", "far", { family, live, options });
        const text = JSON.stringify(way);
        assert.ok(way?.ok && way.arrived && way.answered && way.missing === undefined, text);
        for (const { hop, packets: seen, note } of way.hops)
          if (seen === 0) assert.match(`${hop} ${note}`, /(tunnel|underlay) .*unseen/, text);
        // What programs do not touch is seen: the packet filter and routing of both nodes.
        for (const hop of ["source.forward", "source.device", "destination.forward", "destination.host-end"])
          assert.ok((way.hops.find((one) => one.hop === hop)?.packets ?? 0) > 0, `${hop}: ${text}`);
      }
  });

  it("has flows told with figures that say that they are the least", async function () {
    // The kernel looks through its table once a minute.
    this.timeout(300_000);
    const bytes = 500_000;
    const soon = ["sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_time_wait=1"] as const;
    await the().exec("node1", ...soon);
    await the().exec("node1", "ip", "netns", "exec", "sky-blue", ...soon);
    await using _server = await Talk.answering(the().context, the().pod("far"), PORT);
    const ends = [
      ...the()
        .pod("far")
        .ips.map((ip) => ["default", ip] as const),
      ...the()
        .ipsOf("far", "net1")
        .map((ip) => ["blue", ip] as const),
    ];
    for (const [, ip] of ends)
      assert.equal(await stream(the().context, the().pod("near"), ip, PORT, { bytes, ms: FOUND_MS }), "answered", ip);
    for (const [network, ip] of ends) {
      const flow = await eventually(
        async () => {
          const skylanectl = join(the().context.binDir, "skylanectl");
          const words = ["flows", "--output=json", `--network=${network}`, `--port=${PORT}`];
          const lines = (await the().exec("node1", skylanectl, ...words)).split("\n").filter(Boolean);
          const all = lines.map((line) => JSON.parse(line) as Flow);
          return all.find((one) => one.destination.ip === ip && one.state === "ended" && (one.packets ?? 0) > 5);
        },
        { timeoutMs: 240_000, intervalMs: 500, message: `the flow to ${ip} is over` },
      );
      assert.equal(flow.atLeast, true, JSON.stringify(flow));
      assert.ok((flow.bytes ?? 0) > 0 && (flow.bytes ?? 0) < 2 * bytes, "there and back it was more");
    }
  });

  it("leaves to the ordinary path what is larger than the way takes, so that connections go on in smaller packets, also in pod networks", async function () {
    this.timeout(FOUND_MS * 8);
    await using _server = await Talk.answering(the().context, the().pod("far"), PORT);
    const talk = async (bytes: number): Promise<void> => {
      for (const ip of [...the().pod("far").ips, ...the().ipsOf("far", "net1")])
        assert.equal(await stream(the().context, the().pod("near"), ip, PORT, { bytes, ms: FOUND_MS }), "answered", ip);
    };
    const sent = { from: "pod", outcome: "sent" };
    const before = await packets(sent);
    await talk(500_000);
    await eventually(async () => (await packets(sent)) > before, { message: "streams are on the fast path" });
    {
      await using _narrow = await narrowTo(the(), 2, [1], 1400);
      for (const [node, other] of [
        ["node1", "node2"],
        ["node2", "node1"],
      ] as const)
        await eventually(
          async () => (await routesTo(the(), node, other)).every((mtu) => mtu !== undefined && mtu < 1360),
          { timeoutMs: FOUND_MS, message: `${node} has routes to ${other} that take what passes` },
        );
      for (const node of ["node1", "node2"])
        await eventually(
          async () => {
            const routes = await the().exec(node, "ip", "netns", "exec", "sky-blue", "ip", "route");
            const routes6 = await the().exec(node, "ip", "netns", "exec", "sky-blue", "ip", "-6", "route");
            return [routes, routes6].every((text) => /via \S+ dev sky\.\d+ .*mtu 13[45]\d/.test(text));
          },
          { timeoutMs: FOUND_MS, message: `${node} has routes of network blue that take what passes` },
        );
      const [larger, smaller] = [await packets({ from: "pod", outcome: "mtu" }), await packets(sent)];
      await talk(2_000_000);
      assert.ok((await packets({ from: "pod", outcome: "mtu" })) > larger, "what is too large went the ordinary path");
      assert.ok((await packets(sent)) > smaller, "and what fits the fast one");
    }
  });
});
