/** The live map of a cluster that kubectl reaches, with a kubectl that only looks like one. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { CommandError, runPluginCall, UsageError } from "../../../src/cli/index.ts";
import { kubectlCluster } from "../../../src/cli/kubectl/ui.ts";
import { showMap } from "../../../src/cli/ui/ui.ts";
import { eventually } from "../../support/eventually.ts";
import { MapReader } from "../../support/map-reader.ts";

/** Writes down how it is called; its proxy has two nodes, and may not read claims. */
const program = (log: string): string => `#!${process.execPath}
const { appendFileSync } = require("node:fs");
const words = process.argv.slice(2);
appendFileSync(${JSON.stringify(log)}, words.join(" ") + "\\n");
const say = (text) => process.stdout.write(text);
const has = (word) => words.includes(word);
if (has("current-context")) say("prod\\n");
else if (has("pods")) say("skylane-1 node1\\nskylane-2 node2\\n");
else if (has("exec") && has("skylane-2")) { process.stderr.write("error: the node is off\\n"); process.exitCode = 1; }
else if (has("status")) {
  say(JSON.stringify({ version: "1.2.3", ready: { ready: false, checks: [{ name: "device", ok: false, message: "gone" }] }, networks: [] }));
  process.exitCode = 1;
} else if (has("proxy")) {
  const { createServer } = require("node:http");
  const path = words.find((word) => word.startsWith("--unix-socket=")).slice("--unix-socket=".length);
  const node = (name) => ({ metadata: { name, uid: name, resourceVersion: "1" }, status: { conditions: [{ type: "Ready", status: "True" }] } });
  const kinds = { nodes: ["v1", "Node", [node("node1"), node("node2")]], pods: ["v1", "Pod", []], events: ["v1", "Event", []], podnetworks: ["skylane.dev/v1alpha1", "PodNetwork", []] };
  createServer((request, response) => {
    const url = new URL(request.url, "http://x");
    const kind = kinds[url.pathname.split("/").at(-1)];
    const answer = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (!kind) return answer(403, { kind: "Status", code: 403, reason: "Forbidden", message: "you may not" });
    const [apiVersion, what, items] = kind;
    if (url.searchParams.get("sendInitialEvents")) return answer(422, { kind: "Status", code: 422, reason: "Invalid", message: "unknown" });
    if (url.searchParams.get("watch")) return response.writeHead(200, { "content-type": "application/json" }).flushHeaders();
    answer(200, { kind: what + "List", apiVersion, metadata: { resourceVersion: "1" }, items });
  }).listen(path, () => say("Starting to serve on " + path + "\\n"));
}
`;

/** Each question is two programs. */
const SOON = { timeoutMs: 60_000 };

describe("kubectl skylane ui", () => {
  let dir: string;
  let kubectl: string;
  const log = (): string[] => readFileSync(join(dir, "log"), "utf8").trimEnd().split("\n");
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-ui-test-"));
    kubectl = join(dir, "kubectl");
    writeFileSync(kubectl, program(join(dir, "log")));
    chmodSync(kubectl, 0o755);
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it("reads objects through its proxy and asks agents in their pods, and says what it may not read", async () => {
    const map = await showMap(
      await kubectlCluster({ program: kubectl, options: ["--context=prod", "--namespace=net"] }),
    );
    let socket = "";
    try {
      await using reader = await MapReader.open(map.url);
      const { mirror } = reader;
      await eventually(
        () => mirror.nodes.get("node1")?.state === "not-ready" && mirror.nodes.get("node2")?.state === "silent",
        SOON,
      );
      assert.equal(mirror.title, "prod");
      assert.equal(mirror.nodes.get("node1")?.why, "device: gone");
      assert.equal(mirror.nodes.get("node1")?.kubelet, "ready");
      assert.match(mirror.nodes.get("node2")?.why ?? "", /the node is off/);
      await eventually(
        () => mirror.troubles.some(({ what, why }) => what === "claims" && why.includes("you may not")),
        SOON,
      );
      const proxy = log().find((line) => line.includes(" proxy ")) ?? "";
      assert.match(proxy, /^--context=prod --namespace=net proxy /);
      assert.match(proxy, /--reject-methods=\S*POST/);
      socket = /--unix-socket=(\S+)/.exec(proxy)?.[1] ?? "";
      assert.ok(existsSync(socket));
      assert.ok(
        log().includes(
          "--context=prod --namespace=net exec skylane-1 --container=agent -- skylanectl status --output=json",
        ),
      );
      assert.ok(log().every((line) => !/ (apply|patch|delete|create|edit|label|annotate|scale) /.test(line)));
    } finally {
      await map.close();
    }
    assert.ok(!existsSync(socket), "the proxy's socket is left behind");
  });

  it("passes on what kubectl says where it reaches no cluster, and leaves nothing behind", async () => {
    writeFileSync(
      kubectl,
      `#!/bin/sh\ncase "$*" in *proxy*) echo 'no such context' >&2; exit 1;; *) echo prod;; esac\n`,
    );
    await assert.rejects(kubectlCluster({ program: kubectl, options: [] }), (error: unknown) => {
      assert.ok(error instanceof CommandError);
      assert.match(error.message, /kubectl proxy: no such context/);
      return true;
    });
    await assert.rejects(kubectlCluster({ program: join(dir, "none"), options: [] }), /cannot be run/);
  });

  it("ends its proxy, and leaves nothing behind, also where it was killed", async () => {
    const proxy = new URL("../../../src/cli/kubectl/proxy.ts", import.meta.url).href;
    const cluster = JSON.stringify({ program: kubectl, options: [] });
    const map = spawn(
      process.execPath,
      [
        "--disable-warning=ExperimentalWarning",
        "--input-type=module",
        "-e",
        `import { Proxy } from ${JSON.stringify(proxy)}; await Proxy.start(${cluster}); console.log("here"); setInterval(() => undefined, 1e6);`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const ended = once(map, "exit");
    await once(map.stdout, "data");
    const [words = ""] = log().filter((line) => line.includes("proxy "));
    const socket = /--unix-socket=(\S+)/.exec(words)?.[1] ?? "";
    assert.ok(existsSync(socket));
    const answers = (): Promise<boolean> =>
      new Promise((resolve) => {
        const asked = connect({ path: socket }, () => resolve(true));
        asked.once("error", () => resolve(false)).once("connect", () => asked.destroy());
      });
    assert.ok(await answers());
    map.kill("SIGKILL");
    await ended;
    await eventually(async () => !(await answers()), { message: "nobody serves the API any more" });
    await eventually(() => !existsSync(dirname(socket)), { message: "its directory is gone" });
  });

  it("is about all nodes", async () => {
    const call = { namespace: "net", kubectl: [], node: "n1", command: ["ui"] };
    await assert.rejects(runPluginCall(call, kubectl), (error: unknown) => error instanceof UsageError);
  });
});
