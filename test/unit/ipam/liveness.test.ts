import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { GRACE_SECONDS, provablyDead, type Reservation } from "../../../src/ipam/local/index.ts";
import { sandboxOf } from "../../../src/ipam/local/liveness.ts";

const OWN = "/proc/self/ns/net";

describe("the proof that a sandbox is dead", () => {
  const dir = mkdtempSync(join(tmpdir(), "skylane-netns-"));
  after(() => rmSync(dir, { recursive: true, force: true }));

  const identity = (path: string) => ({ dev: statSync(path).dev, ino: statSync(path).ino });
  const reservation = (netns: string, change: Partial<Reservation> = {}): Reservation => ({
    ip: "10.0.0.2",
    owner: { containerId: "c", ifname: "eth0", netns },
    since: 0,
    uptime: 1000,
    bootId: "now",
    netnsIdentity: identity(OWN),
    netnsDir: identity(dirname(netns)),
    ...change,
  });
  const later = { bootId: "now", uptime: 1000 + GRACE_SECONDS };
  const path = join(dir, "sandbox");

  it("is another boot, however young the reservation", () => {
    assert.ok(provablyDead(reservation(path, { bootId: "earlier" }), { bootId: "now", uptime: 1000 }));
  });

  it("is its path gone from the directory that it was in, but not before an ADD must have ended", () => {
    assert.equal(provablyDead(reservation(path), { ...later, uptime: later.uptime - 1 }), false);
    assert.equal(provablyDead(reservation(path), later), true);
  });

  it("is not given by a clock of another time namespace", () => {
    assert.equal(provablyDead(reservation(path), { bootId: "now", uptime: 5 }), false);
  });

  it("is not given by a directory that cannot be seen or is another one", () => {
    assert.equal(provablyDead(reservation(path, { netnsDir: { dev: 1, ino: 1 } }), later), false);
    const hidden = join(dir, "hidden");
    mkdirSync(hidden);
    const inside = reservation(join(hidden, "sandbox"));
    rmSync(hidden, { recursive: true });
    assert.equal(provablyDead(inside, later), false);
    mkdirSync(hidden);
    mkdirSync(`${hidden}2`);
    assert.equal(provablyDead({ ...inside, netnsDir: identity(`${hidden}2`) }, later), false);
  });

  it("is not given by a plain file, as a namespace looks without mount propagation", () => {
    writeFileSync(path, "");
    assert.equal(provablyDead(reservation(path), later), false);
    unlinkSync(path);
  });

  it("is another namespace under the same name in the same directory", () => {
    assert.equal(provablyDead(reservation(OWN), later), false);
    assert.equal(provablyDead(reservation(OWN, { netnsIdentity: { dev: 4, ino: 4 } }), later), true);
    const elsewhere = { netnsIdentity: { dev: 4, ino: 4 }, netnsDir: { dev: 1, ino: 1 } };
    assert.equal(provablyDead(reservation(OWN, elsewhere), later), false, "another /proc");
  });

  it("is never given where the sandbox was not known or not seen at the ADD", () => {
    const { netnsIdentity: _, netnsDir: __, ...unseen } = reservation(path);
    assert.equal(provablyDead(unseen, later), false);
    assert.equal(provablyDead({ ...unseen, owner: { containerId: "c", ifname: "eth0" } }, later), false);
    assert.deepEqual(sandboxOf(undefined), {});
    assert.deepEqual(sandboxOf(path), {});
    assert.deepEqual(sandboxOf(OWN).netnsIdentity, identity(OWN));
  });
});
