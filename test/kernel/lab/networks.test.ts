import assert from "node:assert/strict";
import { join } from "node:path";
import { readArchive } from "../../../src/cli/sysdump/archive.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { findBinDir } from "../../../lab/cluster/context.ts";
import { run } from "../../../lab/exec.ts";
import type { PodOptions } from "../../../lab/pods/pods.ts";
import { PluginError } from "../../../lab/runtime/runtime.ts";
import { eventually } from "../../support/eventually.ts";
import { lost, useLab } from "./support.ts";

const CIDRS = ["10.50.0.0/16", "fd50::/64"];
const wants = (networks: string, more: PodOptions = {}): PodOptions => ({
  ...more,
  annotations: { [NETWORKS_ANNOTATION]: networks },
});

describe("pod networks of two tenants with the same addresses", () => {
  const the = useLab({ nodes: 2 });
  const spaces = async (node: string): Promise<string[]> =>
    (await the().exec(node, "ls", "/run/netns")).split("\n").filter((name) => name.startsWith("sky-"));
  const reaches = async (from: string, ip: string): Promise<boolean> =>
    (await the().pingFrom(the().pod(from), ip, 500)).rttMs !== undefined;
  const vtep = async (node: string): Promise<string[]> => {
    const { metadata } = await the().api.call("GET", `/api/v1/nodes/${node}`);
    return Object.keys(JSON.parse(metadata.annotations?.["skylane.dev/vtep"] ?? "{}") as object).sort();
  };
  const blocks = async (): Promise<string[]> => {
    const { items } = await the().api.call<{ items: { spec: { network: string; node: string } }[] }>(
      "GET",
      "/apis/skylane.dev/v1alpha1/networkblocks",
    );
    return items.map(({ spec: { network, node } }) => `${network} ${node}`).sort();
  };
  const refused = (pattern: RegExp) => (error: unknown) => {
    assert.ok(error instanceof PluginError, String(error));
    assert.match(error.message, pattern);
    return true;
  };

  before("a network for each, and pods of both on both nodes", async () => {
    await the().addNetwork("blue", { cidrs: CIDRS });
    await the().addNetwork("green", { cidrs: CIDRS });
    for (const tenant of ["blue", "green"]) {
      for (const node of [1, 2]) await the().addPod(`node${node}`, `${tenant}${node}`, wants(tenant));
    }
  });

  it("connect the pods of a tenant on both nodes, in both families", async () => {
    for (const tenant of ["blue", "green"]) {
      for (const [from, to] of [
        ["1", "2"],
        ["2", "1"],
      ]) {
        const ips = the().ipsOf(`${tenant}${to}`, "net1");
        assert.equal(ips.length, 2);
        for (const ip of ips) assert.ok(await reaches(`${tenant}${from}`, ip), `${tenant}${from} → ${ip}`);
      }
    }
  });

  it("leave the default network as it is", async () => {
    assert.deepEqual(await lost(the()), []);
    for (const { name } of the().pods()) await the().checkPod(name);
  });

  for (const [where, before] of [
    ["on it", ""],
    // As in the agent's container, which sees no name that came after it.
    ["where they have no names", "mount -t tmpfs tmpfs /run/netns &&"],
  ] as const)
    it(`are in a node's sysdump made ${where}`, async () => {
      const dump = `${before} ${join(findBinDir(), "skylanectl")} sysdump --output - | base64 -w0`;
      // The doctor in it waits for answers, and a busy machine is slow to give them.
      const argv = the().enter("node1", "unshare", "--mount", "sh", "-c", dump);
      const data = Buffer.from(await run(argv, { env: the().context.env, timeoutMs: 600_000 }), "base64");
      const files = new Map<string, string>();
      for await (const file of readArchive(data, 1 << 26)) files.set(file.path, file.data.toString());
      for (const [tenant, vni] of [
        ["blue", 5_000],
        ["green", 5_001],
      ] as const) {
        assert.match(
          files.get(`networks/${tenant}/links.json`) ?? files.get("summary.txt") ?? "",
          new RegExp(`"name":"sky\\.${vni}"`),
        );
        assert.match(files.get(`networks/${tenant}/fdb.json`) ?? "", /172\.30\.0\.12/);
        assert.match(files.get(`networks/${tenant}/parameters.txt`) ?? "", new RegExp(`conf\\.sky\\.${vni}\\.`));
        assert.match(files.get(`networks/${tenant}/nft.txt`) ?? "", /table inet skylane/);
      }
      assert.doesNotMatch(files.get("kernel/links.json") ?? "", /"name":"sky\.500/);
    });

  it("give the same addresses to both, and neither reaches the other's, nor anything else", async () => {
    // Of a network of one block there is no choice.
    for (const name of ["small-a", "small-b"]) {
      await the().addNetwork(name, { cidrs: ["10.70.0.0/28"], blockSize: 16 });
      await the().addPod("node1", name, wants(name));
    }
    assert.deepEqual(the().ipsOf("small-a", "net1"), ["10.70.0.2"]);
    assert.deepEqual(the().ipsOf("small-b", "net1"), ["10.70.0.2"]);
    for (const name of ["small-a", "small-b"]) await the().deletePod(name);
    await the().addPod("node1", "alone", wants("green@net1"));
    const [ip] = the().ipsOf("alone", "net1") as [string];
    assert.ok(await reaches("green2", ip));
    assert.equal(await reaches("blue2", ip), false, "the other tenant");
    const inNetwork = (target: string): Promise<string> =>
      the().execInPod("alone", "ping", "-n", "-c1", "-W1", "-I", "net1", target);
    await assert.rejects(inNetwork("172.30.0.11"), "the node");
    await assert.rejects(inNetwork(the().pod("blue1").ips[0] as string), "the default network");
    await the().deletePod("alone");
  });

  it("are in namespaces of their own, and nothing of them is in the node's", async () => {
    assert.match(await the().exec("node1", "ip", "-n", "sky-blue", "link", "show", "sky.5000"), /state UNKNOWN/);
    assert.doesNotMatch(await the().exec("node1", "ip", "link"), /sky\.500/);
    assert.deepEqual(await vtep("node1"), ["blue", "default", "green"]);
  });

  it("refuse a spoofed source", async () => {
    const inPod = (command: string, ...args: string[]): Promise<string> => the().execInPod("blue1", command, ...args);
    const spoofed = "10.50.0.99";
    await inPod("ip", "addr", "add", `${spoofed}/32`, "dev", "net1");
    const [ip] = the().ipsOf("blue2", "net1") as [string];
    await assert.rejects(inPod("ping", "-n", "-c1", "-W1", "-I", spoofed, ip));
    assert.match(
      await the().exec("node1", "ip", "netns", "exec", "sky-blue", "nft", "list", "table", "inet", "skylane"),
      /fib saddr \. iif oif missing counter packets [1-9]/,
    );
    await inPod("ip", "addr", "del", `${spoofed}/32`, "dev", "net1");
  });

  it("are repaired when somebody deletes their device", async () => {
    await the().exec("node1", "ip", "-n", "sky-blue", "link", "del", "sky.5000");
    const [ip] = the().ipsOf("blue2", "net1") as [string];
    await eventually(() => reaches("blue1", ip), { timeoutMs: 10_000, message: "blue is not repaired" });
  });

  it("have their pods' links put right in the network's namespace", async () => {
    const [ip] = the().ipsOf("blue1", "net1") as [string];
    const inBlue = (...argv: string[]): Promise<string> => the().exec("node1", "ip", "-n", "sky-blue", ...argv);
    const repairs = async (): Promise<number> => {
      const log = await the().exec("node1", "cat", "/var/log/skylane-agent.log");
      return log.match(/put a pod's link right/g)?.length ?? 0;
    };
    const [, end = ""] = / dev (\S+)/.exec(await inBlue("route", "show", ip)) ?? [];
    for (const change of [
      ["route", "del", ip],
      ["link", "set", end, "down"],
    ]) {
      const before = await repairs();
      await inBlue(...change);
      // The agent leaves links alone that are younger than a second.
      await eventually(async () => (await repairs()) > before && (await reaches("blue2", ip)), {
        timeoutMs: 15_000,
        message: `not repaired: ${change.join(" ")}`,
      });
    }
    for (const [from, to] of [
      ["blue1", "blue2"],
      ["green1", "green2"],
      ["green2", "green1"],
    ] as const)
      for (const other of the().ipsOf(to, "net1")) assert.ok(await reaches(from, other), `${from} → ${other}`);
  });

  it("outlive their agent, and lose no packet to its restart", async () => {
    const [ip] = the().ipsOf("blue2", "net1") as [string];
    const ping = the().execInPod("blue1", "ping", "-n", "-q", "-c", "400", "-i", "0.01", ip);
    await the().exec("node1", "pkill", "-TERM", "-f", "skylane-agent.cjs");
    assert.match(await ping, / 0% packet loss/);
    await eventually(async () => (await the().status(the().node("node1"))).networks.length === 3, {
      timeoutMs: 20_000,
      message: "the agent is not in its networks again",
    });
    await the().deletePod("blue1");
    await the().addPod("node1", "blue1", wants("blue"));
    assert.ok(await reaches("blue1", ip));
  });

  it("are refused with the reason", async () => {
    const made = the().pods().length;
    const fails = (annotation: string, pattern: RegExp, more: PodOptions = {}): Promise<void> =>
      assert.rejects(the().addPod("node1", "no", wants(annotation, { timeoutMs: 100, ...more })), refused(pattern));
    await fails("red", /pod default\/no: there is no PodNetwork "red"/);
    await fails("blue,green", /networks "blue" and "green", which both have 10\.50\.0\.0\/16/);
    await fails("blue@eth0", /interface eth0/);
    await fails("Blue!", /Blue!.* is not the name/);
    await the().addNetwork("secret", { cidrs: ["10.60.0.0/16"], namespaceLabels: { team: "a" } });
    await fails("secret", /namespace default may not attach to network "secret"/);
    await the().addNetwork("twin", { cidrs: ["10.61.0.0/16"], vni: 5000 });
    await fails("twin", /VNI 5000, which network blue has/);
    assert.equal(the().pods().length, made);
  });

  it("go with their last pod, and leave nothing", async () => {
    for (const node of [1, 2]) await the().deletePod(`green${node}`);
    assert.deepEqual(await spaces("node1"), ["sky-blue"]);
    await eventually(async () => (await vtep("node1")).join() === "blue,default", {
      message: "green is still published",
    });
    assert.deepEqual(await blocks(), ["blue node1", "blue node1", "blue node2", "blue node2"]);
    assert.ok(await reaches("blue1", (the().ipsOf("blue2", "net1") as [string])[0]), "the other tenant goes on");
  });
});
