/** Archives of what nodes have to say: what is in them, whatever a node answers, and the one that the plugin for kubectl makes of all. */
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { parsePluginCall, runPluginCall, UsageError } from "../../../src/cli/index.ts";
import { type Entry, readArchive, writeArchive } from "../../../src/cli/sysdump/archive.ts";
import { collect } from "../../../src/cli/sysdump/part.ts";

async function* given(entries: readonly Entry[]): AsyncGenerator<Entry> {
  for (const entry of entries) yield await Promise.resolve(entry);
}
async function archiveOf(entries: readonly Entry[]): Promise<Buffer> {
  const stream = new PassThrough();
  const [data] = await Promise.all([buffer(stream), writeArchive(given(entries), stream)]);
  return data;
}
const contentsOf = async (data: Buffer, limit = 1 << 20): Promise<Record<string, string>> => {
  const entries = await Array.fromAsync(readArchive(data, limit));
  return Object.fromEntries(entries.map((entry) => [entry.path, entry.data.toString()]));
};
/** As somebody else would write it, with any names. */
const foreign = async (entries: readonly { name: string; type?: "file" | "symlink"; text?: string }[]) => {
  const archive = pack();
  for (const { name, type = "file", text = "" } of entries)
    archive.entry({ name, type, ...(type === "symlink" && { linkname: "/etc/shadow" }) }, text);
  archive.finalize();
  return gzipSync(await buffer(archive));
};

describe("an archive of a sysdump", () => {
  it("has what was put into it", async () => {
    const data = await archiveOf([
      { path: "agent/status.json", data: Buffer.from("{}") },
      { path: "empty.txt", data: Buffer.alloc(0) },
      { path: "large", data: Buffer.alloc(300_000, "x") },
    ]);
    assert.deepEqual(await contentsOf(data), {
      "agent/status.json": "{}",
      "empty.txt": "",
      large: "x".repeat(300_000),
    });
  });

  it("fails as what is put into it fails", async () => {
    async function* failing(): AsyncGenerator<Entry> {
      yield await Promise.resolve({ path: "one", data: Buffer.from("1") });
      throw new Error("the second is not to be had");
    }
    const stream = new PassThrough();
    stream.on("error", () => undefined).resume();
    await assert.rejects(writeArchive(failing(), stream), /the second is not to be had/);
  });

  it("of a hostile node leads nowhere, holds files alone, and is bounded", async () => {
    const hostile = await foreign([
      { name: "../../etc/cron.d/x", text: "a" },
      { name: "/etc/passwd", text: "b" },
      { name: "link", type: "symlink" },
      { name: "..", text: "c" },
      { name: "odd\u001b[2J name", text: "d" },
    ]);
    assert.deepEqual(await contentsOf(hostile), { "etc/cron.d/x": "a", "etc/passwd": "b", odd__2J_name: "d" });
    await assert.rejects(
      contentsOf(await foreign([{ name: "bomb", text: "0".repeat(5_000) }]), 4_999),
      /more than 4999/,
    );
    await assert.rejects(contentsOf(Buffer.from("no archive")));
  });
});

describe("parts of a sysdump", () => {
  it("that cannot be seen are told of, and what is too long is cut", async () => {
    const parts = [
      { path: "a.json", look: () => [{ ifindex: 1, big: 2n }, { ifindex: 2 }] },
      {
        path: "b.txt",
        look: () => {
          throw new Error("nft is not installed");
        },
      },
      { path: "c.txt", look: () => Promise.resolve("0123456789") },
      { path: "d.json", look: () => ({ here: undefined }) },
    ];
    const entries = await Array.fromAsync(collect(parts, "Skylane on node n1", 45));
    assert.deepEqual(
      entries.map(({ path, data }) => [path, data.toString()]),
      [
        ["a.json", '[\n{"ifindex":1,"big":"2"},\n{"ifindex":2}\n]\n'],
        ["c.txt", "0123456789"],
        ["d.json", "{}\n"],
        [
          "summary.txt",
          [
            "Skylane on node n1",
            "",
            "a.json: 43 bytes",
            "b.txt: not there: nft is not installed",
            "c.txt: 10 bytes",
            "d.json: 3 bytes",
            "",
          ].join("\n"),
        ],
      ],
    );
    const [cut, summary] = await Array.fromAsync(
      collect(
        [parts[2]].filter((one) => one !== undefined),
        "",
        4,
      ),
    );
    assert.equal(cut?.data.toString(), "0123");
    assert.match(summary?.data.toString() ?? "", /c\.txt: 10 bytes, of which the first 4 are here/);
  });
});

