/**
 * Hears of the kernel parameters of devices that the kernel does not announce. It tells of forwarding, rp_filter and a few more
 * (RTM_NEWNETCONF); who changes arp_filter or accept_ra changes them silently, and inotify forgets files of /proc/sys whenever
 * the kernel needs memory. So all of them are asked for in one question a second, and what has changed since the last one is
 * told in the kernel's own words.
 */
import { FAMILIES } from "../addr/index.ts";
import { type DeviceParameters, type MonitorListener, type NetlinkEvent, Rtnl } from "../netlink/index.ts";

/** Between two looks, in milliseconds. */
const LOOK_MS = 700;
/**
 * A look is followed by a rest of so many times the processor time that it took, so that thousands of devices cost half a percent of a core.
 * Time in which others had the processor does not count: a change would go unnoticed for minutes where there is much other work.
 */
const REST = 200;
/** The longest pause after looks that failed, in milliseconds. */
const LONGEST_MS = 30_000;

/** See the header. */
export class ParameterWatch {
  readonly #rtnl: Rtnl;
  readonly #listener: MonitorListener;
  #before: ReadonlyMap<number, DeviceParameters> | undefined;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * Looks from the call on until {@link close}.
   * @param netns descriptor of the namespace; the agent's own by default
   * @param listener is told to look for itself when the kernel could not be asked
   * @throws SysError when no socket can be opened
   */
  constructor(listener: MonitorListener, netns?: number) {
    this.#listener = listener;
    this.#rtnl = Rtnl.open(netns === undefined ? {} : { netns });
    this.#look();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#rtnl.close();
  }

  #look(): void {
    const started = processorMs();
    let reason: string | undefined;
    let events: NetlinkEvent[] = [];
    try {
      const now = new Map(this.#rtnl.parameters().map((parameters) => [parameters.index, parameters]));
      if (this.#before) events = parameterChanges(this.#before, now);
      this.#before = now;
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      reason = `kernel parameters of devices cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    }
    const rest = Math.max(LOOK_MS, (processorMs() - started) * REST);
    this.#timer = setTimeout(() => this.#look(), Math.min(rest * 2 ** this.#failures, LONGEST_MS)).unref();
    // What a listener looks at says so in the log where it cannot.
    if (reason !== undefined) this.#listener.onResync(reason);
    else if (events.length > 0) this.#listener.onEvents(events);
  }
}

/** Processor time of this thread so far, in milliseconds. */
function processorMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

/** The devices whose parameters are others than before, as notifications. Devices that came or went are told by the kernel. Pure. */
export function parameterChanges(
  before: ReadonlyMap<number, DeviceParameters>,
  now: ReadonlyMap<number, DeviceParameters>,
): NetlinkEvent[] {
  const events: NetlinkEvent[] = [];
  for (const [ifindex, parameters] of now) {
    const known = before.get(ifindex);
    if (!known) continue;
    for (const family of FAMILIES)
      if (known[family] !== parameters[family])
        events.push({ event: "new", kind: "netconf", netconf: { family, ifindex } });
  }
  return events;
}
