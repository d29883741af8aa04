/**
 * Limits of pods in the hands of the agent: what records and the Pods' annotations say is made so and kept so, in each network namespace that has
 * limited pods. What annotations say goes into the records, so that it holds where the API server, or the agent, is away.
 */
import type { Logger } from "../../log/index.ts";
import { Task } from "../../reconcile/index.ts";
import type { KernelReconcilerOptions } from "../kernel/index.ts";
import { BandwidthRefused, isGone, limitDifferences, type LimitRequest, type PodBandwidth } from "./bandwidth.ts";
import { isUnlimited, type Limits, rateText, sameLimits } from "./limits.ts";
import { LimitReconciler } from "./reconciler.ts";
import { endOf, type LimitOwner, type LimitRecord, LimitRecords } from "./records.ts";

const RETRY = { baseMs: 200, maxMs: 30_000 } as const;
/** A burst of changed pods is one look, this long after its first, in milliseconds. */
const SETTLE_MS = 10;

/** An attachment that may be limited. */
export type LimitedAttachment = Omit<LimitRequest, "limits">;

export interface BandwidthKeeperOptions {
  dataDir: string;
  log: Logger;
  /** Whether the attachment that a record goes with is there, and its sandbox not provably dead. @throws Error of the system */
  isAttached: (record: LimitRecord) => boolean;
  /** All attachments of this node whose pods are known by name. @throws Error of the system */
  attachments: () => LimitedAttachment[];
  /** What the Pod's annotations say; undefined while the API server is not known to know the pod. */
  annotated: (pod: string, uid: string | undefined) => Limits | undefined;
  /** Has a listener told of what happens in the host's network namespace; a monitor of its own where absent. */
  watch?: NonNullable<KernelReconcilerOptions["watch"]>;
  /** So many things that somebody had changed are as they were. */
  onRepair: (count: number) => void;
}

/** A limited interface, for people and programs. */
export interface LimitedInterface {
  /** NAMESPACE/NAME, where the runtime says it. */
  pod?: string;
  container: string;
  interface: string;
  network: string;
  /** "10M", in bits a second; absent where the direction has none. */
  ingress?: string;
  egress?: string;
  /** Why it is not in force. */
  error?: string;
}

const netnsOf = ({ hostNetns = "" }: Pick<LimitRecord, "hostNetns">): string => hostNetns;

/** See the header. */
export class BandwidthKeeper implements PodBandwidth {
  readonly #options: BandwidthKeeperOptions;
  readonly #records: LimitRecords;
  readonly #task: Task;
  /** By path of the network namespace; "" is the host's. */
  readonly #parts = new Map<string, Promise<LimitReconciler>>();
  readonly #running = new Map<string, LimitReconciler>();
  /** Pods whose annotations are to be looked at. */
  #pods = new Set<string>();

