/** The CNI plugin: the spec's verbs on this machine. */
export type { AttachmentRecord } from "./attachments.ts";
export {
  askPlugin,
  CHAIN_ANSWER,
  CHAIN_QUESTION,
  type ChainAnswer,
  type FoundPlugin,
  readChainAnswer,
} from "./chain-question.ts";
export { DEFAULT_DATA_DIR, DEFAULT_RUN_DIR } from "./spec/config.ts";
export { type Duration, DURATIONS_FILE } from "./durations.ts";
export { CniError, CODE } from "./spec/errors.ts";
export type {
  AskingPod,
  AttachedInterface,
  AdditionalInterface,
  Linked,
  Place,
  Prepared,
  PrepareRequest,
  Wanted,
} from "./verbs/additional-interfaces.ts";
export { type Attachment, requestOf } from "./spec/environment.ts";
export { type Collected, collectDead } from "./verbs/gc.ts";
export { type CniCall, handle, isAnswer, readCall, serveCall } from "./verbs/handle.ts";
export { type Host, ipamDir, isAttached, newAttachments, realHost } from "./host.ts";
export { isLauncher, supportDir } from "./installation.ts";
export type { CniAnswer, CniRequest } from "./spec/request.ts";
export { SUPPORTED_VERSIONS } from "./spec/version.ts";
