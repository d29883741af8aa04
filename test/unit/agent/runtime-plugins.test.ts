import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { renderConflist } from "../../../src/cni-server/conflist.ts";
import { RuntimePlugins } from "../../../src/cni-server/runtime-plugins.ts";
import { answerAgent, CHAIN_QUESTION } from "../../../src/cni/chain-question.ts";
import { createLogger } from "../../../src/log/index.ts";
import { eventually } from "../../support/eventually.ts";

type Json = Record<string, unknown>;
type Chained = "auto" | { type: string }[];

describe("the plugins that a container runtime finds", () => {
  let dir: string;
  let plugins: RuntimePlugins | undefined;
  let clock: number;
  let changes: number;
  let alone: boolean;
  let away: string | undefined;
  let requests: number;
  const log = createLogger({ level: "error", format: "text" });
  const at = (name: string): string => join(dir, name);

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-finds-"));
    for (const name of ["run", "bin", "usr"]) mkdirSync(at(name));
    [clock, changes, alone, requests] = [1_000_000, 0, true, 0];
  });
  afterEach(() => {
    plugins?.stop();
    rmSync(dir, { recursive: true });
  });

  const install = (where: string, type: string, ...versions: string[]): void => {
    const answer = JSON.stringify({ cniVersion: "1.0.0", supportedVersions: versions });
    writeFileSync(join(at(where), type), `#!/bin/sh\n[ "$CNI_COMMAND" = VERSION ] && echo '${answer}'\n`, {
      mode: 0o755,
    });
  };
  const start = (chained: Chained = "auto"): RuntimePlugins => {
    plugins?.stop();
    const config = {
      runDir: at("run"),
      network: "default",
      hostPorts: "portmap" as const,
      cni: { chained, binDir: at("bin") },
    };
    plugins = new RuntimePlugins({
      config,
      log,
      alone: () => alone,
      apiAway: () => away,
      portmapped: false,
      now: () => clock,
      onChange: () => changes++,
    });
    return plugins;
  };
  const list = (chained: Chained = "auto"): Json & { cniVersions: string[]; plugins: { type: string }[] } => {
    const dirs = { runDir: at("run"), dataDir: at("data"), binDir: at("bin") };
    const base = { network: "default", ...dirs, chained, hostPorts: "portmap" as const, bandwidth: "own" as const };
    return JSON.parse(renderConflist({ ...base, ...plugins?.told }));
  };
  const types = (chained?: Chained): string[] => list(chained).plugins.map(({ type }) => type);

  /** A call of a runtime: whether it was left to the plugin, which then has told what it was asked. */
  async function call(verb: string, path = ["usr", "bin"], more: Json = {}): Promise<boolean> {
    const request = (requests++).toString(16).padStart(16, "0");
    const env = { CNI_COMMAND: verb, CNI_PATH: path.map(at).join(":"), SKYLANE_REQUEST: request };
    const config = { network: "default", ...more } as Parameters<RuntimePlugins["ask"]>[0]["config"];
    const left = plugins?.ask({ verb: verb as "STATUS", env, config }) ?? false;
    const before = changes;
    assert.equal(await answerAgent(at("run"), env), left, "the plugin sees that it is this request that is meant");
    if (left) await eventually(() => changes > before, { message: "the answer was not heard of" });
    return left;
  }

  it("make the list: another portmap than ours counts where the runtime takes that one", async () => {
    install("bin", "portmap", "0.4.0", "1.0.0", "1.1.0");
    install("usr", "portmap", "0.3.1", "0.4.0", "1.0.0");
    start();
    assert.ok(list().cniVersions.includes("1.1.0"), "as long as nobody has told");
    assert.equal(await call("STATUS"), true);
    assert.deepEqual(list().cniVersions, ["0.3.1", "0.4.0", "1.0.0"]);
    assert.deepEqual(types(), ["skylane", "portmap"]);
    assert.match(plugins?.verdict.message ?? "", /portmap: .*\/usr\/portmap \(CNI 0\.3\.1, 0\.4\.0, 1\.0\.0\)/);
  });

  it("are told to the agent that comes after", async () => {
    install("bin", "portmap", "1.0.0", "1.1.0");
    install("usr", "portmap", "1.0.0");
    start();
    await call("STATUS");
    start();
    assert.deepEqual(list().cniVersions, ["1.0.0"]);
  });

  it("are asked for at the first call and then once a minute, never by an ADD", async () => {
    install("bin", "portmap", "1.0.0");
    start();
    assert.equal(await call("ADD"), false);
    assert.equal(await call("CHECK"), true);
    assert.equal(await call("STATUS"), false);
    clock += 61_000;
    install("usr", "portmap", "0.4.0");
    assert.equal(await call("STATUS"), true);
    assert.deepEqual(list().cniVersions, ["0.4.0"]);
  });

  it("are asked for by no request that the agent alone can serve", async () => {
    start();
    alone = false;
    assert.equal(await call("DEL"), false);
    assert.equal(await call("GC"), false);
    assert.equal(await call("STATUS", ["usr"], { network: "blue" }), false);
    assert.equal(await call("STATUS", ["usr"], { ipam: "host-local" }), false);
    away = "connection refused";
    assert.equal(await call("STATUS"), false, "the plugin would say that pods can come");
    away = undefined;
    alone = true;
    assert.equal(await call("DEL"), true);
  });

  it("are asked for nobody where nothing is chained", async () => {
    start([]);
    assert.equal(await call("STATUS"), false);
    assert.deepEqual(plugins?.verdict, { ok: true, message: "no plugin is chained" });
  });

  it("decide whether there are host ports", async () => {
    start();
    assert.deepEqual(types(), ["skylane"]);
    install("usr", "portmap", "1.0.0");
    await call("STATUS");
    assert.deepEqual(types(), ["skylane", "portmap"], "the runtime finds one that the agent does not see");
    install("bin", "portmap", "1.0.0");
    rmSync(at("usr/portmap"));
    clock += 61_000;
    assert.equal(await call("STATUS", ["usr"]), true);
    assert.deepEqual(types(), ["skylane"], "a portmap that the runtime does not find would fail every pod");
  });

  it("count for every runtime of the node, until one has long been silent", async () => {
    install("bin", "portmap", "1.0.0", "1.1.0");
    install("usr", "portmap", "0.4.0", "1.0.0");
    start();
    await call("STATUS", ["bin"]);
    clock += 11_000;
    await call("STATUS", ["usr"]);
    assert.deepEqual(list().cniVersions, ["1.0.0"]);
    clock += 61 * 60_000;
    await call("STATUS", ["bin", "usr"]);
    assert.deepEqual(list().cniVersions, ["1.0.0", "1.1.0"]);
  });

  it("are no longer believed once another executable is in the agent's directory", async () => {
    install("bin", "portmap", "0.4.0");
    start();
    await call("STATUS", ["bin"]);
    assert.deepEqual(list().cniVersions, ["0.4.0"]);
    install("bin", "portmap", "0.4.0", "1.0.0");
    assert.deepEqual(list().cniVersions, ["0.4.0", "1.0.0"]);
    assert.equal(await call("STATUS", ["bin"]), true);
  });

  it("make readiness false where one is missing, by name", async () => {
    const chained = [{ type: "bandwidth" }, { type: "tuning" }];
    install("bin", "bandwidth", "1.0.0");
    start(chained);
    assert.deepEqual(
      [plugins?.verdict.ok, /no CNI plugin "tuning" in .*bin/.test(plugins?.verdict.message ?? "")],
      [false, true],
    );
    install("bin", "tuning", "1.0.0");
    assert.equal(plugins?.verdict.ok, true);
    await call("STATUS", ["usr"]);
    assert.equal(plugins?.verdict.ok, false);
    assert.match(
      plugins?.verdict.message ?? "",
      /the container runtime finds no CNI plugin "bandwidth", "tuning" in its directories/,
    );
    install("usr", "bandwidth", "0.4.0");
    install("usr", "tuning", "0.4.0");
    clock += 61_000;
    await call("STATUS", ["usr"]);
    assert.equal(plugins?.verdict.ok, true);
    assert.deepEqual(list(chained).cniVersions, ["0.4.0"]);
  });

  it("are not read from a question or an answer that is none", async () => {
    start();
    const env = { CNI_PATH: at("usr"), SKYLANE_REQUEST: "0123456789abcdef" };
    for (const text of [
      "",
      "{",
      "[]",
      '{"request":"0123456789abcdef"}',
      '{"request":"0123456789abcdef","plugins":["../x"]}',
    ]) {
      writeFileSync(join(at("run"), CHAIN_QUESTION), text);
      assert.equal(await answerAgent(at("run"), env), false, text);
    }
    for (const text of [
      "",
      "{",
      "[]",
      '{"request":1}',
      '{"request":"x","path":"y","plugins":[]}',
      "x".repeat(1 << 17),
    ]) {
      writeFileSync(join(at("run"), "chained-plugins.answer"), text);
      start();
      assert.deepEqual(plugins?.told.runtimes, [], text.slice(0, 60));
    }
  });
});