  constructor(options: BandwidthKeeperOptions) {
    this.#options = options;
    this.#records = new LimitRecords(options.dataDir);
    this.#task = new Task(
      () => this.#look(),
      RETRY,
      (error, attempt) => {
        if (attempt === 1)
          options.log.error("bandwidth limits of pods cannot be put in place; it is tried again", { error });
      },
    );
  }

  /** Puts in place what is recorded, and takes away what is left of pods that are gone. */
  start(): void {
    this.#task.want();
  }

  /** Lets go of what belongs to pods that are gone. */
  collect(): void {
    this.#task.want();
  }

  /** Pods' annotations say something else, or pods have come. @param pods as NAMESPACE/NAME */
  podsChanged(pods: Iterable<string>): void {
    for (const pod of pods) this.#pods.add(pod);
    this.#task.want(SETTLE_MS);
  }

  async limit(request: LimitRequest): Promise<void> {
    const { pod, uid } = request;
    const annotated = pod === undefined ? undefined : this.#options.annotated(pod, uid);
    const byApi = annotated !== undefined && !isUnlimited(annotated);
    const record: LimitRecord = byApi ? { ...request, limits: annotated, annotated: true } : request;
    if (isUnlimited(record.limits)) return;
    this.#records.write(record);
    const part = await this.#part(netnsOf(record));
    await part.update();
    const fault = part.faultOf(endOf(record));
    if (fault !== undefined) throw new BandwidthRefused(`the pod's bandwidth cannot be limited: ${fault}`);
  }

  async unlimit(owner: LimitOwner): Promise<void> {
    const record = this.#records.find(owner);
    const part = record && this.#running.get(netnsOf(record));
    // One that the plugin made: what goes with it is no repair.
    if (record && part && !part.wants(endOf(record))) await part.update();
    if (!this.#records.leave(owner)) return;
    await this.#end(this.#records.going().filter((record) => endOf(record) === endOf({ owner })));
    if (this.#records.leave(owner)) throw new BandwidthRefused("the kernel refused to end the pod's bandwidth limit");
  }

  differences(owner: LimitOwner): string[] {
    const record = this.#records.find(owner);
    return record ? limitDifferences(record) : [];
  }

  /** @throws Error of the system when the records cannot be read */
  status(): LimitedInterface[] {
    return this.#records.list().map((record) => {
      const { owner, pod, network, limits } = record;
      const part = this.#running.get(netnsOf(record));
      const error = part ? part.faultOf(endOf(record)) : "not looked at yet";
      return {
        ...(pod !== undefined && { pod }),
        container: owner.containerId,
        interface: owner.ifname,
        network,
        ...(limits.ingress && { ingress: rateText(limits.ingress.rate) }),
        ...(limits.egress && { egress: rateText(limits.egress.rate) }),
        ...(error !== undefined && { error }),
      };
    });
  }

  /** Stops, and leaves limits as they are. */
  async stop(): Promise<void> {
    await this.#task.stop();
    await Promise.all([...this.#parts.keys()].map((netns) => this.#stopPart(netns)));
  }

  async #look(): Promise<void> {
    const { isAttached } = this.#options;
    this.#heed();
    for (const record of this.#records.list()) if (!isAttached(record)) this.#records.leave(record.owner);
    await this.#end(this.#records.going());
    const netns = new Set(this.#records.list().map(netnsOf));
    for (const one of netns) {
      if (isGone(one === "" ? undefined : one)) continue;
      const part = await this.#part(one);
      await part.update();
    }
    if (this.#records.going().length > 0) throw new Error("the kernel refused to end bandwidth limits of pods");
    await this.#tidy();
  }

  /** Has records say what the annotations of pods say that changed. */
  #heed(): void {
    if (this.#pods.size === 0) return;
    const pods = this.#pods;
    this.#pods = new Set();
    try {
      const { attachments, annotated, log } = this.#options;
      const recorded = new Set(this.#records.list().map(({ pod }) => pod));
      const limited = (pod: string): boolean => !isUnlimited(annotated(pod, undefined) ?? {});
      if (![...pods].some((pod) => recorded.has(pod) || limited(pod))) return;
      for (const attachment of attachments()) {
        const { pod, uid, owner } = attachment;
        const limits = pod === undefined || !pods.has(pod) ? undefined : annotated(pod, uid);
        if (!limits) continue;
        const before = this.#records.find(owner);
        if (!isUnlimited(limits)) {
          if (before?.annotated && sameLimits(before.limits, limits)) continue;
          this.#records.write({ ...attachment, limits, annotated: true });
          const told = { pod, interface: owner.ifname, ingress: limits.ingress?.rate, egress: limits.egress?.rate };
          log.info("a pod's bandwidth is limited as its annotations say, in bits a second", told);
        } else if (before?.annotated && this.#records.leave(owner))
          log.info("a pod's bandwidth is limited no longer: its annotations are gone", {
            pod,
            interface: owner.ifname,
          });
      }
    } catch (error) {
      for (const pod of pods) this.#pods.add(pod);
      throw error;
    }
  }

  /** Takes what records were put aside for out of the kernel, and forgets those of which nothing is left. @throws Error of the system */
  async #end(going: readonly LimitRecord[]): Promise<void> {
    for (const [netns, records] of Map.groupBy(going, netnsOf)) {
      if (!isGone(netns === "" ? undefined : netns)) {
        const part = await this.#part(netns);
        await part.update();
        for (const record of records) if (part.isClear(endOf(record))) this.#records.forget(record.owner);
      } else for (const { owner } of records) this.#records.forget(owner);
    }
  }

  /** A reconciler that runs. @throws SysError when no socket can be opened */
  #part(netns: string): Promise<LimitReconciler> {
    const known = this.#parts.get(netns);
    if (known) return known;
    const { log, isAttached, onRepair, watch } = this.#options;
    const reconciler = new LimitReconciler({
      logger: log,
      onRepair: (_kind, count) => onRepair(count),
      limits: () => {
        const here = this.#records.list().filter((record) => netnsOf(record) === netns && isAttached(record));
        return new Map(here.map((record) => [endOf(record), record.limits]));
      },
      ...(netns === "" ? watch && { watch } : { netns }),
    });
    const starting = reconciler.start().then(() => {
      this.#running.set(netns, reconciler);
      return reconciler;
    });
    this.#parts.set(netns, starting);
    void starting.catch(() => this.#parts.delete(netns));
    return starting;
  }

  /** Stops the reconcilers of namespaces in which no pod is limited: one that listens would keep a namespace from going. */
  async #tidy(): Promise<void> {
    for (const netns of this.#running.keys()) {
      const used = [...this.#records.list(), ...this.#records.going()].some((record) => netnsOf(record) === netns);
      if (!used) await this.#stopPart(netns);
    }
  }

  async #stopPart(netns: string): Promise<void> {
    const part = this.#parts.get(netns);
    this.#parts.delete(netns);
    this.#running.delete(netns);
    // One that could not start has said so.
    const running = await part?.catch(() => undefined);
    await running?.stop();
  }
}
