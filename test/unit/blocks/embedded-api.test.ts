/** The same over the wire: names as locks, preconditions, selectors and statuses as an API server has them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cidrContains } from "../../../src/addr/index.ts";
import {
  BlockClaims,
  BlockError,
  blockObjects,
  ClaimAddresses,
  claimObjects,
  IpClaims,
} from "../../../src/blocks/index.ts";
import { Ipam } from "../../../src/ipam/index.ts";
import { connect, createObject, type KubeClient, listObjects, NODES, podsOf } from "../../../src/kube/index.ts";
import { type ApiServer, type ResourceType, startApiServer } from "../../../src/lab/api/index.ts";
import { BUILT_IN } from "../../../src/lab/api/resources.ts";
import { API_VERSION, ipClaimsOf, NETWORK_BLOCKS, parseNetworkBlock } from "../../../src/networks/index.ts";

const own = { group: "skylane.dev", version: "v1alpha1", generation: true };
const ROWS: ResourceType[] = [
  { ...own, plural: "networkblocks", singular: "networkblock", kind: "NetworkBlock", namespaced: false },
  { ...own, plural: "ipclaims", singular: "ipclaim", kind: "IPClaim", namespaced: true, status: true },
];

describe("blocks and claims through an API server", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-embedded-"));
  let server: ApiServer;
  let client: KubeClient;
  /** uids of the Nodes: a block of one that does not exist is collected. */
  const uids = new Map<string, string>();

  before(async () => {
    const resources = ROWS.filter(({ plural }) => !BUILT_IN.some((row) => row.plural === plural));
    server = await startApiServer({ host: "127.0.0.1", resources });
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
      const claims = new BlockClaims({
        network: "blue",
        cidrs: ["10.1.0.0/27", "fd00:1::/64"],
        blockSize: 8,
        node,
        nodeUid: uids.get(node) ?? "",
        objects: blockObjects(client),
        view: () => [],
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
    const claims = new BlockClaims({
      network: "red",
      cidrs: ["10.2.0.0/24"],
      blockSize: 64,
      node: "n1",
      nodeUid: uids.get("n1") ?? "",
      objects: blockObjects(client),
      view: () => [],
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

  it("give a claim one address on whatever node, and free it after its end", async () => {
    for (const node of ["n1", "n2"]) {
      const metadata = { name: `db-on-${node}`, namespace: "default" };
      const spec = { nodeName: node, containers: [{ name: "c", image: "i" }] };
      await createObject(client, podsOf("default"), { apiVersion: "v1", kind: "Pod", metadata, spec });
    }
    const collection = ipClaimsOf("default");
    const metadata = { name: "db", namespace: "default" };
    await createObject(client, collection, {
      apiVersion: API_VERSION,
      kind: "IPClaim",
      metadata,
      spec: { network: "blue" },
    });
    const on = (node: string) => {
      const addresses = new ClaimAddresses({
        network: "blue",
        cidrs: ["10.1.0.0/24"],
        blockSize: 8,
        objects: blockObjects(client),
        view: () => [],
      });
      return new IpClaims({ network: "blue", node, objects: claimObjects(client), addresses });
    };
    const given = await on("n1").attach("default", "db", { name: "db-on-n1" });
    assert.equal(given.ips.length, 1);
    await assert.rejects(
      on("n2").attach("default", "db", { name: "db-on-n2" }),
      (error) => error instanceof BlockError && error.kind === "inUse",
    );
    await on("n1").detach("default", "db", "db-on-n1");
    assert.deepEqual(await on("n2").attach("default", "db", { name: "db-on-n2" }), given);

    assert.deepEqual(await on("n1").sweep(() => false), []);
    await client.json({ method: "DELETE", path: `${collection}/db` });
    assert.deepEqual(await on("n1").sweep(() => false), given.ips);
    assert.deepEqual(
      (await blocks()).map(({ addresses }) => addresses),
      [{}],
    );
  });
});
