import assert from "node:assert/strict";
import { NETWORKS_ANNOTATION } from "../../../src/networks/index.ts";
import { setTimeout as pause } from "node:timers/promises";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

const API = "/apis/skylane.dev/v1alpha1";

interface Endpoint {
  mac: string;
  ips: string[];
  moves: number;
}
interface Claim {
  metadata: { name: string };
  status?: { ips?: string[]; mac?: string; node?: string; pod?: string };
}

/** Numbers that one side sends in order for three seconds, and the other counts. */
const LINES = 300;
const SEND = `
  const socket = require("node:net").connect(7000, process.argv[1]);
  let n = 0;
  const timer = setInterval(() => {
    socket.write(++n + "\\n");
    if (n === ${LINES}) { clearInterval(timer); socket.end(); }
  }, 10);`;
const RECEIVE = `
  const server = require("node:net").createServer((socket) => {
    let text = "";
    socket.on("data", (data) => { text += data; });
    socket.on("end", () => {
      const lines = text.trim().split("\\n");
      process.stdout.write(lines.every((line, i) => Number(line) === i + 1) ? String(lines.length) : "not in order");
      socket.end();
      server.close();
    });
  }).listen(7000, "0.0.0.0");`;

describe("a workload with a claim in a bridged network", function () {
  const the = useLab({ nodes: 3 });
  const inPod = (name: string, ...argv: string[]): Promise<string> => {
    const { node, netns } = the().pod(name);
    return the().exec(node, "nsenter", `--net=${netns}`, ...argv);
  };
  const endpoints = async (): Promise<Map<string, Endpoint[]>> => {
    const { items } = await the().api.call<{ items: { spec: { node: string; endpoints?: Endpoint[] } }[] }>(
      "GET",
      `${API}/networkendpoints`,
    );
    return new Map(items.map(({ spec: { node, endpoints: list = [] } }) => [node, list]));
  };
  const claim = (name: string): Promise<Claim> => the().api.call("GET", `${API}/namespaces/default/ipclaims/${name}`);
  const makeClaim = (name: string, spec: object = {}): Promise<unknown> =>
    the().api.call("POST", `${API}/namespaces/default/ipclaims`, {
      apiVersion: "skylane.dev/v1alpha1",
      kind: "IPClaim",
      metadata: { name },
      spec: { network: "lan", ...spec },
    });
  const wants = (value: object) => ({
    annotations: { [NETWORKS_ANNOTATION]: JSON.stringify([{ name: "lan", ...value }]) },
  });
  /** Nodes that publish an address. */
  const ownersOf = async (ip: string): Promise<string[]> =>
    [...(await endpoints())].filter(([, list]) => list.some(({ ips }) => ips.includes(ip))).map(([node]) => node);
  /** Sends for as long as `work` takes, every 10 ms; the longest time without an answer, in milliseconds. */
  const gapOf = async (from: string, ip: string, work: () => Promise<void>): Promise<number> => {
    const { node, netns } = the().pod(from);
    const ping = the().exec(node, "nsenter", `--net=${netns}`, "ping", "-n", "-D", "-w", "6", "-i", "0.01", ip);
    await pause(500);
    await work();
    const times = [...(await ping).matchAll(/^\[(\d+\.\d+)\].*time=/gm)].map(([, at]) => Number(at) * 1000);
    assert.ok(times.length > 100, "too few answers");
    return Math.max(...times.slice(1).map((at, i) => at - (times[i] as number)));
  };

  before("a segment over three nodes, a witness and a workload", async () => {
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged" });
    await makeClaim("vm", { podName: "vm" });
    await the().addPod("node1", "witness", wants({}));
    await the().addPod("node2", "vm", wants({}));
  });

  it("has the claim's addresses, which say whose they are", async () => {
    const { status = {} } = await claim("vm");
    assert.equal(status.node, "node2");
    assert.equal(status.pod, "vm");
    assert.deepEqual(the().ipsOf("vm", "net1").sort(), [...(status.ips ?? [])].sort());
    assert.match(await inPod("vm", "ip", "-br", "link", "show", "net1"), new RegExp(status.mac as string));
    assert.deepEqual(await ownersOf(status.ips?.[0] as string), ["node2"]);
  });

  it("moves under a running ping in less than a second, with its addresses and connections", async function () {
    const { status: before = {} } = await claim("vm");
    const [ip = ""] = before.ips ?? [];
    const server = inPod("vm", process.execPath, "-e", RECEIVE);
    const gap = await gapOf("witness", ip, async () => {
      const client = inPod("witness", process.execPath, "-e", SEND, ip);
      await pause(500);
      await the().movePod("vm", "node3");
      await client;
    });
    assert.ok(gap < 1000, `the longest gap was ${gap} ms`);
    assert.equal(await server, String(LINES));
    const { status: after = {} } = await claim("vm");
    assert.deepEqual([after.ips, after.mac, after.node], [before.ips, before.mac, "node3"]);
    assert.deepEqual(await ownersOf(ip), ["node3"]);
    await the().checkPod("vm");
  });

  it("keeps its addresses when it is made again on another node", async () => {
    const { status: before = {} } = await claim("vm");
    await the().deletePod("vm");
    await the().addPod("node1", "vm", wants({}));
    assert.deepEqual(the().ipsOf("vm", "net1").sort(), [...(before.ips ?? [])].sort());
    const [ip = ""] = before.ips ?? [];
    assert.ok((await the().pingFrom(the().pod("witness"), ip, 1000)).rttMs !== undefined);
    await the().movePod("vm", "node2");
  });

  it("is refused to another pod while it has them", async () => {
    await assert.rejects(
      the().addPod("node3", "thief", { ...wants({ claim: "vm" }), timeoutMs: 100 }),
      /IPClaim default\/vm is in use by pod vm on node node2/,
    );
    await assert.rejects(
      the().addPod("node3", "thief", { ...wants({ claim: "none" }), timeoutMs: 100 }),
      /none.*does not exist/,
    );
  });

  it("is handed over by a pod on standby with its first frame, and not before", async () => {
    const { status = {} } = await claim("vm");
    const [ip = ""] = status.ips ?? [];
    const target = await the().addPod("node3", "vm-target", wants({ claim: "vm", standby: true }));
    assert.deepEqual(the().ipsOf("vm-target", "net1").sort(), [...(status.ips ?? [])].sort());
    await pause(1_000);
    assert.deepEqual(await ownersOf(ip), ["node2"]);
    const [witness = ""] = the().ipsOf("witness", "net1");
    assert.ok((await the().pingFrom(the().pod("witness"), ip, 1000)).rttMs !== undefined);
    await the().exec("node3", "nsenter", `--net=${target.netns}`, "ping", "-n", "-c3", "-i0.2", "-W1", witness);
    await eventually(async () => (await ownersOf(ip)).join() === "node3", {
      timeoutMs: 5_000,
      message: "not taken over",
    });
    const { status: now = {} } = await claim("vm");
    assert.deepEqual([now.node, now.pod], ["node3", "vm-target"]);
    await the().deletePod("vm-target");
    await the().deletePod("vm");
    await the().addPod("node2", "vm", wants({}));
  });

  it("is where it was last moved to after a hundred moves, by all nodes", async function () {
    this.timeout(240_000);
    const { status = {} } = await claim("vm");
    const [ip = ""] = status.ips ?? [];
    const nodes = ["node1", "node2", "node3"];
    for (const name of ["node2", "node3"]) await the().addPod(name, `by-${name}`, wants({}));
    for (let n = 0; n < 100; n++) {
      const at = nodes.indexOf(the().pod("vm").node);
      await the().movePod("vm", nodes[(at + 1 + (n % 2)) % 3] as string);
    }
    const { node } = the().pod("vm");
    await eventually(async () => (await ownersOf(ip)).join() === node, { message: "published by another node" });
    for (const name of nodes) {
      const fdb = await the().exec(name, "bridge", "-n", "sky-lan", "fdb", "show", "br", "skybr");
      const lines = fdb.split("\n").filter((line) => line.startsWith(status.mac as string));
      const ports = lines.map((line) => /dev (\S+)/.exec(line)?.[1]);
      if (name === node)
        assert.ok(
          ports.every((port) => port !== "sky.5000"),
          `${name}: ${lines.join("; ")}`,
        );
      else assert.ok(ports.length > 0 && ports.every((port) => port === "sky.5000"), `${name}: ${lines.join("; ")}`);
    }
    assert.ok((await the().pingFrom(the().pod("witness"), ip, 1000)).rttMs !== undefined);
  });
});
