import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../../support/eventually.ts";
import { seededRandom } from "../../support/random.ts";
import { withNetns } from "../../../src/sys/index.ts";
import { BIN, VERSIONS } from "../cni/node.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { type Outcome, type PodRequest, Runtime } from "../support/runtime.ts";
import { Fabric, type TestNode } from "./harness.ts";

type Json = Record<string, unknown>;

const SEED = Number(process.env["SKYLANE_TEST_SEED"] ?? Date.now() % 100_000);

describe("an agent that serves CNI requests", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  let node: TestNode;
  let runtime: Runtime;
  const pods: TestNamespace[] = [];
  before(async () => {
    fabric = await Fabric.started();
    [node] = await fabric.pair();
    runtime = new Runtime(node.ns, [BIN, "/usr/lib/cni"]);
    for (let i = 0; i < 8; i++) pods.push(testNamespace(`pod${i}`));
  });
  after(() => fabric.stop());

  const config = (more: Json = {}): Json => ({
    cniVersion: "1.1.0",
    name: "skylane",
    type: "skylane",
    runDir: join(node.dir, "run"),
    dataDir: join(node.dir, "data"),
    ...more,
  });
  const call = (verb: string, pod: Partial<PodRequest>, more: Json = {}): Promise<Outcome> =>
    runtime.exec("skylane", verb, config(more), pod);
  /** The same by the plugin itself, as where no agent answers: its Node is started without the launcher's question. */
  const alone = (verb: string, pod: Partial<PodRequest>, more: Json = {}): Promise<Outcome> => {
    const lib = join(BIN, "../lib/skylane");
    const through = [join(lib, "node"), "--disable-warning=ExperimentalWarning", join(lib, "skylane.cjs")];
    return runtime.exec("skylane", verb, config(more), pod, { through });
  };
  const sandbox = (n: number): string => pods[n]?.path ?? "";
  const pod = (n: number, id = `c${n}`): PodRequest => ({ containerId: id, netns: sandbox(n) });
  const hostEnds = (): string[] =>
    node.ns
      .json("ip", "-j", "link")
      .map(({ ifname }) => String(ifname))
      .filter((name) => /^sky[0-9a-f]{11}$/.test(name));
  const taken = (): string[] => readdirSync(join(node.dir, "data/ipam/default/taken"));
  /** How many requests of a verb with a result the agent itself has served. */
  const served = async (verb: string, result = "ok"): Promise<number> => {
    const metrics = (await node.get("/metrics")).body;
    const line = new RegExp(
      `^skylane_cni_duration_seconds_count\\{verb="${verb}",result="${result}",by="agent"\\} (\\d+)$`,
      "m",
    );
    return Number(line.exec(metrics)?.[1] ?? 0);
  };

  const same = async (verb: string, request: Partial<PodRequest>, more: Json = {}): Promise<Outcome> => {
    const [byAgent, byPlugin] = [await call(verb, request, more), await alone(verb, request, more)];
    const { exitCode, stdout, stderr } = byPlugin;
    assert.deepEqual(
      { exitCode: byAgent.exitCode, stdout: byAgent.stdout, stderr: byAgent.stderr },
      { exitCode, stdout, stderr },
    );
    return byAgent;
  };
  const nothingLeft = async (): Promise<void> => {
    await eventually(() => hostEnds().length === 0 && taken().length === 0, {
      message: `${hostEnds().join(", ")} ${taken().join(", ")} are left`,
    });
    assert.deepEqual(readdirSync(join(node.dir, "data/attachments/default")), []);
    for (const { name } of pods)
      assert.deepEqual(
        node.ns.json("ip", "-n", name, "-j", "link").map(({ ifname }) => ifname),
        ["lo"],
      );
  };

  it("gives the very answers of the plugin, in every version", async () => {
    const ips = { runtimeConfig: { ips: ["10.244.1.77", "fd00:10:244:1::77"] } };
    const before = await served("ADD");
    for (const cniVersion of VERSIONS) {
      const version = { cniVersion, ...ips };
      const byAgent = await call("ADD", pod(0), version);
      assert.equal(byAgent.exitCode, 0, byAgent.stdout);
      if (cniVersion >= "0.4.0")
        assert.equal((await same("CHECK", pod(0), { ...version, prevResult: byAgent.json })).stdout, "");
      assert.equal((await same("ADD", pod(0), version)).json.code, 101, "is attached already");
      assert.equal((await call("DEL", pod(0), version)).exitCode, 0);
      const byPlugin = await alone("ADD", pod(0), version);
      assert.equal(byAgent.stdout, byPlugin.stdout);
      assert.equal((await alone("DEL", pod(0), version)).exitCode, 0);
      await same("DEL", pod(0), version);
      await same("VERSION", {}, { cniVersion });
    }
    assert.equal((await served("ADD")) - before, VERSIONS.length, "the agent served its own part, and no more");
    await same("STATUS", {});
    await same("GC", {}, { "cni.dev/valid-attachments": [] });
    await nothingLeft();
  });

  it("refuses with the very errors of the plugin", async () => {
    const errors: [verb: string, request: Partial<PodRequest>, more: Json | string, code: number][] = [
      ["ADD", { ...pod(0), netns: "/run/netns/skytest-none" }, {}, 3],
      ["ADD", { ...pod(0), netns: "" }, {}, 4],
      ["ADD", { ...pod(0), ifname: "no/name" }, {}, 4],
      ["ADD", { ...pod(0), netns: node.ns.path }, {}, 4],
      ["ADD", pod(0), { mtu: 9000 }, 7],
      ["ADD", pod(0), { runtimeConfig: { ips: ["10.9.9.9"] } }, 7],
      ["CHECK", pod(0), {}, 7],
      ["GC", {}, { "cni.dev/valid-attachments": {} }, 7],
      ["WALK", pod(0), {}, 4],
      ["ADD", pod(0), { cniVersion: "9.9.9" }, 1],
    ];
    for (const [verb, request, more, code] of errors)
      assert.equal((await same(verb, request, more as Json)).json.code, code, `${verb} ${JSON.stringify(more)}`);
    for (const text of ["", "{", "[]", `{"name":"${"x".repeat(1024 * 1024)}"}`]) {
      const [one, other] = [
        await runtime.exec("skylane", "ADD", text, pod(0)),
        await runtime.exec("skylane", "ADD", text, pod(0), { env: { CNI_ARGS: "x".repeat(70_000) } }),
      ];
      assert.deepEqual([one.exitCode, one.stdout], [1, other.stdout]);
    }
    await nothingLeft();
  });

  it("knows of a network that does not exist what the plugin cannot know", async () => {
    const byAgent = await call("ADD", pod(0), { network: "blue" });
    assert.equal(byAgent.json.code, 105);
    assert.match(byAgent.stdout, /there is no PodNetwork/);
    assert.equal((await alone("ADD", pod(0), { network: "blue" })).json.code, 11);
    const status = await call("STATUS", {}, { network: "blue" });
    assert.equal(status.json.code, 50);
    assert.match(status.stdout, /there is no PodNetwork/);
    assert.equal((await alone("STATUS", {}, { network: "blue" })).json.code, 50);
    await nothingLeft();
  });

  it("says by STATUS what an ADD would come to: networks that it could join, the API server, its own agent, the underlay", async () => {
    const status = async (more: Json = {}, ask = call): Promise<unknown> =>
      (await ask("STATUS", {}, more)).json.code ?? 0;
    const path = "/apis/skylane.dev/v1alpha1/podnetworks";
    const metadata = { name: "blue" };
    const definition = {
      apiVersion: "skylane.dev/v1alpha1",
      kind: "PodNetwork",
      metadata,
      spec: { vni: 9_000, cidrs: ["10.90.0.0/16"] },
    };
    const needed = (): unknown => JSON.parse(readFileSync(node.published, "utf8")).needsAgent;
    const patient = { timeoutMs: 60_000 };
    await fabric.api("POST", path, definition);
    try {
      await eventually(async () => (await status({ network: "blue" })) === 0, patient);
      await eventually(() => needed() === true, patient);
      assert.equal(await status(), 0);
      assert.equal(await status({}, alone), 50, "only the agent knows what a pod wants");
      assert.equal((await alone("ADD", pod(0))).json.code, 11);
      await fabric.faults({ away: true });
      await eventually(async () => (await status()) === 50 && (await status({ network: "blue" })) === 50, patient);
      const named = { ...pod(0), args: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web" };
      assert.equal((await call("ADD", named)).json.code, 11);
      await fabric.faults({ away: false });
      await eventually(async () => (await status()) === 0 && (await status({ network: "blue" })) === 0, patient);
    } finally {
      await fabric.faults({ away: false });
      await fabric.api("DELETE", `${path}/blue`);
    }
    await eventually(() => needed() !== true, patient);
    await eventually(async () => (await status({ network: "blue" })) === 50, patient);
    const readdress = (): void => {
      node.ns.exec("ip", "addr", "replace", `${node.ips[0]}/24`, "dev", "eth0");
      node.ns.exec("ip", "addr", "replace", `${node.ips[1]}/64`, "dev", "eth0", "nodad");
    };
    for (const gone of [
      ["link", "set", "eth0", "down"],
      ["addr", "flush", "dev", "eth0", "scope", "global"],
    ]) {
      await eventually(async () => (await status()) === 0, patient);
      node.ns.exec("ip", ...gone);
      try {
        for (const ask of [call, alone]) assert.equal(await status({}, ask), 51, gone.join(" "));
      } finally {
        node.ns.exec("ip", "link", "set", "eth0", "up");
        readdress();
      }
      await node.ready(["n2"]);
    }
    assert.deepEqual(hostEnds(), []);
  });

  it("serves a configuration of one MiB, and leaves a larger one to the plugin to refuse", async () => {
    const padded = (size: number): string => {
      const text = JSON.stringify(config({ padding: "" }));
      return text.replace('"padding":""', `"padding":"${"x".repeat(size - text.length)}"`);
    };
    const before = await served("ADD");
    const added = await runtime.exec("skylane", "ADD", padded(1024 * 1024), pod(0));
    assert.equal(added.exitCode, 0, added.stdout);
    assert.equal((await served("ADD")) - before, 1);
    const refused = await runtime.exec("skylane", "ADD", padded(1024 * 1024 + 1), pod(1));
    assert.equal(refused.json.code, 6);
    assert.equal((await call("DEL", pod(0))).exitCode, 0);
    await nothingLeft();
  });

  it("leaves to the plugin what it does not see as the plugin would", async () => {
    const before = await served("ADD");
    const elsewhere = { dataDir: join(node.dir, "other") };
    assert.equal((await call("ADD", pod(0), elsewhere)).exitCode, 0);
    assert.equal((await call("DEL", pod(0), elsewhere)).exitCode, 0);
    const ipam = {
      ipam: { type: "host-local", dataDir: join(node.dir, "host-local"), ranges: [[{ subnet: "10.244.1.0/24" }]] },
    };
    assert.equal((await call("ADD", pod(0), ipam)).exitCode, 0);
    assert.equal((await call("DEL", pod(0), ipam)).exitCode, 0);
    // A launcher in another network namespace than the agent's: it acts on its own.
    const other = new Runtime(fabric.ns, [BIN]);
    const there = await other.exec("skylane", "ADD", config(), pod(1));
    assert.equal(there.exitCode, 0, there.stdout);
    assert.deepEqual(hostEnds(), []);
    assert.equal((await other.exec("skylane", "DEL", config(), pod(1))).exitCode, 0);
    assert.equal(await served("ADD"), before);
    await nothingLeft();
  });

  it("gives 64 pods at once an address each, and takes all back", async () => {
    const ids = Array.from({ length: 64 }, (_, n) => n);
    const request = (n: number): PodRequest => ({ ...pod(n % pods.length, `many${n}`), ifname: `net${n}` });
    const added = await Promise.all(ids.map((n) => call("ADD", request(n))));
    // One sandbox has one default route: of its eight interfaces one has it, and the others are beside it.
    for (const { exitCode, stdout } of added) assert.equal(exitCode, 0, stdout);
    const routes = added.flatMap(({ json }) => json.routes as Json[]);
    assert.equal(routes.filter(({ dst, table }) => dst === "0.0.0.0/0" && table === undefined).length, pods.length);
    const ips = added.flatMap(({ json }) => ((json.ips ?? []) as { address: string }[]).map(({ address }) => address));
    assert.equal(new Set(ips).size, 2 * ids.length);
    assert.equal(hostEnds().length, ids.length);
    const deleted = await Promise.all(ids.map((n) => call("DEL", request(n))));
    assert.ok(deleted.every(({ exitCode }) => exitCode === 0));
    await nothingLeft();
  });

  it("serves ADD, DEL and ADD of one attachment in the order in which they come", async () => {
    assert.equal((await call("ADD", pod(0))).exitCode, 0);
    for (let round = 0; round < 5; round++) {
      const deleting = call("DEL", pod(0));
      await deleting;
      assert.equal((await call("ADD", pod(0))).exitCode, 0);
    }
    assert.equal((await call("DEL", pod(0))).exitCode, 0);
    await nothingLeft();
  });

  it("has the list of plugins fit what the runtime finds in its own directories", async () => {
    const install = (where: string, ...versions: string[]): string => {
      const dir = join(node.dir, where);
      mkdirSync(dir, { recursive: true });
      const answer = JSON.stringify({ cniVersion: "1.0.0", supportedVersions: versions });
      const script = `#!/bin/sh\n[ "$CNI_COMMAND" = VERSION ] && echo '${answer}'\n`;
      writeFileSync(join(dir, "portmap"), script, { mode: 0o755 });
      return dir;
    };
    const list = (): Json => JSON.parse(readFileSync(node.conflist, "utf8")) as Json;
    const restart = async (hostPorts: "own" | "portmap"): Promise<void> => {
      await node.stop("SIGTERM");
      node.configure({ hostPorts });
      node.start();
      await node.ready(["n2"]);
    };
    await restart("portmap");
    const [own, debian] = [install("bin", "0.4.0", "1.0.0", "1.1.0"), install("usr", "0.3.1", "0.4.0")];
    // On a busy machine the agent may have to ask it more than once.
    const patient = { timeoutMs: 90_000 };
    await eventually(() => String(list().cniVersions) === "0.4.0,1.0.0,1.1.0", patient);
    const status = () => new Runtime(node.ns, [BIN, debian, own]).exec("skylane", "STATUS", config());
    assert.equal((await status()).exitCode, 0);
    await eventually(() => String(list().cniVersions) === "0.3.1,0.4.0", patient);
    assert.equal(list().cniVersion, "0.4.0");
    assert.match((await node.get("/readyz")).body, /portmap: .*usr\/portmap \(CNI 0\.3\.1, 0\.4\.0\)/);
    const before = await served("STATUS");
    assert.equal((await status()).exitCode, 0);
    assert.equal((await served("STATUS")) - before, 1, "the agent goes on serving it");
    // The next agent of the node knows.
    await restart("portmap");
    assert.deepEqual(list().cniVersions, ["0.3.1", "0.4.0"]);
    // Host ports become the agent's own: who takes away those of pods that run stays, and is told of no others.
    assert.equal((await call("ADD", pod(0))).exitCode, 0);
    await restart("own");
    const [skylane, ...chained] = list().plugins as Json[];
    assert.deepEqual(chained, [{ type: "portmap", snat: true }]);
    assert.equal((skylane?.["capabilities"] as Json | undefined)?.["portMappings"], true);
    const capabilities = { portMappings: true };
    assert.equal((await call("ADD", pod(1), { capabilities })).exitCode, 0);
    assert.equal((await call("DEL", pod(0))).exitCode, 0);
    await eventually(() => (list().plugins as Json[]).length === 1, patient);
    assert.deepEqual(list().cniVersions, VERSIONS);
    assert.equal((await call("DEL", pod(1))).exitCode, 0);
    await restart("portmap");
    await eventually(() => (list().plugins as Json[]).length === 2, patient);
    rmSync(join(own, "portmap"));
    rmSync(debian, { recursive: true });
    await eventually(() => (list().plugins as Json[]).length === 1, patient);
    await restart("own");
  });

  it("takes back what a runtime did not live to hear of", async () => {
    const before = await served("ADD");
    // The runtime reads nothing: its pipe is closed at once, and the launcher finds that out when it writes.
    const child = node.ns.spawn(join(BIN, "skylane"), [], {
      stdio: ["pipe", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"] ?? "",
        CNI_COMMAND: "ADD",
        CNI_CONTAINERID: "deaf",
        CNI_NETNS: sandbox(0),
        CNI_IFNAME: "eth0",
        CNI_PATH: BIN,
      },
    });
    let stderr = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdout?.destroy();
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    child.stdin?.end(JSON.stringify(config()));
    assert.equal(await ended, 1);
    assert.match(stderr, /could not be written.*taking everything back/);
    assert.equal((await served("ADD")) - before, 1);
    await nothingLeft();
  });

  it("lets no client but root in, and hostile ones harm nobody", async () => {
    const socket = join(node.dir, "run/cni.sock");
    assert.equal(statSync(socket).mode & 0o777, 0o600);
    const clients = [
      Buffer.from("GET / HTTP/1.1\r\n\r\n".padEnd(64)),
      Buffer.alloc(1 << 20, 0xff),
      Buffer.concat([Buffer.from("Sskylane3"), Buffer.alloc(8, 0xff), Buffer.alloc(100)]),
      Buffer.from("Sskylane3"),
      Buffer.concat([
        Buffer.from("Sskylane3"),
        Buffer.from(new Uint32Array([4, 2]).buffer),
        Buffer.alloc(64),
        Buffer.from("\0\0=\0{}{}"),
      ]),
    ];
    const open = clients.map((bytes) => {
      const client = withNetns(node.ns.path, () => connect(socket));
      client.on("error", () => undefined);
      client.write(bytes);
      return client;
    });
    const added = await call("ADD", pod(0));
    assert.equal(added.exitCode, 0, added.stdout);
    assert.equal((await call("DEL", pod(0))).exitCode, 0);
    for (const client of open) client.destroy();
    assert.match(node.log, /refused a CNI request that is none/);
    assert.ok(node.running);
    await nothingLeft();
  });

  it(`killed at any moment, loses and doubles nothing: the plugin takes over (seed ${SEED})`, async () => {
    const chance = seededRandom(SEED);
    for (let round = 0; round < 12; round++) {
      const ids = pods.map((_, n) => n);
      const verb = round % 2 === 0 ? "ADD" : "DEL";
      const calls = ids.map((n) => call(verb, pod(n)));
      await delay(chance() * 60);
      await node.stop("SIGKILL");
      for (const outcome of await Promise.all(calls))
        assert.equal(outcome.exitCode, 0, `${verb} ${outcome.stdout}${outcome.stderr}`);
      if (verb === "ADD") {
        assert.equal(hostEnds().length, pods.length);
        assert.equal(taken().length, 2 * pods.length);
      } else await nothingLeft();
      node.start();
      await node.ready(["n2"]);
    }
  });
});
