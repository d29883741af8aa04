import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  LeaderElector,
  type LeaderElectorOptions,
  connect,
  type KubeClient,
  replaceObject,
} from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
interface Lease {
  metadata: { resourceVersion: string };
  spec: { holderIdentity: string; leaseTransitions: number; leaseDurationSeconds: number };
}

describe("kube: candidates for a lease", function () {
  this.timeout(20_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-lease-"));
  let server: ApiServer;
  let client: KubeClient;
  let count = 0;
  const all: LeaderElector[] = [];
  const log = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
  });
  beforeEach(() => void count++);
  afterEach(async () => {
    await server.faults.clear();
    await Promise.all(all.splice(0).map((one) => one.stop()));
  });
  after(async () => {
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const name = (): string => `lease-${count}`;
  const lease = async (): Promise<Lease> => (await client.json({ path: `${LEASES}/${name()}` })) as Lease;
  function stand(identity: string, more: Partial<LeaderElectorOptions> = {}) {
    const heard: string[] = [];
    const candidate = new LeaderElector({
      client,
      namespace: "kube-system",
      name: name(),
      identity,
      log,
      wanted: () => true,
      candidates: () => 1,
      onLead: () => heard.push("lead"),
      onLost: () => heard.push("lost"),
      timings: { leaseSeconds: 1, renewMs: 200, leastMs: 100 },
      ...more,
    });
    candidate.start();
    all.push(candidate);
    return { candidate, heard };
  }
  const leads = ({ candidate }: { candidate: LeaderElector }): Promise<boolean> =>
    eventually(() => candidate.leads, { timeoutMs: 8_000, message: "it does not lead" });

  it("has one holder, who keeps it", async () => {
    // Long enough that a busy machine renews it in time.
    const timings = { leaseSeconds: 30, renewMs: 200, leastMs: 100 };
    const three = ["a", "b", "c"].map((one) => stand(one, { timings }));
    await eventually(() => three.some(({ candidate }) => candidate.leads), { message: "nobody leads" });
    const holder = (await lease()).spec.holderIdentity;
    for (let look = 0; look < 20; look++) {
      assert.equal(three.filter(({ candidate }) => candidate.leads).length, 1);
      await delay(100);
    }
    assert.equal((await lease()).spec.holderIdentity, holder);
    assert.equal((await lease()).spec.leaseTransitions, 0);
  });

  it("is another's at once when its holder stops, and counts the change", async () => {
    const first = stand("a");
    await leads(first);
    const second = stand("b");
    await delay(300);
    assert.equal(second.candidate.leads, false);
    await first.candidate.stop();
    assert.deepEqual(first.heard, ["lead", "lost"]);
    assert.equal((await lease()).spec.holderIdentity, "");
    await leads(second);
    assert.equal((await lease()).spec.holderIdentity, "b");
  });

  it("is given up by a holder who cannot renew it, before another may take it", async () => {
    const first = stand("a");
    await leads(first);
    const before = await lease();
    await server.faults.set({
      rules: [{ match: { resources: ["leases"], verbs: ["update"] }, action: { kind: "status", code: 503 } }],
    });
    await eventually(() => !first.candidate.leads, { timeoutMs: 3_000, message: "it still leads" });
    await eventuallyHolds(() => assert.deepEqual(first.heard, ["lead", "lost"]));
    assert.equal((await lease()).metadata.resourceVersion, before.metadata.resourceVersion);
  });

  it("is had anew only after its end was told, also when the process was kept too long to notice it in time", async () => {
    let keep = false;
    const slow: KubeClient = {
      server: client.server,
      read: (request, take) => client.read(request, take),
      stream: (request) => client.stream(request),
      close: () => client.close(),
      json: async (request) => {
        const answer = await client.json(request);
        if (keep && request.method === "PUT") {
          keep = false;
          // No timer runs before what waits for this answer does.
          for (const end = performance.now() + 1_000; performance.now() < end; );
        }
        return answer;
      },
    };
    const first = stand("a", { client: slow });
    await leads(first);
    keep = true;
    await eventually(() => !keep);
    await eventually(() => first.heard.length > 2);
    // On a slow machine it may be lost more often than that, but never had twice in a row.
    for (const [at, what] of first.heard.entries())
      assert.equal(what, at % 2 === 0 ? "lead" : "lost", String(first.heard));
  });

  it("is taken from one who is gone only after its duration was seen to pass, whatever the clocks say", async () => {
    const past = "2001-01-01T00:00:00.000000Z";
    await client.json({
      method: "POST",
      path: LEASES,
      body: {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name: name() },
        spec: {
          holderIdentity: "gone",
          leaseDurationSeconds: 1,
          acquireTime: past,
          renewTime: past,
          leaseTransitions: 3,
        },
      },
    });
    const began = performance.now();
    const second = stand("b");
    await leads(second);
    assert.ok(performance.now() - began > 1_000, "an old time in a lease is no proof");
    assert.equal((await lease()).spec.leaseTransitions, 4);
  });

  it("is lost at once to whoever wrote it meanwhile", async () => {
    const first = stand("a");
    await leads(first);
    const there = await lease();
    await replaceObject(client, LEASES, { ...there, spec: { ...there.spec, holderIdentity: "b" } });
    await eventually(() => !first.candidate.leads, { timeoutMs: 2_000, message: "it still leads" });
  });

  it("is not asked for while there is nothing to lead", async () => {
    let wanted = false;
    const one = stand("a", { wanted: () => wanted });
    await delay(500);
    await assert.rejects(lease(), { status: 404 });
    wanted = true;
    await leads(one);
  });
});
