/** Whether kubelets are heard by their Leases: what follows from reading one, and which are read when. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isHeard } from "../../../src/nodes/heard.ts";
import { ApiError, connect, growingPause, type KubeClient, longestPause, NodeLeases } from "../../../src/kube/index.ts";
import { type LeaseSight, nextLook, readLease, seeLease } from "../../../src/kube/nodes/lease-sight.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/** A time of kubelets; their clock need not be ours. */
const START = Date.parse("2026-01-01T00:00:00Z");
const at = (second: number): string => new Date(START + second * 1_000).toISOString().replace("Z", "000Z");
const spec = (second: number, more: object = {}) => ({
  holderIdentity: "n1",
  leaseDurationSeconds: 40,
  renewTime: at(second),
  ...more,
});

describe("what is seen of a kubelet's lease", () => {
  /** Reads of one lease: when, on our clock and in seconds, and when it was renewed by the kubelet's. */
  const reads = (all: [our: number, kubelets: number][], wallAhead = 0): LeaseSight => {
    let sight: LeaseSight | undefined;
    for (const [our, kubelets] of all) {
      const lease = readLease({ spec: spec(kubelets) });
      assert.ok(lease);
      sight = seeLease(sight, lease, our * 1_000, START + (our + wallAhead) * 1_000);
    }
    assert.ok(sight);
    return sight;
  };

  it("is alive as long as it is seen to be renewed, whichever clock the kubelet has", () => {
    for (const skew of [0, 3_600, -3_600, 86_400 * 365]) {
      assert.equal(reads([[0, skew]]).state, skew < 0 ? "doubtful" : "fresh");
      const renewed: [number, number][] = [
        [0, skew],
        [39, skew + 30],
        [69, skew + 60],
        [99, skew + 90],
      ];
      assert.equal(reads(renewed).state, "renewed");
    }
  });

  it("runs out once it has not changed for as long as it lasts, counted from its last renewal", () => {
    assert.equal(
      reads([
        [0, 0],
        [40, 0],
      ]).state,
      "fresh",
    );
    assert.equal(
      reads([
        [0, 0],
        [41, 0],
      ]).state,
      "over",
    );
    // Renewed five seconds after the first look: dead since then, not since the look that saw it.
    assert.equal(
      reads([
        [0, 0],
        [41, 5],
      ]).state,
      "renewed",
    );
    assert.equal(
      nextLook(
        reads([
          [0, 0],
          [41, 5],
        ]),
        41_000,
      ),
      4_000,
    );
    assert.equal(
      reads([
        [0, 0],
        [41, 5],
        [46, 5],
      ]).state,
      "over",
    );
    // Already over when it is seen.
    assert.equal(
      reads([
        [0, 0],
        [10, 9],
        [100, 18],
      ]).state,
      "over",
    );
  });

  it("is not fooled by a kubelet whose clock is set", () => {
    // Back by an hour: the renewal was after the last look. Ahead: it was not in the future.
    assert.equal(
      reads([
        [0, 0],
        [39, -3_600],
      ]).heardAt,
      0,
    );
    assert.equal(
      reads([
        [0, 0],
        [39, 3_600],
      ]).heardAt,
      39_000,
    );
    assert.equal(
      reads([
        [0, 0],
        [39, 3_600],
        [80, 3_600],
      ]).state,
      "over",
    );
  });

  it("is doubtful where it ran out before it was first seen, until it is renewed or not", () => {
    assert.equal(reads([[0, 0]], 60).state, "doubtful");
    assert.equal(nextLook(reads([[0, 0]], 60), 0), 10_000);
    assert.equal(
      reads(
        [
          [0, 0],
          [11, 0],
        ],
        60,
      ).state,
      "doubtful",
    );
    assert.equal(
      reads(
        [
          [0, 0],
          [11, 9],
        ],
        60,
      ).state,
      "renewed",
    );
    assert.equal(
      reads(
        [
          [0, 0],
          [41, 0],
        ],
        60,
      ).state,
      "over",
    );
    assert.equal(
      reads(
        [
          [0, 0],
          [41, 0],
          [51, 50],
        ],
        60,
      ).state,
      "renewed",
    );
  });

  it("has bounds, and none of what makes no sense", () => {
    for (const wrong of [undefined, {}, { spec: null }, { spec: { renewTime: "soon" } }, { spec: { renewTime: 7 } }])
      assert.equal(readLease(wrong), undefined);
    const lasts = (leaseDurationSeconds: unknown) => readLease({ spec: { renewTime: at(0), leaseDurationSeconds } });
    assert.equal(lasts(undefined)?.lastsMs, 40_000);
    assert.equal(lasts("40")?.lastsMs, 40_000);
    for (const [seconds, ms] of [
      [-1, 10_000],
      [0, 10_000],
      [1, 10_000],
      [60, 60_000],
      [2 ** 31 - 1, 600_000],
    ] as const)
      assert.equal(lasts(seconds)?.lastsMs, ms);
  });

  it("says more than the condition Ready", () => {
    for (const ready of [true, false, undefined]) {
      assert.equal(isHeard(ready, "renewed"), true);
      assert.equal(isHeard(ready, "over"), false);
      assert.equal(isHeard(ready, undefined), ready);
      assert.equal(isHeard(ready, "fresh"), ready);
      // One that has never been renewed proves nothing, and does not beat one that lives.
      for (const lease of ["none", "doubtful"] as const)
        assert.equal(isHeard(ready, lease), ready === false ? false : undefined);
    }
  });
});

