/** A way for settled connections that passes the ordinary one by. */
export { removePrograms } from "./clsact.ts";
export type { PacketCount } from "./counters.ts";
export { FastPath, type FastPathOptions, type FastPathStatus } from "./fast-path.ts";
