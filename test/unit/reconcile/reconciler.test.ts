/** The one reconciler, over another side that is a map: what is desired comes to be there, whatever goes wrong meanwhile. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Logger } from "../../../src/log/index.ts";
import {
  type Ensured,
  type EntryOperations,
  type PassReport,
  Reconciler,
  type ReconcileOptions,
  type Refused,
  WHOLE,
} from "../../../src/reconcile/index.ts";
import { eventually } from "../../support/eventually.ts";

/** A base holds others up; an upper one names the base that it relies on. */
interface Thing {
  kind: "base" | "upper";
  name: string;
  value: number;
  base?: string;
  /** Not ours: left alone where nothing of ours belongs. */
  foreign?: true;
}
type Step = { op: "put" | "del"; thing: Thing };

const keyOf = ({ kind, name }: Thing): string => `${kind} ${name}`;
const same = (a: Thing, b: Thing): boolean => a.value === b.value && a.base === b.base && a.foreign === b.foreign;

const things: EntryOperations<Thing, Thing, number, Step> = {
  order: ["base", "upper"],
  keyOf,
  isRight: same,
  applied: (thing) => thing,
  replaces: (thing, there) => thing.kind === "base" || thing.base === there.base,
  put: (thing) => ({ op: "put", thing }),
  remove: (thing) => (thing.foreign ? undefined : { op: "del", thing }),
};

/** The other side. */
class World {
  readonly there = new Map<string, Thing>();
  readonly log: string[] = [];
  /** What is refused, by key, and how often still. */
  readonly refusing = new Map<string, number>();
  /** What came too early or went too soon, where nobody meddles. */
  readonly faults: string[] = [];
  strict = false;
  ground = 1;
  /** Called when what entries lie on is seen to; returns whether it had to be changed. */
  onEnsure: (() => boolean) | undefined;
  unreadable = 0;
  dumps = 0;
  onApply: (() => void) | undefined;

  /** @returns why not */
  execute({ op, thing }: Step): string | undefined {
    const key = keyOf(thing);
    const left = this.refusing.get(key) ?? 0;
    if (left > 0) {
      this.refusing.set(key, left - 1);
      return `${key} is refused`;
    }
    this.log.push(`${op} ${key}`);
    if (op === "del") {
      const resting = this.there.values().find((one) => thing.kind === "base" && one.base === thing.name);
      if (resting && this.strict) this.faults.push(`${key} goes before ${keyOf(resting)}`);
      this.there.delete(key);
    } else {
      const held = thing.base === undefined || this.there.has(`base ${thing.base}`);
      if (!held && this.strict) this.faults.push(`${key} comes before base ${thing.base}`);
      this.there.set(key, thing);
    }
    return undefined;
  }
}

const lines: string[] = [];
const at = (message: string): void => void lines.push(message);
const logger: Logger = { error: at, warn: at, info: at, debug: () => {}, enabled: () => false, child: () => logger };

class Keeper extends Reconciler<Thing, Thing, number, Step> {
  readonly world: World;
  wanted: object = {};
  onRefused: (entries: ReadonlyMap<string, string>) => void = () => {};

  constructor(world: World, options: Partial<ReconcileOptions> = {}) {
    super({ logger, backoff: { baseMs: 2, maxMs: 4 }, ...options }, "world", things);
    this.world = world;
  }

  set(...wanted: Thing[]): void {
    for (const thing of wanted) this.desired.put(keyOf(thing), thing);
    this.change();
  }

  drop(...keys: string[]): void {
    for (const key of keys) this.desired.put(key, undefined);
    this.change();
  }

  get entries(): ReadonlyMap<string, Thing> {
    return this.desired.entries;
  }

  get lacking(): string[] {
    return [...this.missing].sort();
  }

  get failing(): string[] {
    return [...this.errors.keys()].sort();
  }

  get repaired(): Record<string, number> {
    return Object.fromEntries(this.repairs);
  }

  heard(key: string, freed?: string): void {
    this.doubt(`news of ${key}`, freed);
  }

  protected override get ground(): object {
    return this.wanted;
  }

  protected override watch() {
    return { close: () => Promise.resolve() };
  }

