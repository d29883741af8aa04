import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { eventually } from "../../support/eventually.ts";
import { BIN } from "../cni/node.ts";
import { testNamespace } from "../support/netns.ts";
import { Runtime } from "../support/runtime.ts";
import { Fabric, type TestNode } from "./harness.ts";

/** Well under the ten seconds of the slow look, and far more than a busy machine needs. */
const SOON = { timeoutMs: 20_000 };

describe("an agent and its files", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  let node: TestNode;
  let runtime: Runtime;
  const at = (...path: string[]): string => join(node.dir, ...path);
  before(async () => {
    fabric = await Fabric.started();
    node = fabric.node(1);
    await node.register();
    node.start();
    await node.ready();
    runtime = new Runtime(node.ns, [BIN, "/usr/lib/cni"]);
  });
  after(() => fabric.stop());

  const answers = (socket: string): Promise<boolean> =>
    new Promise((resolve) => {
      const client = connect(socket);
      client.once("connect", () => resolve(true)).once("error", () => resolve(false));
      client.once("connect", () => client.destroy());
    });
  const whole = async (): Promise<boolean> =>
    existsSync(node.conflist) &&
    existsSync(node.published) &&
    existsSync(at("run/agent.lock")) &&
    (await answers(node.socket)) &&
    (await answers(at("run/cni.sock")));
  const repairs = async (kind: string): Promise<number> => {
    const metrics = (await node.get("/metrics")).body;
    return Number(
      new RegExp(`^skylane_repairs_total\\{network="default",kind="${kind}"\\} (\\d+)$`, "m").exec(metrics)?.[1] ?? 0,
    );
  };
  const served = async (): Promise<number> => {
    const metrics = (await node.get("/metrics")).body;
    return Number(
      /^skylane_cni_duration_seconds_count\{verb="ADD",result="ok",by="agent"\} (\d+)$/m.exec(metrics)?.[1] ?? 0,
    );
  };
  const check = async (name: string) => (await node.status()).ready.checks.find((one) => one.name === name);

  for (const [what, act] of [
    ["/run/skylane is removed", () => rmSync(at("run"), { recursive: true })],
    ["/run/skylane is renamed", () => renameSync(at("run"), at("run.old"))],
    ["all in /run/skylane is removed", () => readdirSync(at("run")).forEach((name) => rmSync(at("run", name)))],
    ["the directory of CNI configurations is removed", () => rmSync(at("conf"), { recursive: true })],
    ["a socket is removed", () => unlinkSync(at("run/cni.sock"))],
    ["the other socket is removed", () => unlinkSync(at("run/agent.sock"))],
    [
      "a file takes a socket's place",
      () => {
        unlinkSync(at("run/cni.sock"));
        writeFileSync(at("run/cni.sock"), "");
      },
    ],
    ["the published state is removed", () => unlinkSync(node.published)],
    ["the conflist is removed", () => unlinkSync(node.conflist)],
    ["the lock is removed", () => unlinkSync(at("run/agent.lock"))],
  ] as [string, () => void][])
    it(`has everything back at once when ${what}, and serves pods`, async () => {
      act();
      await eventually(whole, { ...SOON, message: `not everything is back when ${what}` });
      await node.ready();
      const pod = testNamespace("pod");
      try {
        const before = await served();
        const config = {
          cniVersion: "1.0.0",
          name: "skylane",
          type: "skylane",
          runDir: at("run"),
          dataDir: at("data"),
        };
        const request = { containerId: "c1", netns: pod.path };
        const added = await runtime.exec("skylane", "ADD", config, request);
        assert.equal(added.exitCode, 0, added.stdout);
        assert.equal(await served(), before + 1, "the agent served it");
        assert.equal((await runtime.exec("skylane", "DEL", config, request)).exitCode, 0);
      } finally {
        pod.delete();
      }
    });

  it("puts back what the files said, counts it, and says who did it", async () => {
    for (const file of [node.conflist, node.published]) {
      const text = readFileSync(file, "utf8");
      const before = await repairs("file");
      writeFileSync(file, "{}");
      await eventually(() => readFileSync(file, "utf8") === text, { ...SOON, message: `${file} is not restored` });
      await eventually(async () => (await repairs("file")) === before + 1, SOON);
      assert.ok(node.log.includes(`restored ${file} (changed or removed externally)`), node.log);
    }
  });

  it("closes a socket again that somebody opened to everybody", async () => {
    const socket = at("run/cni.sock");
    chmodSync(socket, 0o777);
    await eventually(() => (statSync(socket).mode & 0o777) === 0o600, SOON);
  });

  it("stays the only agent when the lock's file is removed", async () => {
    unlinkSync(at("run/agent.lock"));
    await eventually(
      () => existsSync(at("run/agent.lock")) && readFileSync(at("run/agent.lock"), "utf8").trim() !== "",
      SOON,
    );
    const second = node.spawnAgent(["--config", at("agent.yaml")]);
    assert.equal(await new Promise((resolve) => second.once("exit", resolve)), 1);
    assert.match(node.log, /another skylane-agent .* runs on this node/);
    assert.ok(node.running);
  });

  it("writes the last known peers again when the cache is removed", async () => {
    const cache = at("data/cache/default.json");
    await eventually(() => existsSync(cache), { message: "there is no cache" });
    rmSync(at("data/cache"), { recursive: true });
    await eventually(() => existsSync(cache), { ...SOON, message: "the cache is not back" });
  });

  it("says at once that another CNI configuration comes first, in readiness, log and Event", async () => {
    const other = at("conf/00-other.conflist");
    mkdirSync(at("conf/00-directory.conflist"));
    writeFileSync(other, "{}");
    await eventually(async () => (await check("conflist"))?.ok === false, {
      ...SOON,
      message: "readiness does not say so",
    });
    assert.equal((await node.get("/readyz")).status, 503);
    assert.ok(node.log.includes(`${other} sorts before 10-skylane.conflist`), node.log);
    await eventually(
      async () =>
        (await fabric.events()).some(
          ({ reason, message }) => reason === "SkylaneCniConfigNotFirst" && message.includes(other),
        ),
      { message: "there is no Event" },
    );
    unlinkSync(other);
    await eventually(async () => (await node.get("/readyz")).status === 200, {
      ...SOON,
      message: "readiness does not come back",
    });
    rmSync(at("conf/00-directory.conflist"), { recursive: true });
  });

  it("puts the installed executable back, whole", async () => {
    const installed = () =>
      existsSync(at("bin/skylane")) &&
      existsSync(at("bin/loopback")) &&
      existsSync(at("bin/.skylane/current/node")) &&
      existsSync(at("bin/.skylane/current/skylane-plugin.cjs"));
    const install = node.ns.spawn(join(BIN, "skylanectl"), ["install-cni", "--bin-dir", at("bin")], {
      stdio: "ignore",
    });
    assert.equal(await new Promise((resolve) => install.once("exit", resolve)), 0);
    await eventually(async () => (await check("executable"))?.message === `installed in ${at("bin")}`, SOON);
    for (const name of ["skylane", "loopback", ".skylane", ".skylane/current", ".skylane/current/node"]) {
      rmSync(at("bin", name), { recursive: true });
      await eventually(async () => installed() && (await check("executable"))?.ok === true, {
        timeoutMs: 30_000,
        message: `${name} is not back`,
      });
    }
    writeFileSync(at("bin/skylane"), "not a program");
    await eventually(() => readFileSync(at("bin/skylane")).equals(readFileSync(join(BIN, "skylane"))), {
      timeoutMs: 30_000,
      message: "the executable is not ours again",
    });
  });

  it("ends for a new one when a directory was removed under its mount, as in a container", async () => {
    const other = fabric.node(2);
    await other.register();
    writeFileSync(
      join(other.dir, "agent.yaml"),
      JSON.stringify({
        nodeName: other.name,
        kubeconfig: fabric.kubeconfig,
        listen: "",
        runDir: join(other.dir, "mount"),
        dataDir: join(other.dir, "data"),
        cni: { confDir: join(other.dir, "conf"), binDir: join(other.dir, "bin") },
      }),
    );
    mkdirSync(join(other.dir, "mount"));
    const script = `mount --bind "$0/run" "$0/mount" && exec "$1" --config "$0/agent.yaml"`;
    const agent = spawn(
      "nsenter",
      [
        `--net=${other.ns.path}`,
        "--",
        "unshare",
        "--mount",
        "--",
        "sh",
        "-c",
        script,
        other.dir,
        join(BIN, "skylane-agent"),
      ],
      { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"] } },
    );
    let log = "";
    for (const stream of [agent.stdout, agent.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => (log += text));
    const ended = new Promise((resolve) => agent.once("exit", resolve));
    try {
      await eventually(() => existsSync(join(other.dir, "run/default.json")), {
        timeoutMs: 20_000,
        message: "the agent has not come up",
      });
      rmSync(join(other.dir, "run"), { recursive: true });
      assert.equal(await ended, 1);
      assert.match(log, /directory .*mount was removed on the host while it is mounted/);
    } finally {
      agent.kill("SIGKILL");
    }
  });
});
