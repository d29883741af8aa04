import assert from "node:assert/strict";
import fc from "fast-check";
import { hash, Rounds, roundMs } from "../../../src/probes/schedule.ts";

const member = (n: number) => ({ name: `node${n}`, hash: hash(`node${n}`) });
type Member = ReturnType<typeof member>;
const BEAT = 200;

/** Goes on for a time, beat by beat; when each had its turns. */
function run(rounds: Rounds<Member>, from: number, ms: number): Map<string, number[]> {
  const turns = new Map<string, number[]>();
  for (let now = from; now < from + ms; now += BEAT) {
    const who = rounds.turn(now);
    if (who) turns.set(who.name, [...(turns.get(who.name) ?? []), now]);
  }
  return turns;
}

describe("the schedule of probes", () => {
  it("visits each peer within the stated time, and nobody faster than five in a second", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), fc.nat(), (count, own) => {
        const rounds = new Rounds<Member>(own);
        rounds.set(Array.from({ length: count }, (_, n) => member(n)));
        const round = roundMs(count);
        const turns = run(rounds, 1_000, round * 3);
        assert.equal(turns.size, count);
        // a beat's length beside the mark, at both ends
        for (const times of turns.values())
          for (const [n, at] of times.entries())
            if (n > 0) assert.ok(at - (times[n - 1] as number) <= round + 2 * BEAT);
        const all = [...turns.values()].flat().length;
        assert.ok(all <= ((round * 3) / 1_000) * 5 + 1);
      }),
      { numRuns: 40 },
    );
  });

  it("takes a fifth of a second for each of many peers, and a second for few", () => {
    assert.equal(roundMs(5_000), 1_000_000);
    assert.equal(roundMs(2), 1_000);
    assert.equal(roundMs(0), 1_000);
  });

  it("leaves nobody out while others come and go", () => {
    const rounds = new Rounds<Member>(7);
    const stay = Array.from({ length: 40 }, (_, n) => member(n));
    rounds.set(stay);
    const seen = new Set<string>();
    const guests: Member[] = [];
    for (let beat = 0; beat < 120; beat++) {
      const who = rounds.turn(beat * BEAT);
      if (who) seen.add(who.name);
      if (beat % 3 === 0) {
        const guest = member(1_000 + beat);
        guests.push(guest);
        rounds.add(guest);
      } else if (beat % 3 === 1) rounds.remove(guests.shift() as Member);
    }
    assert.deepEqual(
      stay.filter(({ name }) => !seen.has(name)),
      [],
    );
  });

  it("does not make up for what a busy process has missed", () => {
    const rounds = new Rounds<Member>(7);
    rounds.set(Array.from({ length: 100 }, (_, n) => member(n)));
    rounds.turn(0);
    const after = Array.from({ length: 20 }, () => rounds.turn(60_000)).filter(Boolean).length;
    assert.ok(after <= 7, `${after}`);
  });

  it("goes in another order at each node", () => {
    const order = (own: string): string[] => {
      const rounds = new Rounds<Member>(hash(own));
      rounds.set(Array.from({ length: 50 }, (_, n) => member(n)));
      return [...run(rounds, 0, 10_000).keys()];
    };
    assert.notDeepEqual(order("a"), order("b"));
    assert.deepEqual(order("a"), order("a"));
  });
});
