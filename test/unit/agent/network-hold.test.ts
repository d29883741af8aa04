import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FINALIZER, letNetworkGo, NetworkHold } from "../../../src/network-definitions/network-hold.ts";
import { newBlock } from "../../../src/ipam/blocks/index.ts";
import { CniError, CODE } from "../../../src/cni/index.ts";
import {
  connect,
  createObject,
  deleteObject,
  getObject,
  type KubeClient,
  listObjects,
} from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { createLogger } from "../../../src/log/index.ts";
import { NETWORK_BLOCKS, parsePodNetwork, POD_NETWORKS, type PodNetworkInfo } from "../../../src/crd/index.ts";

type Meta = { metadata: { name: string; uid: string; finalizers?: string[]; deletionTimestamp?: string } };

describe("a pod network that has pods", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-hold-"));
  const log = createLogger({ level: "error", format: "text" });
  let server: ApiServer;
  let client: KubeClient;

  const define = async (vni = 6100): Promise<PodNetworkInfo> =>
    parsePodNetwork(
      await createObject(client, POD_NETWORKS, {
        apiVersion: "skylane.dev/v1alpha1",
        kind: "PodNetwork",
        metadata: { name: "blue", finalizers: ["example.com/other"] },
        spec: { vni, cidrs: ["10.50.0.0/24"] },
      }),
    );
  const now = async (): Promise<Meta["metadata"] | undefined> =>
    ((await getObject(client, POD_NETWORKS, "blue")) as Meta | undefined)?.metadata;
  const remove = async (): Promise<void> => {
    await deleteObject(client, POD_NETWORKS, "blue", (await now())?.uid ?? "");
  };
  const claim = async (node: string, networkUid: string | undefined, cidr: string): Promise<void> => {
    await createObject(client, NETWORK_BLOCKS, { ...newBlock({ network: "blue", networkUid, node }, cidr, 16) });
  };
  const release = async (): Promise<void> => {
    for (const one of (await listObjects(client, NETWORK_BLOCKS)) as Meta[])
      await deleteObject(client, NETWORK_BLOCKS, one.metadata.name, one.metadata.uid);
  };
  const refused = (code: number, message: RegExp) => (error: unknown) =>
    error instanceof CniError && error.code === code && message.test(error.message);

  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
  });
  afterEach(async () => {
    await release();
    const there = await now();
    if (!there) return;
    const path = `${POD_NETWORKS}/blue`;
    const body = { metadata: { finalizers: null } };
    await client.json({ method: "PATCH", path, contentType: "application/merge-patch+json", body });
    await remove();
  });
  after(async () => {
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it("is not gone before the last node has left it, and takes no more nodes", async () => {
    const network = await define();
    await claim("n1", network.uid, "10.50.0.0/28");
    await new NetworkHold(client, network, "n1", log).ensure();
    await remove();
    assert.deepEqual((await now())?.finalizers, ["example.com/other", FINALIZER]);
    assert.equal(parsePodNetwork(await getObject(client, POD_NETWORKS, "blue")).deleting, true);
    await assert.rejects(
      new NetworkHold(client, network, "n2", log).ensure(),
      refused(CODE.notAllowed, /PodNetwork "blue" is being deleted/),
    );
    assert.equal(await letNetworkGo(client, network), false, "a node has pods in it");
    await release();
    assert.equal(await letNetworkGo(client, network), true);
    assert.deepEqual((await now())?.finalizers, ["example.com/other"], "others' finalizers are theirs");
  });

  it("is free when nobody is in it, and held again when somebody came while it was let go", async () => {
    const network = await define();
    await claim("n1", network.uid, "10.50.0.0/28");
    await new NetworkHold(client, network, "n1", log).ensure();
    await release();
    let came = false;
    const coming: KubeClient = {
      ...client,
      server: client.server,
      json: async (request) => {
        // Another node reads the network while the finalizer is there, and relies on it.
        if (request.method === "PATCH" && !came) await claim("n2", network.uid, "10.50.0.16/28");
        came ||= request.method === "PATCH";
        return client.json(request);
      },
    };
    assert.equal(await letNetworkGo(coming, network), false);
    assert.deepEqual((await now())?.finalizers, ["example.com/other", FINALIZER]);
  });

  it("is another one when it is made anew, and has no pods while those of the one before run elsewhere", async () => {
    const first = await define();
    await claim("n1", first.uid, "10.50.0.0/28");
    const path = `${POD_NETWORKS}/blue`;
    const body = { metadata: { finalizers: null } };
    await client.json({ method: "PATCH", path, contentType: "application/merge-patch+json", body });
    await remove();
    const second = await define(6200);
    const hold = new NetworkHold(client, second, "n2", log);
    await assert.rejects(
      hold.ensure(),
      refused(CODE.tryAgain, /made anew, and node n1 still has pods of the one before/),
    );
    await assert.rejects(
      new NetworkHold(client, first, "n1", log).ensure(),
      refused(CODE.notAllowed, /is being deleted/),
    );
    await release();
    await claim("n2", second.uid, "10.50.0.0/28");
    await hold.ensure();
    assert.equal(await letNetworkGo(client, first), false, "the former one's last node takes nothing of this one's");
    assert.deepEqual((await now())?.finalizers, ["example.com/other", FINALIZER]);
  });
});
