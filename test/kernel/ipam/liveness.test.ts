import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { GRACE_SECONDS, Ipam, provablyDead, type Reservation } from "../../../src/ipam/local/index.ts";
import { testNamespace } from "../support/netns.ts";

const JUDGE = fileURLToPath(import.meta.resolve("./judge.ts"));

describe("the proof that a real sandbox is dead", function () {
  this.timeout(30_000);
  const base = mkdtempSync(join(tmpdir(), "skylane-live-"));
  const stop: (() => void)[] = [];
  after(() => {
    for (const each of stop) each();
    rmSync(base, { recursive: true, force: true });
  });

  let made = 0;
  function reserved(netns: string): Reservation {
    const ipam = new Ipam({ dir: join(base, String(++made)) });
    ipam.reserve({ containerId: "c", ifname: "eth0", netns }, { podCidrs: ["10.9.0.0/24"] });
    const [reservation] = ipam.list();
    assert.ok(reservation?.netnsIdentity && reservation.netnsDir);
    return reservation;
  }

  /** The same judgement from a mount namespace of its own, made now: `commands` prepare it. */
  function judge(reservation: Reservation, commands: string): () => Promise<string> {
    const program = ["sh", "-c", `mount --make-rprivate / && ${commands} && exec "$@"`, "sh"];
    const child = spawn("unshare", ["-m", ...program, process.execPath, JUDGE, JSON.stringify(reservation)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    stop.push(() => child.kill());
    const lines = createInterface(child.stdout);
    return async () => {
      const answer = once(lines, "line");
      child.stdin.write("\n");
      return String((await answer)[0]);
    };
  }

  const here = (reservation: Reservation): string =>
    provablyDead(reservation, { bootId: reservation.bootId, uptime: reservation.uptime + GRACE_SECONDS })
      ? "dead"
      : "unproven";

  it("comes with its removal, seen from the host and through the host's directory, and from nowhere else", async () => {
    const first = testNamespace("first");
    const reservation = reserved(first.path);
    assert.equal(provablyDead(reservation), false, "too young");
    const sharing = judge(reservation, "true");
    const hidden = judge(reservation, "mount -t tmpfs none /run/netns");
    const views = async () => [here(reservation), await sharing(), await hidden()];
    assert.deepEqual(await views(), ["unproven", "unproven", "unproven"]);
    first.delete();
    assert.deepEqual(await views(), ["dead", "dead", "unproven"]);
  });

  it("is not taken from a namespace that was made where no mount reaches", async () => {
    const before = testNamespace("before");
    const outside = judge(reserved(before.path), "true");
    assert.equal(await outside(), "unproven");
    const sandbox = testNamespace("made-later");
    const reservation = reserved(sandbox.path);
    // A mount namespace in which the sandbox is the plain file that it is mounted on.
    const blind = judge(reservation, `umount -l ${sandbox.path}`);
    assert.equal(await blind(), "unproven");
    assert.equal(here(reservation), "unproven");
    sandbox.delete();
    assert.equal(await blind(), "dead");
  });

  it("comes with another sandbox under the same name", () => {
    const sandbox = testNamespace("again");
    const reservation = reserved(sandbox.path);
    // Held open, so that the kernel cannot give its number to the next one.
    const held = openSync(sandbox.path, "r");
    stop.push(() => closeSync(held));
    execFileSync("umount", ["-l", sandbox.path]);
    assert.equal(here(reservation), "unproven", "a plain file");
    execFileSync("unshare", ["-n", "mount", "--bind", "/proc/self/ns/net", sandbox.path]);
    assert.equal(here(reservation), "dead");
  });
});
