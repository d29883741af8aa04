/** Legacy iptables: its tools, and where the kernel lists the tables that it has of them. */
import type { Family } from "../addr/index.ts";

export const LEGACY: Record<Family, string> = { 4: "iptables-legacy", 6: "ip6tables-legacy" };
/** Files below /proc/<task>/net. */
export const LEGACY_NAMES: Record<Family, string> = { 4: "ip_tables_names", 6: "ip6_tables_names" };
/** Seconds to wait for the lock of legacy iptables. */
export const LOCK_WAIT = "5";
