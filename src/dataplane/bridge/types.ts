/**
 * A bridged network in plain data: this node's part in it, the other nodes, the endpoints behind them, and the ports of the
 * pods here; and what the kernel should hold for that, as entries that can be compared.
 */
import type { EndpointAddresses } from "../../endpoints/index.ts";
import type { LocalNetwork } from "../../peers/index.ts";
import { entryKey } from "../../reconcile/index.ts";

/** Name of the bridge in the network's namespace. */
export const BRIDGE_NAME = "skybr";

/** The destination of VXLAN's entries for frames that go to all: broadcast and multicast. */
export const EVERYBODY = "00:00:00:00:00:00";

/** One bridged network as this node takes part in it. */
export interface BridgedNetwork
  extends Pick<
    LocalNetwork,
    "network" | "node" | "vni" | "device" | "port" | "mtu" | "mac" | "underlayIp" | "txChecksum"
  > {
  /** Whether broadcast and multicast goes to the other nodes, a copy for each, or stays on this one. */
  broadcast: "Replicate" | "Drop";
}

/** An endpoint on another node. */
export interface RemoteEndpoint extends EndpointAddresses {
  node: string;
}

/** The host end of a pod's veth pair, in the network's namespace. */
export interface LocalPort {
  ifname: string;
  /** What the pod may send from. Frames from any other MAC are dropped at the port. */
  endpoints: readonly EndpointAddresses[];
  /**
   * MACs that the pod may take over from another node: that one of them sends here is told, and nothing else happens before
   * it is permitted.
   */
  claims?: readonly string[];
}

/** A MAC that was seen at a port and is not let in there. */
export interface MacSeen {
  ifname: string;
  ifindex: number;
  mac: string;
  /** It is one of the port's claims. */
  claimed: boolean;
}

/** The kinds of entries besides the devices. */
export const BRIDGE_ENTRY_KINDS = ["port", "fdb", "bridgeFdb", "neighbour"] as const;
export type BridgeEntryKind = (typeof BRIDGE_ENTRY_KINDS)[number];

/** An entry of the kernel; `wrong` marks one whose state is not what ours have. */
export type BridgeEntry =
  /** A pod's port is one of the bridge's, locked. */
  | { kind: "port"; ifname: string; wrong?: true }
  /** Frames for a MAC go to a node's underlay address. */
  | { kind: "fdb"; mac: string; dst: string; vni?: number; port?: number; wrong?: true }
  /** A MAC is behind a port. */
  | { kind: "bridgeFdb"; mac: string; ifname: string; wrong?: true }
  /** The MAC with which the bridge answers for an address. */
  | { kind: "neighbour"; ip: string; mac: string; wrong?: true };

/** The key of a port's entry. */
export const portKey = (ifname: string): string => entryKey("port", ifname);

/** One name for an entry, unique within a network. */
export function keyOf(entry: BridgeEntry): string {
  switch (entry.kind) {
    case "port":
      return portKey(entry.ifname);
    case "fdb":
      return entryKey("fdb", entry.mac === EVERYBODY ? `${entry.mac} ${entry.dst}` : entry.mac);
    case "bridgeFdb":
      return entryKey("bridgeFdb", entry.mac);
    default:
      return entryKey("neighbour", entry.ip);
  }
}