describe("the leases of Nodes that claim the same", function () {
  this.timeout(30_000);
  let folder: string;
  let api: ApiServer;
  let client: KubeClient;
  let leases: NodeLeases;
  let news: string[];
  let warned: string[];
  const timings = { leastMs: 5, againMs: 10, spread: 0, secondMs: 5 };

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "skylane-leases-"));
    api = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(folder, "kubeconfig"), api.kubeconfig());
    client = connect({ kubeconfig: join(folder, "kubeconfig") });
    [news, warned] = [[], []];
    const log = {
      warn: (message: string) => warned.push(message),
      info: () => undefined,
      debug: () => undefined,
      error: () => undefined,
    };
    leases = new NodeLeases(client, { log, timings, onNews: (name) => news.push(name) });
  });
  afterEach(async () => {
    await leases.stop();
    await client.close();
    await api.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const create = (name: string, second: number) =>
    client.json({
      method: "POST",
      path: LEASES,
      body: { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name }, spec: spec(second) },
    });
  const renew = (name: string, second: number) =>
    client.json({
      method: "PATCH",
      path: `${LEASES}/${name}`,
      body: { spec: spec(second) },
      contentType: "application/merge-patch+json",
    });
  const asked = (): number =>
    Object.entries(api.stats().requests ?? {})
      .filter(([what]) => what.startsWith("get leases"))
      .reduce((sum, [, count]) => sum + count, 0);

  it("are read of those alone, and again when they would run out", async () => {
    await create("dead", 0);
    await create("alive", 0);
    await create("other", 0);
    assert.equal(leases.of("dead"), undefined);
    leases.follow(["dead", "alive", "never"]);
    let second = 0;
    const beat = setInterval(() => void renew("alive", (second += 10)).catch(() => undefined), 50);
    try {
      await eventuallyHolds(() =>
        assert.deepEqual(
          ["dead", "alive", "never", "other"].map((name) => leases.of(name)),
          ["over", "renewed", "none", undefined],
        ),
      );
      for (const name of ["dead", "alive", "never"]) assert.ok(news.includes(name));
      // It comes back.
      await renew("dead", 500);
      await eventually(() => leases.of("dead") === "renewed");
    } finally {
      clearInterval(beat);
    }
    // Of those of whom nobody wants to know any more, nothing is read.
    leases.follow([]);
    assert.equal(leases.of("dead"), undefined);
    await leases.stop();
    const before = asked();
    leases.follow(["dead"]);
    await renew("dead", 600);
    assert.equal(asked(), before);
  });

  it("are asked about more and more seldom while nothing changes, the more agents ask", async () => {
    await create("dead", 0);
    const questions: number[] = [];
    const watched: KubeClient = {
      ...client,
      server: client.server,
      json: (request) => {
        questions.push(performance.now());
        return client.json(request);
      },
    };
    const many = new NodeLeases(watched, { timings, onNews: (name) => news.push(name), mostMs: () => 320 });
    many.follow(["dead"]);
    await eventually(() => many.of("dead") === "over");
    const then = questions.length;
    await eventually(() => questions.length >= then + 8);
    const pauses = questions.slice(1).map((at, i) => at - (questions[i] as number));
    await many.stop();
    // Never sooner, whatever else a machine does: 5, 10, 20 ... 320.
    assert.ok((pauses.at(-1) as number) >= 300, pauses.join(" "));
    assert.equal(growingPause(10_000, 9, longestPause(5_000)), 200_000);
    assert.equal(growingPause(10_000, 9, longestPause(3)), 10_000);
  });

  it("count as unread where the API server does not let the agent read them, which is said once", async () => {
    let refused = 0;
    const refusing: KubeClient = {
      ...client,
      server: client.server,
      json: () => {
        refused++;
        return Promise.reject(new ApiError("GET lease", 403, { message: "forbidden" }));
      },
    };
    const other = new NodeLeases(refusing, {
      log: { warn: (message: string) => warned.push(message) } as never,
      timings,
      onNews: (name) => news.push(name),
    });
    other.follow(["a", "b"]);
    await eventually(() => refused > 6);
    await other.stop();
    assert.equal(other.of("a"), undefined);
    assert.equal(warned.length, 1);
    assert.match(warned[0] ?? "", /cannot read the Leases/);
    assert.deepEqual(news, []);
  });
});
