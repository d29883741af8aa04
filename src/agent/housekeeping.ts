/**
 * What has no event and is looked at on a timer: forwarding, the files and the self-test of the networks, the
 * plugin's timings, and the addresses of pods that are gone. The timer's own beat is what `/healthz` reports.
 */
import { collectDead, realHost } from "../cni/index.ts";
import type { BandwidthKeeper } from "../dataplane/bandwidth/index.ts";
import type { HostPortKeeper } from "../dataplane/host-ports/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import { type MonitorListener, type NetlinkEvent, OVERLAY_LINK_GROUP, type Rtnl } from "../netlink/index.ts";
import { Task } from "../reconcile/index.ts";
import { RepairPace } from "./disk/pace.ts";
import { DurationSpool } from "../cni-server/index.ts";
import { ensureForwarding, ensureNeighbourRoom, PROTOCOL_RA, readForwarding } from "../host/index.ts";
import type { Metrics } from "../observe/index.ts";
import type { PodNetwork } from "../network/index.ts";
import type { Networks } from "../instances/index.ts";

const BEAT_MS = 10_000;
/** A burst of notifications is one look, this long after its first, in milliseconds. */
const SETTLE_MS = 50;
/** The number that stands for all devices in notifications of kernel parameters (linux/netconf.h). */
const ALL_DEVICES = -1;
/** Without a finished beat for this long the agent is stuck, in milliseconds. */
const STUCK_MS = 120_000;

/** What housekeeping works on. */
export interface HousekeepingOptions {
  config: AgentConfig;
  log: Logger;
  metrics: Metrics;
  rtnl: Rtnl;
  networks: readonly [PodNetwork, Networks];
  hostPorts: Pick<HostPortKeeper, "map" | "unmap" | "differences" | "collect">;
  bandwidth: Pick<BandwidthKeeper, "limit" | "unlimit" | "differences" | "collect">;
  /** Looks at all host ends of the default network's pods: not all of their kernel parameters have an event. */
  lookAtPods: () => void;
}

