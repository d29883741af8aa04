/** Whatever is sent, the server answers with a Status that names what is wrong, never with a fault of its own. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { APPLY, JSON_PATCH, MERGE, STRATEGIC, TestApi } from "./support.ts";

const KEYS = [
  "metadata",
  "name",
  "labels",
  "annotations",
  "finalizers",
  "spec",
  "podCIDRs",
  "status",
  "conditions",
  "$patch",
  "type",
];

describe("lab API: nonsense", function () {
  this.timeout(60_000);
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
    await api.node("a", { annotations: { k: "v" } });
  });
  after(() => api.server.close());

  const value = fc.letrec((tie) => ({
    json: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom<unknown>(null, true, 0, 1.5, "", "a", "10.0.0.0/24", []),
      fc.array(tie("json"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...KEYS), tie("json"), { maxKeys: 4 }),
    ),
  })).json;
  const operations = fc.array(
    fc.record({
      op: fc.constantFrom("add", "remove", "replace", "move", "copy", "test", "odd"),
      path: fc.constantFrom(
        "",
        "/",
        "/metadata",
        "/metadata/labels/x",
        "/spec/podCIDRs/0",
        "/spec/podCIDRs/-",
        "/metadata/name",
        "x",
      ),
      from: fc.constantFrom("", "/metadata", "/spec", "/none"),
      value,
    }),
    { maxLength: 4 },
  );

  const sane = async (method: string, path: string, body: unknown, contentType: string): Promise<void> => {
    const reply = await api.ask(method, path, { body, contentType });
    assert.ok(reply.code < 500, `${method} ${path} ${contentType} ${JSON.stringify(body)}: ${reply.text}`);
    if (reply.code >= 300) assert.equal(reply.body.kind, "Status");
  };

  it("of bodies and patches", async () => {
    const target = fc.constantFrom(
      "/api/v1/nodes/a",
      "/api/v1/nodes/a/status",
      "/api/v1/nodes/none?fieldManager=m",
      "/api/v1/nodes/a?fieldManager=m&dryRun=All",
    );
    await fc.assert(
      fc.asyncProperty(target, value, operations, async (path, body, list) => {
        const object = { apiVersion: "v1", kind: "Node", ...(typeof body === "object" && body) };
        await sane("PATCH", path, body, MERGE);
        await sane("PATCH", path, body, STRATEGIC);
        await sane("PATCH", path, list, JSON_PATCH);
        await sane("PATCH", path, object, APPLY);
        await sane("PUT", path, object, "application/json");
        await sane("POST", "/api/v1/nodes?dryRun=All", object, "application/json");
      }),
      { numRuns: 150 },
    );
    assert.equal((await api.get("/api/v1/nodes")).code, 200);
  });

  it("of queries and paths", async () => {
    const text = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.constantFrom("a=b", "a in (b", "(", "!", "a notin ()", "metadata.name=a", "\\"),
    );
    const query = fc.record(
      { labelSelector: text, fieldSelector: text, continue: text, limit: fc.constantFrom("", "1", "-1", "x") },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(query, text, async (query, name) => {
        const listed = await api.get(`/api/v1/nodes?${new URLSearchParams(query).toString()}`);
        assert.ok(listed.code === 200 || listed.code === 400, `${JSON.stringify(query)}: ${listed.text}`);
        const one = await api.get(`/api/v1/nodes/${encodeURIComponent(name)}`);
        assert.ok(one.code === 200 || one.code === 404, one.text);
      }),
      { numRuns: 200 },
    );
  });
});
