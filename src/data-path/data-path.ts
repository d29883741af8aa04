/** What carries a pod network's frames on this node, as those see it who decide what it is made from: routed or bridged. */
import type { Linked } from "../cni/index.ts";
import type { FastPathStatus } from "../dataplane/fast-path/index.ts";
import type { EntryCount, OverlayStatus } from "../dataplane/vxlan/index.ts";
import type { LocalNetwork, Peer } from "../peers/index.ts";
import type { PodLink, PodLinkSpec } from "../dataplane/pod-link/index.ts";
import type { DataPathListener } from "../observe/index.ts";

/** How a data path stands. */
export interface DataPathStatus extends Pick<OverlayStatus, "device" | "ready" | "error" | "peers"> {
  entries: Record<string, EntryCount>;
  repairs: { total: number; byKind: Record<string, number> };
  /** Of the one beside it; absent where there is none. */
  fastPath?: FastPathStatus;
}

/** Keeps the kernel what the network should be. */
export interface DataPath {
  /** Why there is no device, or why the kernel could not be read. */
  readonly error: string | undefined;
  /** Whether every entry has been tried: what is missing, the kernel has refused. */
  readonly tried: boolean;
  /** Whether addresses of claims are published one by one, so that the other nodes have to look; no by default. */
  readonly claims?: boolean;
  /** Resolves when the first pass has ended, whether it succeeded or not. Peers are set before. @throws SysError */
  start(): Promise<void>;
  setLocal(local: LocalNetwork): void;
  setPeers(peers: Iterable<Peer>): void;
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void;
  status(): DataPathStatus;
  /** Leaves the kernel as it is. */
  stop(): Promise<void>;
}

/** The data path of a network beside the default one, whose pods may be found one by one. */
export interface InstancePath extends DataPath {
  /**
   * A pod's link is there: sees that the network serves it, and that the other nodes know where it is.
   * @throws Error when they cannot be told
   */
  linked(attachment: Linked): Promise<void>;
  /** Our Node is another object now, or gone: what we publish is to go with it as it is now. */
  adopt(): void;
  /** Pods may have gone. */
  refresh(): void;
  /** Nodes have other blocks, or claims others, than before. */
  blocksChanged(): void;
  /** Whether an endpoint on any node has an IP or MAC address. */
  knows(address: string): boolean | Promise<boolean>;
  /** The same, in a network whose endpoints are all published; whoever asks cannot wait. */
  uses?(ip: string): boolean;
  /** Whether the route to an address is kept here, wherever it leads, so that nobody else may write it; of none by default. */
  keeps?(ip: string): boolean;
  /** Makes a pod's link with what has to be so before. @throws what `make` throws */
  making?(spec: PodLinkSpec, make: () => Promise<PodLink>): Promise<PodLink>;
  /** Takes away what the other nodes know of ours, after the stop. @throws ApiError */
  leave(): Promise<void>;
}

/** Makes one, which begins with its start. */
export type MakeDataPath = (local: LocalNetwork, listener: DataPathListener) => DataPath;
