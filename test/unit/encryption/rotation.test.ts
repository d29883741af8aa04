import assert from "node:assert/strict";
import {
  LIMIT_SECONDS,
  type Pair,
  QUIET_SECONDS,
  Rotation,
  SILENT_SECONDS,
  STANDS_SECONDS,
} from "../../../src/dataplane/encryption/rotation.ts";
import { Wakes } from "../../../src/dataplane/encryption/wakes.ts";

/** How a lane stands: bytes that have come, and whether there was a handshake. */
type Lane = [bytes: number, agreed: boolean];

const pair = (old: Lane, next: Lane | undefined, more: Partial<Pair> = {}): Pair => ({
  node: "node2",
  knows: true,
  at: "172.30.0.2",
  used: 0,
  lanes: [old, ...(next ? [next] : [])].map(([rxBytes, agreed], index) => ({
    lane: index === 0 ? 0 : 2,
    key: "k",
    port: 51_871 + index,
    state: { publicKey: "k", allowedIps: [], rxBytes, txBytes: 0, ...(agreed && { lastHandshake: 1 }) },
  })),
  ...more,
});

/** Looks every second from `from` to `to`; says when it was over first. */
function over(rotation: Rotation, from: number, to: number, pairs: (now: number) => Pair[]): number | undefined {
  for (let now = from; now <= to; now++) {
    rotation.look(pairs(now), now);
    if (rotation.isOver(now)) return now;
  }
  return undefined;
}

describe("the change of a node's key", () => {
  it("is over when the other node has agreed on the next key and sends nothing by the old one", () => {
    const rotation = new Rotation(0, 100);
    assert.equal(rotation.isOver(1_000), false, "before anybody has looked");
    const at = over(rotation, 100, 300, (now) => [pair([Math.min(now, 150), true], [0, now >= 110])]);
    assert.equal(at, 150 + QUIET_SECONDS);
  });

  it("waits for a node that still sends by the old key, without an end", () => {
    const rotation = new Rotation(0, 0);
    assert.equal(
      over(rotation, 0, 5_000, (now) => [pair([now, true], [0, true])]),
      undefined,
    );
    assert.match(rotation.awaited[0]?.why ?? "", /packets still come by the old one/);
  });

  it("waits for a node that answers by the old key alone, without an end, and says which port it is", () => {
    const rotation = new Rotation(0, 0);
    assert.equal(
      over(rotation, 0, 5_000, (now) => [pair([now - (now % 300), true], [0, false])]),
      undefined,
    );
    assert.deepEqual(
      rotation.awaited.map(({ node }) => node),
      ["node2"],
    );
    assert.match(rotation.awaited[0]?.why ?? "", /UDP to 172\.30\.0\.2 port 51872 from skylane-wg10.*blocked/);
    assert.equal(rotation.standsStill(STANDS_SECONDS - 1), false);
    assert.equal(rotation.standsStill(STANDS_SECONDS), true);
  });

  it("waits for a node that is away no longer than is said, from when this agent began to wait", () => {
    const rotation = new Rotation(0, 1_000);
    assert.equal(
      over(rotation, 1_000, 5_000, () => [pair([7, true], [0, false])]),
      1_000 + LIMIT_SECONDS,
    );
    // It went away in between.
    const later = new Rotation(0, 0);
    const at = over(later, 0, 5_000, (now) => [pair([Math.min(now, 500), true], [0, false])]);
    assert.equal(at, 500 + SILENT_SECONDS);
    assert.ok(later.awaited.length === 0);
  });

  it("does not wait for nodes that know one key alone, publish none, or one of this node", () => {
    const rotation = new Rotation(0, 0);
    const single = pair([7, true], undefined, { knows: false });
    const pairs = [single, { ...single, node: "node3", knows: true, lanes: [] }];
    assert.equal(
      over(rotation, 0, 100, () => pairs),
      QUIET_SECONDS,
    );
  });

  it("counts a handshake with the key alone by which is sent to a node that changes its own", () => {
    const rotation = new Rotation(0, 0);
    // By the key that the other node forgets, and not by the next one of both.
    const four = (both: boolean): Pair => {
      const [old, next] = pair([7, true], [7, true]).lanes;
      const its = [
        { ...old, lane: 1 as const, key: "next" },
        { ...next, lane: 3 as const, key: "next", ...(!both && { state: undefined }) },
      ] as Pair["lanes"];
      return { ...pair([7, true], [7, true]), used: 1, lanes: [...pair([7, true], [7, true]).lanes, ...its] };
    };
    assert.equal(
      over(rotation, 0, 200, (now) => [four(now > 100)]),
      101 + QUIET_SECONDS,
    );
  });

  it("begins anew with a node whose lane was made anew, and says why there is none", () => {
    const rotation = new Rotation(0, 0);
    const at = over(rotation, 0, 300, (now) => [pair([7, true], [0, now < 15 || now > 60])]);
    assert.equal(at, 61 + QUIET_SECONDS);
    const other = new Rotation(1, 0);
    const lanes = pair([7, true], [7, true]).lanes.map((one) => ({
      ...one,
      ...(one.lane === 0 && { error: "in use" }),
    }));
    other.look([{ ...pair([7, true], undefined), lanes: lanes.map((one) => ({ ...one, state: undefined })) }], 1);
    assert.match(other.awaited[0]?.why ?? "", /no device for the next key: in use/);
  });
});

