/** What the live map's page is sent in parts, and reads a little at a time. */
import assert from "node:assert/strict";
import { Inbox, type Kind } from "../../../src/cli/ui/page/inbox.ts";
import type { Change, Everything } from "../../../src/cli/ui/page/mirror.ts";
import { inParts, PART } from "../../../src/cli/ui/serve/parts.ts";
import type { MapDelta, MapPart, MapPod } from "../../../src/cli/ui/wire.ts";

const pod = (n: number): MapPod => ({ key: `shop/pod-${n}`, phase: "Running", ips: [], further: [], was: [] });
const row = (slot: number, bytes: number) => ({ slot, cells: Buffer.alloc(bytes, slot).toString("base64") });
/** Of pods and rows some parts. */
const LARGE: MapDelta = {
  now: 7,
  podsLeftOut: 1,
  troubles: [{ what: "claims", why: "so" }],
  gone: { nodes: ["node1"] },
  pods: Array.from({ length: 5_000 }, (_, n) => pod(n)),
  rows: Array.from({ length: 200 }, (_, n) => row(n, 2_000)),
};

/** An inbox of which each turn is taken by hand, and what it has read. */
class Desk {
  readonly read: [Kind, Change | Everything][] = [];
  turn: (() => void) | undefined;
  readonly inbox = new Inbox(
    { all: (one) => this.read.push(["all", one]), change: (one) => this.read.push(["change", one]) },
    () => undefined,
    (turn) => {
      assert.equal(this.turn, undefined, "one turn is asked for at a time");
      this.turn = turn;
    },
  );

  send(kind: Kind, parts: readonly string[]): void {
    for (const [i, part] of parts.entries()) this.inbox.push(i === 0 ? kind : "part", part, 7);
  }

  /** @returns turns that it took */
  all(): number {
    let turns = 0;
    for (; this.turn; turns++) {
      const { turn } = this;
      this.turn = undefined;
      turn();
    }
    return turns;
  }
}

describe("parts of what the live map's page is sent", () => {
  it("are of bounded size, and are the whole together", () => {
    const parts = inParts(LARGE);
    assert.ok(parts.length > 5);
    for (const part of parts) assert.ok(part.length < PART + 100, String(part.length));
    assert.deepEqual(
      parts.map((part) => (JSON.parse(part) as MapPart).more),
      parts.map((_, i) => parts.length - 1 - i),
    );
    const desk = new Desk();
    desk.send("change", parts);
    desk.all();
    const [[kind, whole] = []] = desk.read;
    assert.equal(kind, "change");
    const { rows = [], ...rest } = whole as Change & { more?: number };
    assert.deepEqual(rest.pods, LARGE.pods);
    assert.deepEqual([rest.now, rest.podsLeftOut, rest.troubles, rest.gone], [7, 1, LARGE.troubles, LARGE.gone]);
    assert.deepEqual(
      rows.map(({ slot, cells }) => row(slot, cells.length)),
      LARGE.rows,
    );
    assert.ok(rows.every(({ slot, cells }) => cells.length === 2_000 && cells.every((byte) => byte === slot)));
  });

  it("have what is larger than one by itself", () => {
    const huge = { ...pod(1), key: "x".repeat(2 * PART) };
    const parts = inParts({ now: 1, pods: [pod(0), huge, pod(2)] });
    assert.equal(parts.length, 3);
    assert.deepEqual((JSON.parse(parts[1] as string) as MapPart).pods, [huge]);
    assert.deepEqual(inParts({ now: 1 }), ['{"more":0,"now":1}']);
  });

  it("are read over some turns, and nothing is told before the last", () => {
    const desk = new Desk();
    const parts = inParts({ ...LARGE, title: "t", started: 1 });
    desk.send("all", parts.slice(0, -1));
    desk.all();
    assert.equal(desk.read.length, 0);
    assert.equal(desk.inbox.share, (parts.length - 1) / parts.length);
    desk.inbox.push("part", parts.at(-1) as string, 7);
    desk.all();
    assert.equal(desk.read.length, 1);
    assert.equal(desk.inbox.share, undefined);
  });

  it("let others have their turn when theirs is over", () => {
    const real = performance.now.bind(performance);
    // Each look at the clock is a long time after the one before.
    let now = 0;
    performance.now = () => (now += 1_000);
    try {
      const desk = new Desk();
      const parts = inParts(LARGE);
      desk.send("change", parts);
      assert.equal(desk.all(), parts.length);
      assert.equal(desk.read.length, 1);
    } finally {
      performance.now = real;
    }
  });

  it("of a connection that was lost are forgotten", () => {
    const desk = new Desk();
    const parts = inParts(LARGE);
    desk.send("change", parts.slice(0, 3));
    desk.send("all", inParts({ now: 9, pods: [pod(9)] }));
    desk.all();
    assert.deepEqual(
      desk.read.map(([kind, { pods }]) => [kind, pods?.length]),
      [["all", 1]],
    );
  });
});
