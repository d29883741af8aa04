/**
 * Tells on a pod what it got: the annotation `k8s.v1.cni.cncf.io/network-status`, for pods with interfaces beside the one that
 * their runtime knows of. It is for people and for programs that look at pods; no pod waits for it and none fails for want of it.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { AttachedInterface } from "../cni/index.ts";
import { ApiError, type KubeClient, patchPodAnnotations, type PodIdentity } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { formatNetworkStatus, STATUS_ANNOTATION } from "../crd/index.ts";

/** Attempts until it is given up, and the pause after the first, in milliseconds; it doubles. Together half a minute. */
const ATTEMPTS = 6;
const PAUSE_MS = 1_000;

/** Writes these annotations in the background. */
export class NetworkStatusWriter {
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #pauseMs: number;
  readonly #stopping = new AbortController();
  readonly #underWay = new Set<Promise<void>>();

  constructor(client: KubeClient, log: Logger, pauseMs = PAUSE_MS) {
    this.#client = client;
    this.#log = log;
    this.#pauseMs = pauseMs;
  }

  /** Writes the annotation of a pod, some time soon. @param made its interfaces, the first one first */
  write(pod: PodIdentity, made: readonly AttachedInterface[]): void {
    const text = formatNetworkStatus(made.map((one, at) => ({ ...one, primary: at === 0 })));
    const writing = this.#write(pod, text).finally(() => this.#underWay.delete(writing));
    this.#underWay.add(writing);
  }

  /** Begins nothing any more and waits for what is under way, which ends at once. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#underWay);
  }

  async #write(pod: PodIdentity, text: string): Promise<void> {
    const { signal } = this.#stopping;
    const who = { pod: `${pod.namespace}/${pod.name}` };
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        await patchPodAnnotations(this.#client, pod, { [STATUS_ANNOTATION]: text }, signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && error.status === 404)
          return this.#log.debug("a pod went before its network status was written", who);
        const again = error instanceof ApiError && error.isTransient && attempt < ATTEMPTS;
        if (!again)
          return this.#log.warn(`the annotation ${STATUS_ANNOTATION} of a pod is not written; its network works`, {
            ...who,
            attempts: attempt,
            error,
          });
        await delay(this.#pauseMs * 2 ** (attempt - 1), undefined, { signal }).catch(() => undefined);
      }
    }
  }
}
