import assert from "node:assert/strict";
import { NETWORKS_ANNOTATION, PRIMARY_ANNOTATION, STATUS_ANNOTATION } from "../../../src/crd/index.ts";
import { PluginError } from "../../../lab/runtime/runtime.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

const OUTSIDE = ["172.30.0.1", "fd30::1"];

describe("pods whose primary network is another than the default one", () => {
  const the = useLab({ nodes: 2, agentConfig: { serviceCidrs: ["10.96.0.0/12"] } });
  const inPod = (name: string, command: string): Promise<string> => {
    const [program, ...args] = command.split(" ") as [string, ...string[]];
    return the().execInPod(name, program, ...args);
  };
  const reaches = async (from: string, ip: string): Promise<boolean> =>
    (await the().pingFrom(the().pod(from), ip, 500)).rttMs !== undefined;
  const allReach = async (from: string, ips: readonly string[]): Promise<void> => {
    for (const ip of ips) assert.ok(await reaches(from, ip), `${from} does not reach ${ip}`);
  };
  const wayTo = async (name: string, ip: string): Promise<string | undefined> =>
    / dev (\S+)/.exec(await inPod(name, `ip route get ${ip}`))?.[1];

  before("one such pod, one with the network beside, and ordinary ones", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/16", "fd50::/64"] });
    await the().addPod("node1", "primary", { annotations: { [PRIMARY_ANNOTATION]: "blue" } });
    await the().addPod("node2", "beside", { annotations: { [NETWORKS_ANNOTATION]: "blue" } });
    for (const node of [1, 2]) await the().addPod(`node${node}`, `plain${node}`);
  });

  it("have their default route in it, and reach its pods", async () => {
    for (const ip of OUTSIDE) {
      assert.equal(await wayTo("primary", ip), "net1");
      assert.equal(await wayTo("beside", ip), "eth0");
    }
    await allReach("primary", the().ipsOf("beside", "net1"));
    await allReach("beside", the().ipsOf("primary", "net1"));
  });

  it("keep other pods, services and their node through their first interface", async () => {
    for (const other of ["plain1", "plain2"]) {
      await allReach("primary", the().pod(other).ips);
      await allReach(other, the().ipsOf("primary", "eth0"));
    }
    await allReach("primary", ["172.30.0.11", "fd30::11"]);
    assert.equal(await wayTo("primary", "10.96.0.10"), "eth0");
  });

  it("answer their node's kubelet, and whoever else comes through the default network", async () => {
    for (const ip of the().ipsOf("primary", "eth0")) {
      for (const node of ["node1", "node2"]) await the().exec(node, "ping", "-n", "-c1", "-W1", ip);
    }
  });

  it("reach nothing outside where the network leads nowhere", async () => {
    for (const ip of OUTSIDE) assert.equal(await reaches("primary", ip), false, ip);
    await allReach("beside", OUTSIDE);
  });

  it("are all pods of a namespace that says so, but for those that say otherwise", async () => {
    await the().api.call("POST", "/api/v1/namespaces", {
      metadata: { name: "tenant", annotations: { [PRIMARY_ANNOTATION]: "blue" } },
    });
    await the().addPod("node1", "follows", { namespace: "tenant", annotations: {} });
    const own = { [PRIMARY_ANNOTATION]: "default" };
    await the().addPod("node1", "own-way", { namespace: "tenant", annotations: own });
    assert.equal(await wayTo("follows", "172.30.0.1"), "net1");
    assert.deepEqual(the().ipsOf("own-way", "net1"), []);
    assert.equal(await wayTo("own-way", "172.30.0.1"), "eth0");
  });

  it("keep the default network's way in a family that the network does not have", async () => {
    await the().addNetwork("four", { cidrs: ["10.51.0.0/16"] });
    await the().addPod("node1", "half", { annotations: { [PRIMARY_ANNOTATION]: "four" } });
    assert.deepEqual([await wayTo("half", "172.30.0.1"), await wayTo("half", "fd30::1")], ["net1", "eth0"]);
    await the().checkPod("half");
    await the().deletePod("half");
  });

  it("are told on the pod what they got, as all with further interfaces are", async () => {
    const statusOf = async (name: string): Promise<unknown> => {
      const { metadata } = await the().api.call("GET", `/api/v1/namespaces/default/pods/${name}`);
      return JSON.parse(metadata.annotations?.[STATUS_ANNOTATION] ?? "[]");
    };
    const told = (name: string, primary: boolean): object[] =>
      ["eth0", "net1"].map((ifname) => ({
        name: ifname === "eth0" ? "default" : "blue",
        interface: ifname,
        ips: the().ipsOf(name, ifname),
        ...(ifname === "eth0" && { default: true }),
        dns: {},
        ...((ifname === "net1") === primary && { gateway: ["169.254.1.1", "fe80::1"] }),
      }));
    for (const name of ["primary", "beside"]) {
      await eventually(async () => ((await statusOf(name)) as object[]).length === 2, {
        message: `${name} has no status`,
      });
      const status = (await statusOf(name)) as { mac?: string; mtu?: number }[];
      assert.deepEqual(
        status.map(({ mac: _mac, mtu: _mtu, ...rest }) => rest),
        told(name, name === "primary"),
      );
      assert.ok(status.every(({ mac, mtu }) => mac !== undefined && mtu === 1450));
    }
  });

  it("are checked, and named when they differ", async () => {
    await the().checkPod("primary");
    await the().checkPod("follows");
    await inPod("follows", "ip rule del priority 8300");
    await assert.rejects(the().checkPod("follows"), /no rule that sends what is from 10\.244\.1\.\d+ by table 8300/);
  });

  it("are refused with the reason", async () => {
    const fails = (network: string, pattern: RegExp): Promise<void> =>
      assert.rejects(
        the().addPod("node1", "no", { annotations: { [PRIMARY_ANNOTATION]: network }, timeoutMs: 100 }),
        (error: unknown) => error instanceof PluginError && pattern.test(error.message),
      );
    await fails("red", /pod default\/no: there is no PodNetwork "red"/);
    await the().addNetwork("secret", { cidrs: ["10.60.0.0/16"], namespaceLabels: { team: "a" } });
    await fails("secret", /namespace default may not attach to network "secret"/);
    await the().addNetwork("same", { cidrs: ["10.244.0.0/16"] });
    await fails(
      "same",
      /PodNetwork same has 10\.244\.0\.0\/16, which overlaps with the addresses of the default network's pods/,
    );
    await fails("Blue", /skylane\.dev\/primary-network: "Blue" is not the name of a pod network/);
  });
});
