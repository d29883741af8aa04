/**
 * What of ours is on the disk and under /run, kept as the kernel's objects are: the lock that makes this the node's only
 * agent, the sockets, what is published for the plugin, the CNI configuration, the plugin's executable, the cache. Whatever
 * happens in those directories is told, then all of it is looked at, and what is wrong is put right; so it does not matter
 * what was told, or whether it was. A slow timer looks as well.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import type { AgentConfig } from "../../config/index.ts";
import { WIREGUARD } from "../../dataplane/encryption/index.ts";
import { errorText, type Logger } from "../../log/index.ts";
import { PathWatch } from "../../sys/index.ts";
import { Task } from "../../reconcile/index.ts";
import type { Metrics, Question } from "../../observe/index.ts";
import { Executable } from "./executable.ts";
import { FirstConflist } from "./first-conflist.ts";
import { RepairPace } from "./pace.ts";

/** A burst of notifications is one look, this long after its first, in milliseconds. */
const SETTLE_MS = 50;
/** Without any notification it is looked at this often; every second where the machine has no more inotify watches. */
const LOOK_MS = 10_000;
const UNWATCHED_MS = 1_000;

/** One thing that is looked at. */
export interface Duty {
  /** For the metric: socket, lock … */
  kind: string;
  /** In words, as it is said after "restored". */
  what: string;
  /** Puts it right. @returns whether it was not. @throws Error when that cannot be done */
  keep: () => boolean | Promise<boolean>;
}

export interface DiskControlLoopOptions {
  config: AgentConfig;
  log: Logger;
  metrics: Metrics;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
  /** Has the networks' files looked at. */
  look: () => void;
  /** This process can never put it right: only a new one can. */
  onFatal: (error: Error) => void;
}

/** A directory was removed while it was mounted here: nothing can be made in it any more. */
class DirectoryRemoved extends Error {
  override readonly name = "DirectoryRemoved";
  constructor(path: string) {
    super(
      `directory ${path} was removed on the host while it is mounted in this container, where nothing can be made in it any ` +
        "more; this agent ends so that the kubelet starts it with the directory mounted anew",
    );
  }
}

/** Looks from {@link start} to {@link stop}. */
export class DiskControlLoop {
  readonly #options: DiskControlLoopOptions;
  readonly #first: FirstConflist;
  readonly #executable: Executable;
  readonly #duties: Duty[] = [];
  readonly #watch: PathWatch;
  readonly #task: Task;
  readonly #pace = new RepairPace();
  readonly #complaints = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: DiskControlLoopOptions) {
    const { config, log, event } = options;
    const { confDir, confName, binDir, install } = config.cni;
    this.#options = options;
    this.#first = new FirstConflist({ confDir, confName, log, event });
    const executable = (this.#executable = new Executable({ binDir, install }));
    this.#duties.push({ kind: "executable", what: `the CNI plugin in ${binDir}`, keep: () => executable.keep() });
    this.#watch = new PathWatch(
      () => [...this.#directories, join(config.dataDir, "cache"), join(config.dataDir, WIREGUARD), ...executable.paths],
      () => this.want(),
    );
    this.#task = new Task(
      () => this.#look(),
      { baseMs: 250, maxMs: 30_000 },
      // each duty has said what is wrong with it
      () => undefined,
    );
  }

  /** Has one more thing looked at, before or after the start. */
  add(duty: Duty): void {
    this.#duties.push(duty);
  }

  /** Begins. */
  start(): void {
    this.want();
  }

  /** Looks soon. */
  want(): void {
    this.#task.want(Math.max(SETTLE_MS, this.#pace.restMs));
  }

  /** Somebody had changed or removed a thing of ours, and it is as it was. */
  repaired(kind: string, what: string, network = this.#options.config.network): void {
    const { log, metrics } = this.#options;
    metrics.repairs.inc({ network, kind });
    log.warn(`restored ${what} (changed or removed externally)`);
    if (this.#pace.made())
      log.warn(
        "somebody on this node keeps changing or removing Skylane's files; from now on they are restored more slowly",
      );
  }

  /** Lines of `/readyz`: whether the runtime calls Skylane, and whether there is what it calls. */
  get questions(): Question[] {
    return [
      { name: "conflist", ask: () => this.#first.verdict },
      { name: "executable", ask: () => this.#executable.verdict },
    ];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#watch.close();
    await this.#task.stop();
  }

  get #directories(): string[] {
    const { runDir, dataDir, cni } = this.#options.config;
    return [runDir, dataDir, cni.confDir, cni.binDir];
  }

  async #look(): Promise<void> {
    clearTimeout(this.#timer);
    const errors = this.#watch.arm();
    this.#complain("watching the files", errors[0]);
    if (this.#removed()) return;
    let failed = false;
    for (const { kind, what, keep } of this.#duties) {
      const wrong = await this.#guarded(what, async () => {
        if (await keep()) this.repaired(kind, what);
      });
      failed ||= wrong;
    }
    const unlisted = await this.#guarded("the CNI configurations", () => this.#first.look());
    this.#options.look();
    if (!this.#stopped) this.#timer = setTimeout(() => this.want(), errors.length > 0 ? UNWATCHED_MS : LOOK_MS).unref();
    if (failed || unlisted) throw new Error("something on the disk cannot be put right");
  }

  /** Whether a directory has no name anywhere any more: only who has it mounted, or works in it, sees it then. */
  #removed(): boolean {
    const path = this.#directories.find((path) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat?.isDirectory() && stat.nlink === 0;
    });
    if (path !== undefined) this.#options.onFatal(new DirectoryRemoved(path));
    return path !== undefined;
  }

  /** @returns whether it failed; said once, until it is over or fails otherwise */
  async #guarded(what: string, work: () => void | Promise<void>): Promise<boolean> {
    try {
      await work();
      this.#complain(what, undefined);
      return false;
    } catch (error) {
      this.#complain(what, error);
      return true;
    }
  }

  #complain(what: string, error: unknown): void {
    const { log } = this.#options;
    if (error === undefined) {
      if (this.#complaints.delete(what)) log.info(`${what}: all right again`);
      return;
    }
    const text = errorText(error);
    if (this.#complaints.get(what) === text) return;
    this.#complaints.set(what, text);
    log.error(`${what}: cannot be kept as it should be; trying again`, { error });
  }
}
