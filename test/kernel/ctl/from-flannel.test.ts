/**
 * Moving from flannel as docs/operations.md says it: what flannel makes in the kernel is made here by hand (VXLAN
 * backend, VNI 1, UDP port 8472, bridge cni0), and pods of it talk while Skylane takes over, node by node.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Fabric, type TestNode } from "../agent/harness.ts";
import { assertUnderASecond } from "../../support/pace.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";

const doctor = fileURLToPath(new URL("../../../cmd/skylanectl/main.ts", import.meta.url));
const mac = (node: number): string => `02:00:00:00:f1:0${node}`;

/** flannel's part of a node of two, and a pod of it with the address .2. */
function flannel(node: TestNode, number: number, other: number): TestNamespace {
  const run = (line: string): string => node.ns.exec(...(line.split(" ") as [string, ...string[]]));
  run("sysctl -qw net.ipv4.ip_forward=1");
  run(
    `ip link add flannel.1 address ${mac(number)} mtu 1450 type vxlan id 1 dstport 8472 local 172.30.0.1${number} nolearning`,
  );
  run(`ip addr add 10.244.${number}.0/32 dev flannel.1`);
  run("ip link set flannel.1 up");
  run(`bridge fdb add ${mac(other)} dev flannel.1 dst 172.30.0.1${other}`);
  run(`ip neigh add 10.244.${other}.0 lladdr ${mac(other)} dev flannel.1 nud permanent`);
  run(`ip route add 10.244.${other}.0/24 via 10.244.${other}.0 dev flannel.1 onlink`);
  run("ip link add cni0 mtu 1450 type bridge");
  run(`ip addr add 10.244.${number}.1/24 dev cni0`);
  run("ip link set cni0 up");
  const pod = testNamespace(`flannel-pod${number}`);
  run(`ip link add veth1 type veth peer name eth0 netns ${pod.name}`);
  run("ip link set veth1 master cni0 mtu 1450 up");
  pod.exec("ip", "addr", "add", `10.244.${number}.2/24`, "dev", "eth0");
  pod.exec("ip", "link", "set", "eth0", "mtu", "1450", "up");
  pod.exec("ip", "route", "add", "default", "via", `10.244.${number}.1`);
  return pod;
}

const routeTo = (node: TestNode, ip: string): string => node.ns.exec("ip", "route", "get", ip);
const ping = (from: TestNamespace, ip: string): string => from.exec("ping", "-c", "2", "-i", "0.2", "-W", "3", ip);

describe("moving from flannel", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;
  let p1: TestNamespace;
  let p2: TestNamespace;
  /** Of n1 to a pod of n2: with an agent here alone, and with one on both. */
  const routes: string[] = [];
  let pings = "";

  before("the agents come, one after the other, while a pod pings", async () => {
    fabric = await Fabric.started();
    [n1, n2] = [fabric.node(1), fabric.node(2)];
    p1 = flannel(n1, 1, 2);
    p2 = flannel(n2, 2, 1);
    await n1.register();
    await n2.register();
    ping(p1, "10.244.2.2");
    const pinger = p1.spawn("ping", ["-i", "0.1", "-W", "1", "10.244.2.2"], { stdio: ["ignore", "pipe", "inherit"] });
    pinger.stdout?.setEncoding("utf8").on("data", (text: string) => (pings += text));
    n1.start();
    await n1.ready();
    routes.push(routeTo(n1, "10.244.2.2"));
    ping(p1, "10.244.2.2");
    n2.start();
    await n1.ready(["n2"]);
    await n2.ready(["n1"]);
    routes.push(routeTo(n1, "10.244.2.2"));
    ping(p1, "10.244.2.2");
    const ended = new Promise((resolve) => pinger.once("close", resolve));
    pinger.kill("SIGINT");
    await ended;
  });
  after(() => fabric.stop());

  /** Removes a device of flannel's, unless a case before has. */
  function without(node: TestNode, device: string): void {
    const links = JSON.parse(node.ns.exec("ip", "-json", "link")) as { ifname: string }[];
    if (links.some(({ ifname }) => ifname === device)) node.ns.exec("ip", "link", "delete", device);
  }

  it("keeps pods of both nodes talking while the agents come, and takes the routes between nodes over", () => {
    const [alone, both] = routes;
    assert.match(alone ?? "", /dev flannel\.1/, "a node whose agent is not there yet is reached as before");
    assert.match(both ?? "", /dev sky\.4096/);
    assert.match(routeTo(n2, "10.244.1.2"), /dev sky\.4096/);
    const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(pings) ?? [];
    console.log(`      ${Number(sent) - Number(received)} of ${sent} pings lost`);
    // One was sent each 100 ms.
    assertUnderASecond((Number(sent) - Number(received)) * 100, "lost while the agents came");
  });

  it("does without flannel's devices one node after the other, its pods as well", async () => {
    without(n1, "flannel.1");
    ping(p1, "10.244.2.2");
    without(n2, "flannel.1");
    ping(p2, "10.244.1.2");
    // a node drained of flannel's pods
    without(n1, "cni0");
    n1.ns.exec("ping", "-c", "1", "-W", "3", "10.244.2.2");
    await n1.ready(["n2"]);
  });

  it("has nothing of flannel left in the doctor's eyes where all was removed, and says what is where not", async () => {
    for (const device of ["flannel.1", "cni0"]) without(n1, device);
    without(n2, "flannel.1");
    const check = (node: TestNode): Promise<string> =>
      new Promise((resolve) => {
        const argv = [process.execPath, "--disable-warning=ExperimentalWarning", doctor, "doctor", "--config"];
        execFile("nsenter", [`--net=${node.ns.path}`, "--", ...argv, join(node.dir, "agent.yaml")], (_error, stdout) =>
          resolve(stdout),
        );
      });
    assert.match(await check(n1), /others\.devices +ok/);
    assert.match(
      await check(n2),
      /others\.devices +warn +a bridge plugin: cni0\nothers\.routes +warn +10\.244\.2\.0\/24 dev cni0/,
    );
  });
});
