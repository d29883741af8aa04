import assert from "node:assert/strict";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import {
  Ipam,
  IpamDuplicate,
  IpamExhausted,
  IpamTaken,
  type Owner,
  type ReserveRequest,
} from "../../../src/ipam/local/index.ts";
import { FREED_REMEMBERED } from "../../../src/ipam/local/history.ts";

const made: string[] = [];
function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), "skylane-ipam-"));
  made.push(dir);
  return join(dir, "default");
}
const owner = (n: number | string, ifname = "eth0"): Owner => ({ containerId: `container-${n}`, ifname });
const range = (rangeStart: string, rangeEnd: string) => ({ subnet: "fd00:9::/64", rangeStart, rangeEnd });
const dual: ReserveRequest = { podCidrs: ["10.244.1.0/24", "fd00:1::/64"] };

describe("address management on disk", function () {
  this.timeout(20_000);
  after(() => {
    for (const dir of made) rmSync(dir, { recursive: true, force: true });
  });

  it("gives one address a family, network, first host and broadcast never", () => {
    const ipam = new Ipam({ dir: temporary() });
    assert.deepEqual(ipam.reserve(owner(1), dual), ["10.244.1.2", "fd00:1::2"]);
    assert.deepEqual(ipam.reserve(owner(2), dual), ["10.244.1.3", "fd00:1::3"]);
    assert.deepEqual(ipam.reservationsOf(owner(2)), ["10.244.1.3", "fd00:1::3"]);
    assert.deepEqual(
      ipam
        .list()
        .map(({ ip, owner }) => `${ip} ${owner.containerId}`)
        .sort(),
      ["10.244.1.2 container-1", "10.244.1.3 container-2", "fd00:1::2 container-1", "fd00:1::3 container-2"],
    );
  });

  it("keeps to one order, whichever process gives and frees", () => {
    const dir = temporary();
    const small = { podCidrs: ["10.244.1.0/29"] };
    // each has read the history before the others went on with it
    const processes = [new Ipam({ dir }), new Ipam({ dir }), new Ipam({ dir })];
    const given: (string | undefined)[] = [];
    for (let n = 0; n < 40; n++) {
      const one = processes[n % 3] as Ipam;
      given.push(one.reserve(owner(n), small)[0]);
      if (n >= 2) processes[(n + 1) % 3]?.release(owner(n - 2));
    }
    // five addresses in all, each again when all others have had their turn
    const expected = Array.from({ length: 40 }, (_, n) => `10.244.1.${2 + (n % 5)}`);
    assert.deepEqual(given, expected);
  });

  it("frees idempotently, also what was never reserved and where nothing ever was", () => {
    const dir = temporary();
    const ipam = new Ipam({ dir });
    assert.deepEqual(ipam.release(owner(1)), []);
    assert.deepEqual(ipam.list(), []);
    ipam.reserve(owner(1), dual);
    assert.deepEqual(ipam.release(owner(2)), []);
    assert.deepEqual(ipam.release(owner(1)), ["10.244.1.2", "fd00:1::2"]);
    assert.deepEqual(ipam.release(owner(1)), []);
    assert.deepEqual([readdirSync(join(dir, "owners")), readdirSync(join(dir, "taken"))], [[], []]);
  });

  it("tells interfaces of one container apart", () => {
    const ipam = new Ipam({ dir: temporary() });
    ipam.reserve(owner(1, "eth0"), dual);
    assert.deepEqual(ipam.reserve(owner(1, "net1"), dual), ["10.244.1.3", "fd00:1::3"]);
    assert.deepEqual(ipam.release(owner(1, "eth0")), ["10.244.1.2", "fd00:1::2"]);
    assert.deepEqual(ipam.reservationsOf(owner(1, "net1")), ["10.244.1.3", "fd00:1::3"]);
  });

  it("refuses a second ADD of the same attachment and keeps the first one's addresses", () => {
    const ipam = new Ipam({ dir: temporary() });
    ipam.reserve(owner(1), dual);
    assert.throws(
      () => ipam.reserve(owner(1), dual),
      (error) =>
        error instanceof IpamDuplicate &&
        /container-1 interface eth0 already holds 10\.244\.1\.2, fd00:1::2/.test(error.message),
    );
    assert.deepEqual(ipam.reservationsOf(owner(1)), ["10.244.1.2", "fd00:1::2"]);
  });

  it("says who has an asked-for address", () => {
    const ipam = new Ipam({ dir: temporary() });
    assert.deepEqual(ipam.reserve(owner(1), { ...dual, ips: ["10.244.1.80/24"] }), ["10.244.1.80", "fd00:1::2"]);
    assert.throws(
      () => ipam.reserve(owner(2), { ...dual, ips: ["10.244.1.80"] }),
      (error) =>
        error instanceof IpamTaken && /10\.244\.1\.80 .* container-1 interface eth0 since 20/.test(error.message),
    );
    assert.deepEqual(ipam.reservationsOf(owner(2)), []);
    assert.deepEqual(
      ipam.reserve(owner(2), dual),
      ["10.244.1.2", "fd00:1::3"],
      "an asked-for address does not move next-fit",
    );
  });

  it("gives both families or none, and says which CIDR is full with how many", () => {
    const dir = temporary();
    const ipam = new Ipam({ dir });
    const request = { podCidrs: ["10.9.0.0/29", "fd00:9::/64"] };
    for (let n = 0; n < 5; n++) ipam.reserve(owner(n), request);
    assert.throws(
      () => ipam.reserve(owner(5), request),
      (error) =>
        error instanceof IpamExhausted &&
        /no free address in 10\.9\.0\.0\/29: 5 of its 5 pod addresses are in use/.test(error.message),
    );
    assert.equal(readdirSync(join(dir, "taken")).length, 10);
    assert.deepEqual(ipam.reservationsOf(owner(5)), []);
    ipam.release(owner(3));
    assert.deepEqual(ipam.reserve(owner(5), request), ["10.9.0.5", "fd00:9::7"]);
  });

  it("gives what was freed last only after everything else", () => {
    const ipam = new Ipam({ dir: temporary() });
    const request = { podCidrs: ["10.9.0.0/28"] };
    ipam.reserve(owner(0), request);
    ipam.release(owner(0));
    const first = [...Array(12).keys()].map((n) => ipam.reserve(owner(n), request)[0]);
    assert.deepEqual(
      first,
      [...Array(12).keys()].map((n) => `10.9.0.${n + 3}`),
    );
    for (const n of [7, 2, 9]) ipam.release(owner(n));
    const again = [20, 21, 22, 23].map((n) => ipam.reserve(owner(n), request)[0]);
    assert.deepEqual(again, ["10.9.0.2", "10.9.0.10", "10.9.0.5", "10.9.0.12"]);
  });

  it("remembers only so many freed addresses of an endless range", () => {
    const dir = temporary();
    const ipam = new Ipam({ dir });
    const request = { podCidrs: ["fd00:9::/64"] };
    ipam.reserve(owner("seed"), request);
    const old = Array.from({ length: FREED_REMEMBERED + 50 }, (_, n) => `fd00:9::1:${n.toString(16)}`);
    const lines = (sign: string) =>
      readFileSync(join(dir, "history"), "utf8")
        .split("\n")
        .filter((l) => l.startsWith(sign));
    writeFileSync(join(dir, "history"), `+fd00:9::1:40\n${old.map((ip) => `-${ip}\n`).join("")}`);
    // Those that were freed longest ago count as never given: next-fit goes on where the remembered ones end.
    assert.deepEqual(ipam.reserve(owner(1), request), [`fd00:9::1:${(FREED_REMEMBERED + 50).toString(16)}`]);
    assert.deepEqual(ipam.reserve(owner(2), { ...request, ranges: [[range("fd00:9::1:0", "fd00:9::1:31")]] }), [
      "fd00:9::1:0",
    ]);
    assert.ok(lines("-").length <= FREED_REMEMBERED + 50);
  });

  it("keeps no more lines of the past than it has use for", () => {
    const dir = temporary();
    const ipam = new Ipam({ dir });
    const request = { podCidrs: ["10.9.0.0/28"] };
    for (let n = 0; n < 400; n++) {
      ipam.reserve(owner(n), request);
      ipam.release(owner(n));
    }
    assert.ok(readFileSync(join(dir, "history"), "utf8").split("\n").length < 400);
    assert.deepEqual(
      ipam.reserve(owner(1), request),
      ["10.9.0.12"],
      "the one freed longest ago, of 13 in turn 400 times",
    );
  });

  it("goes on with a past that a full disk or a hand has cut short", () => {
    const dir = temporary();
    const ipam = new Ipam({ dir });
    const request = { podCidrs: ["10.9.0.0/28"] };
    ipam.reserve(owner(0), request);
    writeFileSync(join(dir, "history"), "+10.9.0.\n-nonsense\n-10.9.0.3\n-300.1.1.1\n\0\n+10.9");
    assert.deepEqual(
      [1, 2, 3].map((n) => ipam.reserve(owner(n), request)[0]),
      ["10.9.0.4", "10.9.0.5", "10.9.0.6"],
    );
  });

  it("frees although the order of freeing cannot be noted", () => {
    const dir = temporary();
    const ipam = new Ipam({ dir });
    ipam.reserve(owner(1), dual);
    rmSync(join(dir, "history"));
    mkdirSync(join(dir, "history"));
    assert.deepEqual(ipam.release(owner(1)), ["10.244.1.2", "fd00:1::2"]);
    assert.deepEqual(readdirSync(join(dir, "taken")), []);
  });

  it("lets a damaged or foreign file harm only itself", () => {
    const dir = temporary();
    const warnings: string[] = [];
    const ipam = new Ipam({ dir, warn: (message) => warnings.push(message) });
    const request = { podCidrs: ["10.9.0.0/28"] };
    ipam.reserve(owner(1), request);
    ipam.reserve(owner(2), request);
    writeFileSync(join(dir, "taken", "10.9.0.4"), "");
    mkdirSync(join(dir, "taken", "10.9.0.5"));
    symlinkSync("nonsense", join(dir, "taken", "10.9.0.6"));
    symlinkSync("nonsense", join(dir, "taken", "notes.txt"));
    writeFileSync(join(dir, "owners", "stray"), "");
    const [record] = readdirSync(join(dir, "owners")).filter((key) => key !== "stray");
    const damaged = join(dir, "owners", record as string);
    const victim = readlinkSync(damaged).includes("container-1") ? owner(1) : owner(2);
    unlinkSync(damaged);
    symlinkSync("{", damaged);

    assert.equal(ipam.list().length, 2, "an address says by itself whose it is");
    for (const name of ["10.9.0.4", "10.9.0.5", "10.9.0.6", "notes.txt"]) {
      assert.ok(
        warnings.some((text) => text.includes(`taken/${name} `)),
        name,
      );
    }
    assert.deepEqual(ipam.reserve(owner(3), request), ["10.9.0.7"]);
    assert.throws(
      () => ipam.reserve(owner(4), { ...request, ips: ["10.9.0.4"] }),
      /10\.9\.0\.4 .*a file that is no reservation/,
    );
    assert.deepEqual(
      ipam.collect(() => false),
      [],
    );
    assert.equal(ipam.release(victim).length, 1, "found without its record");
    assert.deepEqual(
      ipam
        .collect(() => true)
        .map(({ owner }) => owner.containerId)
        .sort().length,
      2,
    );
    assert.deepEqual(readdirSync(join(dir, "taken")).sort(), ["10.9.0.4", "10.9.0.5", "10.9.0.6", "notes.txt"]);
    assert.deepEqual(readdirSync(join(dir, "owners")), ["stray"]);
  });

  it("collects only what it was told to, and not a reservation that changed hands meanwhile", () => {
    const ipam = new Ipam({ dir: temporary() });
    for (const n of [1, 2, 3]) ipam.reserve(owner(n), dual);
    const freed = ipam.collect(({ owner: { containerId } }) => {
      if (containerId === "container-2" && ipam.release(owner(2)).length > 0) ipam.reserve(owner(2), dual);
      return containerId !== "container-1";
    });
    assert.deepEqual(
      freed.map(({ owner }) => owner.containerId),
      ["container-3", "container-3"],
    );
    assert.deepEqual(ipam.reservationsOf(owner(1)), ["10.244.1.2", "fd00:1::2"]);
    assert.equal(ipam.reservationsOf(owner(2)).length, 2);
  });
});

