import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KnownNames } from "../../../../src/enforcement/names/known-names.ts";

const POD = "10.0.0.1";
const answer = (name: string, ...addresses: [ip: string, ttl: number][]) => ({
  name,
  addresses: addresses.map(([ip, ttl]) => ({ ip, ttl })),
});
/** Address number so and so. */
const ip = (n: number): string => `198.51.${n >> 8}.${n & 255}`;

describe("addresses that domain names have", () => {
  let directory: string;
  let path: string;
  let now: number;
  let known: KnownNames;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "skylane-names-"));
    path = join(directory, "cache", "names.json");
    now = 1_000_000;
    known = new KnownNames(path, () => now);
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("last for as long as the answer says, half a minute at least and a day at most", () => {
    const { changes, refused } = known.learn(POD, answer("a.example", [ip(1), 300], [ip(2), 1], [ip(3), 2 ** 31 - 1]));
    assert.deepEqual(
      changes.set.map(({ until }) => until - now),
      [300_000, 30_000, 86_400_000],
    );
    assert.equal(refused, 0);
    assert.equal(known.nextMs, 30_000);
    now += 30_000;
    assert.deepEqual(known.lapse(() => true).set, [{ name: "a.example", ip: ip(2), until: 0 }]);
    assert.deepEqual(
      known.current().map((one) => one.ip),
      [ip(1), ip(3)],
    );
    assert.deepEqual(known.lapse(() => true).set, []);
  });

  it("are news where an answer makes them last longer, and not where it is an older one", () => {
    known.learn(POD, answer("a.example", [ip(1), 60]));
    assert.deepEqual(known.learn("10.0.0.2", answer("a.example", [ip(1), 50])).changes.set, []);
    now += 20_000;
    assert.equal(known.learn(POD, answer("a.example", [ip(1), 60])).changes.set.length, 1);
    now += 60_000;
    known.lapse(() => true);
    // It is over, and has come back.
    assert.equal(known.learn(POD, answer("a.example", [ip(1), 60])).changes.set.length, 1);
    assert.equal(known.size, 1);
  });

  it("are forgotten where no rule asks for them any more", () => {
    known.learn(POD, answer("a.example", [ip(1), 60]));
    now += 60_000;
    assert.deepEqual(
      known.lapse(() => false),
      { set: [], gone: [{ name: "a.example", ip: ip(1) }] },
    );
    assert.equal(known.size, 0);
    assert.equal(known.nextMs, undefined);
  });

  it("have a bound for one name: what is over makes room, and what is not is kept", () => {
    const many = Array.from({ length: 100 }, (_, n): [string, number] => [ip(n), n === 7 ? 30 : 3_000]);
    known.learn(POD, answer("a.example", ...many));
    assert.equal(known.learn(POD, answer("a.example", [ip(500), 60])).refused, 1);
    now += 30_000;
    known.lapse(() => true);
    const { changes, refused } = known.learn(POD, answer("a.example", [ip(500), 60]));
    assert.equal(refused, 0);
    assert.deepEqual(changes.gone, [{ name: "a.example", ip: ip(7) }]);
    assert.equal(known.size, 100);
  });

  it("have a bound for one pod, and no other pod has less for it", () => {
    let refused = 0;
    for (let n = 0; n < 1_100; n++) refused += known.learn(POD, answer(`n${n}.a.example`, [ip(n), 600])).refused;
    assert.equal(refused, 100);
    assert.equal(known.learn("10.0.0.2", answer("b.example", [ip(9), 600])).refused, 0);
  });

  it("are known to the agent that starts next, also those that are over", () => {
    known.learn(POD, answer("a.example", [ip(1), 60], [ip(2), 600]));
    known.save();
    now += 60_000;
    const next = new KnownNames(path, () => now);
    assert.deepEqual(next.load().set, [
      { name: "a.example", ip: ip(1), until: 0 },
      { name: "a.example", ip: ip(2), until: now + 540_000 },
    ]);
    // A clock that was put back makes nothing last for longer than it could.
    const long = new KnownNames(path, () => -1e12);
    assert.equal(long.load().set?.[1]?.until, -1e12 + 86_400_000);
    assert.deepEqual(new KnownNames(join(directory, "nothing")).load(), {});
    for (const text of ["", "{}", '{"version":1,"names":[["a"]]}', '{"version":1,"names":[["a","x","y",1]]}']) {
      writeFileSync(path, text);
      assert.throws(() => new KnownNames(path).load());
    }
  });
});
