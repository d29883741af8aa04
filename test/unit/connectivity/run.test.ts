/** A whole run of the connectivity test against a kubectl that only says so: what is made, asked and removed, and what comes of it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CommandError, parsePluginCall, runPluginCall, UsageError } from "../../../src/cli/index.ts";
import type { Report } from "../../../src/cli/connectivity/judge.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeKubectl, type State } from "./kubectl.ts";

const PLUGIN = fileURLToPath(new URL("../../../cmd/kubectl-skylane/main.ts", import.meta.url));

interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

describe("connectivity test", () => {
  let dir: string;
  let kubectl: FakeKubectl;
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "sky-connectivity-"));
    kubectl = new FakeKubectl();
    await kubectl.open(dir);
  });
  afterEach(async () => {
    await kubectl.close();
    rmSync(dir, { recursive: true });
  });

  const ask = (state: State): void => {
    kubectl.state = state;
    kubectl.calls.length = 0;
  };
  const WORDS = ["--context=prod", "connectivity", "test"];

  /** In this process. */
  const run = async (state: State, ...words: string[]): Promise<Ended> => {
    ask(state);
    const said = { stdout: "", stderr: "" };
    const before = {
      stdout: process.stdout.write.bind(process.stdout),
      stderr: process.stderr.write.bind(process.stderr),
    };
    for (const name of ["stdout", "stderr"] as const)
      process[name].write = (text: string) => {
        said[name] += text;
        return true;
      };
    try {
      const call = parsePluginCall([...WORDS, ...words]);
      assert.ok(call);
      return { status: await runPluginCall(call, join(dir, "kubectl")), ...said };
    } catch (error) {
      if (!(error instanceof UsageError || error instanceof CommandError)) throw error;
      return { status: error instanceof UsageError ? 2 : 1, stdout: said.stdout, stderr: error.message };
    } finally {
      process.stdout.write = before.stdout;
      process.stderr.write = before.stderr;
    }
  };
  const made = (): string | undefined =>
    kubectl.calls.find(({ input }) => input?.kind === "Namespace")?.input?.metadata?.name;
  const removed = (): string[] => [
    ...new Set(kubectl.calls.filter(({ verb }) => verb === "delete").map(({ args }) => args[3] as string)),
  ];

  it("makes its own namespace, asks every pod and every node once, and removes it", async () => {
    const { status, stdout, stderr } = await run({}, "-o", "json");
    assert.equal(status, 0, stderr);
    const report = JSON.parse(stdout) as Report;
    assert.deepEqual([report.ok, report.nodes, report.failures], [true, 3, []]);
    assert.deepEqual(
      report.skipped.map(({ kind }) => kind),
      ["dns"],
    );
    assert.deepEqual(report.notes, ["without a running agent, not tested: node4"]);
    const namespace = made();
    assert.match(namespace ?? "", /^skylane-connectivity-[0-9a-f]{8}$/);
    const objects = kubectl.calls.flatMap(({ input }) => input?.items ?? (input?.kind === undefined ? [] : [input]));
    assert.deepEqual(
      objects.map(({ kind }) => kind),
      ["Namespace", "ServiceAccount", "Service", ...Array.from({ length: 6 }, () => "Pod"), "NetworkPolicy"],
    );
    const asked = kubectl.calls.filter(({ input }) => input?.questions).map(({ args }) => args.slice(3, 6).join(" "));
    const where = (pod: string) =>
      pod.startsWith("skylane")
        ? `${pod} --namespace=skylane-system --container=agent`
        : `${pod} --namespace=${namespace} --container=peer`;
    const [before, denied] = [
      ["peer-1", "peer-2", "peer-3", "skylane-1", "skylane-2", "skylane-3"],
      ["other-1", "other-2", "other-3"],
    ];
    assert.deepEqual(asked.slice(0, 6).sort(), before.map(where));
    assert.deepEqual(asked.slice(6, 9).sort(), denied.map(where));
    assert.deepEqual(asked.slice(9).sort(), before.slice(0, 3).map(where));
    assert.deepEqual(removed(), [namespace]);
    assert.equal(kubectl.calls.at(-1)?.verb, "delete");
    // Every word is for the cluster that was named.
    assert.ok(kubectl.calls.every(({ args }) => args[0] === "--context=prod"));
  });

  it("says what failed, in which direction, and removes all the same", async () => {
    const fails: State["fails"] = [
      ["peer-1", "udp", "10.244.2.2"],
      ["peer-2", "udp", "10.244.1.2"],
    ];
    const heard = ["peer-2>peer-1/4/small", "peer-2>peer-1/4/full", "peer-2>peer-1/4/over"];
    const { status, stdout } = await run({ fails, heard });
    assert.equal(status, 1);
    assert.match(stdout, /^pod to pod on another node, UDP +IPv4 +FAILED +4 +2 +0$/m);
    assert.match(
      stdout,
      /^1\. packets of pods from node1 to node2 are lost, IPv4: UDP, full packets, packets in pieces$/m,
    );
    // The trace that it tries has nobody to ask here.
    assert.match(stdout, /^ {3}trace: it could not be followed: .*forbidden/m);
    assert.deepEqual(removed(), [made()]);
  });

  it("goes on without a node whose pods do not start, and says why they do not", async () => {
    const { status, stdout } = await run({ missing: "other-2" }, "-o", "json");
    const { failures, rows } = JSON.parse(stdout) as Report;
    assert.deepEqual([status, failures.length, failures[0]?.nodes], [1, 1, ["node2"]]);
    assert.deepEqual(failures[0]?.is, ["pod other-2: ContainerCreating: no address is left"]);
    assert.equal(rows.find(({ kind }) => kind === "pod-pod-tcp")?.passed, 2);
  });

  it("removes what it has made when it fails", async () => {
    const broken = await run({ broken: "wait" });
    // That they were waited for in vain says nothing: what runs is looked at afterwards.
    assert.equal(broken.status, 0, broken.stderr);
    const failed = await run({ broken: "create" });
    assert.equal(failed.status, 1);
    assert.match(failed.stderr, /^kubectl create .*: forbidden/);
    assert.equal(removed().length, 1);
  });

  it("removes what it has made when it is interrupted", async () => {
    ask({ hangs: "wait" });
    const argv = ["--disable-warning=ExperimentalWarning", PLUGIN, ...WORDS];
    const env = { ...process.env, PATH: `${dir}:${process.env["PATH"]}` };
    const child = spawn(process.execPath, argv, { env, stdio: "ignore" });
    const ended = once(child, "close");
    await eventually(() => kubectl.calls.some(({ verb }) => verb === "wait"), { timeoutMs: 60_000 });
    child.kill("SIGINT");
    assert.deepEqual(await ended, [130, null]);
    assert.deepEqual(removed(), [made()]);
  });

  it("leaves the pods where it is told to, and removes on demand what others have left", async () => {
    const { status, stdout } = await run({}, "--keep", "--nodes", "1");
    assert.equal(status, 0);
    assert.ok(stdout.includes(`The pods are left in namespace ${made()}`), stdout);
    assert.match(stdout, /^2 more nodes were not tested: --nodes$/m);
    assert.match(stdout, /^pod to another node +- +skipped/m);
    assert.deepEqual(removed(), []);
    const cleaned = await run({}, "--cleanup");
    assert.deepEqual([cleaned.status, cleaned.stdout], [0, "namespace left-1 removed\nnamespace left-2 removed\n"]);
    assert.ok(
      kubectl.calls.some(({ args }) =>
        args.includes("--selector=app.kubernetes.io/managed-by=skylane-connectivity-test"),
      ),
    );
    assert.deepEqual(removed(), ["left-1"]);
  });

  it("refuses what it does not understand", async () => {
    for (const [words, why] of [
      [["--nodes", "0"], /--nodes must be a whole number from 1/],
      [["--keep", "--cleanup"], /exclude each other/],
      [["now"], /does not know what to do with "now"/],
    ] as const) {
      const { status, stderr } = await run({}, ...words);
      assert.equal(status, 2);
      assert.match(stderr, why);
    }
    assert.deepEqual(kubectl.calls, []);
  });
});
