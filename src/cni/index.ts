/** The CNI plugin: the spec's verbs on this machine. */
export type { AttachmentRecord } from "./attachments.ts";
export { DEFAULT_DATA_DIR, DEFAULT_NETWORK, DEFAULT_RUN_DIR } from "./config.ts";
export { DURATIONS_FILE } from "./durations.ts";
export { CniError, CODE } from "./errors.ts";
export { type Collected, collectDead } from "./gc.ts";
export { handle } from "./handle.ts";
export { type Host, ipamDir, realHost } from "./host.ts";
export type { CniAnswer, CniRequest } from "./request.ts";
export { SUPPORTED_VERSIONS } from "./version.ts";
