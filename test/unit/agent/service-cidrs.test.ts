import assert from "node:assert/strict";
import { serviceCidrsOf } from "../../../src/nodes/service-cidrs.ts";
import { ApiError, type KubeClient } from "../../../src/kube/index.ts";

/** A server that answers by path, with an object or with the status of a refusal; 404 elsewhere. */
const serverWith = (answers: Record<string, unknown>): { client: KubeClient; asked: string[] } => {
  const asked: string[] = [];
  const json: KubeClient["json"] = async ({ path, query }) => {
    const token = query?.["continue"];
    const what = token === undefined ? path : `${path} ${token}`;
    asked.push(what);
    const answer = answers[what] ?? 404;
    if (typeof answer === "number") throw new ApiError("GET", answer, { message: "no" });
    return answer;
  };
  return { client: { json } as unknown as KubeClient, asked };
};
const V1 = "/apis/networking.k8s.io/v1/servicecidrs";
const V1BETA1 = "/apis/networking.k8s.io/v1beta1/servicecidrs";
const cidrs = (...list: string[]): unknown => ({ spec: { cidrs: list } });

describe("the CIDRs of Services", () => {
  it("are the configured ones, without a question", async () => {
    const { client, asked } = serverWith({});
    assert.deepEqual(await serviceCidrsOf(client, ["10.96.0.0/12"]), ["10.96.0.0/12"]);
    assert.deepEqual(asked, []);
  });

  it("are those of all objects otherwise, each once, in one request", async () => {
    const items = [cidrs("10.96.0.0/16", "FD00:20::/112"), cidrs("10.112.0.0/20"), cidrs("10.96.0.0/16"), { spec: {} }];
    const { client, asked } = serverWith({ [V1]: { items } });
    assert.deepEqual(await serviceCidrsOf(client, []), ["10.96.0.0/16", "fd00:20::/112", "10.112.0.0/20"]);
    assert.deepEqual(asked, [V1]);
  });

  it("are those of the list's further pages, too", async () => {
    const { client } = serverWith({
      [V1]: { metadata: { continue: "more" }, items: [cidrs("10.96.0.0/16")] },
      [`${V1} more`]: { items: [cidrs("10.112.0.0/20")] },
    });
    assert.deepEqual(await serviceCidrsOf(client, []), ["10.96.0.0/16", "10.112.0.0/20"]);
  });

  it("are also those of objects that are not ready yet, or being deleted, which Services have addresses of", async () => {
    const leaving = {
      metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" },
      spec: { cidrs: ["10.112.0.0/20"] },
      status: { conditions: [{ type: "Ready", status: "False", reason: "Terminating" }] },
    };
    const { client } = serverWith({ [V1]: { items: [leaving, cidrs("10.128.0.0/20")] } });
    assert.deepEqual(await serviceCidrsOf(client, []), ["10.112.0.0/20", "10.128.0.0/20"]);
  });

  it("are asked of the beta where the server knows no better", async () => {
    const { client } = serverWith({ [V1BETA1]: { items: [cidrs("10.96.0.0/16")] } });
    assert.deepEqual(await serviceCidrsOf(client, []), ["10.96.0.0/16"]);
  });

  it("are those of the first object where a role of an older version grants no list", async () => {
    const { client } = serverWith({ [V1]: 403, [`${V1}/kubernetes`]: cidrs("10.96.0.0/16") });
    assert.deepEqual(await serviceCidrsOf(client, []), ["10.96.0.0/16"]);
  });

  it("are none where it does not know them or may not say, and an error where it does not answer", async () => {
    assert.deepEqual(await serviceCidrsOf(serverWith({}).client, []), []);
    const forbidden = { [V1]: 403, [V1BETA1]: 403, [`${V1}/kubernetes`]: 403, [`${V1BETA1}/kubernetes`]: 403 };
    assert.deepEqual(await serviceCidrsOf(serverWith(forbidden).client, []), []);
    await assert.rejects(serviceCidrsOf(serverWith({ [V1]: 503 }).client, []), ApiError);
  });
});
