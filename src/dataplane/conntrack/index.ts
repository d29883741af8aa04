/** Connections that the kernel follows. */
export { ConnectionEvents, type ConnectionEvent, isChosen } from "./events.ts";
export { type Connection, Conntrack, type HeldConnection } from "./conntrack.ts";