/** One thing that happens to the node; `crash` and `freeHalf` stop between two steps, as kill -9 would. */
type Step =
  | { do: "reserve"; n: number; want?: number }
  | { do: "release"; n: number }
  | { do: "collect"; dead: number[] }
  | { do: "crash"; n: number; left: "record" | "first" | "both" }
  | { do: "freeHalf"; n: number };

describe("address management over any history of reserve, release, collect and crash", () => {
  const n = fc.integer({ min: 0, max: 7 });
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("reserve" as const), n }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("reserve" as const), n, want: fc.integer({ min: 2, max: 6 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("release" as const), n }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("collect" as const), dead: fc.uniqueArray(n) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("crash" as const),
        n,
        left: fc.constantFrom("record" as const, "first" as const, "both" as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("freeHalf" as const), n }) },
  );

  it("doubles no address, loses none, and gives the one freed longest ago", function () {
    this.timeout(60_000);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const dir = temporary();
        const request = { podCidrs: ["10.9.0.0/29", "fd00:9::/125"] };
        const size = 5;
        const ipam = new Ipam({ dir });
        const holds = new Map<string, string[]>();
        // IPv4 addresses in the order in which they come up: never given first, then by the time of freeing.
        let queue = ["10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"];
        const freed = (ips: string[]) => queue.push(...ips.filter((ip) => !ip.includes(":")));
        for (const action of steps) {
          if (action.do === "reserve") {
            const who = owner(action.n);
            const wanted = action.want === undefined ? {} : { ips: [`10.9.0.${action.want}`] };
            let got: string[] | undefined;
            try {
              got = ipam.reserve(who, { ...request, ...wanted });
            } catch (error) {
              if (error instanceof IpamDuplicate) assert.ok(holds.has(who.containerId));
              else if (error instanceof IpamTaken) assert.ok([...holds.values()].flat().includes(error.ip));
              else
                assert.ok(
                  error instanceof IpamExhausted && (queue.length === 0 || error.pool.includes(":")),
                  String(error),
                );
            }
            if (got) {
              assert.ok(!holds.has(who.containerId));
              const expected = wanted.ips?.[0] ?? queue[0];
              assert.equal(got[0], expected);
              assert.equal(got.length, 2);
              for (const ip of got) assert.ok(![...holds.values()].flat().includes(ip), `${ip} given twice`);
              queue = queue.filter((ip) => ip !== got[0]);
              holds.set(who.containerId, got);
            }
          } else if (action.do === "release") {
            const who = owner(action.n);
            const ips = ipam.release(who);
            assert.deepEqual(ips, holds.get(who.containerId) ?? []);
            holds.delete(who.containerId);
            freed(ips);
          } else if (action.do === "collect") {
            const dead = action.dead.map((n) => owner(n).containerId);
            const gone = ipam.collect(({ owner }) => dead.includes(owner.containerId));
            for (const { ip, owner } of gone) {
              const left = (holds.get(owner.containerId) ?? []).filter((other) => other !== ip);
              assert.ok(dead.includes(owner.containerId));
              if (left.length > 0) holds.set(owner.containerId, left);
              else holds.delete(owner.containerId);
            }
            freed(gone.map(({ ip }) => ip));
            for (const id of dead) assert.ok(!holds.has(id));
          } else if (action.do === "crash") {
            const kept = crashInReserve(action, ipam, dir, request);
            if (kept.length > 0) holds.set(owner(action.n).containerId, kept);
            queue = queue.filter((ip) => !kept.includes(ip));
          } else {
            // Killed after the first of two addresses was freed.
            const who = owner(action.n);
            const [first, ...rest] = holds.get(who.containerId) ?? [];
            if (first === undefined) continue;
            appendFileSync(join(dir, "history"), `-${first}\n`);
            unlinkSync(join(dir, "taken", first));
            freed([first]);
            if (rest.length > 0) holds.set(who.containerId, rest);
            else holds.delete(who.containerId);
          }
          const onDisk = names(join(dir, "taken"));
          assert.deepEqual(onDisk, [...holds.values()].flat().sort());
          assert.ok(queue.length + onDisk.filter((ip) => !ip.includes(":")).length === size, "an address was lost");
        }
        for (const id of holds.keys()) ipam.release({ containerId: id, ifname: "eth0" });
        if (steps.length > 0) ipam.collect(() => false);
        rmSync(join(dir, ".."), { recursive: true, force: true });
      }),
      { numRuns: 150 },
    );
  });

  /** Lets a reservation come about and takes back what a kill at the given step would have kept from being written. */
  function crashInReserve(
    action: { n: number; left: "record" | "first" | "both" },
    ipam: Ipam,
    dir: string,
    request: ReserveRequest,
  ): string[] {
    const history = join(dir, "history");
    const before = existsSync(history) ? readFileSync(history) : undefined;
    let got: string[];
    try {
      got = ipam.reserve(owner(action.n), request);
    } catch (error) {
      assert.ok(error instanceof IpamDuplicate || error instanceof IpamExhausted);
      return [];
    }
    const kept = got.slice(0, { record: 0, first: 1, both: 2 }[action.left]);
    for (const ip of got) if (!kept.includes(ip)) unlinkSync(join(dir, "taken", ip));
    // Next-fit's place is noted only after both addresses are taken.
    if (before) writeFileSync(history, before);
    else rmSync(history, { force: true });
    return kept;
  }
});

function names(dir: string): string[] {
  return existsSync(dir) ? readdirSync(dir).sort() : [];
}
