/** Host ports of pods, with real packets: from all sides, over what is lost, flushed and killed. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { eventually } from "../../support/eventually.ts";
import { BIN } from "../cni/node.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { type Outcome, type PodRequest, Runtime } from "../support/runtime.ts";
import { Fabric, type TestNode } from "./harness.ts";

type Json = Record<string, unknown>;

/** Answers on a port of TCP and UDP with its name and whom it sees. */
const SERVER = `const [name,port]=process.argv.slice(1);const says=(ip,p)=>name+" sees "+ip.replace("::ffff:","");
const udp=require("dgram").createSocket("udp6");udp.on("message",(m,{address,port:p})=>udp.send(says(address,p),p,address));
udp.bind(+port,"::",()=>require("net").createServer(s=>{s.on("error",()=>{});s.end(says(s.remoteAddress))}).listen(+port,"::",()=>console.log("ready")))`;
/** Asks once and prints the answer, or why there is none. */
const CLIENT = `const [protocol,host,port,localAddress]=process.argv.slice(1);const end=t=>{console.log(t);process.exit()};setTimeout(()=>end("no answer"),8_000);
if(protocol==="tcp"){const s=require("net").connect({port:+port,host,...(localAddress&&{localAddress})});s.on("data",d=>end(String(d)));s.on("error",e=>end(e.code))}
else{const s=require("dgram").createSocket(host.includes(":")?"udp6":"udp4");s.on("error",e=>end(e.code));s.on("message",m=>end(String(m)));s.connect(+port,host,e=>e?end(e.code):s.send("?"))}`;
/** Sends datagrams from one port all the time, and prints who answers whenever that is another one. */
const SENDER = `const [host,port]=process.argv.slice(1);let last="";const s=require("dgram").createSocket("udp4");s.on("error",()=>{});
s.on("message",m=>{if(String(m)!==last){last=String(m);console.log(last)}});s.bind(40000,()=>setInterval(()=>s.send("?",+port,host),50))`;

const PORTS = [
  { hostPort: 8080, containerPort: 80, protocol: "tcp" },
  { hostPort: 8080, containerPort: 80, protocol: "udp" },
];

interface Pod {
  name: string;
  ns: TestNamespace;
  node: TestNode;
  ips: string[];
  result: Json;
}

