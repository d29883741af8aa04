/**
 * Runs on a file system that is about to be full (see full-disk.test.ts): reserves until the disk refuses, then shows
 * that nothing of the refused reservation is left, that releasing works, and that its room can be used again.
 */
import assert from "node:assert/strict";
import { readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ipam, IpamStorageError } from "../../../src/ipam/local/index.ts";

const [base] = process.argv.slice(2) as [string];
const dir = join(base, "default");
const ipam = new Ipam({ dir, warn: (message) => assert.fail(message) });
const podCidrs = ["10.9.0.0/16", "fd00:9::/64"];
const owner = (n: number) => ({ containerId: `container-${n}`, ifname: "eth0" });
const names = (sub: string) => readdirSync(join(dir, sub)).sort();

ipam.reserve(owner(0), { podCidrs });
ipam.release(owner(0));
ipam.reserve(owner(0), { podCidrs });
// What is left of the room is filled up to some entries, so that the refusal comes at each of the steps in turn.
const ballast = join(base, "ballast");
let given = 1;
let refusals = 0;
for (let room = 0; room < 12; room++) {
  const before = { owners: names("owners"), taken: names("taken") };
  let full = false;
  for (let n = 0; !full; n++) {
    try {
      writeFileSync(`${ballast}-${n}`, Buffer.alloc(4096), { flag: "wx" });
    } catch (error) {
      full = (error as NodeJS.ErrnoException).code === "ENOSPC";
      if (!full) throw error;
      rmSync(`${ballast}-${n}`, { force: true });
      for (let back = 1; back <= room && back <= n; back++) rmSync(`${ballast}-${n - back}`);
    }
  }
  try {
    ipam.reserve(owner(given), { podCidrs });
    given++;
  } catch (error) {
    assert.ok(error instanceof IpamStorageError, String(error));
    assert.equal(error.code, "ENOSPC");
    assert.match(error.message, /cannot reserve an address under .*default: .*the disk is full/);
    assert.deepEqual({ owners: names("owners"), taken: names("taken") }, before);
    assert.deepEqual(ipam.reservationsOf(owner(given)), []);
    refusals++;
  }
  for (const name of readdirSync(base)) if (name.startsWith("ballast-")) rmSync(join(base, name));
}
assert.ok(refusals > 0 && given > 2, `${refusals} refused, ${given} given`);

// Full to the last byte and inode: everything can still be freed.
for (let n = 0, full = false; !full; n++) {
  try {
    writeFileSync(`${ballast}-${n}`, Buffer.alloc(4096));
  } catch (error) {
    full = (error as NodeJS.ErrnoException).code === "ENOSPC";
    if (!full) throw error;
  }
}
assert.throws(() => ipam.reserve(owner(999), { podCidrs }), IpamStorageError);
for (let n = 0; n < given; n++) assert.equal(ipam.release(owner(n)).length, 2);
assert.deepEqual(ipam.list(), []);
for (const name of names("taken")) assert.fail(`${name} → ${readlinkSync(join(dir, "taken", name))} is left`);
process.stdout.write(`${refusals} refused, ${given} given and freed\n`);
