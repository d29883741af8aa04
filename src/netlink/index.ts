/** rtnetlink in Skylane's words; the only folder that imports the `netlink` package. */
export { type LinkFailure, MAX_LINKS_AT_ONCE } from "./transport/background.ts";
export { describeOperation, type NameOf } from "./describe.ts";
export { DumpInterrupted, MalformedMessage, NetlinkError, NetlinkTimeout } from "./errors.ts";
export { EventWait, type EventWaitOptions } from "./transport/event-wait.ts";
export {
  type Listening,
  Monitor,
  type MonitorKind,
  type MonitorListener,
  type MonitorOptions,
} from "./transport/monitor.ts";
export {
  Wireguard,
  type WireguardChange,
  type WireguardDevice,
  type WireguardPeer,
  type WireguardPeerState,
  type WireguardSettings,
} from "./generic/wireguard.ts";
export type { Creation } from "./create-link.ts";
export { nfDump } from "./nfnetlink/dump.ts";
export { nfListen } from "./nfnetlink/listener.ts";
export * from "./nfnetlink/framing.ts";
export { Rtnl, type RtnlOptions } from "./rtnl.ts";
export * from "./types.ts";