/** Runs it all until it is stopped. */
export class Housekeeping implements MonitorListener {
  readonly #options: HousekeepingOptions;
  readonly #spool: DurationSpool;
  readonly #complaints = new Map<string, string>();
  #timers: NodeJS.Timeout[] = [];
  #beat: Promise<void> | undefined;
  #collecting: Promise<void> | undefined;
  #lastBeat = performance.now();
  readonly #forward: Task;
  readonly #pace = new RepairPace();
  /** Devices of the overlay, by index. */
  #overlays: ReadonlySet<number> = new Set();
  #forwarding = { ok: false, message: "not looked at yet" };

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#spool = new DurationSpool(options.config.runDir);
    // what goes wrong is said by the duty itself
    this.#forward = new Task(
      () => this.forward(),
      { baseMs: 1_000, maxMs: 30_000 },
      () => undefined,
    );
  }

  /** Kernel parameters of the host's namespace may have changed: has the node forward again at once where they have. */
  onEvents(events: readonly NetlinkEvent[]): void {
    const concerns = ({ ifindex }: { ifindex: number }): boolean =>
      ifindex === ALL_DEVICES || this.#overlays.has(ifindex);
    if (events.some((event) => event.kind === "netconf" && concerns(event.netconf))) this.onResync();
  }

  onResync(): void {
    this.#forward.want(Math.max(SETTLE_MS, this.#pace.restMs));
  }

  /** Begins, with a first round of everything at once. */
  start(): void {
    const beat = (): void => {
      this.#beat ??= this.#round().finally(() => {
        this.#beat = undefined;
      });
    };
    beat();
    this.collect();
    this.#timers = [
      setInterval(beat, BEAT_MS),
      setInterval(() => this.collect(), this.#options.config.gcInterval * 1_000),
    ];
  }

  /** The last look at forwarding, for readiness. */
  get forwarding(): { ok: boolean; message: string } {
    return this.#forwarding;
  }

  /** Why the agent counts as stuck; undefined while it does not. */
  get stuck(): string | undefined {
    const seconds = Math.round((performance.now() - this.#lastBeat) / 1_000);
    return seconds * 1_000 > STUCK_MS ? `the last round of housekeeping ended ${seconds} seconds ago` : undefined;
  }

  /** Makes the node forward, now. */
  async forward(): Promise<void> {
    const { rtnl, log } = this.#options;
    await this.#guarded("forwarding cannot be switched on", () => {
      this.#forwarding = { ok: false, message: "the node's forwarding cannot be read" };
      // Those of thousands of peers are none of them.
      const routes = rtnl.routes({ family: 6, protocol: PROTOCOL_RA });
      const links = rtnl.links();
      const state = readForwarding(links, rtnl.addresses({ family: 6 }), routes);
      this.#overlays = new Set(links.filter(({ group }) => group === OVERLAY_LINK_GROUP).map(({ index }) => index));
      try {
        for (const { key, value } of ensureForwarding(state)) {
          log.info(`set ${key} = ${value}`);
          if (this.#pace.made())
            log.warn("somebody on this node keeps switching forwarding off; it is restored more slowly");
        }
        this.#forwarding = { ok: true, message: "the node forwards" };
      } catch (error) {
        this.#forwarding = { ok: false, message: (error as Error).message };
        throw error;
      }
    });
  }

  /** Reads the plugin's timings that have come since the last time. */
  async countDurations(): Promise<void> {
    await this.#guarded("the plugin's timings cannot be read", () => {
      for (const { verb, result, ms } of this.#spool.drain())
        this.#options.metrics.cniSeconds.observe({ verb, result, by: "plugin" }, ms / 1_000);
    });
  }

  /**
   * Takes back what dead pods left. Runtimes seldom ask for it, and a node that lost power ran no DEL. Only what is
   * proven dead goes: an address kept too long costs one address, one that is given twice costs two pods.
   */
  collect(): void {
    this.#collecting ??= this.#collect().finally(() => {
      this.#collecting = undefined;
    });
  }

  /** Ends the timers and waits for a round that is under way. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all([this.#beat, this.#collecting, this.#forward.stop()]);
    this.#spool.close();
  }

  async #collect(): Promise<void> {
    const { config, networks } = this.#options;
    const [, further] = networks;
    for (const network of [config.network, ...further.recorded]) await this.#collectOf(network);
    await this.#guarded("host ports of pods that are gone cannot be taken back", () =>
      this.#options.hostPorts.collect(),
    );
    this.#options.bandwidth.collect();
    await further.leaveEmpty();
  }

  async #collectOf(network: string): Promise<void> {
    const { config, log, metrics, hostPorts, bandwidth } = this.#options;
    const host = { ...realHost, hostPorts: () => hostPorts, bandwidth: () => bandwidth };
    await this.#guarded(`what dead pods of network "${network}" left cannot be taken back`, async () => {
      const { attachments, addresses, failures } = await collectDead({ dataDir: config.dataDir, network }, host);
      metrics.collected.inc({ network }, attachments.length + addresses.length);
      for (const { containerId, ifname } of attachments)
        log.info("took back a pod's interface and addresses: its sandbox is gone", { container: containerId, ifname });
      for (const ip of addresses) log.info(`freed ${ip}: its sandbox is gone`);
      if (failures.length > 0) throw new AggregateError(failures);
    });
  }

  async #round(): Promise<void> {
    await this.forward();
    await this.#guarded("the node's table of neighbours cannot be enlarged; a pod could fill it", () => {
      for (const written of ensureNeighbourRoom()) this.#options.log.info(`set ${written}`);
    });
    await this.countDurations();
    for (const network of this.#options.networks) await network.maintain();
    this.#options.lookAtPods();
    this.#lastBeat = performance.now();
  }

  /** Runs one duty; a failure is said once, until it changes or is over, and never stops the others. */
  async #guarded(complaint: string, work: () => void | Promise<void>): Promise<void> {
    try {
      await work();
      if (this.#complaints.delete(complaint)) this.#options.log.info(`no longer: ${complaint}`);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (this.#complaints.get(complaint) === text) return;
      this.#complaints.set(complaint, text);
      this.#options.log.error(complaint, { error });
    }
  }
}
