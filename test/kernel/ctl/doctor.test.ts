/**
 * `skylanectl doctor` as an operator runs it, on nodes that really have the trouble: three agents in namespaces on one
 * switch, and each test breaks something between or on them.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PeerProbe } from "../../../src/cli/doctor/facts.ts";
import type { Finding } from "../../../src/cli/doctor/finding.ts";
import { eventually } from "../../support/eventually.ts";
import { Fabric, type TestNode } from "../agent/harness.ts";
import { BIN } from "../cni/node.ts";
import { testNamespace } from "../support/netns.ts";
import { OFFICIAL_PLUGINS, Runtime } from "../support/runtime.ts";
import { SKYLANECTL } from "./command.ts";

interface Report {
  status: number;
  ok: boolean;
  findings: Finding[];
  peers: PeerProbe[];
}

/** Runs the doctor in a namespace. */
function doctorIn(netns: string, args: readonly string[]): Promise<Report> {
  return new Promise((resolve, reject) => {
    const argv = [`--net=${netns}`, "--", ...SKYLANECTL, "doctor", "-o", "json", ...args];
    execFile("nsenter", argv, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      const status = error ? Number(error.code) : 0;
      try {
        resolve({ status, ...(JSON.parse(stdout) as Omit<Report, "status">) });
      } catch (cause) {
        reject(new Error(`doctor: status ${status}: ${stderr}`, { cause }));
      }
    });
  });
}

const examine = (node: TestNode): Promise<Report> =>
  doctorIn(node.ns.path, ["--config", join(node.dir, "agent.yaml"), "--timeout", "700"]);

const levels = ({ findings }: Report, ...checks: string[]): string[] =>
  findings
    .filter(({ check }) => checks.some((one) => check.startsWith(one)))
    .map(({ check, level }) => `${check} ${level}`);

/** What a namespace holds, for telling whether something was left in it. */
const contents = (node: TestNode): string[] =>
  [
    ["ip", "-o", "link"],
    ["ip", "-o", "addr"],
    ["ip", "route", "show", "table", "all"],
    ["nft", "list", "tables"],
  ].map(([command, ...args]) =>
    node.ns.exec(command as string, ...args).replaceAll(/ (expires|valid_lft|preferred_lft) \S+/g, ""),
  );

