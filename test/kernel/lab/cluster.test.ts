import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { capture } from "../../../lab/pods/capture.ts";
import { run } from "../../../lab/exec.ts";
import { SWITCH } from "../../../lab/cluster/fabric.ts";
import { DRIFT_KINDS, forgotten, joined, type KubeObject } from "../../../lab/index.ts";
import { GATEWAY } from "../../../lab/cluster/names.ts";
import { eventually } from "../../support/eventually.ts";
import { inStep, lost, useLab } from "./support.ts";
import { assertUnderASecond } from "../../support/pace.ts";

describe("a cluster of three nodes", () => {
  const the = useLab({ nodes: 3 });

  before("two pods on each", async () => {
    for (const { name } of the().nodes()) {
      await the().addPod(name);
      await the().addPod(name);
    }
  });

  it("connects every pod with every other one in both families", async () => {
    const echoes = await the().ping();
    assert.equal(echoes.length, 6 * 5 * 2);
    assert.deepEqual(await lost(the()), []);
  });

  it("gives pods that CHECK finds as they were made", async () => {
    for (const { name } of the().pods()) await the().checkPod(name);
  });

  it("carries bytes over TCP unharmed", async () => {
    const [from, to] = [the().pod("n1-a"), the().pod("n2-a")];
    for (const ip of to.ips) {
      const { received, same } = await the().transfer(from, to, ip, 5_000_000);
      assert.equal(received.bytes, 5_000_000);
      assert.equal(same, true);
    }
  });

  it("lets pods reach the world outside, under their node's address", async () => {
    const [gateway4, gateway6] = [GATEWAY[4], GATEWAY[6]];
    // Nodes ask each other all the time.
    const [one, other] = [`dst host ${gateway4} and icmp[0] == 8`, `dst host ${gateway6} and icmp6 and ip6[40] == 128`];
    const wire = await capture(the(), SWITCH, [`(${one}) or (${other})`]);
    for (const ip of [gateway4, gateway6]) {
      const { rttMs, error } = await the().pingFrom(the().pod("n2-a"), ip);
      assert.ok(rttMs !== undefined, `${ip}: ${error}`);
    }
    const asked = await wire.lines(2);
    await wire.stop();
    assert.ok(
      asked.some((line) => line.includes(`172.30.0.12 > ${gateway4}`)),
      asked.join("\n"),
    );
    assert.ok(
      asked.some((line) => line.includes(`fd30::12 > ${gateway6}`)),
      asked.join("\n"),
    );
  });

  it("gives a pod the address, the MAC and the host port that it asks for, reachable from everywhere", async () => {
    const ip = "10.244.1.77";
    const pod = await the().addPod("node1", "web", {
      runtimeConfig: {
        ips: [ip],
        mac: "02:aa:bb:cc:dd:ee",
        portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
      },
    });
    assert.ok(pod.ips.includes(ip), pod.ips.join(" "));
    const node = join(the().context.binDir, "../lib/skylane/node");
    const serve = "require('net').createServer((s) => s.end('hello')).listen(80, '::', () => console.log('up'))";
    const [program, ...args] = the().enterPod("web", node, "-e", serve) as [string, ...string[]];
    const server = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await once(server.stdout, "data");
      const ask = "require('net').connect(process.argv[2], process.argv[1]).pipe(process.stdout)";
      const hello = (from: string[]): Promise<string> => run(from, { timeoutMs: 5000 });
      for (const [to, port] of [
        [ip, "80"],
        ["172.30.0.11", "8080"],
        ["fd30::11", "8080"],
      ] as const) {
        assert.equal(await hello(the().enterPod("n2-a", node, "-e", ask, to, port)), "hello", to);
        assert.equal(await hello(the().enter("node3", node, "-e", ask, to, port)), "hello", `${to} from a node`);
      }
      assert.equal(await hello(the().enterFabric(node, "-e", ask, "172.30.0.11", "8080")), "hello", "from outside");
      assert.match(await run(the().enterPod("web", "ip", "link", "show", "eth0")), /02:aa:bb:cc:dd:ee/);
    } finally {
      server.kill("SIGKILL");
      await the().deletePod("web");
    }
  });

  for (const kind of DRIFT_KINDS) {
    it(`repairs a deleted ${kind} in under a second`, async () => {
      for (const { name } of the().nodes()) {
        const { entry, repairedMs } = await the().drift(name, { kind });
        assertUnderASecond(repairedMs, `the repair of ${name}: ${entry}`);
      }
      assert.deepEqual(await lost(the()), []);
    });
  }

  const HARM: Record<string, (device: string, ips: readonly string[]) => string[][]> = {
    "its routes were deleted": (device, ips) => ips.map((ip) => ["route", "del", ip, "dev", device]),
    "its host end was set down and up": (device) => [
      ["link", "set", device, "down"],
      ["link", "set", device, "up"],
    ],
    "its host end was set down": (device) => [["link", "set", device, "down"]],
    "its gateways' addresses were flushed": (device) => [["addr", "flush", "dev", device]],
    "another route took its place": (_, ips) => ips.map((ip) => ["route", "replace", ip, "dev", "lo"]),
  };
  for (const [what, commands] of Object.entries(HARM)) {
    it(`puts a pod's link right when ${what}`, async () => {
      const pod = the().pod("n1-a");
      const [ip] = pod.ips as [string];
      const [, device] = / dev (\S+)/.exec(await the().exec("node1", "ip", "route", "show", ip)) ?? [];
      assert.match(device ?? "", /^sky[0-9a-f]{11}$/);
      for (const command of commands(device as string, pod.ips)) await the().exec("node1", "ip", ...command);
      // an attachment younger than some seconds is still the plugin's
      await eventually(
        async () => {
          await the().checkPod("n1-a");
          return true;
        },
        { timeoutMs: 30_000, message: "the pod's link was not put right" },
      );
      for (const to of pod.ips) {
        const { error } = await the().pingFrom(the().pod("n2-a"), to);
        assert.equal(error, undefined, `n2-a → ${to}`);
      }
    });
  }

  it("takes in a node that joins, and forgets one that is removed", async () => {
    const node = await the().addNode();
    assert.equal(node.name, "node4");
    const pod = await the().addPod("node4");
    assert.deepEqual(await lost(the()), []);
    await the().removeNode("node4");
    await forgotten(the(), "node4", { timeoutMs: 30_000 });
    for (const name of ["node1", "node2", "node3"]) {
      const routes = await the().exec(name, "ip", "route", "show", "proto", "83");
      assert.ok(!routes.includes("10.244.4."), routes);
    }
    assert.ok(
      !the()
        .pods()
        .some(({ name }) => name === pod.name),
    );
    assert.deepEqual(await lost(the()), []);
  });

  it("keeps its entries for a node whose power is cut, and has it back when it boots", async () => {
    await the().killNode("node3");
    const { networks } = await the().status(the().node("node1"));
    assert.ok(networks[0]?.peers.some(({ node }) => node === "node3"));
    assert.deepEqual(await lost(the()), [], "among the others");
    const before = the().pod("n3-a");
    await the().restartNode("node3");
    await joined(the(), the().node("node3"), { timeoutMs: 20_000 });
    assert.notEqual(the().pod("n3-a").containerId, before.containerId);
    assert.deepEqual(await lost(the()), []);
  });

  it("comes through an orderly reboot", async () => {
    await the().restartNode("node2");
    await joined(the(), the().node("node2"), { timeoutMs: 20_000 });
    assert.deepEqual(await lost(the()), []);
    const reserved = await the().exec("node2", "ls", "/var/lib/cni/skylane/ipam/default/taken");
    assert.equal(reserved.trim().split("\n").length, 4, "two pods, two families, nothing of before the reboot");
  });

  for (const how of ["silent", "unplugged"] as const) {
    it(`loses only a partitioned node (${how}), and has it back when healed`, async () => {
      await the().partition("node2", how);
      const [one, two, three] = ["n1-a", "n2-a", "n3-a"].map((name) => the().pod(name)) as [never, never, never];
      const reaches = async (from: { name: string }, to: { name: string }): Promise<boolean> =>
        (await the().pingFrom(the().pod(from.name), the().pod(to.name).ips[0] as string, 500)).rttMs !== undefined;
      assert.equal(await reaches(one, two), false);
      assert.equal(await reaches(one, three), true);
      assert.deepEqual(await the().heal(), ["node2"]);
      await eventually(() => reaches(one, two), { timeoutMs: 30_000 });
      await eventually(async () => (await lost(the())).length === 0, { timeoutMs: 30_000 });
    });
  }

  it("makes and removes pods while the API server is away, and its data path stays", async () => {
    await the().setFaults({ away: true });
    try {
      const pod = await the().addPod("node1", "while-away");
      assert.deepEqual(await lost(the()), []);
      await the().deletePod(pod.name);
      for (const kind of ["route", "device"] as const) {
        const { repairedMs } = await the().drift("node1", { kind });
        assertUnderASecond(repairedMs, `the repair of ${kind}`);
      }
      assert.deepEqual(await lost(the()), []);
    } finally {
      await the().clearFaults();
    }
    await inStep(the());
  });

  it("brings a rebooted node back while the API server is away", async () => {
    await the().setFaults({ away: true });
    try {
      await the().killNode("node2");
      await the().restartNode("node2");
      assert.deepEqual(await lost(the()), []);
    } finally {
      await the().clearFaults();
    }
    await inStep(the());
    assert.deepEqual(await lost(the()), []);
  });

  it("wipes no peer for a list that comes back empty, and forgets none that is there", async () => {
    await the().setFaults({
      rules: [{ match: { resources: ["nodes"] }, action: { kind: "empty-list" } }],
      compact: true,
    });
    await the().setFaults({ expireWatches: true });
    try {
      await eventually(async () => ((await the().faults()).rules[0]?.hits ?? 0) >= 3, {
        timeoutMs: 30_000,
        message: "not every agent listed again",
      });
      assert.deepEqual(await lost(the()), []);
      for (const node of the().nodes()) {
        const { networks } = await the().status(node);
        assert.equal(networks[0]?.peers.length, 2, node.name);
      }
    } finally {
      await the().clearFaults();
    }
    await inStep(the());
    assert.deepEqual(await lost(the()), []);
  });

  describe("with a Node that lies", () => {
    const annotation = (text: string): KubeObject => ({
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "mallory", annotations: { "skylane.dev/vtep": text } },
    });
    const vtep = (over: object): string =>
      JSON.stringify({
        default: {
          vni: 4096,
          mac: "02:00:00:00:66:66",
          ips: ["172.30.0.66", "fd30::66"],
          podCidrs: ["10.244.66.0/24"],
          port: 4789,
          ...over,
        },
      });
    const lies: Record<string, string> = {
      "no JSON": "{",
      "a shell in the MAC address": vtep({ mac: "$(reboot)" }),
      "another node's address": vtep({ ips: ["172.30.0.11", "fd30::11"] }),
      "another node's pods": vtep({ podCidrs: ["10.244.0.0/16"] }),
      "everything as its pods": vtep({ podCidrs: ["0.0.0.0/0", "::/0"] }),
      "a multicast address": vtep({ ips: ["224.0.0.1"] }),
      "a megabyte of nonsense": `{"default":"${"x".repeat(200_000)}"}`,
    };
    afterEach(async () => {
      await the().api.call("DELETE", "/api/v1/nodes/mallory");
      await forgotten(the(), "mallory", { timeoutMs: 5000 });
    });

    for (const [name, text] of Object.entries(lies)) {
      it(`refuses ${name} by name and harms nobody else`, async () => {
        await the().api.call("POST", "/api/v1/nodes", annotation(text));
        for (const node of the().nodes()) {
          const refusal = await eventually(
            async () => (await the().status(node)).networks[0]?.refused.find((r) => r.node === "mallory"),
            { timeoutMs: 20_000, message: `${node.name} refuses nobody` },
          );
          assert.match(refusal.reason, /^[a-zA-Z-]+$/);
          assert.ok(refusal.message.length > 0 && refusal.message.length < 1000, refusal.message);
          const { networks } = await the().status(node);
          assert.equal(networks[0]?.peers.filter(({ state }) => state === "programmed").length, 2);
        }
        assert.deepEqual(await lost(the()), []);
      });
    }
  });
});
