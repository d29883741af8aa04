import assert from "node:assert/strict";
import { once } from "node:events";
import { eventually } from "../../support/eventually.ts";
import type { TestNamespace } from "../support/netns.ts";
import { type ConfList, PluginFailed } from "../support/runtime.ts";
import { devicesIn, missingPlugin, NOTHING, TestNode } from "./node.ts";

type Json = Record<string, unknown>;

/** The official plugins of Debian 12 speak these; newer ones are covered by our own executable alone. */
const VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];

const CLIENT_IP = "192.0.2.2";
const NODE_IP = "192.0.2.1";

/** A server in a pod that answers every connection with one word. */
const SERVER = 'require("net").createServer(s=>s.end("hello")).listen(80,"0.0.0.0",()=>console.log("ready"))';
const CLIENT = (port: number): string =>
  `const s=require("net").connect(${port},"${NODE_IP}");s.on("data",d=>process.stdout.write(d));s.on("error",e=>{console.error(e.message);process.exitCode=1})`;

describe("in a chain with the official plugins", () => {
  const missing = missingPlugin("loopback", "tuning", "portmap", "bandwidth", "sbr");
  if (missing !== undefined) {
    it(`(skipped: ${missing} is not in /usr/lib/cni; install containernetworking-plugins)`);
    return;
  }
  let node: TestNode;
  let pod: TestNamespace;
  let client: TestNamespace;
  before(() => {
    node = new TestNode();
    pod = node.sandbox();
    client = node.sandbox("client");
    node.ns.exec("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", client.path);
    node.ns.exec("ip", "address", "add", `${NODE_IP}/24`, "dev", "up0");
    node.ns.exec("ip", "link", "set", "up0", "up");
    client.exec("ip", "address", "add", `${CLIENT_IP}/24`, "dev", "eth0");
    client.exec("ip", "link", "set", "eth0", "up");
    client.exec("ip", "route", "add", "default", "via", NODE_IP);
  });
  after(() => node.remove());

  const tuning = { type: "tuning", capabilities: { mac: true }, sysctl: { "net.core.somaxconn": "500" } };
  const portmap = { type: "portmap", capabilities: { portMappings: true }, snat: true };
  const bandwidth = { type: "bandwidth", capabilities: { bandwidth: true } };
  const list = (cniVersion: string, ...plugins: Json[]): ConfList => ({ cniVersion, name: "skylane", plugins });
  const request = (capabilityArgs: Json = {}) => ({ containerId: "c1", netns: pod.path, capabilityArgs });
  const podIp = (result: Json): string =>
    String((result.ips as Json[]).find(({ gateway }) => gateway === "169.254.1.1")?.address).replace("/32", "");

  async function answers(port: number): Promise<string> {
    const child = client.spawn(process.execPath, ["-e", CLIENT(port)], { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await once(child, "close");
    return text;
  }

  for (const cniVersion of VERSIONS) {
    it(`${cniVersion}: behind loopback, before tuning, portmap and bandwidth`, async () => {
      const rates = { ingressRate: 8_000_000, ingressBurst: 800_000, egressRate: 8_000_000, egressBurst: 800_000 };
      const chain = list(cniVersion, { type: "loopback" }, node.plugin(), tuning, portmap, bandwidth);
      const pod1 = request({
        portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
        bandwidth: rates,
      });
      const result = await node.runtime.add(chain, pod1);

      const interfaces = result.interfaces as Json[];
      const at = interfaces.findIndex(({ name }) => name === "eth0");
      assert.equal(interfaces[0]?.name, "lo");
      assert.equal(interfaces[at]?.sandbox, pod.path);
      const ours = (result.ips as Json[]).filter((ip) => ip.interface === at);
      assert.deepEqual(
        ours.map(({ gateway }) => gateway),
        ["169.254.1.1", "fe80::1"],
      );
      assert.ok((result.ips as Json[]).some(({ address }) => String(address).startsWith("127.0.0.1/8")));
      assert.equal(pod.exec("sysctl", "-n", "net.core.somaxconn").trim(), "500");
      const [host] = node.hostLinks();
      assert.match(node.ns.exec("tc", "qdisc", "show", "dev", host as string), /tbf.*rate 8Mbit/);

      const server = pod.spawn(process.execPath, ["-e", SERVER], { stdio: ["ignore", "pipe", "inherit"] });
      try {
        await once(server.stdout as NonNullable<typeof server.stdout>, "data");
        assert.equal(await answers(8080), "hello");
      } finally {
        server.kill("SIGKILL");
        await once(server, "close");
      }
      // portmap 1.1 looks for its IPv4 rules in the IPv6 tables too, so its CHECK fails wherever there is ip6tables.
      if (cniVersion >= "0.4") await node.runtime.check(chain, pod1, { except: "portmap" });

      await node.runtime.del(chain, pod1);
      assert.deepEqual(node.remains(), NOTHING);
      assert.deepEqual(devicesIn(pod), []);
      assert.ok(!node.ns.exec("iptables-save", "-t", "nat").includes("8080"));
      assert.deepEqual(node.ns.json("ip", "-j", "link", "show", "type", "ifb"), []);
      await node.runtime.del(chain, pod1);
    });
  }

  it("tuning behind us may change the MAC address: CHECK follows it, and the pod is still reached", async () => {
    const chain = list("1.0.0", node.plugin(), tuning);
    const mac = "02:00:00:00:00:42";
    const wanted = request({ mac });
    const result = await node.runtime.add(chain, wanted);
    assert.equal((pod.json("ip", "-j", "link", "show", "eth0")[0] as Json).address, mac);
    await node.runtime.check(chain, wanted);
    await eventually(() => node.ns.exec("ping", "-c", "1", "-W", "1", podIp(result)));
    await node.runtime.del(chain, wanted);
    assert.deepEqual(node.remains(), NOTHING);
  });

  it("CHECK allows what plugins behind us change: MTU, source routing, further addresses; and misses what nobody told", async () => {
    const chain = list("1.0.0", node.plugin(), { type: "tuning", mtu: 1400 }, { type: "sbr" });
    const result = await node.runtime.add(chain, request());
    assert.equal((pod.json("ip", "-j", "link", "show", "eth0")[0] as Json).mtu, 1400);
    const tables = pod.exec("ip", "rule").match(/lookup (\d+)/g);
    assert.ok(tables && !pod.exec("ip", "route").includes("default"), "sbr has moved the routes");
    await node.runtime.check(chain, request());
    await node.runtime.del(chain, request());

    const alone = list("1.1.0", node.plugin());
    const { routes, ips, ...rest } = await node.runtime.add(alone, request());
    const check = (prevResult: Json): Promise<unknown> =>
      node.runtime.exec("skylane", "CHECK", node.config({ prevResult }), request());
    const theirs = { address: "192.0.2.9/24", gateway: "192.0.2.1", interface: 1 };
    // A plugin behind us has another default route, and another address.
    pod.exec("ip", "route", "del", "default");
    const other = [...(routes as Json[]).slice(1), { dst: "0.0.0.0/0", gw: "192.0.2.1" }];
    const passed = (await check({ ...rest, ips: [...(ips as Json[]), theirs], routes: other })) as { exitCode: number };
    assert.equal(passed.exitCode, 0, JSON.stringify(passed));
    const failed = (await check({ ...rest, ips, routes })) as { stdout: string };
    assert.match(failed.stdout, /no default IPv4 route via 169\.254\.1\.1/);
    pod.exec("ip", "link", "set", "eth0", "mtu", "1300");
    pod.exec("ip", "-6", "route", "del", "default");
    pod.exec("ip", "link", "set", "eth0", "mtu", "1460");
    const higher = (await check({ ...rest, ips, routes })) as { stdout: string };
    assert.match(higher.stdout, /MTU 1460, expected 1450.*no default IPv6 route/);
    await node.runtime.del(alone, request());
    assert.deepEqual(node.remains(), NOTHING);
    assert.ok(result);
  });

  it("both of us and tuning have the mac capability", async () => {
    const chain = list("1.0.0", node.plugin({ capabilities: { mac: true, ips: true } }), tuning);
    const wanted = request({ mac: "02:00:00:00:00:43", ips: ["10.244.1.43"] });
    const result = await node.runtime.add(chain, wanted);
    assert.equal(podIp(result), "10.244.1.43");
    await node.runtime.check(chain, wanted);
    await node.runtime.del(chain, wanted);
  });

  it("a plugin behind us that fails: the runtime's DEL takes everything back", async () => {
    const chain = list("1.0.0", node.plugin(), { type: "tuning", sysctl: { "net.no.such.key": "1" } });
    await assert.rejects(node.runtime.add(chain, request()), PluginFailed);
    assert.equal(node.hostLinks().length, 1);
    await node.runtime.del(chain, request());
    assert.deepEqual(node.remains(), NOTHING);
  });

  it("CHECK passes for a chain that is fine and names our part when it is not", async () => {
    const chain = list("1.0.0", node.plugin(), portmap);
    await node.runtime.add(chain, request());
    await node.runtime.check(chain, request());
    node.ns.exec("ip", "link", "set", node.hostLinks()[0] as string, "down");
    await assert.rejects(node.runtime.check(chain, request()), (error: unknown) => {
      assert.ok(error instanceof PluginFailed && error.plugin === "skylane");
      assert.match(error.message, /is down/);
      return true;
    });
    await node.runtime.del(chain, request());
    assert.deepEqual(node.remains(), NOTHING);
  });
});
