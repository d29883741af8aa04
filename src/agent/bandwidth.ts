/** Bandwidth limits in the hands of the agent, with what it knows of attachments, and what the API server says of this node's Pods. */
import { isAttached, newAttachments } from "../cni/index.ts";
import { hasBandwidth } from "../cni-server/index.ts";
import type { AgentConfig } from "../config/index.ts";
import {
  annotatedLimits,
  BANDWIDTH_ANNOTATIONS,
  BandwidthKeeper,
  type BandwidthKeeperOptions,
  type LimitedAttachment,
  type Limits,
} from "../dataplane/bandwidth/index.ts";
import { type KubeClient, type OwnPod, OwnPodReflector } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import type { BandwidthStatus, Metrics } from "../observe/index.ts";

/** kubelet's annotation of a static pod's mirror in the API server: the uid by which the pod is known on its node. */
const CONFIG_HASH = "kubernetes.io/config.hash";

export interface BandwidthOptions {
  config: AgentConfig;
  client: KubeClient;
  log: Logger;
  metrics: Metrics;
  /** Pod networks beside the default one that have pods here. */
  further: () => readonly string[];
  watch: NonNullable<BandwidthKeeperOptions["watch"]>;
  podEvent: (event: { pod: { namespace: string; name: string; uid: string }; reason: string; message: string }) => void;
}

/** See the header. */
export class BandwidthOfAgent {
  readonly keeper: BandwidthKeeper;
  readonly #options: BandwidthOptions;
  /** Only where bandwidth is Skylane's. */
  readonly #pods: OwnPodReflector | undefined;
  /** Pods whose annotations limit nothing, by NAMESPACE/NAME, and what is wrong with these. */
  readonly #faults = new Map<string, string>();

  constructor(options: BandwidthOptions) {
    const { config, client, log, metrics, watch } = options;
    const { dataDir, network, bandwidth, cni } = config;
    this.#options = options;
    if (hasBandwidth({ bandwidth, chained: cni.chained })) {
      const keys = [...Object.values(BANDWIDTH_ANNOTATIONS), CONFIG_HASH];
      this.#pods = new OwnPodReflector(client, config.nodeName, keys, { log });
      this.#pods.onChange(({ added, changed, removed }) =>
        this.#changed([...added, ...changed.map(({ after }) => after)], removed),
      );
    }
    this.keeper = new BandwidthKeeper({
      dataDir,
      log,
      watch,
      isAttached: (record) => isAttached(dataDir, record),
      attachments: () => this.#attachments(),
      annotated: (pod, uid) => this.#annotated(pod, uid),
      onRepair: (count) => metrics.repairs.inc({ network, kind: "bandwidth" }, count),
    });
  }

  start(): void {
    this.keeper.start();
    this.#pods?.start();
  }

  /** @throws Error of the system when the records cannot be read */
  status(): BandwidthStatus {
    const faults = Array.from(this.#faults, ([pod, why]) => ({ pod, why }));
    return { limits: this.keeper.status(), ...(faults.length > 0 && { faults }) };
  }

  /** Stops, and leaves limits as they are. */
  async stop(): Promise<void> {
    await this.#pods?.stop();
    await this.keeper.stop();
  }

  /** One that the runtime knows by another uid is another pod of the same name. */
  #annotated(key: string, uid: string | undefined): Limits | undefined {
    const pod = this.#pods?.objects.get(key);
    const isIt = pod && (uid === undefined || pod.uid === uid || pod.annotations[CONFIG_HASH] === uid);
    return isIt ? annotatedLimits(pod.annotations).limits : undefined;
  }

  #changed(pods: readonly OwnPod[], gone: readonly OwnPod[]): void {
    const { log, podEvent } = this.#options;
    for (const { namespace, name } of gone) this.#faults.delete(`${namespace}/${name}`);
    for (const { namespace, name, uid, annotations } of pods) {
      const key = `${namespace}/${name}`;
      const { faults } = annotatedLimits(annotations);
      const before = this.#faults.get(key);
      const why = faults.join("; ");
      if (why === "") this.#faults.delete(key);
      else if (why !== before) {
        this.#faults.set(key, why);
        log.warn("a pod's bandwidth is not limited by an annotation that is no rate", { pod: key, why });
        const message = `the pod's bandwidth is not limited: ${why}`;
        podEvent({ pod: { namespace, name, uid }, reason: "SkylaneBandwidthInvalid", message });
      }
    }
    this.keeper.podsChanged(pods.map(({ namespace, name }) => `${namespace}/${name}`));
  }

  #attachments(): LimitedAttachment[] {
    const { config, further } = this.#options;
    const { dataDir } = config;
    return [config.network, ...further()].flatMap((network) =>
      newAttachments({ dataDir, network })
        .list()
        .map(({ owner: { containerId, ifname }, bootId, pod, podUid, hostNetns }) => ({
          owner: { containerId, ifname },
          network,
          bootId,
          ...(pod !== undefined && { pod }),
          ...(podUid !== undefined && { uid: podUid }),
          ...(hostNetns !== undefined && { hostNetns }),
        })),
    );
  }
}
