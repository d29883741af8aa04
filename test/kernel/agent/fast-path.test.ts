/** The whole product with `fastPath: auto`: pods by the plugin, connections on the fast path, an agent that is killed in the middle of a stream. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { AgentStatus } from "../../../src/observe/index.ts";
import { eventually } from "../../support/eventually.ts";
import { BIN } from "../cni/node.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { Runtime } from "../support/runtime.ts";
import { Fabric, type TestNode } from "./harness.ts";

const PORT = "5201";
/** Says "listening", and in the end how many bytes came. */
const SERVER = `let n=0;require("node:net").createServer(s=>{s.on("data",d=>{n+=d.length});s.on("end",()=>{s.end();console.log("got "+n)})}).listen({port:${PORT},host:"::"},()=>console.log("listening"))`;
/** Sends until its standard input ends; a line each few megabytes, and how many bytes it were. */
const CLIENT = `let n=0,stop=false,told=0;const b=Buffer.alloc(65536,7);process.stdin.on("end",()=>{stop=true}).resume();
const s=require("node:net").connect({port:${PORT},host:process.argv[1]},()=>{const go=()=>{while(!stop){n+=b.length;if(!s.write(b)){s.once("drain",go);break}}
if(n-told>4e6){told=n;console.log("at "+n)}if(stop){s.end();console.log("sent "+n)}};go()});s.on("close",()=>process.exit())`;

type FastPath = NonNullable<AgentStatus["fastPath"]>;

describe("agents with a fast path", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  const nodes: TestNode[] = [];
  const pods: { ns: TestNamespace; ips: string[] }[] = [];
  const children: ChildProcess[] = [];

  before(async () => {
    fabric = await Fabric.started();
    for (const number of [1, 2]) {
      const node = fabric.node(number);
      node.configure({ fastPath: "auto" });
      await node.register();
      node.start();
      nodes.push(node);
    }
    const [n1, n2] = nodes as [TestNode, TestNode];
    await n1.ready(["n2"]);
    await n2.ready(["n1"]);
    for (const [at, node] of nodes.entries()) {
      const ns = testNamespace("pod");
      const config = { cniVersion: "1.0.0", name: "skylane", type: "skylane" };
      const dirs = { runDir: join(node.dir, "run"), dataDir: join(node.dir, "data") };
      const added = await new Runtime(node.ns, [BIN]).exec("skylane", "ADD", JSON.stringify({ ...config, ...dirs }), {
        containerId: `c${at}`,
        netns: ns.path,
      });
      assert.equal(added.exitCode, 0, added.stdout);
      const ips = (added.json["ips"] as { address: string }[]).map(({ address }) => address.replace(/\/.*/, ""));
      pods.push({ ns, ips });
    }
  });

  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await fabric.stop();
  });

  const fastPath = async (node: TestNode): Promise<FastPath> => (await node.status()).fastPath as FastPath;
  const sent = async (node: TestNode): Promise<number> =>
    (await fastPath(node)).packets.find(({ from, outcome }) => from === "pod" && outcome === "sent")?.packets ?? 0;

  function run(ns: TestNamespace, script: string, ...args: string[]): { child: ChildProcess; said: () => string } {
    const child = ns.spawn(process.execPath, ["-e", script, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    children.push(child);
    let said = "";
    (child.stdout as Readable).on("data", (text) => (said += String(text)));
    return { child, said: () => said };
  }

  it("say that it is on, and have every pod's link on it", async () => {
    for (const node of nodes)
      await eventually(async () => {
        const { on, pods: links, prefixes } = await fastPath(node);
        return on && links === 1 && prefixes === 2;
      });
    const { body } = await (nodes[0] as TestNode).get("/metrics");
    assert.match(body, /^skylane_fast_path_on\{network="default"\} 1$/m);
  });

  it("lose nothing of a stream on it when they are killed and started again", async () => {
    const [n1, n2] = nodes as [TestNode, TestNode];
    const [from, to] = pods as [(typeof pods)[0], (typeof pods)[0]];
    for (const ip of to.ips) {
      const server = run(to.ns, SERVER);
      await eventually(() => server.said().includes("listening"));
      const client = run(from.ns, CLIENT, ip);
      const goesOn = async (): Promise<void> => {
        const before = client.said().length;
        await eventually(() => client.said().length > before, { message: "the stream has stalled" });
      };
      await goesOn();
      const before = await sent(n1);
      await eventually(async () => (await sent(n1)) > before + 50);
      await n1.stop("SIGKILL");
      await goesOn();
      n1.start();
      await n1.ready(["n2"]);
      await eventually(async () => (await sent(n1)) > 50);
      await n2.stop("SIGTERM");
      await goesOn();
      n2.start();
      await n2.ready(["n1"]);
      await goesOn();
      client.child.stdin?.end();
      await once(client.child, "exit");
      const bytes = /sent (\d+)/.exec(client.said())?.[1];
      await eventually(() => server.said().includes(`got ${bytes}\n`), { message: `all ${bytes} bytes` });
      server.child.kill("SIGKILL");
    }
  });

  it("have nothing of it where it is not configured", async () => {
    const n1 = nodes[0] as TestNode;
    await n1.stop();
    n1.configure({ fastPath: "off" });
    n1.start();
    const status = await n1.ready(["n2"]);
    assert.equal(status.fastPath, undefined);
  });
});
