import assert from "node:assert/strict";
import { isStatic, sameAsAsking } from "../../../src/agent/asking-pod.ts";
import { CniError, CODE } from "../../../src/cni/index.ts";
import type { ObjectMeta } from "../../../src/kube/index.ts";

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
