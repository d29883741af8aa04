/** What a look at a suspect finds, on paths that are made up. */
import assert from "node:assert/strict";
import { look } from "../../../src/probes/look.ts";
import { Target } from "../../../src/probes/target.ts";
import { LOCAL } from "./local.ts";

const PEER = { node: "b", mac: "02:00:00:00:00:02", underlayIp: "192.0.2.2", podCidrs: ["10.0.2.0/24", "fd00:2::/64"] };

/** What a path lets through, by address: the largest packet, and every how many one is lost. */
type Ways = Readonly<Record<string, { size: number; lose?: number }>>;

async function looked(target: Target, ways: Ways, { tcp = false, echoes = true } = {}): Promise<number> {
  const sent = new Map<string, number>();
  let taken = false;
  await look(target, {
    ask: (path, size = 0) => {
      const { size: passes = -1, lose = 0 } = ways[path.ip] ?? {};
      const nth = (sent.get(path.ip) ?? 0) + 1;
      sent.set(path.ip, nth);
      const answered = size <= passes && !(lose > 0 && nth % lose === 0);
      path.record(answered ? 1 : undefined);
      return Promise.resolve(answered);
    },
    tcp: () => Promise.resolve(tcp),
    study: () => {
      if (taken) return undefined;
      taken = true;
      return () => (taken = false);
    },
    echoes: () => echoes,
  });
  return [...sent.values()].reduce((all, one) => all + one, 0);
}

const ALL: Ways = { "10.0.2.0": { size: 1450 }, "fd00:2::": { size: 1450 }, "192.0.2.2": { size: 1500 } };

describe("a look at a peer", () => {
  it("goes to its VTEP in each family, and beside the tunnel with what carries a full packet", () => {
    const { paths } = new Target(LOCAL, PEER);
    assert.deepEqual(
      paths.map(({ ip, inside, full }) => [ip, inside, full]),
      [
        ["10.0.2.0", true, 1450],
        ["fd00:2::", true, 1450],
        ["192.0.2.2", false, 1500],
      ],
    );
    const narrow = new Target({ ...LOCAL, narrow: "too small" }, PEER);
    assert.deepEqual(
      narrow.paths.map(({ ip }) => ip),
      ["10.0.2.0", "192.0.2.2"],
      "the kernel has taken IPv6 off the device",
    );
  });

  it("finds nothing where all answer", async () => {
    const target = new Target(LOCAL, PEER);
    assert.equal(await looked(target, ALL), 6);
    assert.deepEqual(target.finding, { inside: { 4: "answers", 6: "answers" }, beside: "answers" });
    assert.equal(target.fault, undefined);
  });

  it("tells a closed port, a dead machine and one that is not known from each other", async () => {
    const target = new Target(LOCAL, PEER);
    await looked(target, { "192.0.2.2": { size: 1500 } });
    assert.equal(target.fault, "tunnel");
    await looked(target, {});
    assert.equal(target.fault, "down", "it has answered before");
    const unknown = new Target(LOCAL, PEER);
    await looked(unknown, {}, { echoes: false });
    assert.equal(unknown.fault, "silent");
    await looked(unknown, {}, { echoes: false, tcp: true });
    assert.equal(unknown.fault, "tunnel");
  });

  it("searches for the size that passes", async () => {
    const target = new Target(LOCAL, PEER);
    await looked(target, { ...ALL, "10.0.2.0": { size: 1387 }, "fd00:2::": { size: 1387 } });
    assert.equal(target.fault, "narrow");
    for (const { inside, passes = 0 } of target.paths)
      if (inside) assert.ok(passes > 1379 && passes <= 1387, `${passes}`);
    await looked(target, ALL);
    assert.equal(target.fault, undefined);
    assert.equal(target.paths[0]?.passes, undefined);
  });

  it("finds anew which size passes where it is another one than before, and searches for nothing where it is not", async () => {
    const target = new Target(LOCAL, PEER);
    const passing = (size: number): Ways => ({ ...ALL, "10.0.2.0": { size } });
    for (const size of [1_387, 1_300, 1_420]) {
      await looked(target, passing(size));
      const { passes = 0 } = target.paths[0] ?? {};
      assert.ok(passes > size - 8 && passes <= size, `${passes} of ${size}`);
    }
    // Small ones, three full ones that are lost, what passed, and what would be more; what is well takes two a path.
    assert.equal(await looked(target, passing(1_420)), 1 + 3 + 2 + 2 + 2);
  });

  it("takes packets lost at once for an outage, and a share of them lost for loss", async () => {
    const outage = new Target(LOCAL, PEER);
    await looked(outage, ALL);
    for (const path of outage.paths) for (let n = 0; n < 5; n++) path.record(undefined);
    await looked(outage, ALL);
    assert.equal(outage.fault, undefined);
    const lossy = new Target(LOCAL, PEER);
    await looked(lossy, ALL);
    lossy.paths[0]?.record(undefined);
    const some = { ...ALL, "10.0.2.0": { size: 1450, lose: 30 } };
    await looked(lossy, some);
    assert.equal(lossy.fault, "loss");
    assert.ok((lossy.paths[0]?.loss ?? 0) > 0.02);
    await looked(lossy, ALL);
    assert.equal(lossy.fault, "loss", "one study without any may be luck");
    await looked(lossy, ALL);
    assert.equal(lossy.fault, undefined, "it loses none any more");
  });

  it("finds that each path loses none any more, though all of them have lost some", async () => {
    const target = new Target(LOCAL, PEER);
    await looked(target, ALL);
    for (const path of target.paths) path.record(undefined);
    await looked(target, Object.fromEntries(target.paths.map(({ ip, full }) => [ip, { size: full, lose: 30 }])));
    assert.deepEqual(target.finding, { inside: { 4: "lossy", 6: "lossy" }, beside: "lossy" });
    for (let n = 0; n < 3; n++) await looked(target, ALL);
    assert.equal(target.fault, undefined);
  });

  it("counts what visits have found, too", async () => {
    const target = new Target(LOCAL, PEER);
    await looked(target, ALL);
    target.paths[0]?.record(undefined);
    await looked(target, { ...ALL, "10.0.2.0": { size: 1450, lose: 30 } });
    assert.equal(target.fault, "loss");
    for (let n = 0; n < 250; n++) target.paths[0]?.record(1);
    assert.equal(await looked(target, ALL), 6, "no study is left to make");
    assert.equal(target.fault, undefined);
  });

  it("gives a study up when the path goes silent meanwhile", async () => {
    const target = new Target(LOCAL, PEER);
    await looked(target, ALL);
    target.paths[0]?.record(undefined);
    let asked = 0;
    await look(target, {
      ask: (path) => {
        const answered = path !== target.paths[0] || ++asked < 20;
        path.record(answered ? 1 : undefined);
        return Promise.resolve(answered);
      },
      tcp: () => Promise.resolve(false),
      study: () => () => undefined,
      echoes: () => true,
    });
    assert.ok(asked < 30, `${asked} packets`);
    assert.equal(target.fault, "family4");
  });
});
