/** The launcher and an agent that fails it in every way: whatever happens, the plugin serves, and nothing is left or doubled. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Attachments } from "../../../src/cni/attachments.ts";
import { Ipam, sandboxOf, uptime } from "../../../src/ipam/local/index.ts";
import { attachPod, hostIfname } from "../../../src/dataplane/pod-link/index.ts";
import { bootId, withNetns } from "../../../src/sys/index.ts";
import type { TestNamespace } from "../support/netns.ts";
import { NOTHING, TestNode } from "./node.ts";

/** Reads a whole request: a byte that brings the sandbox, 64 bytes of head with two lengths, and what they say. */
async function request(socket: Socket): Promise<{ env: Record<string, string>; configuration: string }> {
  const chunks: Buffer[] = [];
  for (let all = Buffer.alloc(0); ; all = Buffer.concat(chunks)) {
    const [variables, configuration] = all.length < 65 ? [0, 0] : [all.readUInt32LE(9), all.readUInt32LE(13)];
    if (all.length >= 65 && all.length === 65 + variables + configuration) {
      assert.equal(all.toString("latin1", 0, 9), "Sskylane3");
      const pairs = all
        .toString("utf8", 65, 65 + variables)
        .split("\0")
        .filter(Boolean);
      const env = Object.fromEntries(pairs.map((pair) => [pair.split("=", 1)[0], pair.slice(pair.indexOf("=") + 1)]));
      return { env, configuration: all.toString("utf8", 65 + variables) };
    }
    const [chunk] = (await once(socket, "data")) as [Buffer];
    chunks.push(chunk);
  }
}

/** The two halves of the key, and an agent's "accepted". */
const [OURS, AGENTS] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const ACCEPTED = Buffer.concat([Buffer.from("A"), AGENTS]);

const answer = (status: number, text: string, length = Buffer.byteLength(text)): Buffer => {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(status, 0);
  head.writeUInt32LE(length, 4);
  return Buffer.concat([head, Buffer.from(text)]);
};