describe("kubectl skylane sysdump", () => {
  let dir: string;
  let kubectl: string;
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "skylane-kubectl-"));
    kubectl = join(dir, "kubectl");
    writeFileSync(join(dir, "n1.tar.gz"), await archiveOf([{ path: "../doctor.txt", data: Buffer.from("fine") }]));
    // Node n2's agent does not answer, and has never started anew.
    writeFileSync(
      kubectl,
      `#!/bin/sh
printf '%s\\n' "$*" >>${dir}/log
case "$*" in
*"get pods --selector"*n3*) ;;
*"get pods --selector"*) printf 'skylane-a n1\\nskylane-b n2\\n' ;;
*"exec skylane-a"*) cat ${dir}/n1.tar.gz ;;
*exec*) echo "container is not running" >&2; exit 1 ;;
*previous*) echo "previous terminated container not found" >&2; exit 1 ;;
*"logs skylane-a"*) echo "skylane-agent starts" ;;
*logs*) echo "panic" ;;
*ipclaims*) echo "the server doesn't have a resource type" >&2; exit 1 ;;
*) echo "{}" ;;
esac
`,
    );
    chmodSync(kubectl, 0o755);
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const run = async (...argv: string[]): Promise<number> => {
    const call = parsePluginCall(argv);
    assert.ok(call);
    return runPluginCall(call, kubectl);
  };

  it("has every node's answers under its name, logs, Skylane's objects, and says what is missing", async () => {
    const output = join(dir, "out.tar.gz");
    assert.equal(await run("--context=prod", "sysdump", "--output", output), 0);
    const { "summary.txt": summary = "", ...files } = await contentsOf(readFileSync(output));
    assert.deepEqual(Object.keys(files).sort(), [
      ...["agents.txt", "configmap.yaml", "daemonset.yaml", "egressgateways.json", "events-of-nodes.txt"].map(
        (name) => `cluster/${name}`,
      ),
      ...["networkblocks.json", "networkendpoints.json", "nodes.json", "podnetworks.json", "version.json"].map(
        (name) => `cluster/${name}`,
      ),
      ...["n1/agent.log", "n1/doctor.txt", "n2/agent.log"].map((name) => `nodes/${name}`),
    ]);
    assert.equal(files["nodes/n1/doctor.txt"], "fine");
    assert.match(summary, /Skylane on 2 of 2 nodes/);
    assert.match(summary, /nodes\/n2: .*container is not running/);
    assert.match(summary, /cluster\/ipclaims\.json: not there: .*resource type/);
    assert.equal(statSync(output).mode & 0o777, 0o600);
    const asked = readFileSync(join(dir, "log"), "utf8");
    assert.doesNotMatch(asked, /secret/i);
    assert.ok(asked.split("\n").every((line) => line === "" || line.startsWith("--context=prod --namespace=")));
    // What is there already stays what it is.
    await assert.rejects(run("sysdump", "-o", output), /cannot be made; --output names another file/);
    assert.ok(existsSync(output));
  });

  it("leaves out nodes beyond a number, by name, and refuses what it does not know", async () => {
    const output = join(dir, "one.tar.gz");
    await run("sysdump", "-o", output, "--max-nodes", "1");
    const files = await contentsOf(readFileSync(output));
    assert.ok("nodes/n1/doctor.txt" in files && !("nodes/n2/agent.log" in files));
    assert.match(files["summary.txt"] ?? "", /1 of 2 nodes at .*\nleft out \(--max-nodes, --node\): n2\n/);
    await assert.rejects(run("sysdump", "--max-nodes", "0"), UsageError);
    await assert.rejects(
      run("--node", "n3", "sysdump", "-o", join(dir, "none")),
      /no agent of Skylane's runs on node n3/,
    );
    assert.ok(!existsSync(join(dir, "none")));
  });
});
