import assert from "node:assert/strict";
import { PRIMARY_ANNOTATION } from "../../../src/crd/index.ts";
import { entering, run } from "../../../lab/exec.ts";
import { podNetns } from "../../../lab/pods/pods.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

/** The world outside the cluster, and another node, which is outside like any host. */
const OUTSIDE = ["172.30.0.1", "fd30::1", "172.30.0.12", "fd30::12"];
const OWN_NODE = ["172.30.0.11", "fd30::11"];
const SERVICE = "10.96.0.10";

describe("pod networks that masquerade", () => {
  const the = useLab({ nodes: 2, agentConfig: { serviceCidrs: ["10.96.0.0/12"] } });
  const primary = (network: string) => ({ annotations: { [PRIMARY_ANNOTATION]: network } });
  const node1 = (command: string): Promise<string> => {
    const [program = "", ...argv] = command.split(" ");
    return the().exec("node1", program, ...argv);
  };
  const inPod = (name: string, ...argv: string[]): Promise<string> => {
    const { node, netns } = the().pod(name);
    return the().exec(node, "nsenter", `--net=${netns}`, ...argv);
  };
  /** Runs a script of this Node in a pod's network: a node's own files need not have it. */
  const scriptIn = (name: string, script: string): Promise<string> => {
    const { context } = the();
    const inside = { netns: podNetns(context, the().pod(name)) };
    return run(entering(inside, process.execPath, ["-e", script]), { env: context.env });
  };
  const inFabric = (...argv: [string, ...string[]]): Promise<string> =>
    run(the().enterFabric(...argv), { env: the().context.env });
  const reaches = (name: string, ip: string, ...options: string[]): Promise<boolean> =>
    inPod(name, "ping", "-n", "-q", "-c1", "-W1", ...options, ip).then(
      () => true,
      () => false,
    );
  /** From the network's interface, whatever the pod's routes say of the destination. */
  const throughNetwork = (name: string, ip: string): Promise<boolean> => reaches(name, ip, "-I", "net1");
  const allReach = async (name: string): Promise<void> => {
    for (const ip of OUTSIDE) assert.ok(await reaches(name, ip), `${name} does not reach ${ip}`);
  };
  const setMasquerade = (network: string, masquerade: boolean): Promise<unknown> =>
    the().api.call(
      "PATCH",
      `/apis/skylane.dev/v1alpha1/podnetworks/${network}`,
      { spec: { masquerade } },
      "application/merge-patch+json",
    );
  const linkIps = async (network: string): Promise<string[]> => {
    const text = await node1(`ip -n sky-${network} -o address show dev uplink`);
    return Array.from(text.matchAll(/inet6? (\S+)\//g), ([, ip]) => ip as string);
  };
  const uplinks = async (): Promise<string[]> =>
    Array.from((await node1("ip -o link")).matchAll(/ (skyout\.\d+)@/g), ([, name]) => name as string);
  /** Packets that rules with a comment have dropped, on the node or in a network's namespace. */
  const dropped = async (comment: string, network?: string): Promise<number> => {
    const where = network === undefined ? [] : ["ip", "netns", "exec", `sky-${network}`];
    const [program, ...argv] = [...where, "nft", "list", "table", "inet", "skylane"];
    const text = await the().exec("node1", program, ...argv);
    return Array.from(text.matchAll(/packets (\d+) bytes \d+ drop comment "([^"]*)"/g))
      .filter(([, , said]) => said === comment)
      .reduce((sum, [, packets]) => sum + Number(packets), 0);
  };

  before("two tenants with the same addresses, and ordinary pods", async () => {
    // as hardening guides have it: off for new devices, although the node forwards
    for (const family of ["ipv4", "ipv6"]) await node1(`sysctl -qw net.${family}.conf.default.forwarding=0`);
    for (const name of ["blue", "green"]) {
      // Of a network of one block there is no choice: the pods have the same addresses.
      await the().addNetwork(name, { cidrs: ["10.50.0.0/28", "fd50::/124"], blockSize: 16, masquerade: true });
      await the().addPod("node1", name, primary(name));
    }
    for (const node of [1, 2]) await the().addPod(`node${node}`, `plain${node}`);
  });

  it("lead both tenants' pods to what is outside, behind their node's address", async () => {
    assert.deepEqual(the().ipsOf("blue", "net1"), the().ipsOf("green", "net1"));
    for (const name of ["blue", "green"]) await allReach(name);
    assert.deepEqual((await uplinks()).sort(), ["skyout.5000", "skyout.5001"]);
    const ips = [...(await linkIps("blue")), ...(await linkIps("green"))];
    assert.equal(new Set(ips).size, 4, ips.join());
    const ping = inPod("blue", "ping", "-n", "-q", "-c", "20", "-i", "0.1", "172.30.0.1");
    // Nodes ask each other all the time.
    const asked = "icmp[0] == 8 and dst host 172.30.0.1";
    const seen = await inFabric("timeout", "10", "tcpdump", "-n", "-i", "switch0", "-c", "1", asked);
    assert.match(seen, /172\.30\.0\.11 > 172\.30\.0\.1/);
    await ping;
  });

  it("have their way out put back when somebody changes its kernel parameters", async () => {
    const read = async (where: string, key: string): Promise<string> =>
      (await node1(`${where}sysctl -n ${key}`)).trim();
    const inside = "ip netns exec sky-blue ";
    for (const [where, key, wrong, right] of [
      ["", "net.ipv4.conf.skyout/5000.forwarding", "0", "1"],
      ["", "net.ipv6.conf.skyout/5000.forwarding", "0", "1"],
      ["", "net.ipv6.conf.skyout/5000.accept_ra", "2", "0"],
      [inside, "net.ipv4.conf.uplink.forwarding", "0", "1"],
      [inside, "net.ipv4.ip_forward", "0", "1"],
      [inside, "net.ipv4.conf.all.rp_filter", "1", "0"],
      [inside, "net.ipv4.conf.sky/5000.rp_filter", "1", "2"],
    ] as const) {
      await node1(`${where}sysctl -qw ${key}=${wrong}`);
      await eventually(async () => (await read(where, key)) === right, {
        timeoutMs: 8_000,
        message: `${where}${key} stayed ${wrong}`,
      });
    }
    await allReach("blue");
  });

  it("carry TCP, with both tenants on the same ports at once", async () => {
    const { netns } = the().pod("blue");
    assert.ok(netns);
    // It ends when its own machine asks.
    const serve = `require("node:net").createServer((s) => s.remoteAddress === "172.30.0.1" ? process.exit() : s.end(s.remoteAddress)).listen(7070, "172.30.0.1")`;
    const server = inFabric(process.execPath, "-e", serve);
    const ask = `const s = require("node:net").connect({ host: "172.30.0.1", port: 7070, localPort: 40404 }); s.on("data", (d) => process.stdout.write(d)).on("error", (e) => { console.error(e.message); process.exit(1); });`;
    await eventually(
      async () => {
        const said = await Promise.all(["blue", "green"].map((name) => scriptIn(name, ask)));
        assert.deepEqual(said, ["172.30.0.11", "172.30.0.11"]);
        return true;
      },
      { message: "no answer over TCP" },
    );
    await inFabric("sh", "-c", "! timeout 20 bash -c 'exec 3<>/dev/tcp/172.30.0.1/7070 && read -r <&3'");
    await server;
  });

  it("keep pods from their node itself", async () => {
    for (const ip of [...OWN_NODE, "10.244.1.1", ...(await linkIps("green"))])
      assert.equal(await throughNetwork("blue", ip), false, ip);
    assert.ok((await dropped("from an uplink, to this namespace itself")) > 0);
  });

  it("keep pods from the default network's, here and elsewhere", async () => {
    for (const other of ["plain1", "plain2"])
      for (const ip of the().ipsOf(other, "eth0")) assert.equal(await throughNetwork("blue", ip), false, ip);
    assert.ok((await dropped("to a pod or another network")) > 0);
  });

  it("keep pods from addresses of the cluster and link-local ones that lead elsewhere from the node", async () => {
    await node1("ip route add 10.244.77.0/24 via 172.30.0.1");
    await inFabric("ip", "address", "add", "10.244.77.1/32", "dev", "switch0");
    await inFabric("ip", "address", "add", "169.254.169.254/32", "dev", "switch0");
    await node1("ip route add 169.254.169.254/32 via 172.30.0.1");
    try {
      assert.match(await node1("ping -n -c1 -W1 169.254.169.254"), / 0% packet loss/);
      for (const ip of ["10.244.77.1", "169.254.169.254"]) assert.equal(await throughNetwork("blue", ip), false, ip);
    } finally {
      await node1("ip route del 10.244.77.0/24");
      await node1("ip route del 169.254.169.254/32");
      for (const ip of ["10.244.77.1", "169.254.169.254"])
        await inFabric("ip", "address", "del", `${ip}/32`, "dev", "switch0");
    }
  });

  it("keep pods from Services, whoever is behind them", async () => {
    const [backend] = the().ipsOf("plain1", "eth0") as [string];
    const table = (target: string): string =>
      `table ip services { chain c { type nat hook prerouting priority dstnat; ip daddr ${SERVICE} dnat to ${target}; }; }`;
    try {
      for (const target of [backend, "172.30.0.1", "172.30.0.11"]) {
        await the().exec("node1", "nft", table(target));
        assert.ok((await reaches("plain1", SERVICE)) || target === backend, `nobody reaches ${target} by the Service`);
        assert.equal(await throughNetwork("blue", SERVICE), false, target);
        await the().exec("node1", "nft", "delete table ip services");
      }
    } finally {
      await the().exec("node1", "nft", "add table ip services; delete table ip services");
    }
  });

  it("let no VXLAN out, which with the node's address would be a peer's", async () => {
    const before = await dropped("VXLAN from a pod");
    for (const ip of ["172.30.0.12", "fd30::12"]) {
      const type = ip.includes(":") ? "udp6" : "udp4";
      const send = `const s = require("node:dgram").createSocket("${type}"); s.send(Buffer.alloc(3000), 4789, "${ip}", () => s.close());`;
      await scriptIn("blue", send);
    }
    assert.ok((await dropped("VXLAN from a pod")) - before >= 2);
  });

  it("let nobody outside, on the node or in the default network begin a connection inwards", async () => {
    const [ip] = the().ipsOf("blue", "net1") as [string];
    const [link] = (await linkIps("blue")) as [string];
    assert.equal(await reaches("plain1", link), false, "the uplink, from the default network");
    await node1(`ip route add ${ip}/32 via ${link} dev skyout.5000 onlink`);
    await node1("ip route add 10.50.0.0/28 dev skyout.5000 metric 7");
    await inFabric("ip", "route", "add", `${ip}/32`, "via", "172.30.0.11");
    try {
      await assert.rejects(node1(`ping -n -c1 -W1 ${ip}`), "the node");
      await assert.rejects(node1(`ping -n -c1 -W1 ${link}`), "the uplink itself, from the node");
      await assert.rejects(inFabric("ping", "-n", "-c1", "-W1", ip), "from outside");
      assert.ok((await dropped("not an answer to a pod of this network", "blue")) > 0);
      assert.ok((await dropped("not an answer to a pod of this network")) > 0);
    } finally {
      await inFabric("ip", "route", "del", `${ip}/32`);
      await node1(`ip route del ${ip}/32`);
      await node1("ip route del 10.50.0.0/28 metric 7");
    }
  });

  it("send no packet outside that is for the network itself", async () => {
    await the().addNetwork("wide", { cidrs: ["10.52.0.0/16"], masquerade: true });
    await the().addPod("node1", "wide", primary("wide"));
    // In no block of the node's, so that nothing else would hold it back.
    const [own] = the().ipsOf("wide", "net1") as [string];
    const nobody = own.startsWith("10.52.9.") ? "10.52.10.9" : "10.52.9.9";
    await inFabric("ip", "address", "add", `${nobody}/32`, "dev", "switch0");
    await node1(`ip route add ${nobody}/32 via 172.30.0.1`);
    try {
      assert.match(await node1(`ping -n -c1 -W1 ${nobody}`), / 0% packet loss/);
      assert.equal(await reaches("wide", nobody), false);
      assert.ok((await dropped("not outside", "wide")) > 0);
    } finally {
      await node1(`ip route del ${nobody}/32`);
      await inFabric("ip", "address", "del", `${nobody}/32`, "dev", "switch0");
      await the().deletePod("wide");
    }
  });

  it("have their uplink repaired when it is deleted, or anything of it", async () => {
    const ips = await linkIps("blue");
    await node1("ip link del skyout.5000");
    await eventually(() => reaches("blue", "172.30.0.1"), { timeoutMs: 10_000, message: "the link is not made again" });
    for (const change of [
      "ip link set skyout.5000 down",
      "ip -n sky-blue route del default",
      `ip route del ${ips[0]}/32`,
      "ip -n sky-blue address flush dev uplink",
      "ip -n sky-blue link set uplink mtu 1300",
    ]) {
      await node1(change);
      await eventually(() => reaches("blue", "172.30.0.1"), { timeoutMs: 25_000, message: change });
    }
    await eventually(async () => /mtu 1450/.test(await node1("ip -n sky-blue link show dev uplink")), {
      timeoutMs: 25_000,
      message: "the MTU",
    });
    assert.deepEqual(await linkIps("blue"), ips);
    await allReach("blue");
  });

  it("lose no packet and open no hole to a restart of the agent", async () => {
    const ping = inPod("blue", "ping", "-n", "-q", "-c", "400", "-i", "0.01", "172.30.0.1");
    const hole = inPod("green", "ping", "-n", "-q", "-c", "400", "-i", "0.01", "-I", "net1", "172.30.0.11").then(
      () => "open",
      (error: unknown) => String(error),
    );
    await node1("pkill -TERM -f skylane-agent.cjs");
    assert.match(await ping, / 0% packet loss/);
    assert.match(await hole, / 100% packet loss/);
    await eventually(async () => (await the().status(the().node("node1"))).networks.length === 3, {
      timeoutMs: 20_000,
      message: "the agent is not in its networks again",
    });
    await allReach("green");
  });

  it("stop and begin when their definition says so, while their pods go on", async () => {
    await setMasquerade("green", false);
    await eventually(async () => !(await reaches("green", "172.30.0.1")), {
      message: "green still reaches what is outside",
    });
    assert.deepEqual(await uplinks(), ["skyout.5000"]);
    await setMasquerade("green", true);
    await eventually(() => reaches("green", "172.30.0.1"), {
      timeoutMs: 10_000,
      message: "green does not reach what is outside",
    });
    await allReach("blue");
  });

  it("take their uplink along with their last pod", async () => {
    await the().deletePod("green");
    assert.deepEqual(await uplinks(), ["skyout.5000"]);
    await the().deletePod("blue");
    assert.deepEqual(await uplinks(), []);
    assert.doesNotMatch(await node1("ip route show table all"), /169\.254\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./);
  });
});
