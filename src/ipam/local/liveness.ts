/**
 * Whether the sandbox of a reservation is dead. An address freed under a living pod is the worst that address
 * management can do, so only proof counts, and what cannot be seen from here proves nothing:
 *
 * - Another boot: no namespace survives one.
 * - The sandbox's path is gone, or leads to another network namespace, in the very directory that it was in (same device
 *   and inode). A container that does not have the host's /run/netns, or has another /proc, sees some other directory
 *   under that name and concludes nothing. Nor does a plain file in the path's place prove anything: without mount
 *   propagation, a namespace that lives on the host looks like one from inside a container.
 */
import { statfsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { bootId, visibleNetns } from "../../sys/index.ts";
import { errnoCode } from "./errors.ts";
import type { FileIdentity, Reservation } from "./types.ts";

/** An ADD runs this long at most before runtimes kill it (kubelet: 4 minutes); a younger reservation is not judged. */
export const GRACE_SECONDS = 300;

/** linux/magic.h */
const NSFS_MAGIC = 0x6e736673;

/** Seconds of CLOCK_MONOTONIC: the same for all processes of a boot, and nobody sets it back. */
export const uptime = (): number => Number(process.hrtime.bigint() / 1_000_000n) / 1000;

/** What a reservation records of its sandbox, so that its death can be proven later. */
export function sandboxOf(netns: string | undefined): Pick<Reservation, "netnsIdentity" | "netnsDir"> {
  if (netns === undefined) return {};
  const netnsIdentity = namespaceAt(netns);
  const netnsDir = identityOf(dirname(netns));
  return typeof netnsIdentity === "object" && netnsDir ? { netnsIdentity, netnsDir } : {};
}

/** Whether the reservation's sandbox is certainly gone. `now` is for tests: boot ID and seconds since boot. */
export function provablyDead(
  reservation: Omit<Reservation, "ip">,
  now: { bootId: string; uptime: number } = { bootId: bootId(), uptime: uptime() },
): boolean {
  const { owner, netnsIdentity, netnsDir } = reservation;
  if (reservation.bootId !== now.bootId) return true;
  if (now.uptime - reservation.uptime < GRACE_SECONDS) return false;
  if (owner.netns === undefined || netnsIdentity === undefined || netnsDir === undefined) return false;
  const dir = identityOf(dirname(owner.netns));
  if (dir === undefined || !same(dir, netnsDir)) return false;
  const there = namespaceAt(owner.netns);
  return there === "gone" || (there !== "unknown" && !same(there, netnsIdentity));
}

const same = (a: FileIdentity, b: FileIdentity): boolean => a.dev === b.dev && a.ino === b.ino;

/** The network namespace at a path; "gone" when nothing has that name, "unknown" when something else or unreadable. */
function namespaceAt(path: string): FileIdentity | "gone" | "unknown" {
  try {
    const visible = visibleNetns(path);
    const { dev, ino } = statSync(visible);
    return statfsSync(visible).type === NSFS_MAGIC ? { dev, ino } : "unknown";
  } catch (error) {
    return errnoCode(error) === "ENOENT" ? "gone" : "unknown";
  }
}

function identityOf(path: string): FileIdentity | undefined {
  try {
    const { dev, ino } = statSync(path);
    return { dev, ino };
  } catch (error) {
    // Whatever the reason, a directory that cannot be looked at proves nothing.
    if (errnoCode(error) !== undefined) return undefined;
    throw error;
  }
}
