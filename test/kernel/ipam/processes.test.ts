import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ipam, IpamExhausted } from "../../../src/ipam/local/index.ts";

const WORKER = fileURLToPath(import.meta.resolve("./worker.ts"));
const KILLS = 100;
const PARALLEL = 4;

interface Worker {
  name: string;
  child: ChildProcess;
  started: Promise<void>;
  ended: Promise<{ code: number | null; signal: string | null; stderr: string }>;
  /** Owner → addresses: those that it had for certain when it ended. */
  has: Map<string, string[]>;
}

describe("address management by many processes at once", function () {
  this.timeout(240_000);
  const made: string[] = [];
  const running = new Set<ChildProcess>();
  after(() => {
    for (const child of running) child.kill("SIGKILL");
    for (const dir of made) rmSync(dir, { recursive: true, force: true });
  });

  function place(): { dir: string; claims: string } {
    const base = mkdtempSync(join(tmpdir(), "skylane-ipam-"));
    made.push(base);
    const claims = join(base, "claims");
    mkdirSync(claims);
    return { dir: join(base, "default"), claims };
  }

  function start(where: { dir: string; claims: string }, name: string, rounds: number, podCidrs: string): Worker {
    // What it says goes into a file: a pipe that nobody empties for a while would hold it up, or fail.
    const log = join(where.claims, "..", `${name}.log`);
    const out = openSync(log, "w");
    const argv = [WORKER, where.dir, where.claims, name, String(rounds), podCidrs];
    const child = spawn(process.execPath, argv, { stdio: ["ignore", out, "pipe", "pipe"] });
    closeSync(out);
    running.add(child);
    const has = new Map<string, string[]>();
    let stderr = "";
    let begun = () => {};
    const started = new Promise<void>((resolve) => (begun = resolve));
    child.stdio[3]?.once("data", () => begun());
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const ended = once(child, "close").then(([code, signal]) => {
      running.delete(child);
      begun();
      for (const line of readFileSync(log, "utf8").split("\n").slice(0, -1)) {
        const [verb, owner, ips] = line.split(" ");
        if (verb === "+") has.set(owner as string, (ips as string).split(","));
        else has.delete(owner as string);
      }
      return { code: code as number | null, signal: signal as string | null, stderr };
    });
    return { name, child, started, ended, has };
  }

  /** Nothing is left, and every address of the range can be given again. */
  function assertWhole({ dir }: { dir: string }, podCidrs: string[], size: number): void {
    const ipam = new Ipam({ dir, warn: (message) => assert.fail(message) });
    assert.deepEqual(ipam.list(), []);
    assert.deepEqual([readdirSync(join(dir, "owners")), readdirSync(join(dir, "taken"))], [[], []]);
    const given = new Set<string>();
    for (let n = 0; n < size; n++) {
      for (const ip of ipam.reserve({ containerId: `whole-${n}`, ifname: "eth0" }, { podCidrs })) given.add(ip);
    }
    assert.equal(given.size, size * podCidrs.length);
    assert.throws(() => ipam.reserve({ containerId: "one-more", ifname: "eth0" }, { podCidrs }), IpamExhausted);
  }

  it("gives 64 parallel processes their own addresses and gets all of them back", async () => {
    const where = place();
    const podCidrs = ["10.9.0.0/24", "fd00:9::/64"];
    const workers = [...Array(64).keys()].map((n) => start(where, `w${n}`, 12, podCidrs.join()));
    for (const { ended, name } of workers) {
      const { code, stderr } = await ended;
      assert.equal(code, 0, `${name}: ${stderr}`);
    }
    assertWhole(where, [podCidrs[0] as string], 253);
  });

  it(`neither loses nor doubles an address over ${KILLS} kills -9 at random points`, async () => {
    const where = place();
    const podCidrs = ["10.9.0.0/27", "fd00:9::/122"];
    const dead = new Map<string, Map<string, string[]>>();
    let kills = 0;
    let held = 0;
    const ipam = new Ipam({ dir: where.dir, warn: (message) => assert.fail(message) });
    const workerOf = (containerId: string) => containerId.slice(0, containerId.lastIndexOf("-"));

    /** What a collector does on a node: frees what the dead held; their claims go first, so that no claim is in the way. */
    function collect(): void {
      const freed = ipam.collect(({ ip, owner: { containerId } }) => {
        if (!dead.has(workerOf(containerId))) return false;
        rmSync(join(where.claims, ip), { force: true });
        return true;
      });
      for (const { ip, owner } of freed) {
        const had = dead.get(workerOf(owner.containerId))?.get(owner.containerId);
        assert.ok(had === undefined || had.includes(ip), `${owner.containerId} had ${had?.join()}, but ${ip} was its`);
      }
      // Whatever a dead process had for certain was still there to be freed: no address of a pod was lost meanwhile.
      for (const [name, owners] of dead) {
        for (const [owner, ips] of owners) {
          held += ips.length;
          const gone = freed.filter((r) => r.owner.containerId === owner).map(({ ip }) => ip);
          assert.deepEqual(gone.sort(), [...ips].sort(), `${name} died holding ${owner}`);
        }
        owners.clear();
      }
    }

    async function series(lane: number): Promise<void> {
      while (kills < KILLS) {
        const name = `lane${lane}x${kills++}`;
        const worker = start(where, name, 1_000_000, podCidrs.join());
        await worker.started;
        const timer = setTimeout(() => worker.child.kill("SIGKILL"), Math.random() * 40);
        const { signal, stderr } = await worker.ended;
        clearTimeout(timer);
        assert.equal(signal, "SIGKILL", `${name}: ${stderr}`);
        dead.set(name, worker.has);
        if (dead.size >= 3) {
          collect();
          dead.clear();
        }
      }
    }

    await Promise.all([...Array(PARALLEL).keys()].map(series));
    collect();
    assert.ok(held > 0, "no process died holding an address");
    assert.ok(existsSync(join(where.dir, "taken")));
    assertWhole(where, podCidrs, 29);
  });
});
