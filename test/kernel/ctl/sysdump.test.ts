/** `skylanectl sysdump` on a node with an agent, a peer and a pod network: what the kernel has is in it, and nothing secret. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { readArchive } from "../../../src/cli/sysdump/archive.ts";
import { Fabric, type TestNode } from "../agent/harness.ts";
import { SKYLANECTL } from "./command.ts";

describe("skylanectl sysdump", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  let node: TestNode;

  before(async () => {
    fabric = await Fabric.started();
    [node] = await fabric.pair();
  });
  after(() => fabric.stop());

  const run = (...args: string[]): Promise<{ status: number; out: Buffer; err: string }> =>
    new Promise((resolve) => {
      const argv = [`--net=${node.ns.path}`, "--", ...SKYLANECTL, "sysdump", "--config", join(node.dir, "agent.yaml")];
      const options = { encoding: "buffer", maxBuffer: 1 << 26, cwd: node.dir } as const;
      execFile("nsenter", [...argv, "--timeout", "700", ...args], options, (error, out, err) =>
        resolve({ status: error ? Number(error.code) : 0, out, err: err.toString() }),
      );
    });
  const contents = async (data: Buffer): Promise<Map<string, string>> =>
    new Map((await Array.fromAsync(readArchive(data, 1 << 26))).map((one) => [one.path, one.data.toString()]));

  it("has the agent's answers, the findings and the kernel's objects, and no secret", async () => {
    const { status, out, err } = await run("--output", "-");
    assert.equal(status, 0, err);
    const files = await contents(out);
    const has = (path: string, ...what: RegExp[]): void => {
      for (const one of what)
        assert.match(files.get(path) ?? `nothing at ${path}: ${[...files.keys()].join(" ")}`, one);
    };
    has("agent/status.json", /"node": ?"n1"/, /"n2"/);
    has("agent/metrics.txt", /^skylane_peers/m);
    has("agent/readyz.txt", /./);
    has("doctor.txt", /port\.vxlan/);
    has("kernel/links.json", /"name":"sky\.4096"/);
    has("kernel/addresses.json", /"10\.244\.1\.0"/);
    has("kernel/routes.json", /10\.244\.2\.0/);
    has("kernel/neighbours.json", /10\.244\.2\.0/);
    has("kernel/fdb.json", /"device":"sky\.4096".*172\.30\.0\.12/);
    has("kernel/parameters.txt", /^net\.ipv4\.ip_forward = 1$/m, /^net\.ipv4\.conf\.sky\.4096\.rp_filter = \d$/m);
    has("kernel/nft.txt", /table inet skylane/);
    has("config/10-skylane.conflist", /"skylane"/);
    has("system/proc/net/snmp", /^Ip: /m);
    has(
      "summary.txt",
      /Skylane on node .* at 20\d\d-/,
      /kernel\/nft\.txt: \d+ bytes/,
      /agent\.yaml: not there: .*ENOENT/,
    );
    const kubeconfig = readFileSync(fabric.kubeconfig, "utf8");
    const secrets = kubeconfig.split("\n").filter((line) => /token:|-data:/.test(line));
    assert.ok(secrets.length > 0);
    const everything = gunzipSync(out).toString("latin1");
    for (const line of secrets) assert.ok(!everything.includes(line.split(": ")[1] as string), line.slice(0, 40));
  });

  it("makes a file of its own that nobody else reads, and none where one is", async () => {
    const { status, out, err } = await run();
    assert.equal(status, 0, err);
    const file = join(node.dir, out.toString().trim());
    assert.match(file, /skylane-sysdump-.*-\d{8}T\d{6}Z\.tar\.gz$/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok((await contents(readFileSync(file))).has("kernel/links.json"));
    writeFileSync(join(node.dir, "mine"), "mine");
    const again = await run("-o", "mine");
    assert.equal(again.status, 1);
    assert.match(again.err, /mine cannot be made; --output names another file/);
    assert.equal(readFileSync(join(node.dir, "mine"), "utf8"), "mine");
  });

  it("says of an agent that is away what it can", async () => {
    await node.stop("SIGKILL");
    const { status, out, err } = await run("-o", "-");
    assert.equal(status, 0, err);
    const files = await contents(out);
    assert.match(files.get("summary.txt") ?? "", /agent\/status\.json: not there: no agent listens on/);
    assert.match(files.get("kernel/fdb.json") ?? "", /172\.30\.0\.12/);
  });
});