  protected override ensure(): Ensured<number> {
    return { on: this.world.ground, touched: this.world.onEnsure?.() ?? false, problems: [] };
  }

  protected override read(): Promise<Iterable<Thing>> {
    this.world.dumps++;
    if (this.world.unreadable > 0) {
      this.world.unreadable--;
      return Promise.reject(new Error("not now"));
    }
    return Promise.resolve([...this.world.there.values()]);
  }

  protected override apply(operations: readonly Step[]): Promise<readonly Refused[]> {
    this.world.onApply?.();
    return Promise.resolve(
      operations.flatMap((operation, index) => {
        const message = this.world.execute(operation);
        return message === undefined ? [] : [{ index, message }];
      }),
    );
  }

  protected override describe({ op, thing }: Step): string {
    return `${op} ${keyOf(thing)}`;
  }

  protected override tellRefused(entries: ReadonlyMap<string, string>): void {
    this.onRefused(entries);
  }

  protected override hangUp(): void {}
}

const base = (name: string, value = 1): Thing => ({ kind: "base", name, value });
const upper = (name: string, on: string, value = 1): Thing => ({ kind: "upper", name, value, base: on });

/** All that is ours there. */
const ours = (world: World): [string, Thing][] =>
  [...world.there].filter(([, thing]) => !thing.foreign).sort(([a], [b]) => (a < b ? -1 : 1));

async function keeping(world: World, work: (keeper: Keeper) => Promise<void>, options: Partial<ReconcileOptions> = {}) {
  const keeper = new Keeper(world, options);
  try {
    await work(keeper);
  } finally {
    await keeper.stop();
  }
}

const name = fc.constantFrom("a", "b", "c");
const anyThing: fc.Arbitrary<Thing> = fc.oneof(
  fc.record({ name, value: fc.nat(5) }).map((one): Thing => ({ kind: "base", ...one })),
  fc.record({ name, value: fc.nat(3), base: name }).map((one): Thing => ({ kind: "upper", ...one })),
);
type Act =
  | { act: "want"; thing: Thing }
  | { act: "drop" | "lose"; thing: Thing }
  | { act: "meddle"; thing: Thing; foreign: boolean }
  | { act: "refuse"; thing: Thing; times: number }
  | { act: "unreadable"; times: number }
  | { act: "settle" | "otherGround" };
const anyAct: fc.Arbitrary<Act> = fc.oneof(
  fc.record({ act: fc.constant("want" as const), thing: anyThing }),
  fc.record({ act: fc.constantFrom("drop" as const, "lose" as const), thing: anyThing }),
  fc.record({ act: fc.constant("meddle" as const), thing: anyThing, foreign: fc.boolean() }),
  fc.record({ act: fc.constant("refuse" as const), thing: anyThing, times: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ act: fc.constant("unreadable" as const), times: fc.integer({ min: 1, max: 2 }) }),
  fc.record({ act: fc.constantFrom("settle" as const, "otherGround" as const) }),
);

async function carryOut(keeper: Keeper, one: Act): Promise<void> {
  const { world } = keeper;
  switch (one.act) {
    case "want":
      // What relies on something is never wanted without it.
      return keeper.set(...(one.thing.base === undefined ? [] : [base(one.thing.base)]), one.thing);
    case "drop": {
      const { kind, name: gone } = one.thing;
      const resting = [...keeper.entries].filter(([, thing]) => kind === "base" && thing.base === gone);
      return keeper.drop(...resting.map(([key]) => key), keyOf(one.thing));
    }
    case "lose":
      world.there.delete(keyOf(one.thing));
      return keeper.heard(keyOf(one.thing), keyOf(one.thing));
    case "meddle": {
      const { base: _, ...thing } = one.thing;
      world.there.set(keyOf(thing), one.foreign ? { ...thing, foreign: true } : thing);
      return keeper.heard(keyOf(thing));
    }
    case "refuse":
      return void world.refusing.set(keyOf(one.thing), one.times);
    case "unreadable":
      world.unreadable = one.times;
      return keeper.heard("all");
    case "otherGround":
      keeper.wanted = {};
      return keeper.set();
    default:
      return keeper.settled();
  }
}