describe("host ports", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;
  const children: ChildProcess[] = [];
  let made = 0;

  before(async () => {
    fabric = await Fabric.started();
    [n1, n2] = await fabric.pair();
  });
  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await fabric.stop();
  });

  const config = (node: TestNode, more: Json = {}): Json => ({
    cniVersion: "1.1.0",
    name: "skylane",
    type: "skylane",
    capabilities: { portMappings: true },
    runDir: join(node.dir, "run"),
    dataDir: join(node.dir, "data"),
    ...more,
  });
  const request = (name: string, ns?: TestNamespace): PodRequest => ({
    containerId: name,
    args: `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name}`,
    ...(ns && { netns: ns.path }),
  });
  const call = (node: TestNode, verb: string, pod: PodRequest, portMappings: readonly Json[] = []): Promise<Outcome> =>
    new Runtime(node.ns, [BIN]).exec(
      "skylane",
      verb,
      config(node, portMappings.length > 0 ? { runtimeConfig: { portMappings } } : {}),
      pod,
    );
  /** The same by the plugin itself, as where no agent answers. */
  const alone = (
    node: TestNode,
    verb: string,
    pod: PodRequest,
    portMappings: readonly Json[] = [],
  ): Promise<Outcome> => {
    const lib = join(BIN, "../lib/skylane");
    const through = [join(lib, "node"), "--disable-warning=ExperimentalWarning", join(lib, "skylane.cjs")];
    const more = portMappings.length > 0 ? { runtimeConfig: { portMappings } } : {};
    return new Runtime(node.ns, [BIN]).exec("skylane", verb, config(node, more), pod, { through });
  };

  const ipsOf = ({ json }: Outcome): string[] =>
    (json["ips"] as { address: string }[]).map(({ address }) => address.replace(/\/.*/, ""));

  const running = new Set<Pod>();
  afterEach(async () => {
    for (const pod of running) await remove(pod);
  });

  /** A pod that answers on port 80, and has these host ports. */
  async function start(node: TestNode, portMappings: readonly Json[] = [], by = call): Promise<Pod> {
    const name = `pod${++made}`;
    const ns = testNamespace(name);
    const added = await by(node, "ADD", request(name, ns), portMappings);
    assert.equal(added.exitCode, 0, added.stdout);
    const server = ns.spawn(process.execPath, ["-e", SERVER, name, "80"], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(server);
    await once(server.stdout as Readable, "data");
    const pod = { name, ns, node, ips: ipsOf(added), result: added.json };
    running.add(pod);
    return pod;
  }
  async function remove(pod: Pod, by = call): Promise<void> {
    const { name, ns, node } = pod;
    running.delete(pod);
    const gone = await by(node, "DEL", request(name, ns));
    assert.equal(gone.exitCode, 0, gone.stdout);
  }

  /** What somebody is answered who asks a port. @param by the address that asks, by TCP; any by default */
  async function ask(from: TestNamespace, protocol: string, host: string, port: number, by = ""): Promise<string> {
    const child = from.spawn(process.execPath, ["-e", CLIENT, protocol, host, String(port), by], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    (child.stdout as Readable).on("data", (text) => (said += String(text)));
    await once(child, "close");
    return said.trim();
  }
  const [V4, V6] = ["172.30.0.11", "fd30::11"];
  const table = (node: TestNode): string => {
    try {
      return node.ns.exec("nft", "list", "table", "inet", "skylane_hostports");
    } catch {
      return "";
    }
  };
  const records = (node: TestNode): string[] => {
    const dir = join(node.dir, "data/host-ports");
    return existsSync(dir) ? readdirSync(dir) : [];
  };
  const nothingLeft = async (node: TestNode): Promise<void> => {
    await eventually(() => records(node).length === 0, { message: `${records(node).join(", ")} are left` });
    assert.doesNotMatch(table(node), /elements/);
  };

  it("lead to the pod from outside, from the node, and from pods here and elsewhere; who asks is seen as itself", async () => {
    const [server, near, far] = [await start(n1, PORTS), await start(n1), await start(n2)];
    const sees = (ip: string): string => `${server.name} sees ${ip}`;
    for (const protocol of ["tcp", "udp"])
      for (const [i, host] of [V4, V6].entries()) {
        const get = (from: TestNamespace): Promise<string> => ask(from, protocol, host, 8080);
        assert.equal(await get(fabric.ns), sees(["172.30.0.1", "fd30::1"][i] as string));
        assert.equal(await get(near.ns), sees(near.ips[i] as string));
        assert.equal(await get(n1.ns), sees(host), "the node itself");
        // What leaves the pods' network has its node's address.
        assert.equal(await get(far.ns), sees(n2.ips[i] as string));
        assert.equal(await get(n2.ns), sees(n2.ips[i] as string));
        // Its own answers would not come back by the node otherwise.
        assert.match(await get(server.ns), new RegExp(`^${server.name} sees (?!${server.ips[i]}$)`));
      }
    for (const protocol of ["tcp", "udp"]) {
      assert.match(await ask(n1.ns, protocol, "127.0.0.1", 8080), new RegExp(`^${server.name} sees (?!127)`));
      for (const [host, port] of [
        [V4, 8081],
        ["::1", 8080],
      ] as const)
        assert.equal(await ask(n1.ns, protocol, host, port), "ECONNREFUSED");
    }
    for (const pod of [server, near, far]) await remove(pod);
    await nothingLeft(n1);
    assert.equal(await ask(fabric.ns, "tcp", V4, 8080), "ECONNREFUSED");
  });

  it("hold for the address that is asked for", async () => {
    const ports = [
      { hostPort: 81, containerPort: 80, protocol: "TCP", hostIP: V4 },
      { hostPort: 82, containerPort: 80, protocol: "tcp", hostIP: "0.0.0.0" },
      { hostPort: 83, containerPort: 80, protocol: "tcp", hostIP: "fd30:0::11" },
      { hostPort: 84, containerPort: 80, protocol: "tcp", hostIP: "::" },
      { hostPort: 85, containerPort: 80, protocol: "tcp", hostIP: "127.0.0.1" },
      { hostPort: 0, containerPort: 99, protocol: "tcp" },
    ];
    const server = await start(n1, ports);
    const answers = async (from: TestNamespace, host: string): Promise<number[]> => {
      const all = [81, 82, 83, 84, 85];
      const said = await Promise.all(all.map((port) => ask(from, "tcp", host, port)));
      return all.filter((_, i) => said[i]?.startsWith(server.name));
    };
    assert.deepEqual(await answers(fabric.ns, V4), [81, 82]);
    assert.deepEqual(await answers(fabric.ns, V6), [83, 84]);
    assert.deepEqual(await answers(n1.ns, "127.0.0.1"), [82, 85]);
    assert.equal(await ask(n1.ns, "tcp", "127.0.0.1", 85, V4), `${server.name} sees ${V4}`);
    await remove(server);
    await nothingLeft(n1);
  });

  it("are refused where another pod has one, by name, and nothing of that pod's is touched", async () => {
    const first = await start(n1, PORTS);
    const ns = testNamespace("second");
    for (const by of [call, alone])
      for (const hostIP of ["", V4, "0.0.0.0"]) {
        const wanted = [
          { hostPort: 9000, containerPort: 80, protocol: "tcp" },
          { hostPort: 8080, containerPort: 80, protocol: "udp", hostIP },
        ];
        const refused = await by(n1, "ADD", request("second", ns), wanted);
        assert.equal(refused.exitCode, 1);
        assert.equal(refused.json["code"], 101);
        assert.match(
          String(refused.json["msg"]),
          new RegExp(`8080/udp of this node is taken by pod default/${first.name} `),
        );
        assert.equal(await ask(fabric.ns, "udp", V4, 8080), `${first.name} sees 172.30.0.1`);
        assert.equal(await ask(fabric.ns, "tcp", V4, 9000), "ECONNREFUSED");
      }
    assert.equal(records(n1).length, 1);
    await remove(first);
    assert.equal((await call(n1, "ADD", request("second", ns), PORTS)).exitCode, 0, "it is free now");
    assert.equal((await call(n1, "DEL", request("second", ns))).exitCode, 0);
    await nothingLeft(n1);
  });

  it("are put back when the packet filter is flushed, an element is deleted, or localhost is closed", async () => {
    const server = await start(n1, PORTS);
    const answers = async (host = V4): Promise<boolean> =>
      (await ask(host === V4 ? fabric.ns : n1.ns, "tcp", host, 8080)).startsWith(server.name);
    const [hostEnd] = n1.ns
      .json("ip", "-j", "link")
      .map(({ ifname }) => String(ifname))
      .filter((name) => /^sky[0-9a-f]{11}$/.test(name));
    const parameter = `net.ipv4.conf.${hostEnd}.route_localnet`;
    const localnet = (): string => n1.ns.exec("sysctl", "-n", parameter).trim();
    const key = "{ tcp . 8080 }";
    for (const change of [
      ["nft", "flush", "ruleset"],
      ["nft", "delete", "element", "inet", "skylane_hostports", "all4", key],
      ["nft", "add", "rule", "inet", "skylane_hostports", "prerouting", "drop"],
      ["sysctl", "-qw", `${parameter}=0`],
    ] as [string, ...string[]][]) {
      n1.ns.exec(...change);
      await eventually(() => table(n1).includes("tcp . 8080") && !/\t\tdrop/.test(table(n1)) && localnet() === "1");
      assert.ok(await answers(), change.join(" "));
      assert.ok(await answers("127.0.0.1"), change.join(" "));
    }
    const { body } = await n1.get("/metrics");
    assert.match(body, /^skylane_host_ports 2$/m);
    assert.match(body, /^skylane_repairs_total\{network="default",kind="host-ports"\} [4-9]/m);
    await remove(server);
  });

  it("are looked at by CHECK, with the agent and without", async () => {
    const server = await start(n1, PORTS);
    const pod = request(server.name, server.ns);
    /** What CHECK says, by itself as by the agent; "" where all is as it should be. */
    const check = async (portMappings: readonly Json[] = PORTS): Promise<string> => {
      const more = { prevResult: server.result, runtimeConfig: { portMappings } };
      const lib = join(BIN, "../lib/skylane");
      const through = [join(lib, "node"), "--disable-warning=ExperimentalWarning", join(lib, "skylane.cjs")];
      const runtime = new Runtime(n1.ns, [BIN]);
      const [served, own] = [
        await runtime.exec("skylane", "CHECK", config(n1, more), pod),
        await runtime.exec("skylane", "CHECK", config(n1, more), pod, { through }),
      ];
      assert.equal(served.stdout, own.stdout);
      return own.stdout;
    };
    assert.equal(await check(), "");
    assert.match(await check([{ ...PORTS[0], hostPort: 8085 }]), /host port 8085\/tcp to 80 is not recorded/);
    await n1.stop();
    const element = (verb: string, what: string): string =>
      n1.ns.exec("nft", verb, "element", "inet", "skylane_hostports", "all4", `{ ${what} }`);
    element("delete", "udp . 8080");
    assert.match(await check(), /host port 8080\/udp to 80 is not in the packet filter/);
    element("add", `udp . 8080 : ${server.ips[0]} . 81`);
    assert.match(await check(), /8080\/udp to 80 is not/, "it leads to another port");
    n1.ns.exec("nft", "flush", "ruleset");
    assert.match(await check(), /8080\/tcp to 80 is not.*8080\/udp to 80 is not/);
    n1.start();
    await eventually(async () => (await check()) === "");
    await n1.ready([n2.name]);
    await remove(server);
  });

  it("let no pod reach what listens on the host's loopback", async () => {
    const server = await start(n1, PORTS);
    const program = n1.ns.spawn(process.execPath, ["-e", SERVER, "host", "7000"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(program);
    await once(program.stdout as Readable, "data");
    assert.match(await ask(n1.ns, "tcp", "127.0.0.1", 7000), /^host sees/);
    // As a pod would that has set its routes by itself.
    server.ns.exec("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1");
    server.ns.exec("ip", "rule", "add", "priority", "1", "to", "127.0.0.2", "lookup", "99");
    server.ns.exec(
      "ip",
      "route",
      "add",
      "127.0.0.2",
      "via",
      "169.254.1.1",
      "dev",
      "eth0",
      "onlink",
      "table",
      "99",
      "src",
      server.ips[0] as string,
    );
    server.ns.exec("ip", "rule", "add", "priority", "5", "lookup", "local");
    server.ns.exec("ip", "rule", "delete", "priority", "0");
    for (const protocol of ["tcp", "udp"]) assert.equal(await ask(server.ns, protocol, "127.0.0.2", 7000), "no answer");
    assert.match(table(n1), /counter packets [1-9]\d* bytes \d+ drop/, "it did come there");
    program.kill("SIGKILL");
    await remove(server);
  });

  it("reach the new pod also by datagrams of one who never stops to send, and never another pod by the old address", async () => {
    const sender = fabric.ns.spawn(process.execPath, ["-e", SENDER, V4, "8080"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(sender);
    let said = "";
    (sender.stdout as Readable).on("data", (text) => (said += String(text)));
    const tracked = (): string => n1.ns.exec("cat", "/proc/net/nf_conntrack");
    const has = (text: string) => (existsSync("/proc/net/nf_conntrack") ? tracked().includes(text) : true);
    await eventually(() => has("sport=40000 dport=8080"));
    const first = await start(n1, PORTS);
    await eventually(() => said.includes(`${first.name} sees`), { message: "the first pod gets nothing" });
    await remove(first);
    const second = await start(n1, PORTS);
    await eventually(() => said.includes(`${second.name} sees`), { message: "the second pod gets nothing" });
    // Another pod with the address of one that is gone.
    await remove(second);
    const name = `pod${++made}`;
    const ns = testNamespace(name);
    const ips = { runtimeConfig: { ips: second.ips } };
    const other = await new Runtime(n1.ns, [BIN]).exec("skylane", "ADD", config(n1, ips), request(name, ns));
    assert.equal(other.exitCode, 0, other.stdout);
    const heard = (): string =>
      ns
        .exec("cat", "/proc/net/snmp")
        .split("\n")
        .filter((line) => line.startsWith("Udp:"))[1] as string;
    const before = heard();
    await eventually(async () => (await ask(n1.ns, "udp", V4, 8080)) === "ECONNREFUSED");
    assert.equal(heard(), before, "datagrams to a pod that is gone reach the next one with its address");
    await call(n1, "DEL", request(name, ns));
    sender.kill("SIGKILL");
    await nothingLeft(n1);
  });

  it("work without the agent, and are what the records say once it is back", async () => {
    const kept = await start(n1, PORTS);
    const gone = await start(n1, [{ hostPort: 8082, containerPort: 80, protocol: "tcp" }]);
    await n1.stop("SIGKILL");
    assert.equal(await ask(fabric.ns, "tcp", V4, 8080), `${kept.name} sees 172.30.0.1`);
    await remove(gone, alone);
    assert.equal(await ask(fabric.ns, "tcp", V4, 8082), "ECONNREFUSED");
    const late = await start(n1, [{ hostPort: 8083, containerPort: 80, protocol: "tcp" }], alone);
    assert.equal(await ask(fabric.ns, "tcp", V4, 8083), `${late.name} sees 172.30.0.1`);
    n1.ns.exec("nft", "flush", "ruleset");
    const ns = testNamespace("early");
    const early = await alone(n1, "ADD", request("early", ns), [
      { hostPort: 8084, containerPort: 80, protocol: "tcp" },
    ]);
    assert.equal(early.json["code"], 11, early.stdout);
    n1.start();
    const { hostPorts } = await n1.ready(["n2"]);
    assert.deepEqual(hostPorts?.ports.map(({ port, pod }) => `${port} ${pod}`).sort(), [
      `8080/tcp default/${kept.name}`,
      `8080/udp default/${kept.name}`,
      `8083/tcp default/${late.name}`,
    ]);
    for (const [pod, port] of [
      [kept, 8080],
      [late, 8083],
    ] as const)
      assert.equal(await ask(fabric.ns, "tcp", V4, port), `${pod.name} sees 172.30.0.1`);
    // The plugin's own doing is no drift.
    assert.doesNotMatch(
      n1.log,
      /skylane_hostports was changed[\s\S]*skylane-agent starts[\s\S]*skylane_hostports was changed/,
    );
    await remove(late);
    await remove(kept, alone);
    await nothingLeft(n1);
    assert.equal(await ask(fabric.ns, "tcp", V4, 8080), "ECONNREFUSED");
  });

  it("lead nowhere and to nobody else wherever the agent or the plugin is killed", async () => {
    for (const ms of [0, 5, 10, 20, 40, 60, 90, 140]) {
      const name = `pod${++made}`;
      const ns = testNamespace(name);
      const killed = { killAfterMs: ms };
      const lib = join(BIN, "../lib/skylane");
      const through = [join(lib, "node"), "--disable-warning=ExperimentalWarning", join(lib, "skylane.cjs")];
      const runtime = new Runtime(n1.ns, [BIN]);
      const added = config(n1, { runtimeConfig: { portMappings: PORTS } });
      await runtime.exec("skylane", "ADD", added, request(name, ns), { ...killed, through, raw: true });
      await runtime.exec("skylane", "DEL", config(n1), request(name, ns), { ...killed, through, raw: true });
      assert.equal((await call(n1, "DEL", request(name, ns))).exitCode, 0);
      await nothingLeft(n1);
      // Nothing is in the way of the next one.
      const next = await start(n1, PORTS);
      if (ms % 20 === 0) {
        await n1.stop("SIGKILL");
        n1.start();
        await n1.ready(["n2"]);
      }
      assert.equal(await ask(fabric.ns, "udp", V4, 8080), `${next.name} sees 172.30.0.1`);
      await remove(next);
      await nothingLeft(n1);
    }
  });

  it("are taken back with pods that nobody has deleted, by the record", async () => {
    const server = await start(n1, PORTS);
    await n1.stop();
    // A reboot took the pod, and all that the records say is of the former boot.
    n1.ns.exec("sh", "-c", `rm ${join(n1.dir, "data/attachments/default")}/*`);
    n1.start();
    await n1.ready(["n2"]);
    await nothingLeft(n1);
    assert.equal(await ask(fabric.ns, "tcp", V4, 8080), "ECONNREFUSED");
    await remove(server);
  });
});
