import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";
import { Fabric, type TestNode } from "./harness.ts";

const vtep = (node: TestNode, more: object = {}): string =>
  JSON.stringify({
    default: {
      vni: 4096,
      mac: `02:00:00:00:01:${node.name.slice(1).padStart(2, "0")}`,
      ips: node.ips,
      podCidrs: node.podCidrs,
      port: 4789,
      ...more,
    },
  });

describe("agents of a cluster", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;
  before(async () => {
    fabric = await Fabric.started();
    [n1, n2] = await fabric.pair();
  });
  after(() => fabric.stop());

  it("program each other's FDB entry, neighbours and routes, and nothing more", async () => {
    const { mac } = JSON.parse((await fabric.vtepOf("n2")) as string).default as { mac: string };
    assert.deepEqual(
      n1.entries().map((line) =>
        line
          .replaceAll(/ (pref medium|self|metric 1024) ?/g, " ")
          .trim()
          .replaceAll(/ +/g, " "),
      ),
      [
        `10.244.2.0 lladdr ${mac} PERMANENT`,
        `10.244.2.0/24 via 10.244.2.0 dev sky.4096 scope 147 src 10.244.1.0 onlink`,
        `${mac} dst 172.30.0.12 permanent`,
        `fd00:10:244:2:: lladdr ${mac} PERMANENT`,
        `fd00:10:244:2::/64 via fd00:10:244:2:: dev sky.4096 src fd00:10:244:1:: onlink`,
      ].sort(),
    );
  });

  it("carry packets between their VTEP addresses in both families, and say that a peer answered", async () => {
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-I", "10.244.1.0", "10.244.2.0");
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-I", "fd00:10:244:1::", "fd00:10:244:2::");
    await eventually(
      async () => {
        const { ready } = await n1.status();
        return ready.checks.find(({ name }) => name === "selftest")?.message.includes("n2 answered through the tunnel");
      },
      { timeoutMs: 30_000 },
    );
  });

  it("serve metrics of all that", async () => {
    const { body, status } = await n1.get("/metrics");
    assert.equal(status, 200);
    for (const line of [
      'skylane_peers{network="default"} 1',
      'skylane_entries{network="default",kind="route",state="present"} 2',
      'skylane_api_synced{watch="nodes"} 1',
      'skylane_ready_check{check="selftest"} 1',
      'skylane_nft_applies_total{result="ok"}',
      "skylane_build_info{",
    ])
      assert.ok(body.includes(line), line);
    assert.equal((await n1.get("/healthz")).body, "ok\n");
    assert.equal((await n1.get("/readyz")).status, 200);
    assert.equal(statSync(n1.socket).mode & 0o777, 0o600);
  });

  it("follow a node that joins, changes its address, and leaves, while they run", async () => {
    const before = n1.entries();
    const n3 = fabric.node(3);
    await n3.register({ annotations: { "skylane.dev/vtep": vtep(n3) } });
    await eventuallyHolds(() => assert.ok(n1.entries().some((line) => line.includes("dst 172.30.0.13"))));
    const moved = vtep(n3, { ips: ["172.30.0.33"], podCidrs: ["10.244.3.0/24"] });
    await fabric.patchNode("n3", { metadata: { annotations: { "skylane.dev/vtep": moved } } });
    await eventuallyHolds(() => {
      const lines = n1.entries().join("\n");
      assert.match(lines, /dst 172\.30\.0\.33/);
      assert.match(lines, /10\.244\.3\.0\/24 via/);
      assert.doesNotMatch(lines, /172\.30\.0\.13|fd00:10:244:3/);
    });
    await fabric.deleteNode("n3");
    await eventuallyHolds(() => assert.deepEqual(n1.entries(), before));
  });

  it("refuse a bad peer by name, with an Event and a count, and go on with the others", async () => {
    const n4 = fabric.node(4);
    const n5 = fabric.node(5);
    await n4.register({ annotations: { "skylane.dev/vtep": vtep(n4, { podCidrs: n2.podCidrs }) } });
    await n5.register({ annotations: { "skylane.dev/vtep": '{"default":{"vni":"; rm -rf /"}}' } });
    const refused = await eventually(async () => {
      const { networks } = await n1.status();
      const found = networks[0]?.refused ?? [];
      return found.length === 2 ? found : undefined;
    });
    assert.deepEqual(refused.map(({ node, reason }) => `${node} ${reason}`).sort(), [
      "n4 ForeignPodCidr",
      "n5 BadAnnotation",
    ]);
    await eventuallyHolds(async () => {
      const events = (await fabric.events()).filter(({ reason }) => reason === "SkylanePeerRefused");
      assert.ok(
        events.some(({ message, involvedObject }) => message.startsWith("n4:") && involvedObject.name === "n1"),
      );
    });
    const { body } = await n1.get("/metrics");
    assert.ok(body.includes('skylane_refused_peers{network="default",reason="ForeignPodCidr"} 1'));
    assert.equal(n1.log.match(/refused peer n5/g)?.length, 1);
    await n1.ready(["n2"]);
    await fabric.patchNode("n4", { metadata: { annotations: { "skylane.dev/vtep": vtep(n4) } } });
    await n1.ready(["n2", "n4"]);
    await fabric.deleteNode("n4");
    await fabric.deleteNode("n5");
    await n1.ready(["n2"]);
    assert.deepEqual((await n1.status()).networks[0]?.refused, []);
  });

  it("put right at once what somebody deletes or changes", async () => {
    const wanted = n1.entries();
    const mac = n2.ns.json("ip", "-j", "link", "show", "sky.4096")[0]?.["address"] as string;
    const damages: string[][] = [
      ["ip", "route", "del", "10.244.2.0/24"],
      ["ip", "-6", "route", "del", "fd00:10:244:2::/64"],
      ["ip", "neigh", "del", "10.244.2.0", "dev", "sky.4096"],
      ["bridge", "fdb", "del", mac, "dev", "sky.4096"],
      ["ip", "addr", "del", "10.244.1.0/32", "dev", "sky.4096"],
      ["ip", "link", "set", "sky.4096", "down"],
      ["ip", "link", "del", "sky.4096"],
    ];
    const repairs = async () => (await n1.status()).networks[0]?.repairs.total ?? 0;
    for (const [command, ...args] of damages as [string, ...string[]][]) {
      const before = await repairs();
      n1.ns.exec(command, ...args);
      await eventually(() => n1.entries().join("\n") === wanted.join("\n"), {
        timeoutMs: 20_000, // a loaded machine takes its time, and no timer looks at the kernel this soon
        message: `not repaired: ${command} ${args.join(" ")}`,
      });
      await eventually(async () => (await repairs()) > before, {
        message: `not counted: ${command} ${args.join(" ")}`,
      });
    }
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-I", "10.244.1.0", "10.244.2.0");
    n1.ns.exec("nft", "delete", "table", "inet", "skylane");
    await eventually(() => n1.ns.exec("nft", "list", "tables").includes("table inet skylane"));
    await n1.ready(["n2"]);
  });

  it("switch forwarding back on", async () => {
    n1.ns.exec("sysctl", "-qw", "net.ipv4.ip_forward=0");
    await eventually(() => n1.ns.exec("sysctl", "-n", "net.ipv4.ip_forward").trim() === "1", { timeoutMs: 60_000 });
  });

  it("follow their own MTU and underlay address", async () => {
    n1.ns.exec("ip", "link", "set", "eth0", "mtu", "1400");
    const mtuOf = (): unknown => n1.ns.json("ip", "-j", "link", "show", "sky.4096")[0]?.["mtu"];
    await eventually(() => mtuOf() === 1350, { message: "the MTU did not follow" });
    await eventually(() => JSON.parse(readFileSync(n1.published, "utf8")).mtu === 1350);
    n1.ns.exec("ip", "link", "set", "eth0", "mtu", "1500");
    await eventually(() => mtuOf() === 1450);

    n1.ns.exec("ip", "addr", "add", "172.30.0.111/24", "dev", "eth0");
    await fabric.patchNode("n1", { metadata: { annotations: { "skylane.dev/underlay-ip": "172.30.0.111" } } });
    await eventuallyHolds(() => assert.ok(n2.entries().some((line) => line.includes("dst 172.30.0.111"))));
    assert.match(n1.ns.exec("ip", "-d", "link", "show", "sky.4096"), /local 172\.30\.0\.111/);
    await eventually(() => {
      n1.ns.exec("ping", "-c", "1", "-W", "1", "-I", "10.244.1.0", "10.244.2.0");
      return true;
    });
    // An address that is nowhere is waited for, and the data path stays as it is.
    await fabric.patchNode("n1", { metadata: { annotations: { "skylane.dev/underlay-ip": "192.0.2.9" } } });
    await eventually(async () => (await n1.get("/readyz")).status === 503);
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-I", "10.244.1.0", "10.244.2.0");
    await fabric.patchNode("n1", { metadata: { annotations: { "skylane.dev/underlay-ip": null } } });
    await eventuallyHolds(() => assert.ok(n2.entries().some((line) => line.includes("dst 172.30.0.11 "))));
    await n1.ready(["n2"]);
  });

  it("keep other networks' entries in their annotation, and put their own back", async () => {
    const own = JSON.parse((await fabric.vtepOf("n1")) as string) as { default: object };
    const text = JSON.stringify({ blue: { ...own.default, vni: 77 } });
    await fabric.patchNode("n1", { metadata: { annotations: { "skylane.dev/vtep": text } } });
    await eventuallyHolds(async () => {
      const now = JSON.parse((await fabric.vtepOf("n1")) as string) as Record<string, object>;
      assert.deepEqual(now, { blue: { ...own.default, vni: 77 }, default: own.default });
    });
    // For a moment n2 had no peer n1; once packets pass again, it has seen both changes.
    await eventually(() => {
      n1.ns.exec("ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", "10.244.1.0", "10.244.2.0");
      return true;
    });
  });

  it("leave the data path as it is on SIGTERM, end at once, and find it right when they come back", async () => {
    const before = n1.entries();
    const conflist = readFileSync(n1.conflist, "utf8");
    const { status, ms } = await n1.stop();
    assert.equal(status, 0);
    assert.ok(ms < 5_000, `it took ${ms} ms`);
    assert.deepEqual(n1.entries(), before);
    assert.equal(readFileSync(n1.conflist, "utf8"), conflist);
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-I", "10.244.1.0", "10.244.2.0");
    n1.start();
    const { networks } = await n1.ready(["n2"]);
    assert.deepEqual(n1.entries(), before);
    assert.equal(networks[0]?.repairs.total, 0);
  });

  it("refuse to run twice on a node", async () => {
    const second = n1.spawnAgent(["--config", `${n1.dir}/agent.yaml`]);
    const code = await new Promise((resolve) => second.once("exit", resolve));
    assert.equal(code, 1);
    assert.match(n1.log, new RegExp(`another skylane-agent \\(process \\d+\\) runs on this node`));
    await n1.ready(["n2"]);
  });

  it("end with status 1 and the key's name on a bad configuration", async () => {
    const bad = n1.spawnAgent(["--config", `${n1.dir}/agent.yaml`, "--vni", "banana"]);
    const code = await new Promise((resolve) => bad.once("exit", resolve));
    assert.equal(code, 1);
    assert.match(n1.log, /--vni.*banana.*16777215/s);
  });
});
