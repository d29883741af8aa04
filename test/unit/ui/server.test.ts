/** Who gets the live map, and who does not. */
import assert from "node:assert/strict";
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { World } from "../../../src/cli/ui/model/world.ts";
import { type MapServer, serveMap } from "../../../src/cli/ui/serve/server.ts";
import { eventually } from "../../support/eventually.ts";
import { MapReader } from "../../support/map-reader.ts";

const ASSETS = new Map([["", { type: "text/html; charset=utf-8", body: Buffer.from("<p>the page</p>") }]]);

interface Said {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

describe("the live map's server", () => {
  let world: World;
  let server: MapServer;
  beforeEach(async () => {
    world = new World("test", Date.now);
    server = await serveMap(
      world,
      { answer: (query) => Promise.resolve({ error: `no way from ${query.get("from")}` }) },
      0,
      ASSETS,
    );
  });
  afterEach(() => server.close());

  /** @param path in place of the page's own */
  const ask = (
    options: { path?: string; method?: string; headers?: Record<string, string>; body?: string } = {},
  ): Promise<Said> =>
    new Promise((resolve, reject) => {
      const { path = new URL(server.url).pathname, body, ...more } = options;
      const asked: ClientRequest = request(
        new URL(path, server.url),
        { ...more, agent: false },
        (response: IncomingMessage) => {
          let text = "";
          response.setEncoding("utf8").on("data", (part: string) => (text += part));
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
          );
          response.on("error", reject);
        },
      );
      asked.on("error", reject);
      asked.end(body);
    });

  it("listens on the loopback address alone, under an address nobody can guess", () => {
    const { hostname, pathname } = new URL(server.url);
    assert.equal(hostname, "127.0.0.1");
    assert.match(pathname, /^\/[\w-]{32}\/$/);
  });

  it("gives the page to who has its address, and lets it ask nobody else", async () => {
    const { status, headers, body } = await ask();
    assert.equal(status, 200);
    assert.equal(body, "<p>the page</p>");
    const policy = headers["content-security-policy"] as string;
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /https?:|\*|unsafe/);
    assert.equal(headers["cache-control"], "no-store");
    assert.equal(headers["referrer-policy"], "no-referrer");
    assert.equal(headers["x-content-type-options"], "nosniff");
  });

  it("gives nothing without the token, or with another one", async () => {
    const { pathname } = new URL(server.url);
    for (const path of [
      "/",
      "/stream",
      "/page.js",
      `/${"x".repeat(32)}/`,
      `${pathname.slice(0, -2)}/stream`,
      "/%00/",
    ]) {
      const { status, body } = await ask({ path });
      assert.equal(status, 403, path);
      assert.doesNotMatch(body, /the page/);
    }
  });

  it("gives nothing under a name of somebody else's, whatever the token", async () => {
    for (const host of ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]"])
      assert.equal((await ask({ headers: { host } })).status, 403, host);
    for (const host of ["127.0.0.1", "localhost:9000", "[::1]:1"])
      assert.equal((await ask({ headers: { host } })).status, 200);
    assert.equal((await ask({ headers: { "sec-fetch-site": "cross-site" } })).status, 403);
  });

  it("only reads", async () => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const { status } = await ask({ method, body: "x" });
      assert.equal(status, 405, method);
    }
    assert.equal((await ask({ path: `${new URL(server.url).pathname}etc/passwd` })).status, 404);
    assert.equal((await ask({ path: `${new URL(server.url).pathname}..%2f..%2fetc%2fpasswd` })).status, 404);
  });

  it("makes traces for who asks, and for nobody else", async () => {
    const { pathname } = new URL(server.url);
    const { status, body } = await ask({ path: `${pathname}trace?from=a/b&to=c/d` });
    assert.equal(status, 200);
    assert.deepEqual(JSON.parse(body), { error: "no way from a/b" });
    assert.equal((await ask({ path: "/trace?from=a/b&to=c/d" })).status, 403);
  });

  it("sends everything, then what changes, to each who looks", async () => {
    world.nodeSeen({ name: "node1", ips: [] });
    await using first = await MapReader.open(server.url);
    assert.deepEqual([...first.mirror.nodes.keys()], ["node1"]);
    world.nodeSeen({ name: "node2", ips: [] });
    // One who comes while a change waits has it by the whole, and the other by the change.
    await using second = await MapReader.open(server.url);
    for (const { mirror } of [first, second]) await eventually(() => mirror.nodes.size === 2);
    world.nodeGone("node1");
    for (const { mirror } of [first, second]) await eventually(() => mirror.nodes.size === 1);
  });

  it("has room for so many who look, and again when one goes", async () => {
    const readers: MapReader[] = [];
    try {
      for (let i = 0; i < 16; i++) readers.push(await MapReader.open(server.url));
      await assert.rejects(MapReader.open(server.url), /503: too many/);
      await readers.pop()?.[Symbol.asyncDispose]();
      readers.push(await eventually(() => MapReader.open(server.url)));
    } finally {
      for (const reader of readers) await reader[Symbol.asyncDispose]();
    }
  });
});
