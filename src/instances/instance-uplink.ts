/**
 * The uplink of a network that this node takes part in: it is there while the network masquerades and its rules are in place, and
 * put right when somebody changed it.
 */
import { familyOf } from "../addr/index.ts";
import type { Logger } from "../log/index.ts";
import type { PodNetworkInfo } from "../crd/index.ts";
import type { NetlinkEvent } from "../netlink/index.ts";
import type { Metrics } from "../observe/index.ts";
import type { UplinkOptions } from "../dataplane/uplink/index.ts";
import type { InstanceMachine } from "./instance-machine.ts";

/** What it works on. */
export interface InstanceUplinkOptions extends Pick<UplinkOptions, "host" | "rtnl" | "netns"> {
  machine: Pick<InstanceMachine, "uplink">;
  info: PodNetworkInfo;
  /** Whether the rules in force are those of the network as it is now. */
  guarded: () => boolean;
  log: Logger;
  metrics: Metrics;
}

/** See the header. */
export class InstanceUplink {
  readonly #options: InstanceUplinkOptions;
  readonly #uplink: ReturnType<InstanceMachine["uplink"]>;
  #masquerade: boolean;
  /** Its MTU, once it has been seen in order. */
  #mtu: number | undefined;
  #complaint = "";
  /** Addresses by which egress gateways know the network's packets; undefined before anybody has said so. */
  #transits: readonly string[] | undefined;

  constructor(options: InstanceUplinkOptions) {
    const { name: network, vni, cidrs, masquerade } = options.info;
    this.#options = options;
    this.#masquerade = masquerade;
    const { host, rtnl, netns, machine } = options;
    this.#uplink = machine.uplink({ host, rtnl, netns, network, vni, families: cidrs.map(familyOf) });
  }

  /** The addresses that it does not lead to; undefined where there is none. */
  get outside(): readonly string[] | undefined {
    return this.#masquerade ? this.#options.info.cidrs : undefined;
  }

  /** Whether the network is to have one. Returns whether that is a change, of which the packet filter must hear. @throws NetlinkError */
  set(masquerade: boolean): boolean {
    if (masquerade === this.#masquerade) return false;
    this.#options.log.info(`masquerade of a pod network is ${masquerade} now`);
    this.#masquerade = masquerade;
    this.#mtu = undefined;
    if (!masquerade) this.#uplink.remove();
    return true;
  }

  /** Whether it is there, and in order as far as is known. */
  get inOrder(): boolean {
    return this.#mtu !== undefined;
  }

  /** Has these addresses of the node's reached through it, and no others of their kind. A failure is said, and the next look tries again. */
  setTransits(transits: readonly string[]): void {
    if (this.#transits && String(transits) === String(this.#transits)) return;
    this.#transits = transits;
    const [mtu, before] = [this.#mtu, this.#mtu];
    if (mtu === undefined) return;
    // What is missing now nobody has taken away.
    this.#mtu = undefined;
    try {
      this.keep(mtu);
    } catch (error) {
      this.#mtu = before;
      this.#options.log.error("the way of a pod network to an egress gateway cannot be made; trying again", { error });
    }
  }

  /**
   * Makes it, or puts it right. Without its rules it is not touched: whoever puts those in place calls again.
   * @param mtu of the network's pods, in bytes. @throws NetlinkError, SysError, Error as {@link Uplink.ensure}
   */
  keep(mtu: number): void {
    const { info, log, metrics, guarded } = this.#options;
    // One may be there from before, if that was decided while no agent ran.
    if (!this.#masquerade) return this.#uplink.remove();
    if (!guarded()) return;
    const did = this.#uplink.ensure(mtu, this.#transits);
    const repaired = this.#mtu === mtu;
    this.#mtu = mtu;
    if (did.length === 0) return;
    if (!repaired) return log.info("made the way of a pod network to the outside", { did });
    metrics.repairs.inc({ network: info.name, kind: "uplink" }, did.length);
    log.warn("put the way of a pod network to the outside right, which somebody had changed", { did });
  }

  /** Puts it right, if it was in order before; a failure is said once, and the next look tries again. */
  look(): void {
    if (this.#mtu === undefined) return;
    try {
      this.keep(this.#mtu);
      this.#complaint = "";
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (text !== this.#complaint)
        this.#options.log.error("the way of a pod network to the outside cannot be put right; trying again", { error });
      this.#complaint = text;
    }
  }

  /** Looks where kernel parameters of the host's end have changed. */
  notice(events: readonly NetlinkEvent[]): void {
    const { hostIndex } = this.#uplink;
    if (events.some((event) => event.kind === "netconf" && event.netconf.ifindex === hostIndex)) this.look();
  }

  /** Takes it away. @throws NetlinkError */
  remove(): void {
    this.#uplink.remove();
    this.#mtu = undefined;
  }
}
