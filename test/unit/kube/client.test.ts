import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiError, connect, patchNodeAnnotations } from "../../../src/kube/index.ts";
import { answer, node, ScriptedApi, type Step, status } from "./scripted-api.ts";

const refusal = async (work: Promise<unknown>): Promise<ApiError> => {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof ApiError, String(error));
    return error;
  }
  throw new Error("the request succeeded");
};

describe("kube: the client", () => {
  let api: ScriptedApi;
  beforeEach(async () => {
    api = await new ScriptedApi().listen();
  });
  afterEach(() => api.close());

  it("keeps its connection from one request to the next", async () => {
    const client = connect({ kubeconfig: api.kubeconfig() });
    for (let i = 0; i < 5; i++) {
      api.script.push(answer({ i }));
      assert.deepEqual(await client.json({ path: "/x" }), { i });
    }
    // Two: a request that follows at once does not wait for the first connection to become free.
    assert.ok(api.connections <= 2, `${api.connections} connections`);
    await client.close();
  });

  it("has no answer compressed", async () => {
    const client = connect({ kubeconfig: api.kubeconfig() });
    api.script.push((response, request) => {
      assert.equal(request.headers["accept-encoding"], undefined);
      answer({ ok: true })(response, request);
    });
    assert.deepEqual(await client.json({ path: "/x" }), { ok: true });
    await client.close();
  });

  it("says what the server said", async () => {
    const client = connect({ kubeconfig: api.kubeconfig() });
    api.script.push(answer(status(404, "NotFound", "a"), 404), answer("Bad gateway", 502, { "retry-after": "7" }));
    const gone = await refusal(client.json({ path: "/api/v1/nodes/a" }));
    assert.equal(gone.message, "GET /api/v1/nodes/a: NotFound as the test wants it");
    assert.equal(gone.isGone("a"), true);
    assert.equal(gone.isGone("b"), false);
    const proxy = await refusal(client.json({ path: "/x" }));
    assert.deepEqual([proxy.status, proxy.retryAfterMs, proxy.isTransient], [502, 7000, true]);
    await client.close();
  });

  it("limits how long an answer may take, and names it", async () => {
    const client = connect({ kubeconfig: api.kubeconfig() });
    const stuck: Step = (response) => {
      response.writeHead(200);
      response.write("{");
    };
    api.script.push(stuck);
    const late = await refusal(client.json({ path: "/x", timeoutMs: 40 }));
    assert.match(late.message, /^GET \/x: no complete answer within 40 ms/);
    assert.equal(late.status, 0);
    await client.close();
    const closed = await refusal(client.json({ path: "/x" }));
    assert.match(closed.message, /closed/);
  });

  it("refuses an answer that is no JSON", async () => {
    const client = connect({ kubeconfig: api.kubeconfig() });
    api.script.push((response) => response.end("<html>"));
    assert.equal((await refusal(client.json({ path: "/x" }))).status, 0);
    await client.close();
  });

  it("says what is wrong with a kubeconfig", () => {
    assert.throws(() => connect({ kubeconfig: "/nonexistent/kubeconfig" }), /cannot use kubeconfig .*ENOENT/);
    assert.throws(() => connect({}), /KUBERNETES_SERVICE_HOST/);
  });

  describe("over TLS", () => {
    let folder: string;
    before(() => {
      folder = mkdtempSync(join(tmpdir(), "skylane-tls-"));
      const subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"];
      const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
      execFileSync(
        "openssl",
        ["req", "-x509", ...key, ...subject, "-keyout", `${folder}/key`, "-out", `${folder}/cert`],
        {
          stdio: "ignore",
        },
      );
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    it("trusts the cluster's authority only, keeps one connection, and reads the token anew once it is refused", async () => {
      const tls = await new ScriptedApi({
        key: readFileSync(`${folder}/key`),
        cert: readFileSync(`${folder}/cert`),
      }).listen();
      try {
        const token = join(folder, "token");
        writeFileSync(token, "old");
        const cluster = { server: `https://127.0.0.1:${tls.port}`, "insecure-skip-tls-verify": false };
        const user = { "auth-provider": { name: "tokenFile", config: { tokenFile: token } } };
        const stranger = connect({ kubeconfig: tls.kubeconfig(cluster, user) });
        assert.match((await refusal(stranger.json({ path: "/x" }))).message, /self-signed/);
        await stranger.close();

        const before = tls.connections;
        const trusting = { ...cluster, "certificate-authority": `${folder}/cert` };
        const client = connect({ kubeconfig: tls.kubeconfig(trusting, user) });
        tls.script.push(answer({}), answer(status(401, "Unauthorized"), 401), answer({}), answer({}));
        await client.json({ path: "/x" });
        writeFileSync(token, "new");
        assert.equal((await refusal(client.json({ path: "/x" }))).status, 401);
        await client.json({ path: "/x" });
        await client.json({ path: "/x" });
        const tokens = tls.seen.map((one) => one.headers.authorization);
        assert.deepEqual(tokens, ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]);
        assert.ok(tls.connections - before <= 2, `${tls.connections - before} connections`);
        await client.close();
      } finally {
        await tls.close();
      }
    });
  });

  describe("annotations", () => {
    it("patches our own keys only, as a merge patch without a resourceVersion", async () => {
      const client = connect({ kubeconfig: api.kubeconfig() });
      api.script.push(answer(node("a")));
      await patchNodeAnnotations(client, "a", { "skylane.dev/vtep": "{}", "skylane.dev/old": null });
      const [request] = api.seen;
      assert.deepEqual([request?.method, request?.path], ["PATCH", "/api/v1/nodes/a"]);
      assert.equal(request?.headers["content-type"], "application/merge-patch+json");
      assert.deepEqual(JSON.parse(request?.body ?? ""), {
        metadata: { annotations: { "skylane.dev/vtep": "{}", "skylane.dev/old": null } },
      });
      await assert.rejects(patchNodeAnnotations(client, "a", { "other.dev/x": "1" }), RangeError);
      assert.equal(api.seen.length, 1);
      await client.close();
    });
  });
});
