/** Blocks of many networks in a few watches, through an API server. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blockObjects, newBlock, NetworkBlocks } from "../../../src/ipam/blocks/index.ts";
import { connect, createObject, type KubeClient, NODES } from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { eventually } from "../../support/eventually.ts";

describe("the blocks of all nodes in some networks", function () {
  this.timeout(60_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-blocks-"));
  let server: ApiServer;
  let client: KubeClient;
  let nodeUid = "";

  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
    const node = await createObject(client, NODES, { apiVersion: "v1", kind: "Node", metadata: { name: "n" } });
    nodeUid = (node as { metadata: { uid: string } }).metadata.uid;
  });
  after(async () => {
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const claim = (network: string, cidr: string) =>
    blockObjects(client).create(newBlock({ network, node: "n", nodeUid }, cidr, 64));
  const watches = () => server.stats()["openWatches"];

  it("are followed by a watch for several networks, as these come and go, and change as they do", async () => {
    const names = Array.from({ length: 7 }, (_, n) => `net${n}`);
    for (const name of names) await claim(name, "10.1.0.0/26");
    const all = new NetworkBlocks({ client, perWatch: 3, lingerMs: 0 });
    const follow = (name: string) => all.follow(name, ["10.1.0.0/16"], () => undefined);
    const followed = names.map(follow);
    await Promise.all(followed.map(({ whenSynced }) => whenSynced));
    for (const { view } of followed) assert.deepEqual(view.blocksOf("n"), ["10.1.0.0/26"]);
    await eventually(async () => watches() === 3, { message: "other than three watches" });

    const made = await claim("net6", "10.1.0.64/26");
    const last = followed[6]?.view;
    await eventually(async () => last?.blocksOf("n").length === 2, { message: "a new block is not seen" });
    await blockObjects(client).delete(made.metadata.name, made.metadata.uid ?? "");
    await eventually(async () => last?.blocksOf("n").length === 1, { message: "a block that is gone is seen" });

    for (const { close } of followed.slice(1, 4)) close();
    const again = follow("net3");
    await again.whenSynced;
    assert.deepEqual(again.view.blocksOf("n"), ["10.1.0.0/26"]);
    for (const { close } of [...followed.slice(0, 1), ...followed.slice(4), again]) close();
    await eventually(async () => watches() === 0, { message: "watches of blocks are left" });
    await all.stop();
  });
});
