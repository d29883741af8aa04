import assert from "node:assert/strict";
import { connect, type KubeClient, OwnNode, type OwnNodeInfo } from "../../../src/kube/index.ts";
import { eventually } from "../../support/eventually.ts";
import { answer, event, node, ScriptedApi, status, watchList } from "./scripted-api.ts";

const full = (version: string, podCIDRs: unknown, addresses: unknown, annotations = {}) =>
  node("me", { version, annotations, rest: { spec: { podCIDRs }, status: { addresses } } });

describe("kube: the own Node", () => {
  let api: ScriptedApi;
  let client: KubeClient;
  let own: OwnNode;
  let seen: (OwnNodeInfo | undefined)[];

  beforeEach(async () => {
    api = await new ScriptedApi().listen();
    client = connect({ kubeconfig: api.kubeconfig() });
    own = new OwnNode(client, "me", { timings: { baseMs: 2, capMs: 8 } });
    seen = [];
    own.onChange((info) => seen.push(info));
  });
  afterEach(async () => {
    await own.stop();
    await client.close();
    await api.close();
  });

  /** A function, so that a look before does not fix the type of a look after. */
  const known = (): OwnNodeInfo | undefined => own.node;

  it("waits for a Node that does not exist yet, then for its pod CIDRs", async () => {
    api.script.push(watchList([], "10"));
    own.start();
    await own.whenSynced();
    await eventually(() => seen.length === 1);
    assert.equal(known(), undefined);
    assert.equal(api.seen[0]?.query.get("fieldSelector"), "metadata.name=me");
    api.stream.write(event("ADDED", full("11", undefined, undefined)));
    await eventually(() => seen.length === 2);
    assert.deepEqual(known()?.podCidrs, []);
    const addresses = [
      { type: "Hostname", address: "me" },
      { type: "InternalIP", address: "172.30.0.11" },
      { type: "InternalIP", address: "FD30:0::11" },
      { type: "InternalIP", address: "nonsense" },
      7,
    ];
    const cidrs = ["10.244.1.0/24", "FD00:10:244:1::/64", "10.9.0.0/24", "10.244.1.1/24", null];
    api.stream.write(
      event("MODIFIED", full("12", cidrs, addresses, { "skylane.dev/underlay-ip": "1.2.3.4", other: "x" })),
    );
    await eventually(() => seen.length === 3);
    assert.deepEqual(known()?.podCidrs, ["10.244.1.0/24", "fd00:10:244:1::/64"]);
    assert.deepEqual(known()?.internalIps, ["172.30.0.11", "fd30::11"]);
    assert.equal(known()?.addresses[0]?.address, "me");
    assert.deepEqual(known()?.annotations, { "skylane.dev/underlay-ip": "1.2.3.4" });
  });

  it("is silent about heartbeats, tells what concerns Skylane", async () => {
    const addresses = [{ type: "InternalIP", address: "172.30.0.11" }];
    api.script.push(watchList([full("10", ["10.244.1.0/24"], addresses)], "10"));
    own.start();
    await eventually(() => seen.length === 1);
    api.stream.write(event("MODIFIED", full("11", ["10.244.1.0/24"], addresses)));
    api.stream.write(
      event("MODIFIED", full("12", ["10.244.1.0/24"], [{ type: "InternalIP", address: "172.30.0.99" }])),
    );
    await eventually(() => seen.length === 2);
    assert.deepEqual(seen[1]?.internalIps, ["172.30.0.99"]);
  });

  it("takes the single podCIDR of old objects", async () => {
    const old = node("me", { rest: { spec: { podCIDR: "10.244.7.0/24" } } });
    api.script.push(watchList([old], "10"));
    own.start();
    await eventually(() => known() !== undefined);
    assert.deepEqual(known()?.podCidrs, ["10.244.7.0/24"]);
  });

  it("believes that it is gone only when the server says so about it", async () => {
    let code = 403;
    api.objects = () =>
      code === 403 ? answer(status(403, "Forbidden"), 403) : answer(status(404, "NotFound", "me"), 404);
    api.script.push(watchList([full("10", ["10.244.1.0/24"], [])], "10"), watchList([], "20"));
    own.start();
    await eventually(() => seen.length === 1);
    api.stream.write(event("ERROR", status(410, "Expired")));
    await eventually(() => own.state.unconfirmed === 1 && own.state.errors > 2);
    assert.equal(known()?.name, "me");
    code = 404;
    await eventually(() => known() === undefined);
  });
});
