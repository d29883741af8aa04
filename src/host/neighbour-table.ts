/**
 * Room in the kernel's tables of neighbours. There is one table a family for the whole machine, and 1,024 entries are the most that it
 * has as a rule. What pods can make of that is bounded (src/dataplane/nft/rules/neighbourhood.ts), but within its own namespace a pod can have
 * the kernel look for as many neighbours as it likes, and those count here. So there is to be room for some seconds of that; the
 * kernel gives memory back by itself. The limits are only ever raised: an operator may want more.
 */
import { readSysctl, writeSysctl } from "../sys/index.ts";

/** Entries at which the kernel begins to look for some to take away, after five seconds and at once. */
const ROOM = { gc_thresh2: 16_384, gc_thresh3: 65_536 } as const;

/**
 * Raises them. They belong to the machine: in another network namespace than its first one there are none to be set.
 * @returns what was written. @throws SysError
 */
export function ensureNeighbourRoom(read = readSysctl, write = writeSysctl): string[] {
  const did: string[] = [];
  for (const family of ["ipv4", "ipv6"]) {
    // The larger one first: the kernel wants none of them above the next.
    for (const name of ["gc_thresh3", "gc_thresh2"] as const) {
      const key = `net.${family}.neigh.default.${name}`;
      const now = read(key);
      if (now === undefined || Number(now) >= ROOM[name]) continue;
      write(key, ROOM[name]);
      did.push(`${key} = ${ROOM[name]}`);
    }
  }
  return did;
}
