/** The same over the wire: versions, preconditions, selectors and statuses as an API server has them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockError, blockObjects } from "../../../src/ipam/blocks/index.ts";
import { claimObjects, Claims, sweepClaims } from "../../../src/ipam/claims/index.ts";
import {
  connect,
  createObject,
  getObject,
  type KubeClient,
  listObjects,
  NODES,
  podsOf,
} from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { API_VERSION, ipClaimsOf, NETWORK_BLOCKS, parseIPClaim, parseNetworkBlock } from "../../../src/crd/index.ts";

describe("claims through an API server", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-claims-api-"));
  const collection = ipClaimsOf("default");
  let server: ApiServer;
  let client: KubeClient;

  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
    for (const node of ["n1", "n2"]) {
      await createObject(client, NODES, { apiVersion: "v1", kind: "Node", metadata: { name: node } });
      const metadata = { name: `db-on-${node}`, namespace: "default" };
      const spec = { nodeName: node, containers: [{ name: "c", image: "i" }] };
      await createObject(client, podsOf("default"), { apiVersion: "v1", kind: "Pod", metadata, spec });
    }
  });
  after(async () => {
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const make = (name: string, network: string, spec: object = {}) =>
    createObject(client, collection, {
      apiVersion: API_VERSION,
      kind: "IPClaim",
      metadata: { name, namespace: "default" },
      spec: { network, ...spec },
    });
  const remove = (path: string) => client.json({ method: "DELETE", path });
  const on = (node: string, network: string) =>
    new Claims({
      network,
      cidrs: ["10.1.0.0/24", "fd00:1::/64"],
      blockSize: 8,
      node,
      claims: claimObjects(client),
      blocks: blockObjects(client),
      taken: async () => [],
    });
  const sweep = (network: string) =>
    sweepClaims({
      network,
      blocks: blockObjects(client),
      claims: claimObjects(client),
      inUse: async () => () => false,
    });
  const blocks = async (network: string) =>
    (await listObjects(client, NETWORK_BLOCKS)).map(parseNetworkBlock).filter((one) => one.network === network);

  it("give a claim its addresses on whatever node, for one pod at a time, and free them after its end", async () => {
    await make("db", "blue", { podName: "db-on-n1", mac: "02-00-00-00-00-0A" });
    const pod = { namespace: "default", podName: "db-on-n1" };
    const given = await on("n1", "blue").forPod(pod);
    assert.ok(given);
    assert.deepEqual([given.ips.length, given.mac], [2, "02:00:00:00:00:0a"]);
    await on("n1", "blue").use({ claim: given.claim, pod: "db-on-n1" });
    const other = { namespace: "default", podName: "db-on-n2", claimName: "db" };
    const seen = await on("n2", "blue").forPod(other);
    assert.deepEqual(seen, { ...given, heldBy: { node: "n1", pod: "db-on-n1", alive: true } });
    const use = () => on("n2", "blue").use({ claim: given.claim, pod: "db-on-n2" });
    await assert.rejects(use(), (error) => error instanceof BlockError && error.kind === "inUse");
    await remove(`${podsOf("default")}/db-on-n1?gracePeriodSeconds=0`);
    await use();
    const [claim] = (await listObjects(client, collection)).map(parseIPClaim);
    assert.deepEqual([claim?.status.node, claim?.status.pod, claim?.status.ips], ["n2", "db-on-n2", given.ips]);

    assert.deepEqual(await sweep("blue"), []);
    assert.equal((await blocks("blue")).length, 3, "one a family, and one for the MAC address");
    await remove(`${collection}/db`);
    assert.deepEqual((await sweep("blue")).sort(), [...given.ips, given.mac].sort());
    assert.deepEqual(await blocks("blue"), []);
  });

  it("are given by two nodes at once, and are the same on both", async () => {
    const names = Array.from({ length: 24 }, (_, i) => `web-${i}`);
    for (const name of names) await make(name, "red", { podName: name });
    const [first, second] = [on("n1", "red"), on("n2", "red")];
    // Each claim is wanted by two nodes at the same time.
    const given = await Promise.all(
      names.flatMap((podName) => [first, second].map((node) => node.forPod({ namespace: "default", podName }))),
    );
    const claims = (await listObjects(client, collection)).map(parseIPClaim).filter((one) => one.network === "red");
    assert.equal(new Set(claims.flatMap(({ status }) => status.ips)).size, 2 * names.length);
    for (const [i, one] of given.entries())
      assert.deepEqual(one?.ips, claims.find(({ name }) => name === names[i >> 1])?.status.ips);
  });

  it("do not delete a block that somebody has written since it was read", async () => {
    await make("late", "green");
    const reading = blockObjects(client);
    await on("n1", "green").forPod({ namespace: "default", podName: "x", claimName: "late" });
    const [block] = await blocks("green");
    assert.ok(block);
    const before = String(Number(block.resourceVersion) - 1);
    await reading.delete(block.name, block.uid, before);
    assert.ok((await blocks("green")).some(({ name }) => name === block.name));
  });

  it("say of a claim with an unusable value that it is invalid, until somebody makes it right", async () => {
    await make("unusable", "green", { ips: ["10.1.0.300"] });
    const asks = () => on("n1", "green").forPod({ namespace: "default", podName: "db-on-n1", claimName: "unusable" });
    const ready = async () => {
      const object = await getObject(client, collection, "unusable");
      const { conditions = [] } = (object as { status?: { conditions?: Record<string, string>[] } }).status ?? {};
      return conditions.map(({ type, status, reason, message }) => `${type} ${status} ${reason} ${message}`).join();
    };
    await assert.rejects(asks(), /IPClaim default\/unusable: spec\.ips\[0\]/);
    assert.match(await ready(), /^Ready False Invalid IPClaim default\/unusable: spec\.ips\[0\].*10\.1\.0\.300/);
    await remove(`${collection}/unusable`);
    await make("unusable", "green", { ips: ["10.1.0.30"] });
    assert.deepEqual((await asks())?.ips.includes("10.1.0.30"), true);
    assert.match(await ready(), /^Ready True Held /);
  });
});
