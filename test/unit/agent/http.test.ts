import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json, type Listener, listenTcp, listenUnix, type Routes, text } from "../../../src/agent/http.ts";

const routes: Routes = {
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
  const open: Listener[] = [];
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
});
