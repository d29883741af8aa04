/** The agent's CNI socket: whom it serves, in which order, and what becomes of an answer that nobody took. */
import assert from "node:assert/strict";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { CniServer, type CniServerOptions } from "../../../src/cni-server/cni-server.ts";
import { CNI_SOCKET } from "../../../src/cni-server/index.ts";
import { LAUNCHER_KEY } from "../../../src/cni-server/launcher-key.ts";
import type { NetnsMounter } from "../../../src/dataplane/netns/index.ts";
import { netnsIdentity } from "../../../src/sys/index.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeHost } from "../cni/fake-host.ts";
import { keptLog } from "../network/harness.ts";
import { bytesOf, Launcher, type Words } from "./launcher.ts";

const OWN = "/proc/thread-self/ns/net";

describe("the agent's CNI socket", () => {
  let host: FakeHost;
  let log: ReturnType<typeof keptLog>;
  let server: CniServer;
  let mounter: NetnsMounter | undefined;
  const launchers: Launcher[] = [];
  const us = { uid: process.geteuid?.() ?? 0, pid: process.pid, netns: netnsIdentity(OWN) };

  const listen = async (more: Partial<CniServerOptions> = {}): Promise<void> => {
    server = await CniServer.listen({
      runDir: host.dir,
      dataDir: join(host.dir, "data"),
      log,
      host: (names) => {
        mounter = names;
        return host;
      },
      peer: () => us,
      ...more,
    });
  };
  const launcher = async (): Promise<Launcher> => {
    const one = await Launcher.connect(join(host.dir, CNI_SOCKET));
    launchers.push(one);
    return one;
  };
  const words = (command: string, more: Partial<Words> = {}, env: Record<string, string> = {}): Words => ({
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: "c1",
      CNI_NETNS: "/run/netns/pod",
      CNI_IFNAME: "eth0",
      CNI_PATH: "/nonexistent",
      ...env,
    },
    configuration: JSON.stringify({
      cniVersion: "1.1.0",
      name: "net",
      type: "skylane",
      runDir: host.dir,
      dataDir: join(host.dir, "data"),
    }),
    own: us.netns,
    key: readFileSync(join(host.dir, "data", LAUNCHER_KEY)).subarray(0, 32),
    ...more,
  });
  /** One request with an open sandbox, up to the answer. */
  const call = async (command: string, env: Record<string, string> = {}) => {
    const one = await launcher();
    const sandbox = openSync(OWN, "r");
    one.ask(words(command, { sandbox }, env));
    closeSync(sandbox);
    const { word, key } = await one.word();
    return { one, word, key, answer: word === "A" ? await one.answer() : undefined };
  };

  beforeEach(() => {
    host = new FakeHost();
    log = keptLog();
    mounter = undefined;
    mkdirSync(join(host.dir, "data"));
  });
  afterEach(async () => {
    for (const one of launchers.splice(0)) one.hangUp();
    await server.close();
    host.remove();
  });

  it("serves ADD and DEL, and shows its half of the key first", async () => {
    await listen();
    const { word, key, answer } = await call("ADD");
    assert.equal(word, "A");
    assert.deepEqual(key, readFileSync(join(host.dir, "data", LAUNCHER_KEY)).subarray(32));
    assert.equal(answer?.exitCode, 0);
    assert.match(answer.stdout, /"address": "10\.244\.1\.2\/32"/);
    assert.equal(host.links.size, 1);
    assert.equal((await call("DEL")).answer?.exitCode, 0);
    assert.deepEqual(host.remains(), []);
  });

  it("answers what is wrong with a request, too", async () => {
    await listen();
    const { answer } = await call("ADD", { CNI_IFNAME: "" });
    assert.equal(answer?.exitCode, 1);
    assert.match(answer.stdout, /CNI_IFNAME/);
  });

  it("serves requests about one attachment in their order, others at the same time", async () => {
    await listen();
    const begun: string[] = [];
    const goOn = Promise.withResolvers<void>();
    const attach = host.attachPod;
    host.attachPod = async (spec) => {
      begun.push(spec.containerId);
      if (spec.containerId === "c1") await goOn.promise;
      return attach(spec);
    };
    const first = call("ADD");
    await eventually(() => begun.length === 1);
    const [second, other] = [call("DEL"), call("ADD", { CNI_CONTAINERID: "c2" })];
    assert.equal((await other).answer?.exitCode, 0);
    assert.deepEqual([...host.links.keys()], ["sky-c2-eth0"]);
    goOn.resolve();
    assert.equal((await first).answer?.exitCode, 0);
    assert.equal((await second).answer?.exitCode, 0);
    assert.deepEqual([...host.links.keys()], ["sky-c2-eth0"]);
  });

  it("takes an attachment back whose answer the runtime did not take", async () => {
    await listen();
    for (const gone of ["says nothing", "hangs up before"]) {
      const one = await launcher();
      const sandbox = openSync(OWN, "r");
      one.ask(words("ADD", { sandbox }));
      closeSync(sandbox);
      await one.word();
      if (gone === "says nothing") await one.answer(false);
      one.hangUp();
      await eventually(() => host.attachSpecs.length > 0 && host.links.size === 0, { message: gone });
      host.attachSpecs.length = 0;
    }
    await eventually(() => log.lines.some((line) => /a runtime did not take the answer to its ADD/.test(line)));
  });

  it("declines what the plugin would see otherwise, or is to do itself", async () => {
    await listen({ leave: ({ verb }) => verb === "STATUS" });
    const elsewhere = JSON.stringify({ ...(JSON.parse(words("ADD").configuration) as object), dataDir: "/elsewhere" });
    const delegated = JSON.stringify({
      ...(JSON.parse(words("ADD").configuration) as object),
      ipam: { type: "host-local" },
    });
    const others: [string, Partial<Words>][] = [
      ["ADD", { configuration: elsewhere }],
      ["ADD", { configuration: delegated }],
      ["ADD", { own: { dev: 1, ino: 1 } }],
      // No open sandbox, though one is named.
      ["ADD", {}],
      ["STATUS", {}],
    ];
    for (const [verb, more] of others) {
      const one = await launcher();
      one.ask(words(verb, more));
      assert.equal((await one.word()).word, "D", JSON.stringify(more));
      await one.closed();
    }
    assert.deepEqual(host.attachSpecs, []);
    // For a DEL the sandbox may be gone.
    const one = await launcher();
    one.ask(words("DEL"));
    assert.equal((await one.word()).word, "A");
  });

  it("hears nobody but root of the host's network namespace", async () => {
    const others = [{ ...us, uid: us.uid + 1 }, { ...us, netns: { dev: 1, ino: 1 } }, undefined];
    await listen({ peer: () => others.shift() });
    for (let n = 0; n < 3; n++) {
      const one = await launcher();
      one.ask(words("ADD"));
      assert.equal((await one.word()).word, "");
    }
    assert.deepEqual(log.lines, [
      "warn: refused a CNI request from a user other than root",
      "warn: refused a CNI request from another network namespace than the host's",
    ]);
  });

  it("hears nobody without the launcher's key, nor what is no request, and says so now and then", async () => {
    await listen();
    for (let n = 0; n < 3; n++) {
      const one = await launcher();
      one.ask(words("ADD", { key: Buffer.alloc(32) }));
      assert.equal((await one.word()).word, "");
    }
    const one = await launcher();
    one.sandbox();
    one.send(Buffer.alloc(64));
    await one.closed();
    const late = await launcher();
    late.sandbox();
    late.send(bytesOf(words("ADD")).subarray(0, 40));
    late.hangUp();
    assert.deepEqual(log.lines, [
      "warn: refused a CNI request that does not show the key of this node's launcher",
      "warn: refused a CNI request that is none",
    ]);
  });

  it("cuts off who says nothing for others that come", async () => {
    await listen();
    const silent = await launcher();
    await Promise.all(Array.from({ length: 64 }, () => launcher()));
    await silent.closed();
    assert.equal((await call("ADD")).answer?.exitCode, 0);
  });

  it("has namespaces named by the launcher whose request it serves", async () => {
    await listen();
    const fd = openSync(OWN, "r");
    host.prepare = async () => {
      await mounter?.hold("sky-blue", fd);
      await mounter?.release("sky-red");
      return { additional: [] };
    };
    const { one, answer } = await call("ADD");
    assert.equal(answer?.exitCode, 0);
    assert.deepEqual(one.names, ["+sky-blue", "-sky-red"]);
    const refused = await launcher();
    refused.errno = 13;
    refused.ask(words("ADD", { sandbox: fd }, { CNI_CONTAINERID: "c2" }));
    await refused.word();
    assert.match((await refused.answer())?.stdout ?? "", /EACCES.*name sky-blue: giving it to a network namespace/);
    const gone = await launcher();
    const asked = Promise.withResolvers<unknown>();
    host.prepare = async () => {
      gone.hangUp();
      const failure = mounter?.release("sky-red").catch((error: unknown) => error);
      asked.resolve(await failure);
      return { additional: [] };
    };
    gone.ask(words("ADD", { sandbox: fd }, { CNI_CONTAINERID: "c3" }));
    assert.match(String(await asked.promise), /name sky-red: taking it from a network namespace: the launcher is gone/);
    closeSync(fd);
  });

  it("is there again when somebody takes its name or its key away", async () => {
    await listen();
    unlinkSync(join(host.dir, CNI_SOCKET));
    assert.equal(await server.keep(), true);
    assert.equal(await server.keep(), false);
    const before = readFileSync(server.key.path);
    rmSync(server.key.path);
    assert.equal(server.key.keep(), true);
    assert.deepEqual(readFileSync(server.key.path), before);
    assert.equal(statSync(server.key.path).mode & 0o777, 0o600);
    assert.equal((await call("ADD")).answer?.exitCode, 0);
  });

  it("takes over the key of an agent before it, and waits for what has begun when it closes", async () => {
    await listen();
    const before = readFileSync(server.key.path);
    const goOn = Promise.withResolvers<void>();
    host.prepare = () => goOn.promise.then(() => ({ additional: [] }));
    const running = call("ADD");
    await eventually(() => mounter !== undefined);
    let closed = false;
    const closing = server.close().then(() => (closed = true));
    assert.equal(closed, false);
    goOn.resolve();
    assert.equal((await running).answer?.exitCode, 0);
    await closing;
    await listen();
    assert.deepEqual(readFileSync(server.key.path), before);
  });

  it("drops a request whose service failed, and says so", async () => {
    await listen({
      host: () => {
        throw new Error("no host");
      },
    });
    const { word, answer } = await call("ADD");
    assert.deepEqual([word, answer], ["A", undefined]);
    assert.deepEqual(log.lines, ["error: a CNI request could not be served"]);
  });
});
