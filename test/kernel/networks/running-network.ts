/**
 * A pod network's part on a node as the agent has it, without an API server: the overlay made from the host's namespace, the
 * packet filter of the network's own, and the pods' host ends. Nothing there is removed by stopping.
 */
import type { Logger } from "../../../src/log/index.ts";
import { Monitor, type NetlinkEvent, Rtnl } from "../../../src/netlink/index.ts";
import type { NetworkNetns } from "../../../src/dataplane/netns/index.ts";
import { Firewall, type FirewallStatus, namespaceRules } from "../../../src/dataplane/nft/index.ts";
import { type LocalNetwork, type Peer } from "../../../src/peers/index.ts";
import {
  OverlayReconciler,
  type OverlayStatus,
  removeOverlay,
  type ReconcilerOptions,
} from "../../../src/dataplane/vxlan/index.ts";
import {
  attachPodAsync,
  DetachQueue,
  PATIENCE_MS,
  type PodLink,
  type PodLinkSpec,
} from "../../../src/dataplane/pod-link/index.ts";

const OWN_NETNS = "/proc/thread-self/ns/net";

/** What a network's part is made of. */
export interface RunningNetworkOptions extends Pick<ReconcilerOptions, "onRepair" | "onPass" | "onError" | "backoff"> {
  /** Taken over: it is closed when this stops. */
  netns: NetworkNetns;
  local: LocalNetwork;
  logger: Logger;
  /** Namespace with the underlay, as path or descriptor; the process's own by default. */
  underlayNetns?: number | string;
  /** The packet filter was put right that somebody else had changed. */
  onFilterRepair?: () => void;
  /** What the kernel tells of links, addresses and routes there: for HostEnds, and after its removals are noted. */
  onEvents?: (events: readonly NetlinkEvent[]) => void;
  /** Some of it was lost. */
  onLost?: () => void;
}

/** Keeps one pod network working in its namespace. */
export class RunningNetwork {
  readonly netns: NetworkNetns;
  /** A conversation with the namespace, patient enough for pods' links. */
  readonly rtnl: Rtnl;
  /** Removes pods' host ends of this namespace. */
  readonly queue: DetachQueue;
  readonly overlay: OverlayReconciler;
  readonly #options: RunningNetworkOptions;
  readonly #firewall: Firewall;
  #monitor: Monitor | undefined;
  #stopped: Promise<void> | undefined;

  /** @throws SysError when no socket can be opened */
  constructor(options: RunningNetworkOptions) {
    const { netns, local, logger, underlayNetns = OWN_NETNS } = options;
    this.#options = options;
    this.netns = netns;
    this.rtnl = Rtnl.open({ netns: netns.fd, timeoutMs: PATIENCE_MS });
    this.queue = new DetachQueue(this.rtnl);
    this.overlay = new OverlayReconciler({ ...options, local, logger, netns: netns.fd, underlayNetns });
    this.#firewall = new Firewall({
      netns: netns.fd,
      logger,
      // Nobody else has rules in this namespace.
      forwardPolicy: false,
      onRepair: () => options.onFilterRepair?.(),
    });
    this.#firewall.set([namespaceRules(local, local.podCidrs)]);
  }

  /**
   * Makes everything true and keeps it so; resolves after the first attempt (see {@link status}). Set the peers before.
   * @throws SysError when the namespace cannot be watched
   */
  async start(): Promise<void> {
    for (const what of this.netns.settle()) this.#options.logger.info(`namespace ${this.netns.name}: ${what}`);
    this.#monitor = Monitor.open({
      netns: this.netns.fd,
      kinds: ["link", "address", "route"],
      onEvents: (events) => {
        this.queue.notice(events);
        this.#options.onEvents?.(events);
      },
      onResync: () => this.#options.onLost?.(),
    });
    // The rules first: no packet passes without them.
    await this.#firewall.start();
    await this.overlay.start();
  }

  /** Replaces what this node is in the network: its blocks, underlay address, MTU … */
  setLocal(local: LocalNetwork): void {
    this.#firewall.set([namespaceRules(local, local.podCidrs)]);
    this.overlay.setLocal(local);
  }

  /** See {@link OverlayReconciler.setPeers}. The host's table needs them too: `tunnelRules` of src/dataplane/nft. */
  setPeers(peers: Iterable<Peer>): void {
    this.overlay.setPeers(peers);
  }

  /** See {@link OverlayReconciler.changePeers}. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    this.overlay.changePeers(changes);
  }

  /** Whether pods may come: the rules are in place, and so is every entry of the overlay. */
  get ready(): boolean {
    return this.#firewall.status().ready && this.overlay.status().ready;
  }

  status(): { overlay: OverlayStatus; firewall: FirewallStatus } {
    return { overlay: this.overlay.status(), firewall: this.#firewall.status() };
  }

  /** Makes a pod's link with its host end here. @throws PodLinkError, SysError, NetlinkError */
  attachPod(spec: PodLinkSpec): Promise<PodLink> {
    return attachPodAsync({ ...spec, hostNetns: this.netns.path }, this.rtnl);
  }

  /** Stops watching, leaves the data path as it is, and closes the namespace. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /**
   * The node leaves the network: the device goes at once, so that its VNI is free, and the rest with the namespace, when
   * its mount is released. @throws NetlinkError when the kernel keeps the device
   */
  async remove(): Promise<void> {
    await this.overlay.stop();
    try {
      const [failure] = removeOverlay(this.rtnl).failures;
      if (failure) throw failure.error;
    } finally {
      await this.stop();
    }
  }

  async #stop(): Promise<void> {
    await this.overlay.stop();
    await this.#firewall.stop();
    await this.#monitor?.close();
    this.rtnl.close();
    this.netns.close();
  }
}
