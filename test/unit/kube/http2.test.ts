import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type KubeClient, NodeReflector, OwnNode } from "../../../src/kube/index.ts";
import { eventually } from "../../support/eventually.ts";
import { bookmark, event, node } from "./scripted-api.ts";

/** A real API server speaks HTTP/2 with whoever can: then all watches of an agent share one connection. */
describe("kube over HTTP/2", () => {
  let folder: string;
  let server: Http2SecureServer;
  let client: KubeClient;
  const sessions = new Set<ServerHttp2Session>();
  const seen: { version: string; query: URLSearchParams; response: Http2ServerResponse; closed: boolean }[] = [];
  let sessionsEver = 0;

  const handle = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    const query = new URL(request.url, "https://x").searchParams;
    const one = { version: request.httpVersion, query, response, closed: false };
    response.stream.on("close", () => {
      one.closed = true;
    });
    seen.push(one);
    response.writeHead(200, { "content-type": "application/json" });
    if (query.has("sendInitialEvents")) response.write(event("ADDED", node("a")) + bookmark("10", true));
    else response.write(event("ADDED", node("b", { version: "12" })));
  };

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "skylane-h2-"));
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    const subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"];
    const files = ["-keyout", `${folder}/key`, "-out", `${folder}/cert`];
    execFileSync("openssl", ["req", "-x509", ...key, ...subject, ...files], { stdio: "ignore" });
    const tls = { key: readFileSync(`${folder}/key`), cert: readFileSync(`${folder}/cert`) };
    server = createSecureServer({ ...tls, allowHTTP1: true }, handle);
    server.on("session", (session) => {
      sessionsEver++;
      sessions.add(session);
      session.on("close", () => sessions.delete(session));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const kubeconfig = join(folder, "kubeconfig");
    const text = {
      clusters: [{ name: "c", cluster: { server: url, "certificate-authority": `${folder}/cert` } }],
      users: [{ name: "u", user: { token: "t" } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    };
    writeFileSync(kubeconfig, JSON.stringify(text));
    client = connect({ kubeconfig });
  });
  after(async () => {
    await client.close();
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  it("syncs, survives a cut connection, and stops without cutting others off", async () => {
    const timings = { baseMs: 2, capMs: 8, stableMs: 0 };
    const own = new OwnNode(client, "a", { timings });
    const nodes = new NodeReflector(client, { timings });
    own.start();
    await own.whenSynced();
    nodes.start();
    await nodes.whenSynced();
    assert.deepEqual(
      seen.map((one) => one.version),
      ["2.0", "2.0"],
    );
    assert.equal(sessionsEver, 1);

    for (const session of sessions) session.destroy();
    await eventually(() => nodes.nodes().has("b"));
    await eventually(() => seen.length === 4);
    assert.equal(seen[2]?.query.get("resourceVersion"), "10");

    await own.stop();
    const [ownStream, nodesStream] = seen.slice(2).toSorted((a) => (a.query.has("fieldSelector") ? -1 : 1));
    await eventually(() => ownStream?.closed === true);
    assert.equal(nodesStream?.closed, false);
    nodesStream?.response.write(event("ADDED", node("c", { version: "13" })));
    await eventually(() => nodes.nodes().has("c"));
    await nodes.stop();
  });
});
