/** The same over the wire: names as locks, preconditions, selectors and statuses as an API server has them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cidrContains } from "../../../src/addr/index.ts";
import { BlockError, blockObjects } from "../../../src/ipam/blocks/index.ts";
import { Ipam } from "../../../src/ipam/local/index.ts";
import { connect, createObject, type KubeClient, listObjects, NODES } from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { NETWORK_BLOCKS, parseNetworkBlock } from "../../../src/crd/index.ts";
import { ReservingBlocks } from "./reserving.ts";

describe("blocks through an API server", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-embedded-"));
  let server: ApiServer;
  let client: KubeClient;
  /** uids of the Nodes: a block of one that does not exist is collected. */
  const uids = new Map<string, string>();

  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
    for (const name of ["n1", "n2", "n3", "n4"]) {
      const node = await createObject(client, NODES, { apiVersion: "v1", kind: "Node", metadata: { name } });
      uids.set(name, (node as { metadata: { uid: string } }).metadata.uid);
    }
  });
  after(async () => {
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const blocks = async () => (await listObjects(client, NETWORK_BLOCKS)).map(parseNetworkBlock);

  it("deal a network out to nodes that start at once, and take back what they give back", async () => {
    const nodes = ["n1", "n2", "n3", "n4"].map((node) => {
      const ipam = new Ipam({ dir: join(dir, node) });
      const claims = new ReservingBlocks({
        network: "blue",
        cidrs: ["10.1.0.0/27", "fd00:1::/64"],
        blockSize: 8,
        node,
        nodeUid: () => uids.get(node),
        objects: blockObjects(client),
        view: () => [],
        taken: async () => [],
        ipam,
      });
      return { node, ipam, claims };
    });
    const owner = { containerId: "one", ifname: "net1" };
    const ips = await Promise.all(nodes.map(({ claims }) => claims.reserve(owner, {})));
    const made = await blocks();
    assert.equal(made.length, 8);
    for (const [i, { node }] of nodes.entries()) {
      for (const ip of ips[i] ?? []) assert.equal(made.find(({ cidr }) => cidrContains(cidr, ip))?.node, node);
    }
    await assert.rejects(
      Promise.all(
        nodes.map(async ({ claims }) => {
          for (let n = 0; n < 5; n++) await claims.reserve({ ...owner, containerId: `more-${n}` }, {});
        }),
      ),
      (error) => error instanceof BlockError && error.kind === "exhausted",
    );
    for (const { ipam, claims } of nodes) {
      for (const { owner: one } of ipam.list()) ipam.release(one);
      assert.deepEqual(await claims.leave(), []);
    }
    assert.deepEqual(await blocks(), []);
  });

  it("meet faults of the server with an error to try again, and go on afterwards", async () => {
    const claims = new ReservingBlocks({
      network: "red",
      cidrs: ["10.2.0.0/24"],
      blockSize: 64,
      node: "n1",
      nodeUid: () => uids.get("n1"),
      objects: blockObjects(client),
      view: () => [],
      taken: async () => [],
      ipam: new Ipam({ dir: join(dir, "red") }),
    });
    for (const action of [{ kind: "reset" }, { kind: "status", code: 503 }, { kind: "status", code: 403 }] as const) {
      await server.faults.set({ rules: [{ match: { resources: ["networkblocks"] }, action }] });
      await assert.rejects(
        claims.ensureRoom([4]),
        (error) => error instanceof BlockError && error.kind === "unavailable",
      );
    }
    await server.faults.clear();
    await claims.ensureRoom([4]);
    assert.equal(claims.usable().length, 1);
    await claims.leave();
  });
});
