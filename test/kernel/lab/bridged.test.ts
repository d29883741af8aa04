import assert from "node:assert/strict";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import type { PodOptions } from "../../../lab/pods/pods.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

const wants = (networks: string): PodOptions => ({ annotations: { [NETWORKS_ANNOTATION]: networks } });

interface Endpoint {
  mac: string;
  ips: string[];
  moves: number;
}

describe("a bridged pod network", () => {
  const the = useLab({ nodes: 3 });
  const inPod = (name: string, command: string, ...args: string[]): Promise<string> =>
    the().execInPod(name, command, ...args);
  const reaches = async (from: string, ip: string): Promise<boolean> =>
    (await the().pingFrom(the().pod(from), ip, 1000)).rttMs !== undefined;
  /** Published endpoints by node. */
  const endpoints = async (): Promise<Record<string, Endpoint[]>> => {
    const { items } = await the().api.call<{ items: { spec: { node: string; endpoints?: Endpoint[] } }[] }>(
      "GET",
      "/apis/skylane.dev/v1alpha1/networkendpoints",
    );
    return Object.fromEntries(items.map(({ spec: { node, endpoints: list = [] } }) => [node, list]));
  };

  before("a segment over three nodes", async () => {
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged" });
    for (const node of [1, 2, 3]) await the().addPod(`node${node}`, `lan${node}`, wants("lan"));
  });

  it("connects its pods on all nodes, in both families, at once", async () => {
    for (const [from, to] of [
      [1, 2],
      [2, 3],
      [3, 1],
    ]) {
      const ips = the().ipsOf(`lan${to}`, "net1");
      assert.equal(ips.length, 2);
      for (const ip of ips) assert.ok(await reaches(`lan${from}`, ip), `lan${from} → ${ip}`);
    }
    for (const { name } of the().pods()) await the().checkPod(name);
  });

  it("has one subnet and no gateway, and the pods see each other's MACs", async () => {
    const [ip] = the().ipsOf("lan2", "net1") as [string];
    assert.match(await inPod("lan1", "ip", "-4", "route", "show", "dev", "net1"), /^10\.80\.0\.0\/16 proto kernel/);
    const { interfaces = [] } = the().pod("lan2").result as { interfaces?: { name: string; mac: string }[] };
    const mac = interfaces.find(({ name }) => name === "net1")?.mac;
    assert.ok(await reaches("lan1", ip));
    assert.match(await inPod("lan1", "ip", "neigh", "show", ip), new RegExp(`lladdr ${mac}`));
    const published = await endpoints();
    assert.deepEqual(Object.keys(published).sort(), ["node1", "node2", "node3"]);
    assert.deepEqual(published["node2"], [{ mac, ips: the().ipsOf("lan2", "net1").sort(), moves: 0 }]);
  });

  it("carries broadcast to the nodes that take part", async () => {
    const [ip] = the().ipsOf("lan3", "net1") as [string];
    await inPod("lan3", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_broadcasts=0");
    const answers = await inPod("lan1", "ping", "-n", "-c1", "-w2", "-b", "-I", "net1", "10.80.255.255");
    assert.match(answers, new RegExp(`from ${ip}:`));
  });

  it("refuses a spoofed MAC", async () => {
    const [ip] = the().ipsOf("lan2", "net1") as [string];
    const shown = await inPod("lan1", "ip", "-br", "link", "show", "net1");
    const mac = /([0-9a-f]{2}:){5}[0-9a-f]{2}/.exec(shown)?.[0] as string;
    await inPod("lan1", "ip", "link", "set", "net1", "address", "02:00:00:00:00:99");
    await assert.rejects(inPod("lan1", "ping", "-n", "-c1", "-W1", "-I", "net1", ip));
    await inPod("lan1", "ip", "link", "set", "net1", "address", mac);
    await eventually(() => reaches("lan1", ip), { timeoutMs: 20_000, message: "lan1 is not back" });
  });

  it("is looked after by an agent that starts again, and no packet is lost", async () => {
    const [ip] = the().ipsOf("lan2", "net1") as [string];
    const ping = inPod("lan1", "ping", "-n", "-q", "-c", "400", "-i", "0.01", ip);
    await the().exec("node1", "pkill", "-TERM", "-f", "skylane-agent.cjs");
    assert.match(await ping, / 0% packet loss/);
    await eventually(async () => (await the().status(the().node("node1"))).networks.length === 2, {
      timeoutMs: 20_000,
      message: "the agent is not in its networks again",
    });
    await the().addPod("node1", "lan4", wants("lan"));
    const [four] = the().ipsOf("lan4", "net1") as [string];
    assert.ok(await reaches("lan3", four));
    assert.ok(await reaches("lan4", ip));
  });

  it("forgets a pod that goes", async () => {
    await the().deletePod("lan4");
    await eventually(async () => (await endpoints())["node1"]?.length === 1, {
      timeoutMs: 20_000,
      message: "the endpoint of a deleted pod is still published",
    });
  });

  it("goes with its last pods, and leaves nothing", async () => {
    for (const node of [1, 2, 3]) await the().deletePod(`lan${node}`);
    await eventually(async () => Object.keys(await endpoints()).length === 0, {
      timeoutMs: 30_000,
      message: "endpoints are left",
    });
    const left = (await the().exec("node1", "ls", "/run/netns")).split("\n").filter((name) => name.startsWith("sky-"));
    assert.deepEqual(left, []);
  });
});
