import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askedPod, isStatic, sameAsAsking } from "../../../src/pod-requests/asking-pod.ts";
import { CniError, CODE } from "../../../src/cni/index.ts";
import { connect, createObject, type KubeClient, type ObjectMeta, podsOf } from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";

const UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
const HASH = "d41d8cd98f00b204e9800998ecf8427e";
const pod = (uid?: string) => ({ namespace: "shop", name: "db-0", ...(uid !== undefined && { uid }) });
const known = (uid: string, annotations: Record<string, string> = {}): ObjectMeta => ({
  name: "db-0",
  uid,
  resourceVersion: "1",
  creationTimestamp: "2026-01-01T00:00:00Z",
  labels: {},
  annotations,
});
const tryAgain = (message: RegExp) => (error: unknown) =>
  error instanceof CniError && error.code === CODE.tryAgain && message.test(error.message);

describe("a pod that asks for its networks", () => {
  it("is the one that the API server knows by its name, or an older runtime does not say which it is", () => {
    assert.equal(sameAsAsking(pod(UID), known(UID)), true);
    assert.equal(sameAsAsking(pod(), known(UID)), true);
  });

  it("is another one when its uid is another: a late request of an earlier pod gets nothing of the later one's", () => {
    assert.throws(() => sameAsAsking(pod(UID), known("another")), tryAgain(/another one by now \(uid another\)/));
  });

  it("does not start without what it may have asked for when nobody knows it", () => {
    assert.throws(() => sameAsAsking(pod(UID), undefined), tryAgain(/knows no pod shop\/db-0/));
    assert.throws(() => sameAsAsking(pod(), undefined), tryAgain(/knows no pod shop\/db-0/));
  });

  it("need not be known when it is a static one, and is its mirror when there is one", () => {
    assert.ok(isStatic(pod(HASH)));
    assert.equal(sameAsAsking(pod(HASH), undefined), false);
    assert.equal(sameAsAsking(pod(HASH), known(UID, { "kubernetes.io/config.hash": HASH })), true);
    assert.throws(() => sameAsAsking(pod(HASH), known(UID)), tryAgain(/another one/));
  });
});

describe("a pod that asks, in the API server", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-asking-"));
  let server: ApiServer;
  let client: KubeClient;
  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
    await createObject(client, "/api/v1/namespaces", { metadata: { name: "shop" } });
    const containers = [{ name: "main", image: "none" }];
    for (const [name, nodeName] of [["here", "n1"], ["elsewhere", "n2"], ["nowhere"]])
      await createObject(client, podsOf("shop"), {
        metadata: { name },
        spec: { containers, ...(nodeName !== undefined && { nodeName }) },
      });
  });
  after(async () => {
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true });
  });
  const asks = (name: string, uid?: string) =>
    askedPod(client, { namespace: "shop", name, ...(uid !== undefined && { uid }) }, "n1");

  it("is this node's", async () => {
    assert.equal((await asks("here"))?.name, "here");
    assert.equal(await asks("unheard-of", HASH), undefined);
  });

  it("is refused by name when it is bound to another node, or to none", async () => {
    const refused = (message: RegExp) => ({ name: CniError.name, code: CODE.notAllowed, message });
    await assert.rejects(asks("elsewhere"), refused(/bound to node n2, and this is node n1/));
    await assert.rejects(asks("nowhere"), refused(/bound to no node, and this is node n1/));
  });

  it("is not taken for a static one that the API server knows", async () => {
    await assert.rejects(asks("elsewhere", HASH), tryAgain(/another one by now/));
  });
});
