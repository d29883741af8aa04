/**
 * Letting pods come to this node: one that an egress gateway selects has its way out before it has a link, so that no packet of it leaves behind the
 * node's own address.
 */
import { type AskingPod, CniError, CODE } from "../cni/index.ts";
import { hostIfname } from "../dataplane/pod-link/index.ts";
import { keyOf } from "../json/index.ts";
import { ApiError, type KubeClient, podEntryOf } from "../kube/index.ts";
import { askedObject, PATIENCE_MS, sameAsHeard, VerdictWait } from "../pod-requests/index.ts";
import { within } from "../reconcile/index.ts";
import { ComingPods } from "./coming-pods.ts";
import type { EgressPod } from "./selection.ts";

/** An attachment of a pod. With `hostNetns` it is to a network in a namespace of its own. */
export interface EgressAttachment {
  containerId: string;
  ifname: string;
  hostNetns?: string | undefined;
}

export interface EgressAdmissionOptions {
  client: KubeClient;
  nodeName: string;
  /** Whether it is known which gateways there are, and who their pods. */
  synced: () => boolean;
  /** Whether there are gateways; while that is not known, whether there were. */
  wanted: () => boolean;
  /** A pod of this node, as the API server has told of it. */
  heard: (key: string) => (EgressPod & { uid: string }) | undefined;
  /** Whether a gateway selects a pod with these addresses. */
  concerns: (pod: EgressPod) => boolean;
  /**
   * Works out anew who leaves how, with the pods of {@link EgressAdmission.coming}, and resolves when that is in the kernel, or has failed.
   * @param network the pod network that the pod comes to; the default one where undefined
   * @returns why it is not; undefined where it is
   */
  put: (network: string | undefined) => Promise<string | undefined>;
  /** The pod network whose namespace is at a path; undefined where it can have no gateways. */
  networkAt: (hostNetns: string) => { name: string; coming: ComingPods } | undefined;
  /** Pods that come are others. */
  onChange: () => void;
}

/** See the header. */
export class EgressAdmission {
  readonly #options: EgressAdmissionOptions;
  readonly coming = new ComingPods();
  readonly #waiting = new VerdictWait(refusal);

  constructor(options: EgressAdmissionOptions) {
    this.#options = options;
  }

  /** More is known than before. */
  heard(): void {
    this.#waiting.changed();
  }

  /** A pod of this node has addresses from now on; resolves when its packets leave as they have to. @throws CniError 11 when they cannot */
  async admit(attachment: EgressAttachment, asking: AskingPod, ips: readonly string[]): Promise<void> {
    const { synced, wanted, concerns, put, onChange } = this.#options;
    const place = this.#placeOf(attachment);
    if (!place || !wanted()) return;
    const message = "the API server has not said which there are, or who their pods";
    await this.#waiting.until(() => ({ ok: synced() || !wanted(), message }));
    if (!wanted()) return;
    const found = await this.#find(asking);
    if (!found) return;
    const pod = { ...found, ips, ...(place.name !== undefined && { network: place.name }) };
    place.coming.add(nameOf(attachment), pod);
    // Its addresses may have been another one's.
    if (!concerns(pod)) return onChange();
    try {
      const why = await within(put(place.name), PATIENCE_MS, () => refusal("the kernel is slow"));
      if (why !== undefined) throw refusal(why);
    } catch (error) {
      this.released(attachment);
      throw error;
    }
  }

  /** An attachment's link is gone, and nothing has its addresses. */
  released(attachment: EgressAttachment): void {
    const place = this.#placeOf(attachment);
    // In a pod network its link was what told of it.
    if (place?.coming.gone(nameOf(attachment)) || place?.name !== undefined) this.#options.onChange();
  }

  #placeOf({ hostNetns }: EgressAttachment): { name?: string; coming: ComingPods } | undefined {
    return hostNetns === undefined ? { coming: this.coming } : this.#options.networkAt(hostNetns);
  }

  /** The pod that asks, as the watch has told of it, else as the API server has it; undefined for a static one that it does not know. @throws CniError */
  async #find(asking: AskingPod): Promise<EgressPod | undefined> {
    const { client, nodeName, heard } = this.#options;
    const key = keyOf(asking);
    const known = sameAsHeard(asking, heard(key));
    if (known) return known;
    try {
      const object = await askedObject(client, asking, nodeName);
      const entry = object === undefined ? undefined : podEntryOf(object, nodeName);
      return entry && { key, namespace: entry.namespace, labels: entry.making.labels, node: nodeName, ips: [] };
    } catch (error) {
      if (error instanceof ApiError || error instanceof TypeError)
        throw refusal(`nobody can tell which labels pod ${key} has: ${error.message}`);
      throw error;
    }
  }
}

const nameOf = ({ containerId, ifname }: EgressAttachment): string => hostIfname(containerId, ifname);

const refusal = (why: string): CniError =>
  new CniError(
    CODE.tryAgain,
    `egress gateways are not in force: ${why}`,
    "A pod that leaves the cluster by a gateway starts only with its way out in place; see the log of skylane-agent on this node.",
  );
