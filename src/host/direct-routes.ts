/**
 * Direct routing: where routes without encapsulation lead from here, and whether this node takes what comes by it. Both follow
 * from the machine as it is, each time something of it changes.
 */
import type { Logger } from "../log/index.ts";
import type { Link } from "../netlink/index.ts";
import { readSysctl, SysError, writeSysctl } from "../sys/index.ts";
import { type SegmentInput, type Segments, segmentsOf } from "./segments.ts";

/** rp_filter: 1 strict, 2 loose (Documentation/networking/ip-sysctl.rst). */
const STRICT = 1;
const LOOSE = 2;

/**
 * Lets an interface take packets from pods whose way back leads through the tunnel: of two nodes one switches first, and
 * the strict filter would drop what it sends until the other one has. The kernel takes the stricter value of `all` and the
 * interface's own, except that 2 beats 1. @returns what was written @throws SysError
 */
function loosenFilter(name: string): string | undefined {
  const key = `net.ipv4.conf.${name}.rp_filter`;
  const [all, own] = [readSysctl("net.ipv4.conf.all.rp_filter"), readSysctl(key)];
  if (own === undefined || Math.max(Number(all ?? 0), Number(own)) !== STRICT) return undefined;
  writeSysctl(key, String(LOOSE));
  return `${key} = ${LOOSE}`;
}

/** Keeps one network's. */
export class DirectRoutes {
  readonly #log: Logger;
  /** Why what comes unencapsulated may be dropped; "" when nothing is known against it. */
  #obstacle: string | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Looks at the machine, and lets in what comes over the interfaces with these addresses. @throws NetlinkError */
  look(ips: readonly string[], machine: SegmentInput & { links: readonly Link[] }): Segments {
    const segments = segmentsOf(ips, machine);
    let obstacle = "";
    for (const { name } of machine.links.filter(({ index }) => segments.interfaces.includes(index))) {
      try {
        const written = loosenFilter(name);
        if (written) this.#log.info(`set ${written}, for packets that come from peers unencapsulated`);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        obstacle = error.message;
      }
    }
    if (obstacle !== "" && obstacle !== this.#obstacle)
      this.#log.warn("peers are asked to send everything through the tunnel: a strict rp_filter cannot be changed", {
        reason: obstacle,
      });
    this.#obstacle = obstacle;
    return segments;
  }

  /** Whether peers may send unencapsulated; no before the first look. */
  get open(): boolean {
    return this.#obstacle === "";
  }
}
