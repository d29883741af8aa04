import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { MERGE, TestApi } from "./support.ts";

describe("lab API: users", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start({
      tokens: {
        "token-of-n1": { name: "system:node:n1", node: "n1" },
        "token-of-reader": { name: "reader", groups: ["readers"] },
      },
      authorize: ({ user, verb }) => user.groups?.includes("readers") !== true || verb === "get",
    });
    await api.node("n1");
    await api.node("n2");
  });
  after(() => api.server.close());

  it("answers 401 without a token that it knows", async () => {
    for (const token of [undefined, "wrong"]) {
      const reply = await api.get("/api/v1/nodes", { token });
      assert.deepEqual([reply.code, reply.body.kind, reply.body.reason], [401, "Status", "Unauthorized"]);
    }
    api.server.auth.setToken("fresh", { name: "late" });
    assert.equal((await api.get("/api/v1/nodes", { token: "fresh" })).code, 200);
    api.server.auth.removeToken("fresh");
    assert.equal((await api.get("/api/v1/nodes", { token: "fresh" })).code, 401);
  });

  it("binds a node's user to its own Node, its lease, and events", async () => {
    const token = "token-of-n1";
    const patch = (path: string) =>
      api.ask("PATCH", path, { token, body: { metadata: { annotations: { a: "1" } } }, contentType: MERGE });
    assert.equal((await patch("/api/v1/nodes/n1")).code, 200);
    assert.equal((await patch("/api/v1/nodes/n1/status")).code, 200);
    const other = await patch("/api/v1/nodes/n2");
    assert.deepEqual([other.code, other.body.reason], [403, "Forbidden"]);
    assert.equal(
      other.body.message,
      'nodes "n2" is forbidden: User "system:node:n1" cannot patch resource "nodes" in API group "" at the cluster scope',
    );
    assert.equal((await api.get("/api/v1/nodes", { token })).code, 200);
    const ask = (method: string, path: string, body: object) => api.ask(method, path, { token, body });
    assert.equal((await ask("DELETE", "/api/v1/nodes/n1", {})).code, 403);
    const event = { metadata: { generateName: "e" }, involvedObject: { kind: "Node", name: "n1" } };
    assert.equal((await ask("POST", "/api/v1/namespaces/default/events", event)).code, 201);
    const pod = await ask("POST", "/api/v1/namespaces/default/pods", { metadata: { name: "p" } });
    assert.match(pod.body.message, /cannot create resource "pods" in API group "" in the namespace "default"$/);
    const lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    assert.equal((await ask("PUT", `${lease}/n1`, { metadata: { name: "n1" } })).code, 201);
    assert.equal((await ask("PUT", `${lease}/n2`, { metadata: { name: "n2" } })).code, 403);
  });

  it("asks the hook about the rest, and keeps the lab's own paths for administrators", async () => {
    const token = "token-of-reader";
    assert.equal((await api.get("/api/v1/nodes/n1", { token })).code, 200);
    assert.equal((await api.get("/api/v1/nodes", { token })).code, 403);
    const admin = await api.get("/lab/faults", { token });
    assert.deepEqual([admin.code, admin.body.reason], [403, "Forbidden"]);
    assert.equal((await api.get("/lab/faults", { token: undefined })).code, 401);
  });

  it("writes kubeconfigs for its users", () => {
    const config = parse(api.server.kubeconfig("token-of-n1")) as {
      users: unknown[];
      clusters: { cluster: { server: string } }[];
    };
    assert.deepEqual(config.users, [{ name: "system:node:n1", user: { token: "token-of-n1" } }]);
    assert.equal(config.clusters[0]?.cluster.server, api.server.url);
    assert.throws(() => api.server.kubeconfig("unknown"), /Unauthorized/);
  });
});

describe("lab API: TLS", function () {
  this.timeout(30_000);
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-test-"));
  });
  after(() => rmSync(dir, { recursive: true }));

  const status = (server: ApiServer, ca: string): Promise<number> =>
    new Promise((resolve, reject) => {
      get(`${server.url}/healthz`, { ca }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      }).on("error", reject);
    });

  it("serves under an authority of its own, kept over restarts where it has a directory", async () => {
    const first = await startApiServer({ host: "127.0.0.1", tls: { certDir: dir, names: ["10.9.8.7", "api.lab"] } });
    assert.match(first.url, /^https:/);
    assert.equal(await status(first, first.caPem), 200);
    await first.close();
    const second = await startApiServer({ host: "127.0.0.1", tls: { certDir: dir } });
    assert.equal(second.caPem, first.caPem);
    assert.equal(await status(second, first.caPem), 200);
    await second.faults.set({ away: true });
    await assert.rejects(status(second, first.caPem), { code: /ECONNREFUSED|ECONNRESET/ });
    await second.faults.set({ away: false });
    assert.equal(await status(second, first.caPem), 200);
    const other = await startApiServer({ host: "127.0.0.1" });
    await assert.rejects(status(other, first.caPem), {
      code: /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN/,
    });
    await second.close();
    await other.close();
    assert.equal(new X509Certificate(first.caPem).ca, true);
    const text = execFileSync("openssl", ["x509", "-in", join(dir, "tls.crt"), "-noout", "-text"], {
      encoding: "utf8",
    });
    assert.match(text, /TLS Web Server Authentication/);
    assert.match(text, /DNS:kubernetes.default.svc/);
  });

  it("breaks every connection when it goes: one in the middle of its handshake, and an open watch", async () => {
    const server = await startApiServer({ host: "127.0.0.1" });
    const raw = connect(server.port, "127.0.0.1");
    await once(raw, "connect");
    const headers = { authorization: `Bearer ${server.adminToken}` };
    const watch = get(`${server.url}/api/v1/nodes?watch=1&resourceVersion=1`, {
      ca: server.caPem,
      headers,
      agent: false,
    });
    const [response] = (await once(watch, "response")) as [IncomingMessage];
    const broken = once(response, "error");
    response.resume();
    await Promise.all([once(raw.resume(), "close"), broken, server.close()]);
  });

  it("says that the address is taken", async () => {
    const server = await startApiServer({ host: "127.0.0.1", tls: false });
    await assert.rejects(startApiServer({ host: "127.0.0.1", port: server.port, tls: false }), { code: "EADDRINUSE" });
    await server.close();
  });
});
