/**
 * Makes sure that a new link carries its very first packet. Two things are not done yet when the kernel has acknowledged
 * all changes, and it drops packets until its workers have done them, which takes as long as the node is busy:
 *
 * - An IPv6 address can be received on (its local route and its multicast group) only when a worker has looked at it,
 *   `nodad` or not. The kernel announces the local route when it has.
 * - The end that went up first got its carrier from the other, and may send only when another worker (linkwatch) has seen
 *   it. Asking for the link makes the kernel do that at once, since Linux 6.8; before, it takes about a millisecond.
 */
import { hostPrefix } from "../../addr/index.ts";
import { EventWait, type NetlinkEvent, type Rtnl } from "../../netlink/index.ts";

/** rtm_type of the route to an address of our own (linux/rtnetlink.h). */
const RTN_LOCAL = 2;
/**
 * How long to wait for an address at most, in milliseconds. After that the link is given out as it is: its first packets
 * may be lost, which every sender survives, while a failed ADD would cost the pod its start.
 */
const PATIENCE_MS = 2_000;

/** The IPv6 addresses of a new link that the kernel has yet to make usable. */
export class Arrival implements Disposable {
  readonly #expected: { events: EventWait; isIt: (event: NetlinkEvent) => boolean }[] = [];

  /**
   * Watches for an address, which is added only after this.
   * @param netns descriptor of its namespace; the process's own by default. @throws SysError
   */
  expect(ip: string, ifindex: number, netns: number | undefined): void {
    const events = EventWait.open({ kinds: ["route"], ...(netns !== undefined && { netns }) });
    const isIt = ({ kind, event, ...rest }: NetlinkEvent): boolean => {
      if (kind !== "route" || event !== "new" || !("route" in rest)) return false;
      const { route } = rest;
      return route.type === RTN_LOCAL && route.ifindex === ifindex && route.dst === hostPrefix(ip);
    };
    this.#expected.push({ events, isIt });
  }

  /** Returns when packets to all addresses are received, or after a bounded time. */
  wait(): void {
    for (const { events, isIt } of this.#expected) events.until(isIt, PATIENCE_MS);
  }

  /** Resolves then, without keeping the process from anything else. */
  async come(): Promise<void> {
    for (const { events, isIt } of this.#expected) await events.untilAsync(isIt, PATIENCE_MS);
  }

  [Symbol.dispose](): void {
    for (const { events } of this.#expected) events[Symbol.dispose]();
  }
}

/** Lets the end that went up first send. */
export function settleCarrier(rtnl: Rtnl, index: number): void {
  rtnl.link(index);
}
