import assert from "node:assert/strict";
import { NetworkStatusWriter } from "../../../src/pod-requests/pod-network-status.ts";
import { ApiError, type KubeClient } from "../../../src/kube/index.ts";
import type { Logger } from "../../../src/log/index.ts";
import { eventually } from "../../support/eventually.ts";

const POD = { namespace: "shop", name: "cart", uid: "u1" };
const MADE = [
  { network: "default", ifname: "eth0", ips: ["10.244.1.2"], mac: "02:00:00:00:00:01", mtu: 1450, gateway: [] },
  { network: "blue", ifname: "net1", ips: ["10.50.0.2"], mac: "02:00:00:00:00:02", mtu: 1450, gateway: [] },
];

describe("the network status of a pod", () => {
  let asked: { path: string; body?: unknown }[];
  let said: string[];
  let answer: () => unknown;
  let writer: NetworkStatusWriter;
  beforeEach(() => {
    asked = [];
    said = [];
    answer = () => ({});
    const json: KubeClient["json"] = async ({ path, body }) => {
      asked.push({ path, body });
      return answer();
    };
    const log = Object.fromEntries(
      ["debug", "info", "warn", "error"].map((at) => [at, (text: string) => said.push(`${at} ${text}`)]),
    );
    writer = new NetworkStatusWriter({ json } as unknown as KubeClient, log as unknown as Logger, 1);
  });
  afterEach(() => writer.stop());
  const fails = (status: number): void => {
    answer = () => {
      throw new ApiError("PATCH", status, { message: "no" });
    };
  };

  it("is written to that very pod's status, the first interface as the default one", async () => {
    writer.write(POD, MADE);
    await writer.stop();
    const [{ path, body } = { path: "" }] = asked;
    assert.equal(path, "/api/v1/namespaces/shop/pods/cart/status");
    const { metadata } = body as { metadata: { uid: string; annotations: Record<string, string> } };
    assert.equal(metadata.uid, "u1");
    const status = JSON.parse(metadata.annotations["k8s.v1.cni.cncf.io/network-status"] ?? "") as object[];
    assert.deepEqual(
      status.map((one) => [Reflect.get(one, "name"), Reflect.get(one, "default")]),
      [
        ["default", true],
        ["blue", undefined],
      ],
    );
    assert.deepEqual(said, []);
  });

  it("is tried again, but not for ever, and then said to be missing", async () => {
    fails(503);
    writer.write(POD, MADE);
    await eventually(() => said.length > 0, { message: "nothing was said" });
    assert.equal(asked.length, 6);
    assert.match(said.join("\n"), /^warn the annotation \S+network-status of a pod is not written; its network works$/);
  });

  it("is not tried again where that is of no use", async () => {
    fails(403);
    writer.write(POD, MADE);
    await eventually(() => said.length === 1, { message: "nothing was said" });
    fails(404);
    writer.write(POD, MADE);
    await eventually(() => said.length === 2, { message: "nothing was said" });
    assert.equal(asked.length, 2);
    assert.deepEqual(
      said.map((text) => text.split(" ")[0]),
      ["warn", "debug"],
    );
  });

  it("is given up when the agent stops", async () => {
    fails(503);
    writer = new NetworkStatusWriter(
      {
        json: async () => {
          asked.push({ path: "" });
          return answer();
        },
      } as unknown as KubeClient,
      {} as Logger,
      60_000,
    );
    writer.write(POD, MADE);
    await eventually(() => asked.length === 1, { message: "nothing was asked" });
    await writer.stop();
    assert.equal(asked.length, 1);
  });
});