describe("lanes that wait", () => {
  const lanes = [0, 1].map((lane) => ({ lane: lane as 0 | 1, key: `k${lane}`, port: 1 }));
  const of = (used: number, up: number[]) => ({
    lanes,
    used,
    agreed: ({ lane }: { lane: number }) => up.includes(lane),
  });
  const times = (wakes: Wakes, to: number, pairs: (now: number) => Parameters<Wakes["due"]>[0]) => {
    const found: string[] = [];
    for (let now = 0; now <= to; now++)
      for (const { lane, anew } of wakes.due(pairs(now), now)) found.push(`${now} ${lane}${anew ? " anew" : ""}`);
    return found;
  };

  it("are woken again and again, for as long as they wait, and made anew at times; the one that is used seldom", () => {
    assert.deepEqual(
      times(new Wakes(), 140, () => [of(0, [0])]),
      ["1 1", "3 1", "7 1", "15 1", "31 1 anew", "60 0", "61 1", "91 1", "120 0", "121 1"],
    );
    assert.equal(times(new Wakes(), 86_400, () => [of(0, [0])]).at(-2), "86371 1");
  });

  it("are left alone once the best one is up, and where there is one alone", () => {
    assert.deepEqual(
      times(new Wakes(), 200, () => [of(1, [0, 1])]),
      [],
    );
    assert.deepEqual(
      times(new Wakes(), 200, () => [{ ...of(0, []), lanes: lanes.slice(1) }]),
      [],
    );
    assert.deepEqual(
      times(new Wakes(), 5, (now) => [now < 2 ? of(0, [0]) : of(1, [1])]),
      ["1 1"],
    );
    // One that was used and has lost what was agreed.
    assert.deepEqual(
      times(new Wakes(), 5, () => [of(1, [])]),
      ["1 1", "3 1"],
    );
  });

  it("are not woken all at once", () => {
    const many = Array.from({ length: 1_000 }, (_, n) => ({
      ...of(0, [0]),
      lanes: lanes.map((one) => ({ ...one, key: `${n} ${one.key}` })),
    }));
    const wakes = new Wakes();
    wakes.due(many, 0);
    const counts = Array.from({ length: 16 }, (_, n) => wakes.due(many, 1 + n / 2).length);
    assert.ok(Math.max(...counts) <= 64, String(counts));
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      64 * 16,
    );
  });
});