describe("the reconciler", () => {
  it("comes to what is desired, whatever is changed, lost, refused or unreadable meanwhile, and leaves alone what is not ours", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyAct, { maxLength: 25 }), async (acts) => {
        const world = new World();
        await keeping(world, async (keeper) => {
          await keeper.start();
          for (const one of acts) await carryOut(keeper, one);
          await eventually(() => {
            const wanted = [...keeper.entries].sort(([a], [b]) => (a < b ? -1 : 1));
            try {
              assert.deepEqual(ours(world), wanted);
              return keeper.lacking.length === 0 && keeper.failing.length === 0 && keeper.error === undefined;
            } catch {
              return false;
            }
          });
          // Then it rests: nothing is planned by a look, and nothing is retried for ever.
          world.log.length = 0;
          keeper.resync("test");
          await keeper.settled();
          assert.deepEqual(world.log, []);
        });
      }),
      { numRuns: 60 },
    );
  });

  it("puts first what others rely on, and removes it last", async () => {
    const world = new World();
    await keeping(world, async (keeper) => {
      keeper.set(upper("u", "b"), base("b"));
      await keeper.start();
      assert.deepEqual(world.log.splice(0), ["put base b", "put upper u"]);
      keeper.set(upper("v", "c"), base("c"));
      keeper.drop("base b", "upper u");
      await keeper.settled();
      assert.deepEqual(world.log.splice(0), ["put base c", "put upper v", "del upper u", "del base b"]);
      // One that cannot be replaced goes just before the other one comes.
      keeper.set(upper("v", "d"), base("d"));
      await keeper.settled();
      assert.deepEqual(world.log.splice(0), ["put base d", "del upper v", "put upper v"]);
    });
  });

  it("never has an entry without what it relies on, at any step, where nobody meddles", async () => {
    const orderly = anyAct.filter(({ act }) => !["lose", "meddle", "refuse"].includes(act));
    await fc.assert(
      fc.asyncProperty(fc.array(orderly, { maxLength: 25 }), async (acts) => {
        const world = new World();
        world.strict = true;
        await keeping(world, async (keeper) => {
          await keeper.start();
          for (const one of acts) await carryOut(keeper, one);
          await keeper.settled();
          assert.deepEqual(world.faults, []);
        });
      }),
      { numRuns: 60 },
    );
  });

  it("dumps once, and plans a change from its own entries while nothing speaks against what was applied", async () => {
    const world = new World();
    const reports: PassReport[] = [];
    await keeping(
      world,
      async (keeper) => {
        keeper.set(...Array.from({ length: 100 }, (_, at) => base(`b${at}`)));
        await keeper.start();
        keeper.set(base("b7", 2), base("new"));
        await keeper.settled();
        assert.deepEqual(
          reports.map(({ dumped, operations }) => [dumped, operations]),
          [
            [true, 100],
            [false, 2],
          ],
        );
        keeper.heard("base b8");
        await keeper.settled();
        assert.equal(reports.at(-1)?.dumped, true);
        assert.equal(world.dumps, 2);
      },
      { onPass: (report) => reports.push(report) },
    );
  });

  it("looks once where what it made itself of the ground is told of, and sees to the ground again then; later news has it look again", async () => {
    const world = new World();
    let ensured = 0;
    await keeping(world, async (keeper) => {
      world.onEnsure = () => {
        ensured++;
        if (ensured === 1) setImmediate(() => keeper.heard("a state of the ground that is over"));
        return ensured === 1;
      };
      keeper.set(base("a"));
      await keeper.start();
      assert.deepEqual([world.dumps, ensured], [1, 2]);
      world.onApply = () => {
        world.onApply = undefined;
        keeper.heard("something that came after the look");
      };
      keeper.set(base("b"));
      await keeper.settled();
      assert.deepEqual([world.dumps, ensured], [2, 3]);
    });
  });

  it("counts as a repair what was in place and is wanted unchanged, or was never wanted; no change, and nothing at the start", async () => {
    const world = new World();
    world.there.set("base old", base("old"));
    await keeping(world, async (keeper) => {
      keeper.set(base("a"), base("b"), base("c"));
      await keeper.start();
      assert.deepEqual(keeper.repaired, {});
      keeper.set(base("b", 2));
      world.there.delete("base a");
      world.there.set("base x", base("x"));
      keeper.heard("base a");
      await keeper.settled();
      assert.deepEqual(keeper.repaired, { base: 2 });
      assert.ok(lines.includes("repaired what somebody changed: put base a; del base x"), lines.join("\n"));
    });
  });

  it("tries each refused entry again by itself, says so once, and is quiet once it has succeeded or gone", async () => {
    const world = new World();
    const told: string[] = [];
    const reports: PassReport[] = [];
    await keeping(
      world,
      async (keeper) => {
        keeper.onRefused = (entries) => told.push(...entries.keys());
        world.refusing.set("base a", 3);
        keeper.set(base("a"), base("b"));
        await keeper.start();
        assert.deepEqual([keeper.lacking, keeper.failing, keeper.tried], [["base a"], ["base a"], true]);
        await eventually(() => world.there.has("base a"));
        await keeper.settled();
        assert.deepEqual([keeper.lacking, keeper.failing, told], [[], [], ["base a"]]);
        // A removal that is refused, of something that then goes by itself.
        world.refusing.set("base b", Number.POSITIVE_INFINITY);
        keeper.drop("base b");
        await keeper.settled();
        assert.deepEqual([keeper.lacking, keeper.failing], [[], ["base b"]]);
        world.there.delete("base b");
        await eventually(() => keeper.failing.length === 0);
        const passes = reports.length;
        await keeper.settled();
        assert.equal(reports.length, passes);
      },
      { onPass: (report) => reports.push(report), backoff: { baseMs: 50, maxMs: 100 } },
    );
  });

  it("looks at what there is after a removal was refused: nobody remembers any more what was to go", async () => {
    const world = new World();
    const reports: PassReport[] = [];
    await keeping(
      world,
      async (keeper) => {
        keeper.set(base("a"), base("b"));
        await keeper.start();
        world.refusing.set("base b", 1);
        reports.length = 0;
        keeper.drop("base b");
        await keeper.settled();
        assert.deepEqual(
          reports.map(({ dumped, failures }) => [dumped, failures]),
          [
            [false, 1],
            [true, 0],
          ],
        );
      },
      { onPass: (report) => reports.push(report), backoff: { baseMs: 60_000 } },
    );
  });

  it("does not forget a refused removal when something else changes", async () => {
    const world = new World();
    await keeping(world, async (keeper) => {
      keeper.set(base("a"), base("b"));
      await keeper.start();
      world.refusing.set("base b", 2);
      keeper.drop("base b");
      await keeper.settled();
      keeper.set(base("c"));
      await keeper.settled();
      await eventually(() => !world.there.has("base b"));
    });
  });

  it("does not take for present what was still waiting when the pass began, and due when it ended", async () => {
    const world = new World();
    let now = 0;
    await keeping(
      world,
      async (keeper) => {
        world.refusing.set("base a", 1);
        keeper.set(base("a"));
        await keeper.start();
        keeper.set(base("b"));
        world.onApply = () => (now = 1_000_000);
        await keeper.settled();
        world.onApply = undefined;
        assert.deepEqual(keeper.lacking, ["base a"]);
      },
      { backoff: { baseMs: 60_000, maxMs: 60_000, now: () => now } },
    );
  });

  it("claims nothing while it cannot read, and plans then what had changed meanwhile", async () => {
    const world = new World();
    await keeping(
      world,
      async (keeper) => {
        keeper.set(base("a"));
        await keeper.start();
        world.unreadable = 1;
        keeper.heard("all");
        keeper.set(base("a", 2));
        await keeper.settled();
        assert.deepEqual([keeper.error, keeper.lacking, keeper.failing], ["not now", ["base a"], [WHOLE]]);
        keeper.heard("all", WHOLE);
        await keeper.settled();
        assert.deepEqual([keeper.error, world.there.get("base a")?.value, keeper.repaired], [undefined, 2, {}]);
      },
      { backoff: { baseMs: 60_000 } },
    );
  });
});
