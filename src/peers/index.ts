/** Who the peers are: what Nodes announce, whether it is held to be true, and who has what several claim. */
export {
  formatVtepAnnotation,
  MAX_ANNOTATION_LENGTH,
  networksNamed,
  parseVtepAnnotation,
  readVtepAnnotation,
  VTEP_ANNOTATION,
} from "./annotation.ts";
export { AnnotationError, DeviceConflict } from "./errors.ts";
export { PrefixIndex, prefixOf } from "./prefix-index.ts";
export { unproven } from "./proof.ts";
export { NOTHING_RESERVED, type Reserved, reservedWithin } from "./reserved.ts";
export { type Loss, type PeerSelection, PeerSelector, type SelectionChange, selectPeers } from "./selection.ts";
export {
  type DesiredDevice,
  type DirectHop,
  type PathMtu,
  type DirectRouting,
  type Encryption,
  type Granted,
  type LocalNetwork,
  type NodeVtep,
  type Peer,
  type Refusal,
  REFUSAL_REASONS,
  type RefusalReason,
  sameDevice,
  type TxChecksum,
  type VtepAnnotation,
  type WireguardIdentity,
} from "./types.ts";
export { isClusterCidr } from "./validation.ts";
