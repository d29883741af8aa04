/** Connections that the kernel follows. */
export { type Connection, Conntrack, type HeldConnection } from "./conntrack.ts";
