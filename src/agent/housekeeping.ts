/**
 * What has no event and is looked at on a timer: forwarding, the files and the self-test of the networks, the
 * plugin's timings, and the addresses of pods that are gone. The timer's own beat is what `/healthz` reports.
 */
import type { AgentConfig } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { collectLeftovers } from "./collector.ts";
import { DurationSpool } from "./durations.ts";
import { ensureForwarding, readForwarding } from "./forwarding.ts";
import type { Metrics } from "./metrics.ts";
import type { PodNetwork } from "./network.ts";

const BEAT_MS = 10_000;
/** Without a finished beat for this long the agent is stuck, in milliseconds. */
const STUCK_MS = 120_000;

/** What housekeeping works on. */
export interface HousekeepingOptions {
  config: AgentConfig;
  log: Logger;
  metrics: Metrics;
  rtnl: Rtnl;
  networks: readonly PodNetwork[];
}

/** Runs it all until it is stopped. */
export class Housekeeping {
  readonly #options: HousekeepingOptions;
  readonly #spool: DurationSpool;
  readonly #complaints = new Map<string, string>();
  #timers: NodeJS.Timeout[] = [];
  #beat: Promise<void> | undefined;
  #lastBeat = performance.now();
  #forwarding = { ok: false, message: "not looked at yet" };

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#spool = new DurationSpool(options.config.runDir);
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
  forward(): void {
    const { rtnl, log } = this.#options;
    this.#guarded("forwarding cannot be switched on", () => {
      this.#forwarding = { ok: false, message: "the node's forwarding cannot be read" };
      const state = readForwarding(rtnl.links(), rtnl.addresses({ family: 6 }), rtnl.routes({ family: 6 }));
      try {
        for (const { key, value } of ensureForwarding(state)) log.info(`set ${key} = ${value}`);
        this.#forwarding = { ok: true, message: "the node forwards" };
      } catch (error) {
        this.#forwarding = { ok: false, message: (error as Error).message };
        throw error;
      }
    });
  }

  /** Reads the plugin's timings that have come since the last time. */
  countDurations(): void {
    this.#guarded("the plugin's timings cannot be read", () => {
      for (const { verb, result, ms } of this.#spool.drain())
        this.#options.metrics.cniSeconds.observe({ verb, result }, ms / 1_000);
    });
  }

  /** Frees what dead pods left. */
  collect(): void {
    const { config, log, metrics } = this.#options;
    this.#guarded("addresses of dead pods cannot be looked for", () => {
      const { freed, errors } = collectLeftovers(config.dataDir, config.network);
      metrics.collected.inc({ network: config.network }, freed.length);
      for (const { ip, owner } of freed)
        log.info(`freed ${ip}: its sandbox is gone`, { container: owner.containerId, ifname: owner.ifname });
      if (errors.length > 0) throw new AggregateError(errors);
    });
  }

  /** Ends the timers and waits for a round that is under way. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#beat;
    this.#spool.close();
  }

  async #round(): Promise<void> {
    this.forward();
    this.countDurations();
    for (const network of this.#options.networks) await network.maintain();
    this.#lastBeat = performance.now();
  }

  /** Runs one duty; a failure is said once, until it changes or is over, and never stops the others. */
  #guarded(complaint: string, work: () => void): void {
    try {
      work();
      if (this.#complaints.delete(complaint)) this.#options.log.info(`no longer: ${complaint}`);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (this.#complaints.get(complaint) === text) return;
      this.#complaints.set(complaint, text);
      this.#options.log.error(complaint, { error });
    }
  }
}
