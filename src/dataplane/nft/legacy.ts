/** Legacy iptables: its tools, and which of its tables the kernel has. */
import { readFileSync } from "node:fs";
import type { Family } from "../../addr/index.ts";
import { withNetns } from "../../sys/index.ts";

export const LEGACY: Record<Family, string> = { 4: "iptables-legacy", 6: "ip6tables-legacy" };
const LEGACY_NAMES: Record<Family, string> = { 4: "ip_tables_names", 6: "ip6_tables_names" };
/** Seconds to wait for the lock of legacy iptables. */
export const LOCK_WAIT = "5";

/** The legacy tables of a namespace, as the kernel lists them: asking iptables-legacy for one would make it. */
export function legacyTables(family: Family, netns?: number | string): string[] {
  const look = (): string[] => {
    try {
      // Of the thread: the process's own /proc/net would be that of another namespace.
      return readFileSync(`/proc/thread-self/net/${LEGACY_NAMES[family]}`, "utf8").split("\n").filter(Boolean);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  };
  return netns === undefined ? look() : withNetns(netns, look);
}
