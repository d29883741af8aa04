/** Connections that the kernel follows. */
export { type Connection, Conntrack } from "./conntrack.ts";