describe("skylanectl doctor", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;
  let n3: TestNode;

  before(async () => {
    fabric = await Fabric.started();
    const nodes = [1, 2, 3].map((number) => fabric.node(number));
    [n1, n2, n3] = nodes as [TestNode, TestNode, TestNode];
    for (const node of nodes) {
      // Programs take the tunnel's packets before a rule at input can drop them.
      node.configure({ fastPath: "off" });
      await node.register();
      node.start();
    }
    await n1.ready(["n2", "n3"]);
    await n2.ready(["n1", "n3"]);
    await n3.ready(["n1", "n2"]);
  });
  after(() => fabric.stop());

  it("finds nothing on a healthy node, and leaves nothing on it", async () => {
    // What the kernel still does by itself is not the doctor's work.
    await eventually(() => !n1.ns.exec("ip", "-6", "addr").includes("tentative"));
    const before = contents(n1);
    const report = await examine(n1);
    assert.deepEqual(
      report.findings.filter(
        ({ level, check }) => level === "fail" || (level === "warn" && check !== "cni.executable"),
      ),
      [],
    );
    assert.equal(report.status, 0);
    assert.equal(report.ok, true);
    assert.deepEqual(
      report.peers.map(({ node, tunnel, beside, inside, outside }) => [node, tunnel, beside, inside, outside]),
      ["n2", "n3"].map((name) => [name, true, "echo", { wanted: 1450, passes: true }, { wanted: 1500, passes: true }]),
    );
    assert.deepEqual(contents(n1), before);
  });

  it("tells UDP that is blocked from a node that is down, and asks the others all the same", async () => {
    n2.ns.exec(
      "nft",
      "add table inet closed; add chain inet closed c { type filter hook input priority 0; }; add rule inet closed c udp dport 4789 drop",
    );
    fabric.ns.exec("ip", "link", "set", "to-n3", "down");
    try {
      const report = await examine(n1);
      assert.equal(report.status, 1);
      assert.deepEqual(levels(report, "peers."), ["peers.udp fail", "peers.down fail", "peers.mtu skip"]);
      assert.match(report.findings.find(({ check }) => check === "peers.udp")?.found ?? "", /^n2:/);
      assert.match(report.findings.find(({ check }) => check === "peers.down")?.found ?? "", /^n3:/);
    } finally {
      fabric.ns.exec("ip", "link", "set", "to-n3", "up");
      n2.ns.exec("nft", "delete", "table", "inet", "closed");
    }
    await eventually(async () => (await examine(n1)).status === 0, { timeoutMs: 30_000 });
  });

  it("finds a path that is narrower than its devices say, and what passes", async () => {
    n2.ns.exec("ip", "link", "set", "eth0", "mtu", "1300");
    try {
      const report = await examine(n1);
      assert.deepEqual(levels(report, "peers"), ["peers ok", "peers.mtu fail"]);
      const narrow = report.peers.find(({ node }) => node === "n2");
      assert.equal(narrow?.inside.passes, false);
      // a veth lets a VLAN header's bytes over its MTU pass
      const { largest = 0 } = narrow.inside;
      assert.ok(largest >= 1240 && largest <= 1254, String(largest));
      assert.equal(report.peers.find(({ node }) => node === "n3")?.inside.passes, true);
    } finally {
      n2.ns.exec("ip", "link", "set", "eth0", "mtu", "1500");
    }
  });

  it("finds a foreign VXLAN device on our port, another plugin's device, route, rule, chain and configuration", async () => {
    const before = await examine(n3);
    n3.ns.exec("ip", "link", "add", "flannel.1", "type", "vxlan", "id", "1", "dstport", "4789", "dev", "eth0");
    n3.ns.exec("ip", "link", "set", "flannel.1", "up");
    n3.ns.exec("ip", "route", "add", "10.244.2.128/25", "dev", "flannel.1");
    n3.ns.exec("ip", "rule", "add", "priority", "100", "from", "10.244.3.0/24", "lookup", "100");
    n3.ns.exec("nft", "add table ip filter; add chain ip filter FLANNEL-FWD");
    writeFileSync(join(n3.dir, "conf", "05-flannel.conflist"), "{}");
    const checks = ["port.vxlan", "others.", "cni.configuration"];
    try {
      const report = await examine(n3);
      assert.equal(report.status, 1);
      assert.deepEqual(
        levels(report, ...checks).filter((line) => !line.endsWith(" ok")),
        [
          "port.vxlan warn",
          "cni.configuration fail",
          "others.devices warn",
          "others.routes fail",
          "others.rules warn",
          "others.chains warn",
        ],
      );
    } finally {
      n3.ns.exec("nft", "delete", "table", "ip", "filter");
      n3.ns.exec("ip", "rule", "del", "priority", "100");
      n3.ns.exec("ip", "link", "del", "flannel.1");
      rmSync(join(n3.dir, "conf", "05-flannel.conflist"));
    }
    assert.deepEqual(levels(await examine(n3), ...checks), levels(before, ...checks));
  });

  it("finds policy routing, routes over pods' links, and host ports that others broke", async () => {
    using pod = testNamespace("doctor-pod");
    const dirs = { runDir: join(n3.dir, "run"), dataDir: join(n3.dir, "data") };
    const runtime = new Runtime(n3.ns, [BIN, OFFICIAL_PLUGINS]);
    const plugin = { cniVersion: "0.4.0", name: "skylane" };
    const request = { containerId: "c9", netns: pod.path };
    const { json } = await runtime.exec("skylane", "ADD", { ...plugin, type: "skylane", ...dirs }, request);
    const mappings = { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] };
    const portmap = { ...plugin, type: "portmap", prevResult: json, runtimeConfig: mappings };
    const chained = await runtime.exec("portmap", "ADD", portmap, request);
    assert.equal(chained.exitCode, 0, chained.stdout);
    // As libcni keeps it for every runtime.
    mkdirSync(join(n3.dir, "results"), { recursive: true });
    const record = {
      containerId: "c9",
      networkName: "skylane",
      ifName: "eth0",
      capabilityArgs: mappings,
      result: json,
    };
    writeFileSync(join(n3.dir, "results", "skylane-c9-eth0"), JSON.stringify({ kind: "cniCacheV1", ...record }));
    const checks = ["routes.", "hostports"];
    assert.deepEqual(levels(await examine(n3), ...checks), ["routes.source ok", "routes.devices ok", "hostports ok"]);

    const end = n3.ns.exec("ip", "-o", "link", "show", "group", "21323").split(": ")[1]?.split("@")[0] ?? "";
    n3.ns.exec("ip", "route", "add", "default", "dev", end, "metric", "1009", "proto", "dhcp");
    n3.ns.exec("ip", "route", "add", "default", "via", "172.30.0.1", "dev", "eth0", "table", "30200");
    n3.ns.exec("ip", "rule", "add", "priority", "30200", "from", "172.30.0.13", "lookup", "30200");
    n3.ns.exec("iptables-nft", "-t", "nat", "-F");
    const report = await examine(n3);
    assert.deepEqual(levels(report, ...checks), ["routes.source fail", "routes.devices fail", "hostports fail"]);
    const found = (name: string): string => report.findings.find(({ check }) => check === name)?.found ?? "";
    assert.match(found("routes.source"), /172\.30\.0\.13 → 10\.244\.3\.\d+ leaves by eth0.* because of rule 30200/);
    assert.match(found("routes.devices"), new RegExp(`default dev ${end} metric 1009`));
    assert.match(found("hostports"), /8080\/tcp of container c9/);

    n3.ns.exec("ip", "rule", "del", "priority", "30200");
    n3.ns.exec("iptables-nft", "-t", "nat", "-X");
    const gone = await runtime.exec("skylane", "DEL", { ...plugin, type: "skylane", ...dirs }, request);
    assert.equal(gone.exitCode, 0, gone.stdout);
    assert.deepEqual(levels(await examine(n3), ...checks), ["routes.source ok", "routes.devices ok", "hostports ok"]);
  });

  it("finds a VXLAN device of this host that is in another namespace, as Docker Swarm puts its own", async () => {
    using sandbox = testNamespace("swarm");
    const vxlan = ["type", "vxlan", "id", "4097", "dstport", "4789", "nolearning"];
    n3.ns.exec("ip", "link", "add", "vx-001001-abcde", "netns", sandbox.name, ...vxlan);
    // One of another host, with the same VNI, concerns nobody here.
    sandbox.exec("ip", "link", "add", "vx-own", "type", "vxlan", "id", "4099", "dstport", "4789", "nolearning");
    const { findings } = await examine(n3);
    const found = findings.find(({ check }) => check === "port.vxlan");
    assert.equal(found?.level, "warn");
    assert.match(found?.found ?? "", /vx-001001-abcde in the network namespace \S+ \(VNI 4097\)/);
    assert.ok(!found?.found.includes("vx-own"));
  });

  it("says what is in the way when such a device has our VNI", async () => {
    using sandbox = testNamespace("twin");
    await n3.stop();
    n3.ns.exec("ip", "link", "del", "sky.4096");
    const vxlan = ["type", "vxlan", "id", "4096", "dstport", "4789", "nolearning"];
    n3.ns.exec("ip", "link", "add", "vx-001000-abcde", "netns", sandbox.name, ...vxlan);
    n3.start();
    const error = await eventually(async () => (await n3.status()).networks[0]?.error, { timeoutMs: 20_000 });
    assert.match(error ?? "", /VNI 4096 on UDP port 4789 is in another network namespace/);
    const { findings } = await examine(n3);
    const found = findings.find(({ check }) => check === "port.vxlan");
    assert.equal(found?.level, "fail");
    assert.match(found?.found ?? "", /vx-001000-abcde in the network namespace/);
    sandbox.exec("ip", "link", "del", "vx-001000-abcde");
    await n3.ready(["n1", "n2"], 60_000);
  });

  it("works on a host without Skylane: what could be, who has the port, and no failure for its absence", async () => {
    using host = testNamespace("bare");
    const nothing = join(fabric.dir, "nothing");
    const config = join(fabric.dir, "bare.yaml");
    const at = { runDir: nothing, dataDir: nothing, cni: { confDir: nothing, binDir: nothing } };
    writeFileSync(config, JSON.stringify({ nodeName: "bare", listen: "", ...at }));
    const free = await doctorIn(host.path, ["--config", config]);
    assert.equal(free.status, 0);
    assert.deepEqual(levels(free, "agent", "kernel.", "port."), [
      "kernel.version ok",
      "kernel.vxlan ok",
      "kernel.veth ok",
      "kernel.nftables ok",
      "agent skip",
      "port.vxlan ok",
      "port.listen skip",
    ]);
    const script = "const s=require('dgram').createSocket('udp4');s.bind(4789,()=>console.log('bound'))";
    const holder = host.spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await new Promise((resolve) => holder.stdout?.once("data", resolve));
      const taken = await doctorIn(host.path, ["--config", config]);
      assert.equal(taken.status, 1);
      const finding = taken.findings.find(({ check }) => check === "port.vxlan");
      assert.equal(finding?.level, "fail");
      assert.match(finding.found, new RegExp(`pid ${holder.pid}\\)`));
    } finally {
      const ended = new Promise((resolve) => holder.once("exit", resolve));
      holder.kill("SIGKILL");
      await ended;
    }
  });

  it("refuses peers that are none, and anybody but root, and diagnoses nothing then", async () => {
    const config = ["--config", join(n1.dir, "agent.yaml")];
    await assert.rejects(
      doctorIn(n1.ns.path, [...config, "--peer", "n9"]),
      /status 2.*no peer "n9"; skylanectl status/,
    );
    await assert.rejects(doctorIn(n1.ns.path, [...config, "--peer", "n1"]), /status 2.*n1 is this node itself/);
    const nobody = ["setpriv", "--reuid=65534", "--clear-groups", "--", ...SKYLANECTL];
    const run = (args: string[]): Promise<{ status: number; out: string; err: string }> =>
      new Promise((resolve) => {
        execFile("nsenter", [`--net=${n1.ns.path}`, "--", ...nobody, ...args], (error, out, err) =>
          resolve({ status: error ? Number(error.code) : 0, out, err }),
        );
      });
    const { status, out, err } = await run(["doctor"]);
    assert.deepEqual([status, out], [1, ""]);
    assert.match(err, /must run as root, not as user 65534/);
    const asked = await run(["status", "--socket", n1.socket]);
    assert.equal(asked.status, 1);
    assert.match(asked.err, /only root may ask the agent/);
  });

  it("has the agent log more, and less again, without a restart", async () => {
    const logLevel = async (...args: string[]): Promise<string> => {
      const argv = [`--net=${n1.ns.path}`, "--", ...SKYLANECTL, "log-level", ...args, "--socket", n1.socket];
      return await new Promise((resolve, reject) =>
        execFile("nsenter", argv, (error, out, err) => (error ? reject(new Error(err)) : resolve(out))),
      );
    };
    assert.equal(await logLevel(), "info\n");
    assert.ok(!n1.log.includes(" debug "));
    assert.equal(await logLevel("debug"), "debug\n");
    n1.ns.exec("ip", "addr", "add", "192.0.2.77/32", "dev", "lo");
    n1.ns.exec("ip", "link", "set", "sky.4096", "mtu", "1400");
    await eventually(() => n1.log.includes(" debug "), { timeoutMs: 20_000 });
    assert.equal(await logLevel("info"), "info\n");
    await assert.rejects(logLevel("loud"), /one of error, warn, info, debug/);
    n1.ns.exec("ip", "addr", "del", "192.0.2.77/32", "dev", "lo");
  });

  it("says so when the agent is gone, and refuses a wrong command line", async () => {
    await n2.stop();
    const report = await examine(n2);
    assert.equal(report.status, 1);
    assert.deepEqual(levels(report, "agent", "peers"), ["agent fail", "peers skip"]);
    await assert.rejects(doctorIn(n2.ns.path, ["--timeout", "1"]), /status 2/);
  });
});
