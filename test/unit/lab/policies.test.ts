/** Applying policies while somebody else writes them. */
import assert from "node:assert/strict";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { ApiClient, ApiError } from "../../../lab/api-client.ts";
import { applyPolicies } from "../../../lab/pods/policies.ts";

const PATH = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/web";
const policy = (app: string): string =>
  JSON.stringify({ kind: "NetworkPolicy", metadata: { name: "web" }, spec: { podSelector: { matchLabels: { app } } } });

/** A client before each of whose first replacements another one writes the same object. */
class Overtaken extends ApiClient {
  readonly #times: number;
  #written = 0;

  constructor(server: ApiServer, times: number) {
    super({ url: server.url, caPem: server.caPem, token: server.adminToken });
    this.#times = times;
  }

  override async call<T = Record<string, unknown>>(...args: Parameters<ApiClient["call"]>): Promise<T> {
    const [method, path] = args;
    if (method === "PUT" && this.#written < this.#times)
      await super.call(
        "PATCH",
        path,
        { metadata: { annotations: { written: String(++this.#written) } } },
        "application/merge-patch+json",
      );
    return super.call<T>(...args);
  }
}

describe("policies that are applied", () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
  });
  after(() => server.close());

  it("are what was said, though a controller writes them at the same moment", async () => {
    const api = new Overtaken(server, 3);
    assert.deepEqual(
      (await applyPolicies(api, policy("one"))).map(({ result }) => result),
      ["created"],
    );
    assert.deepEqual(
      (await applyPolicies(api, policy("two"))).map(({ result }) => result),
      ["changed"],
    );
    const { spec } = await api.call<{ spec: { podSelector: object } }>("GET", PATH);
    assert.deepEqual(spec.podSelector, { matchLabels: { app: "two" } });
    api.close();
  });

  it("are given up on where it does not end", async () => {
    const api = new Overtaken(server, Number.POSITIVE_INFINITY);
    await assert.rejects(
      applyPolicies(api, policy("three")),
      (error) => error instanceof ApiError && error.status === 409,
    );
    api.close();
  });
});
