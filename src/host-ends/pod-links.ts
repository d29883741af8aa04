/**
 * Pods' links of one network namespace in the hands of the agent: how they are made, their removal, many at a time, and the
 * repair of their host ends. Those two live on what the namespace's watch tells.
 */
import { type MonitorListener, type NetlinkEvent, Rtnl } from "../netlink/index.ts";
import {
  attachPodAsync,
  DetachQueue,
  PATIENCE_MS,
  type PodLink,
  type PodLinkSpec,
} from "../dataplane/pod-link/index.ts";
import { type NetnsWatch, watchNetns } from "../host/index.ts";
import { HostEnds, type HostEndsOptions } from "./host-ends.ts";

/** What it works on. */
export interface PodLinksOptions extends Omit<HostEndsOptions, "rtnl" | "netns" | "bridged"> {
  /** Descriptor of the namespace; the agent's own by default. */
  netns?: number;
  /**
   * Whether host ends have addresses and routes, which are looked after. Those of a bridged network are ports, and its bridge's
   * reconciler looks after what makes them so.
   */
  routed: boolean;
  /** Makes a link with what has to be so before and after that; nothing by default. @throws what `make` throws */
  making?: (spec: PodLinkSpec, make: () => Promise<PodLink>) => Promise<PodLink>;
}

/** See the header. */
export class PodLinks implements MonitorListener {
  /** A conversation with the namespace, as patient as changes need it that may have to wait for many others. */
  readonly rtnl: Rtnl;
  /** Removes links. */
  readonly queue: DetachQueue;
  readonly #ends: HostEnds;
  readonly #making: PodLinksOptions["making"];

  /** @throws SysError when no socket can be opened */
  constructor({ netns, routed, making, ...options }: PodLinksOptions) {
    this.rtnl = Rtnl.open({ timeoutMs: PATIENCE_MS, ...(netns !== undefined && { netns }) });
    this.#making = making;
    this.queue = new DetachQueue(this.rtnl);
    this.#ends = new HostEnds({ ...options, netns, rtnl: this.rtnl, bridged: !routed });
  }

  /**
   * Makes a link. @param before what must be so before a packet passes over it
   * @throws PodLinkError, SysError, NetlinkError, and what `before` rejects with; nothing is left behind then
   */
  attach(spec: PodLinkSpec, before?: Promise<unknown>): Promise<PodLink> {
    const make = () => attachPodAsync(spec, this.rtnl, before);
    return this.#making?.(spec, make) ?? make();
  }

  onEvents(events: readonly NetlinkEvent[]): void {
    this.queue.notice(events);
    this.#ends.notice(events, (index) => this.queue.isRemoving(index));
  }

  onResync(): void {
    this.look();
  }

  /** Looks at all host ends now, as at the start. */
  look(): void {
    this.#ends.look();
  }

  /** See {@link HostEnds.hostEndOf}. */
  hostEndOf(ip: string): number | undefined {
    return this.#ends.hostEndOf(ip);
  }

  /** Looks no more. Removals that are under way end by themselves. */
  async stop(): Promise<void> {
    await this.#ends.stop();
    this.rtnl.close();
  }
}

/** Pods' links of a namespace that nobody else listens in. */
export class NetnsLinks extends PodLinks {
  /** What is heard there. */
  readonly watch: NetnsWatch;

  /** @throws SysError when no socket can be opened */
  constructor(options: PodLinksOptions & { netns: number }) {
    super(options);
    try {
      this.watch = watchNetns(this, options.netns);
    } catch (error) {
      this.rtnl.close();
      throw error;
    }
  }

  override async stop(): Promise<void> {
    await this.watch.close();
    await super.stop();
  }
}