describe("the launcher and its agent", function () {
  this.timeout(60_000);
  let node: TestNode;
  let pod: TestNamespace;
  let server: Server | undefined;
  before(() => {
    node = new TestNode();
    pod = node.sandbox();
    giveKey();
  });
  const key = () => join(node.dir, "data/launcher.key");
  const giveKey = (): void => {
    mkdirSync(join(node.dir, "data"), { recursive: true });
    writeFileSync(key(), Buffer.concat([OURS, AGENTS]), { mode: 0o600 });
  };
  after(() => node.remove());
  afterEach(async () => {
    const ended = server && once(server, "close");
    server?.close();
    await ended;
    server = undefined;
    rmSync(join(node.dir, "cni.sock"), { force: true });
  });

  /** An agent of one act. */
  const agent = async (act: (socket: Socket) => Promise<void> | void): Promise<void> => {
    server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => undefined);
      void (async () => {
        await act(socket);
        socket.destroy();
      })();
    }).listen(join(node.dir, "cni.sock"));
    await once(server, "listening");
  };
  const call = (verb: string, more: object = {}) =>
    node.runtime.exec("skylane", verb, node.config({ ...more }), { containerId: "c1", netns: pod.path });
  const works = async (): Promise<void> => {
    const added = await call("ADD");
    assert.equal(added.exitCode, 0, added.stdout + added.stderr);
    assert.equal(node.hostLinks().length, 1);
    assert.equal(node.reserved().length, 2);
    assert.equal((await call("CHECK", { prevResult: added.json })).exitCode, 0);
    assert.equal((await call("DEL")).exitCode, 0);
    assert.deepEqual(node.remains(), NOTHING);
  };

  it("hands over what the runtime gave, and passes on the answer and the status as they are", async () => {
    const seen: Awaited<ReturnType<typeof request>>[] = [];
    let last = "";
    await agent(async (socket) => {
      seen.push(await request(socket));
      socket.write(ACCEPTED);
      socket.write(answer(seen.length === 1 ? 0 : 1, "{ as it is }\n\0€"));
      const [word] = (await once(socket, "data")) as [Buffer];
      last = word.toString();
    });
    const config = JSON.stringify(node.config());
    const options = {
      env: { CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=web", OTHER: "x", NODE_OPTIONS: "y", SKYLANE_REQUEST: "z" },
    };
    const first = await node.runtime.exec("skylane", "VERSION", config, {}, { ...options, raw: true });
    assert.deepEqual([first.exitCode, first.stdout, first.stderr, last], [0, "{ as it is }\n\0€", "", "K"]);
    const second = await node.runtime.exec("skylane", "VERSION", config, {}, { ...options, raw: true });
    assert.equal(second.exitCode, 1);
    const [one, two] = seen;
    assert.equal(one?.configuration, config);
    const { SKYLANE_REQUEST: id, CNI_PATH: _, ...env } = one?.env ?? {};
    assert.deepEqual(env, { CNI_COMMAND: "VERSION", CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=web" });
    assert.match(id ?? "", /^[0-9a-f]{16}$/);
    assert.notEqual(two?.env["SKYLANE_REQUEST"], id);
  });

  /** An act of saying so much, once the request is there, and dying a moment later. */
  const says =
    (...bytes: (string | Buffer)[]) =>
    async (socket: Socket): Promise<void> => {
      await request(socket);
      for (const part of bytes) socket.write(part);
      await delay(20);
    };
  const deaths: [when: string, act: (socket: Socket) => Promise<void> | void][] = [
    ["hangs up at once", () => undefined],
    ["hangs up after the request", says()],
    ["declines", says("D")],
    ["is somebody else, who knows our half of the key only", says("A", OURS, answer(0, "{}"))],
    ["is somebody else, who says half a key", says("A", AGENTS.subarray(1), answer(0, "{}"))],
    ["says something else", says("?")],
    ["dies when it has accepted", says(ACCEPTED)],
    ["dies in the middle of the answer's head", says(ACCEPTED, "\0\0\0")],
    ["dies in the middle of the answer", says(ACCEPTED, answer(0, "{}", 1000))],
    ["promises more than there is memory for", says(ACCEPTED, answer(0, "{", 0xffff_ffff))],
  ];
  for (const [when, act] of deaths) {
    it(`serves by itself when the agent ${when}`, async () => {
      await agent(act);
      await works();
    });
  }

  it("shows its half of the key, and asks nobody where only others could have given it one", async () => {
    let shown: Buffer = Buffer.alloc(0);
    let asked = 0;
    await agent(async (socket) => {
      asked++;
      const [first] = (await once(socket, "data")) as [Buffer];
      shown = first.length > 64 ? first : ((await once(socket, "data")) as [Buffer])[0];
    });
    await works();
    assert.ok(shown.includes(OURS) && !shown.includes(AGENTS));
    const before = asked;
    for (const spoil of [
      () => rmSync(key()),
      () => chmodSync(key(), 0o644),
      () => writeFileSync(key(), OURS),
      () => (rmSync(key()), mkdirSync(key())),
    ]) {
      spoil();
      await works();
      rmSync(key(), { recursive: true, force: true });
      giveKey();
    }
    assert.equal(asked, before);
  });

  it("serves by itself when nobody listens any more on the socket that is there", async () => {
    await agent(() => undefined);
    const child = node.ns.spawn(process.execPath, [
      "-e",
      `require("node:net").createServer().listen(${JSON.stringify(join(node.dir, "stale.sock"))}, () => process.kill(process.pid, "SIGKILL"))`,
    ]);
    await once(child, "exit");
    await works();
  });

  it("gives up on an agent that is stuck, which cannot begin afterwards", async () => {
    let late: NodeJS.ErrnoException | undefined;
    let held: Socket | undefined;
    await agent(async (socket) => {
      held = socket;
      await request(socket);
      await delay(60_000, undefined, { ref: false });
    });
    const started = performance.now();
    const outcome = await call("STATUS");
    assert.ok(performance.now() - started >= 1_900);
    // No VXLAN device here: the plugin has looked for itself.
    assert.equal(outcome.json.code, 51);
    held?.once("error", (error) => {
      late = error;
    });
    held?.write("A");
    await delay(50);
    assert.equal(late?.code, "EPIPE");
    held?.destroy();
  });

  it("takes back what an agent died over, and nothing that another request made", async () => {
    const dataDir = join(node.dir, "data");
    const owner = { containerId: "c1", ifname: "eth0", netns: pod.path };
    const origin = () => ({ since: Date.now(), uptime: uptime(), bootId: bootId(), ...sandboxOf(pod.path) });
    for (const steps of [1, 2, 3]) {
      await agent(async (socket) => {
        const { env } = await request(socket);
        socket.write(ACCEPTED);
        // Half of an ADD, as far as it came.
        const attachments = new Attachments(dataDir, "default", (one) => hostIfname(one.containerId, one.ifname));
        const id = env["SKYLANE_REQUEST"] ?? "";
        if (env["CNI_COMMAND"] !== "ADD") return;
        assert.equal(attachments.begin({ owner, name: "skylane", request: id, ...origin() }), undefined);
        const podCidrs = ["10.244.1.0/24", "fd00:10:244:1::/64"];
        const addresses =
          steps > 1 ? new Ipam({ dir: join(dataDir, "ipam/default") }).reserve(owner, { podCidrs }) : [];
        if (steps > 2) withNetns(node.ns.path, () => attachPod({ ...owner, addresses, mtu: 1450, alias: "half" }));
      });
      await works();
      server?.close();
      rmSync(join(node.dir, "cni.sock"), { force: true });
    }
    // The same attachment, made and finished by another request, stays as it is.
    const added = await call("ADD");
    assert.equal(added.exitCode, 0);
    await agent(says(ACCEPTED));
    assert.equal((await call("ADD")).json.code, 101);
    assert.equal((await call("CHECK", { prevResult: added.json })).exitCode, 0);
    assert.equal((await call("DEL")).exitCode, 0);
    assert.deepEqual(node.remains(), NOTHING);
  });
});
