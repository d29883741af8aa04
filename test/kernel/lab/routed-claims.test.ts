import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { VTEP_ANNOTATION } from "../../../src/peers/index.ts";
import { moveUnderLoad } from "../../../lab/index.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";
import { assertUnderASecond } from "../../support/pace.ts";

const API = "/apis/skylane.dev/v1alpha1";
const NODES = ["node1", "node2", "node3"];

interface Endpoint {
  ips: string[];
  moves: number;
}

describe("a workload with a claim in a routed network", function () {
  const the = useLab({ nodes: 3 });
  let ips: string[] = [];
  let mac = "";

  const wants = (value: object = {}) => ({
    annotations: { [NETWORKS_ANNOTATION]: JSON.stringify([{ name: "blue", ...value }]) },
  });
  const inBlue = (node: string, command: string): Promise<string> =>
    the().exec(node, "ip", "netns", "exec", "sky-blue", ...command.split(" "));
  const inBlueShell = (node: string, script: string): Promise<string> =>
    the().exec(node, "ip", "netns", "exec", "sky-blue", "sh", "-c", script);
  const published = async (): Promise<Map<string, Endpoint[]>> => {
    const { items } = await the().api.call<{ items: { spec: { node: string; endpoints?: Endpoint[] } }[] }>(
      "GET",
      `${API}/networkendpoints`,
    );
    return new Map(items.map(({ spec: { node, endpoints = [] } }) => [node, endpoints]));
  };
  const ownersOf = async (ip: string): Promise<string[]> =>
    [...(await published())].filter(([, list]) => list.some((one) => one.ips.includes(ip))).map(([node]) => node);
  /** First address of a node's first block of a family, by which the others reach it. */
  const vtepOf = async (node: string, ip: string): Promise<string> => {
    const flag = ip.includes(":") ? "-6" : "-4";
    const addresses = await inBlue(node, `ip -br ${flag} address show dev sky.5000 scope global`);
    return /\s([0-9a-f.:]+)\/\d+/.exec(addresses.slice(addresses.indexOf("UNKNOWN")))?.[1] ?? "none";
  };
  const wayTo = (node: string, ip: string): Promise<string> => inBlue(node, `ip route get ${ip}`);
  /** Every node's way to the claim's addresses leads to that node, and there to the pod; nowhere is there a second one. */
  const leadsTo = async (target: string): Promise<void> => {
    for (const node of NODES) {
      for (const ip of ips) {
        const way = await wayTo(node, ip);
        if (node === target) assert.match(way, / dev sky[0-9a-f]{11} /, `${node}: ${way}`);
        else assert.match(way, new RegExp(` via ${await vtepOf(target, ip)} dev sky\\.5000 `), `${node}: ${way}`);
        const family = ip.includes(":") ? "-6" : "-4";
        const routes = (await inBlue(node, `ip ${family} route show ${ip}`)).trim().split("\n");
        assert.equal(routes.length, 1, `${node}: ${routes.join("; ")}`);
      }
    }
  };
  const soonLeadsTo = (target: string): Promise<unknown> =>
    eventually(() => leadsTo(target).then(() => true), { timeoutMs: 3_000, message: `no way to ${target}` });
  /** What becomes of the routes to an address on a node while something is done: a line for each change, as the kernel announces it. */
  const changesOf = async (node: string, ip: string, work: () => Promise<void>): Promise<string[]> => {
    const family = ip.includes(":") ? "-6" : "-4";
    const [file, sentinel] = ["/var/log/routes.log", ip.includes(":") ? "2001:db8::1" : "192.0.2.1"];
    const said = async (): Promise<string[]> => (await the().exec(node, "cat", file)).split("\n");
    /** Heard after everything before; said again until somebody listens. */
    const heard = (metric: number): Promise<unknown> =>
      eventually(
        async () => {
          await inBlue(node, `ip ${family} route replace ${sentinel} dev lo metric ${metric}`);
          return (await said()).some((line) => line.startsWith(sentinel) && line.includes(`metric ${metric}`));
        },
        { timeoutMs: 10_000, message: `nothing is heard of routes on ${node}` },
      );
    const listen = `ip netns exec sky-blue ip -o ${family} monitor route >${file} 2>&1 & echo $!`;
    const pid = (await the().exec(node, "sh", "-c", listen)).trim();
    try {
      await heard(101);
      await work();
      await heard(102);
      return (await said()).filter((line) => line.replace(/^Deleted /, "").startsWith(`${ip} `));
    } finally {
      await the().exec(node, "kill", pid);
      // Both are there unless the work failed, whose error says more.
      for (const metric of [101, 102])
        await inBlueShell(node, `ip ${family} route del ${sentinel} metric ${metric} 2>/dev/null; true`);
    }
  };
  /** A pod on a node sends until it has the claim's addresses. */
  const takesOver = (pod: string, node: string, to: string): Promise<unknown> =>
    eventually(
      async () => {
        await the().execInPod(pod, "sh", "-c", `ping -n -c1 -W1 ${to} >/dev/null; true`);
        return (await ownersOf(ips[0] as string)).join() === node;
      },
      { message: `${pod} does not take its addresses over` },
    );
  const reached = async (from: readonly string[]): Promise<void> => {
    for (const name of from)
      for (const ip of ips)
        await eventually(async () => (await the().pingFrom(the().pod(name), ip, 300)).rttMs !== undefined, {
          timeoutMs: 1_000,
          message: `${name} does not reach ${ip}`,
        });
  };

  before("a network over three nodes, with an ordinary pod on each", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/16", "fd50::/64"] });
    for (const node of NODES) await the().addPod(node, `plain-${node}`, wants());
  });

  it("costs nothing where there is none: no object, and nothing on the Nodes for which others would have to look", async () => {
    assert.deepEqual([...(await published()).keys()], []);
    const { items } = await the().api.call<{ items: { metadata: { annotations?: Record<string, string> } }[] }>(
      "GET",
      "/api/v1/nodes",
    );
    const entries = items.map(({ metadata }) => JSON.parse(metadata.annotations?.[VTEP_ANNOTATION] ?? "{}") as object);
    assert.equal(entries.length, 3);
    for (const entry of entries) assert.ok("blue" in entry && !JSON.stringify(entry).includes("claims"));
  });

  it("is reached from all nodes by its claim's addresses", async () => {
    await the().addClaim("db", { network: "blue", podName: "db" });
    await the().addPod("node1", "db", wants());
    const claim = await the().claim("db");
    ({ ips, mac = "" } = claim);
    assert.equal(claim.node, "node1");
    assert.equal(ips.length, 2);
    assert.deepEqual(the().ipsOf("db", "net1").sort(), [...ips].sort());
    assert.match(await the().execInPod("db", "ip", "-br", "link", "show", "net1"), new RegExp(mac));
    await reached(["plain-node1", "plain-node2", "plain-node3"]);
    await leadsTo("node1");
    await the().checkPod("db");
    assert.deepEqual([...(await published()).keys()], ["node1"]);
  });

  for (const [from, to] of [
    ["node1", "node2"],
    ["node2", "node1"],
  ] as const)
    it(`has them on ${to} at once when it is made again there`, async () => {
      await the().deletePod("db");
      await the().addPod(to, "db", wants());
      assert.deepEqual(the().ipsOf("db", "net1").sort(), [...ips].sort());
      assert.match(await the().execInPod("db", "ip", "-br", "link", "show", "net1"), new RegExp(mac));
      await reached(["plain-node3", `plain-${from}`, `plain-${to}`]);
      await leadsTo(to);
      assert.deepEqual(await ownersOf(ips[0] as string), [to]);
      // And it reaches them.
      for (const node of NODES)
        for (const ip of the().ipsOf(`plain-${node}`, "net1"))
          assert.ok((await the().pingFrom(the().pod("db"), ip, 1000)).rttMs !== undefined, `db does not reach ${ip}`);
    });

  it("is the only pod that may send from them", async () => {
    const [ip = ""] = ips;
    const [other = ""] = the().ipsOf("plain-node3", "net1");
    const send = ["ping", "-n", "-c1", "-W1", "-I", ip, other];
    await the().execInPod("plain-node2", "ip", "address", "add", `${ip}/32`, "dev", "lo");
    try {
      await assert.rejects(the().execInPod("plain-node2", ...(send as [string, ...string[]])));
      assert.match(
        await inBlue("node2", "nft list table inet skylane"),
        /packets [1-9]\d* .*not the address of this pod/,
      );
    } finally {
      await the().execInPod("plain-node2", "ip", "address", "del", `${ip}/32`, "dev", "lo");
    }
  });

  it("moves under a running ping with its connections", async () => {
    const [ip = ""] = ips;
    const witness = the().pod("plain-node3");
    const { gap, transfer } = await moveUnderLoad(the(), { pod: "db", to: "node2", from: witness, ip });
    assertUnderASecond(gap.longestMs, "the longest gap");
    assert.ok(transfer.same, `${transfer.received.bytes} of ${transfer.sent.bytes} bytes received, or others`);
    await soonLeadsTo("node2");
    await the().checkPod("db");
  });

  it("is handed over by a pod on standby with its first frame, and not before", async () => {
    const [ip = ""] = ips;
    await assert.rejects(
      the().addPod("node2", "db-target", { ...wants({ claim: "db", standby: true }), timeoutMs: 100 }),
      /in use by pod db on this very node, node2/,
    );
    await the().addPod("node3", "db-target", wants({ claim: "db", standby: true }));
    assert.deepEqual(the().ipsOf("db-target", "net1").sort(), [...ips].sort());
    await the().checkPod("db-target");
    await pause(1_500); // Longer than host ends are too young to be looked after.
    assert.deepEqual(await ownersOf(ip), ["node2"]);
    await leadsTo("node2");
    await reached(["plain-node1", "plain-node3"]);
    const [to = ""] = the().ipsOf("plain-node1", "net1");
    const changes = await changesOf("node3", ip, async () => {
      await takesOver("db-target", "node3", to);
      await soonLeadsTo("node3");
    });
    // One writer has the route to the former node and that to the pod: the one takes the other's place, and packets always have one.
    assert.ok(changes.length > 0 && !changes.some((line) => line.startsWith("Deleted")), changes.join("\n"));
    // Its neighbour follows from the route, and takes no room from others.
    await eventually(async () => /PERMANENT/.test(await inBlue("node3", `ip neigh show ${ip} nud all`)), {
      timeoutMs: 5_000,
      message: "the pod's neighbour is not permanent",
    });
    assert.deepEqual(await ownersOf(ip), ["node3"]);
    const { node, pod } = await the().claim("db");
    assert.deepEqual([node, pod], ["node3", "db-target"]);
    await reached(["plain-node1", "plain-node2"]);
  });

  it("is back where it was when that pod fails after all", async () => {
    await the().deletePod("db-target");
    await soonLeadsTo("node2");
    await reached(["plain-node1", "plain-node3"]);
    // Nobody else gets the claim now: it says whose it is again.
    const whose = async (): Promise<string> => {
      const { node, pod } = await the().claim("db");
      return `${pod} on ${node}`;
    };
    await eventually(async () => (await whose()) === "db on node2", {
      timeoutMs: 15_000,
      message: "the claim names a pod that is gone",
    });
  });

  it("is where it is published after moves there and back, during which somebody removes its routes", async function () {
    this.timeout(60_000);
    await the().addPod("node3", "db-target", wants({ claim: "db", standby: true }));
    const [to = ""] = the().ipsOf("plain-node1", "net1");
    const remove = ips.map((one) => `ip ${one.includes(":") ? "-6" : "-4"} route del ${one}`).join("; ");
    const removing = ["node2", "node3"].map((node) =>
      inBlueShell(node, `for n in $(seq 60); do ${remove}; sleep 0.02; done 2>/dev/null; true`),
    );
    for (const [pod, node] of [
      ["db-target", "node3"],
      ["db", "node2"],
      ["db-target", "node3"],
      ["db", "node2"],
    ] as const)
      await takesOver(pod, node, to);
    await Promise.all(removing);
    await soonLeadsTo("node2");
    await reached(["plain-node1", "plain-node3"]);
    await the().deletePod("db-target");
    await soonLeadsTo("node2");
  });

  it("has no address out of another node's block, whether a pod there has it or not", async () => {
    const [taken = ""] = the().ipsOf("plain-node1", "net1");
    const free = `${taken.slice(0, taken.lastIndexOf(".") + 1)}${(Number(taken.split(".")[3]) ^ 32) | 1}`;
    const path = `${API}/networkendpoints/blue.node2`;
    // Whoever forges this holds the node: its agent would put the object back.
    await the().exec("node2", "pkill", "-STOP", "-f", "skylane-agent.cjs");
    const before = await the().api.call("GET", path);
    const forged = [free, taken].map((ip, n) => ({ mac: `02:00:00:00:09:0${n}`, ips: [ip], moves: 0 }));
    const spec = before["spec"] as { endpoints: object[] };
    await the().api.call("PUT", path, { ...before, spec: { ...spec, endpoints: [...spec.endpoints, ...forged] } });
    // What is told of it is told after it was judged.
    for (const node of ["node1", "node3"])
      await eventually(
        async () => /node node2 may not publish/.test(await the().exec(node, "cat", "/var/log/skylane-agent.log")),
        { timeoutMs: 60_000, message: `${node} says nothing of it` },
      );
    for (const node of ["node1", "node3"])
      assert.equal(await inBlue(node, `ip route show ${free}`), "", `${node} sends ${free} elsewhere`);
    assert.match(await wayTo("node1", taken), / dev sky[0-9a-f]{11} /);
    const now = await the().api.call("GET", path);
    await the().api.call("PUT", path, { ...now, spec });
    await the().exec("node2", "pkill", "-CONT", "-f", "skylane-agent.cjs");
  });

  it("has its routes repaired when somebody changes them", async () => {
    const [ip = ""] = ips;
    await inBlue("node1", `ip route del ${ip}`);
    await soonLeadsTo("node2");
    await inBlue("node1", `ip route replace ${ip} dev lo`);
    await soonLeadsTo("node2");
    await pause(1_500); // Until the pod's host end is no longer too young to be looked after.
    await inBlue("node2", `ip route del ${ip}`);
    await soonLeadsTo("node2");
    await inBlue("node2", `ip route replace ${ip} dev lo`);
    await soonLeadsTo("node2");
    const end = / dev (sky[0-9a-f]{11}) /.exec(await wayTo("node2", ip))?.[1] ?? "none";
    await inBlue("node2", `ip link set ${end} down`);
    await soonLeadsTo("node2");
    await inBlue("node2", "ip link del sky.5000");
    await soonLeadsTo("node2");
  });

  it("keeps its routes while agents start again, and no packet is lost", async function () {
    this.timeout(60_000);
    const [ip = ""] = ips;
    const ping = the().execInPod("plain-node3", "ping", "-n", "-i0.05", "-c200", "-W1", ip);
    for (const node of NODES) {
      await the().exec(node, "sh", "-c", "kill -9 $(pgrep -of skylane-agent.cjs)");
      await pause(300);
      await leadsTo("node2");
    }
    assert.match(await ping, / 0% packet loss/);
    for (const node of the().nodes())
      await eventually(async () => (await the().status(node)).ready.ready, {
        timeoutMs: 20_000,
        message: `${node.name} is not ready`,
      });
    await leadsTo("node2");
  });

  it("is looked after rightly by an agent that finds it on standby", async () => {
    await the().addPod("node1", "db-target", wants({ claim: "db", standby: true }));
    await pause(1_500); // Until host ends are no longer too young to be looked after.
    await the().exec("node1", "sh", "-c", "kill -9 $(pgrep -of skylane-agent.cjs)");
    await eventually(async () => (await the().status(the().node("node1"))).ready.ready, {
      timeoutMs: 20_000,
      message: "node1 is not ready",
    });
    await leadsTo("node2");
    await reached(["plain-node1", "plain-node3"]);
    const [to = ""] = the().ipsOf("plain-node3", "net1");
    await takesOver("db-target", "node1", to);
    await soonLeadsTo("node1");
    await the().deletePod("db-target");
    await soonLeadsTo("node2");
  });

  it("is where it was last moved to after many moves, by all nodes, also of the only pod of its network there", async function () {
    this.timeout(60_000);
    await the().deletePod("plain-node1");
    for (let n = 0; n < 12; n++) {
      const at = NODES.indexOf(the().pod("db").node);
      await the().movePod("db", NODES[(at + 1 + (n % 2)) % 3] as string);
    }
    if (the().pod("db").node !== "node1") await the().movePod("db", "node1");
    await soonLeadsTo("node1");
    assert.deepEqual(await ownersOf(ips[0] as string), ["node1"]);
    await reached(["plain-node2", "plain-node3"]);
    await the().deletePod("db");
    await the().addPod("node2", "db", wants());
    await reached(["plain-node2", "plain-node3"]);
    await the().addPod("node1", "plain-node1", wants());
    await reached(["plain-node1"]);
    await soonLeadsTo("node2");
  });

  it("leaves nothing when it goes", async () => {
    await the().deletePod("db");
    await eventually(
      async () => {
        for (const node of NODES)
          for (const ip of ips)
            assert.equal(await inBlue(node, `ip ${ip.includes(":") ? "-6" : "-4"} route show ${ip}`), "");
        return true;
      },
      { timeoutMs: 3_000, message: "routes are left" },
    );
    assert.deepEqual([...(await published()).values()].flat(), []);
    for (const node of NODES) await the().deletePod(`plain-${node}`);
    await eventually(async () => (await published()).size === 0, { timeoutMs: 5_000, message: "objects are left" });
  });
});
