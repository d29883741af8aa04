import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { localAccess, metricsAccess } from "../../../src/http/access.ts";
import { addressOf } from "../../../src/http/connection-limits.ts";
import { json, type Listener, listenTcp, listenUnix, type Routes, text } from "../../../src/http/http.ts";

const routes: Routes = {
  "PUT /level": (query) => text(200, `set ${query.get("to")}\n`),
  "/level": () => text(200, "now\n"),
  "/healthz": () => text(200, "ok\n"),
  "/status": async () => json(200, { node: "a" }),
  "/broken": () => {
    throw new Error("the kernel is gone");
  },
};

function get(options: object): Promise<{ status: number; body: string; type: string }> {
  return new Promise((resolve, reject) => {
    const ask = request({ agent: false, ...options }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (part: string) => (body += part));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body, type: String(response.headers["content-type"]) }),
      );
    });
    ask.on("error", reject);
    ask.end();
  });
}

describe("the agent's HTTP", () => {
  let dir: string;
  const open: Pick<Listener, "close">[] = [];
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-http-"));
  });
  afterEach(async () => {
    for (const listener of open.splice(0)) await listener.close();
    rmSync(dir, { recursive: true });
  });

  it("answers its routes over TCP and nothing else", async () => {
    const listener = await listenTcp({ host: "127.0.0.1", port: 0 }, routes);
    open.push(listener);
    const port = Number(listener.address.split(":")[1]);
    const ask = (path: string, method = "GET") => get({ host: "127.0.0.1", port, path, method });
    assert.deepEqual(await ask("/healthz"), { status: 200, body: "ok\n", type: "text/plain; charset=utf-8" });
    assert.equal((await ask("/healthz?verbose=1")).status, 200);
    assert.equal((await ask("/level?to=x", "PUT")).body, "set x\n");
    assert.equal((await ask("/level")).body, "now\n");
    assert.equal((await ask("/healthz", "PUT")).status, 405);
    assert.equal((await ask("/healthz", "HEAD")).body, "");
    assert.equal((await ask("/healthz", "POST")).status, 405);
    assert.equal((await ask("/nothing")).status, 404);
    assert.equal((await ask("/constructor")).status, 404);
    assert.deepEqual(await ask("/broken"), {
      status: 500,
      body: "the kernel is gone\n",
      type: "text/plain; charset=utf-8",
    });
  });

  it("refuses headers that are too large, and lives on", async () => {
    const listener = await listenTcp({ host: "127.0.0.1", port: 0 }, routes);
    open.push(listener);
    const port = Number(listener.address.split(":")[1]);
    await new Promise<void>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => socket.write(`GET / HTTP/1.1\r\nx: ${"y".repeat(20_000)}\r\n`));
      socket.on("error", () => undefined).on("close", () => resolve());
      socket.resume();
    });
    assert.equal((await get({ host: "127.0.0.1", port, path: "/healthz" })).status, 200);
  });

  it("serves its owner alone on the Unix socket, in the place of a stale one", async () => {
    const path = join(dir, "agent.sock");
    const stale = createServer().listen(path);
    await new Promise((resolve) => stale.once("listening", resolve));
    open.push(await listenUnix(path, routes));
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal((await get({ socketPath: path, path: "/status" })).body, '{"node":"a"}\n');
    stale.close();
    assert.deepEqual(readdirSync(dir).length <= 1, true);
  });

  it("goes at once although a client holds on", async () => {
    const path = join(dir, "agent.sock");
    const listener = await listenUnix(path, routes);
    const client = connect(path);
    await new Promise((resolve) => client.once("connect", resolve));
    const gone = new Promise((resolve) => client.once("close", resolve));
    await listener.close();
    await gone;
    assert.deepEqual(readdirSync(dir), []);
  });

  describe("with many connections", () => {
    /** Opens connections that ask nothing. */
    async function idle(port: number, count: number, from: string): Promise<Socket[]> {
      const sockets: Socket[] = [];
      for (let i = 0; i < count; i++) {
        const socket = connect({ port, host: "127.0.0.1", localAddress: from }).on("error", () => undefined);
        await new Promise((resolve) => socket.once("connect", resolve));
        sockets.push(socket);
      }
      return sockets;
    }
    const portOf = (listener: Listener): number => Number(listener.address.split(":")[1]);
    const held: Socket[] = [];
    afterEach(() => {
      for (const socket of held.splice(0)) socket.destroy();
    });

    it("answers whatever others hold open, from one source or from many", async () => {
      const listener = await listenTcp({ host: "127.0.0.1", port: 0 }, routes);
      open.push(listener);
      const ask = (from: string) =>
        get({ host: "127.0.0.1", port: portOf(listener), path: "/healthz", localAddress: from });
      held.push(...(await idle(portOf(listener), 80, "127.0.0.2")));
      for (const from of ["127.0.0.1", "127.0.0.2"]) assert.equal((await ask(from)).status, 200);
      for (let n = 3; n < 12; n++) held.push(...(await idle(portOf(listener), 16, `127.0.0.${n}`)));
      for (const from of ["127.0.0.1", "127.0.0.2", "127.0.0.99"]) assert.equal((await ask(from)).status, 200);
    });

    it("cuts no request that is being answered", async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const slow: Routes = { "/slow": () => promise.then(() => text(200, "done")) };
      const listener = await listenTcp({ host: "127.0.0.1", port: 0 }, slow);
      open.push(listener);
      const port = portOf(listener);
      const answers = Array.from({ length: 15 }, () => get({ host: "127.0.0.1", port, path: "/slow" }));
      held.push(...(await idle(port, 200, "127.0.0.1")));
      resolve();
      for (const { status } of await Promise.all(answers)) assert.equal(status, 200);
    });

    it("does the same on the Unix socket", async () => {
      const path = join(dir, "agent.sock");
      open.push(await listenUnix(path, routes));
      for (let i = 0; i < 200; i++) {
        const socket = connect(path).on("error", () => undefined);
        await new Promise((resolve) => socket.once("connect", resolve));
        held.push(socket);
      }
      assert.equal((await get({ socketPath: path, path: "/healthz" })).status, 200);
    });
  });

  it("lets in whom it should, with the token of now", async () => {
    const file = join(dir, "token");
    const errors: string[] = [];
    const access = metricsAccess(
      { listen: "", allow: ["127.0.0.2/32", "fd00::/8"], tokenFile: file },
      { error: (message: string) => void errors.push(message) },
    );
    const listener = await listenTcp({ host: "127.0.0.1", port: 0 }, routes, access);
    open.push(listener);
    const port = Number(listener.address.split(":")[1]);
    const ask = (authorization: string | undefined, from = "127.0.0.2") =>
      get({
        host: "127.0.0.1",
        port,
        path: "/healthz",
        localAddress: from,
        ...(authorization && { headers: { authorization } }),
      });
    await assert.rejects(ask("Bearer one", "127.0.0.3"), /socket hang up|ECONNRESET/);
    assert.equal((await ask("Bearer one")).status, 401, "there is no token yet");
    assert.match(errors.join(), /no token can be read/);
    writeFileSync(file, "");
    assert.equal((await ask("Bearer ")).status, 401);
    writeFileSync(file, "one\n");
    assert.equal((await ask(undefined)).status, 401);
    assert.equal((await ask("Bearer two")).status, 401);
    assert.equal((await ask("Bearer one")).status, 200);
    writeFileSync(file, "two");
    assert.equal((await ask("Bearer one")).status, 401);
    assert.equal((await ask("bearer two")).status, 200);
  });

  it("takes a loopback address for the node's own, and every other one as it is told", () => {
    const { admits } = localAccess("127.0.0.1:9473");
    assert.deepEqual(
      ["127.0.0.1", "127.8.9.10", "::1", "10.244.1.7", "fd00::7", "172.30.0.1"].map((address) => admits?.(address)),
      [true, true, true, false, false, false],
    );
    assert.equal(localAccess(":9473").admits, undefined);
    assert.equal(addressOf("::ffff:10.244.1.7"), "10.244.1.7");
    assert.equal(addressOf("fe80::1%eth0"), "fe80::1");
  });
});
