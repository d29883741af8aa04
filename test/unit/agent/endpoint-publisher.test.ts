import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EndpointPublisher } from "../../../src/workloads/endpoint-publisher.ts";
import type { Endpoint } from "../../../src/endpoints/index.ts";
import { connect, createObject, deleteObject, getObject, type KubeClient, NODES } from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { createLogger } from "../../../src/log/index.ts";
import { endpointsName, endpointsObject, NETWORK_ENDPOINTS } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";

interface Published {
  metadata: { uid: string; resourceVersion: string; ownerReferences?: { uid: string }[] };
  spec: { endpoints: Endpoint[] };
}

describe("a node's own endpoints in the API server", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-publisher-"));
  const name = endpointsName("lan", "n1");
  const one: Endpoint = { mac: "0a:00:00:00:00:01", ips: ["10.80.0.5"], moves: 3 };
  let server: ApiServer;
  let client: KubeClient;
  let publisher: EndpointPublisher;
  let uid: string | undefined;

  const newNode = async (): Promise<string> => {
    const node = await createObject(client, NODES, { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
    return (node as Published).metadata.uid;
  };
  const published = async (): Promise<Published | undefined> =>
    (await getObject(client, NETWORK_ENDPOINTS, name)) as Published | undefined;
  const whole = async (): Promise<Published> => {
    let there: Published | undefined;
    const isWhole = async (): Promise<boolean> => {
      there = await published();
      const owners = there?.metadata.ownerReferences?.map((owner) => owner.uid) ?? [];
      return there?.spec.endpoints[0]?.mac === one.mac && owners.join() === (uid ?? "");
    };
    await eventually(isWhole, { timeoutMs: 10_000, message: "the endpoints are not put back" });
    return there as Published;
  };

  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
    uid = await newNode();
    const log = createLogger({ level: "error", format: "text" });
    const node = {
      name: "n1",
      get uid() {
        return uid;
      },
    };
    const info = { name: "lan", cidrs: ["10.80.0.0/16"] };
    publisher = new EndpointPublisher({ client, info, node, log, onChange: () => undefined });
    publisher.start();
    await publisher.whenSynced();
    publisher.set(new Map([[one.mac, one]]));
    await publisher.published();
  });
  after(async () => {
    await publisher.stop();
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it("are put back when somebody deletes them", async () => {
    const { metadata } = await whole();
    await deleteObject(client, NETWORK_ENDPOINTS, name, metadata.uid);
    assert.notEqual((await whole()).metadata.uid, metadata.uid);
  });

  it("are put back when they are what they were long ago, with the number of moves", async () => {
    const now = await whole();
    const old = { ...now, spec: { ...now.spec, endpoints: [{ ...one, moves: 0 }] } };
    await client.json({ method: "PUT", path: `${NETWORK_ENDPOINTS}/${name}`, body: old });
    const isBack = async (): Promise<boolean> => (await published())?.spec.endpoints[0]?.moves === one.moves;
    await eventually(isBack, { timeoutMs: 10_000, message: "an older version stays" });
  });

  it("are written once and not again for what is heard of the own write", async () => {
    const before = (await whole()).metadata.resourceVersion;
    const other: Endpoint = { mac: "0a:00:00:00:00:02", ips: ["10.80.0.6"], moves: 0 };
    publisher.set(new Map([one, other].map((endpoint) => [endpoint.mac, endpoint])));
    await publisher.published();
    publisher.set(new Map([[one.mac, one]]));
    await publisher.published();
    const after = (await whole()).metadata.resourceVersion;
    assert.equal(Number(after) - Number(before), 2);
  });

  it("are not those of an object of another network, though its label is this one's", async () => {
    const there = (node: string, network: string) => {
      const object = endpointsObject(network, { name: node, uid: undefined }, [{ ...one, ips: ["10.80.0.9"] }]);
      const labels = { "skylane.dev/network": "lan", "skylane.dev/node": node };
      return createObject(client, NETWORK_ENDPOINTS, {
        ...object,
        metadata: { ...(object["metadata"] as object), labels },
      });
    };
    await there("n2", "blue");
    await there("n3", "lan");
    await eventually(() => publisher.lists.has("n3"));
    assert.equal(publisher.lists.has("n2"), false);
  });

  it("are heard of other nodes without what is outside of the network", async () => {
    const inside = { mac: "0a:00:00:00:00:04", ips: ["10.80.0.10"], moves: 0 };
    const outside = [
      { mac: "0a:00:00:00:00:05", ips: ["10.96.0.10"], moves: 0 },
      { mac: "0a:00:00:00:00:06", ips: ["10.80.0.11", "fd00::11"], moves: 0 },
    ];
    const object = endpointsObject("lan", { name: "n4", uid: undefined }, [...outside, inside]);
    await createObject(client, NETWORK_ENDPOINTS, object);
    await eventually(() => publisher.lists.has("n4"));
    assert.deepEqual(
      publisher.lists.get("n4")?.map(({ mac, ips }) => ({ mac, ips })),
      [{ mac: inside.mac, ips: inside.ips }],
    );
  });

  it("outlive their Node and go with the one that is registered next", async () => {
    const node = (await getObject(client, NODES, "n1")) as Published;
    await deleteObject(client, NODES, "n1", node.metadata.uid);
    uid = undefined;
    publisher.adopt();
    await whole();
    uid = await newNode();
    publisher.adopt();
    await whole();
  });
});
