import assert from "node:assert/strict";
import { serviceCidrsOf } from "../../../src/agent/service-cidrs.ts";
import { ApiError, type KubeClient } from "../../../src/kube/index.ts";

const clientThat = (answer: () => unknown): { client: KubeClient; asked: string[] } => {
  const asked: string[] = [];
  const json: KubeClient["json"] = async ({ path }) => {
    asked.push(path);
    return answer();
  };
  return { client: { json } as unknown as KubeClient, asked };
};
const failing = (status: number) =>
  clientThat(() => {
    throw new ApiError("GET", status, { message: "no" });
  }).client;

describe("the CIDRs of Services", () => {
  it("are the configured ones, without a question", async () => {
    const { client, asked } = clientThat(() => ({}));
    assert.deepEqual(await serviceCidrsOf(client, ["10.96.0.0/12"]), ["10.96.0.0/12"]);
    assert.deepEqual(asked, []);
  });

  it("are the API server's own otherwise", async () => {
    const { client, asked } = clientThat(() => ({ spec: { cidrs: ["10.96.0.0/16", "FD00:20::/112"] } }));
    assert.deepEqual(await serviceCidrsOf(client, []), ["10.96.0.0/16", "fd00:20::/112"]);
    assert.deepEqual(asked, ["/apis/networking.k8s.io/v1/servicecidrs/kubernetes"]);
  });

  it("are none where it does not know them or may not say, and an error where it does not answer", async () => {
    for (const status of [403, 404]) assert.deepEqual(await serviceCidrsOf(failing(status), []), []);
    await assert.rejects(serviceCidrsOf(failing(503), []), ApiError);
  });
});
