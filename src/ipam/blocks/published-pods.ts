/**
 * Which pods of this node have which addresses of a network, written on the node's own blocks, where all nodes that take part read it anyway. It is
 * for those who have to know a pod by its address, and is there only as long as somebody has.
 */
import { cidrContains } from "../../addr/index.ts";
import { ApiError } from "../../kube/index.ts";
import { type NetworkBlock, PODS_ANNOTATION } from "../../crd/index.ts";
import type { Logger } from "../../log/index.ts";
import { Task } from "../../reconcile/index.ts";
import { type BlockObjects, keepingOrder, readBlock } from "./objects.ts";

const RETRY = { baseMs: 200, maxMs: 30_000 };

export interface PublishedPodsOptions {
  network: string;
  node: string;
  log: Logger;
  objects: Pick<BlockObjects, "get" | "replace">;
  /** This node's blocks, all networks'. */
  own: () => Iterable<NetworkBlock>;
}

/** See the header. */
export class PublishedPods {
  readonly #options: PublishedPodsOptions;
  readonly #task: Task;
  /** Pods, NAMESPACE/NAME, by address; undefined where nobody has to know them. */
  #pods: ReadonlyMap<string, string> | undefined;
  #known = false;

  constructor(options: PublishedPodsOptions) {
    this.#options = options;
    this.#task = new Task(
      () => this.#write(),
      RETRY,
      (error, attempt) => {
        if (attempt === 1)
          options.log.warn(
            "the other nodes cannot be told which pods have which addresses of a network; trying again",
            {
              error,
            },
          );
      },
    );
  }

  /** What is to be known from now on. */
  set(pods: ReadonlyMap<string, string> | undefined): void {
    this.#pods = pods;
    this.#known = true;
    this.look();
  }

  /** Blocks of this node have changed. */
  look(): void {
    if (this.#known && this.#differing().length > 0) this.#task.want();
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  #differing(): NetworkBlock[] {
    const { network, node, own } = this.#options;
    return [...own()].filter(
      (block) =>
        block.network === network && block.node === node && textOf(block.pods) !== textOf(this.#podsIn(block.cidr)),
    );
  }

  #podsIn(cidr: string): Record<string, string> {
    return Object.fromEntries([...(this.#pods ?? [])].filter(([ip]) => cidrContains(cidr, ip)));
  }

  /** @throws ApiError: what somebody else has changed meanwhile is read again */
  async #write(): Promise<void> {
    const { objects } = this.#options;
    for (const { name, uid, cidr } of this.#differing()) {
      const object = await objects.get(name);
      if (!object || object.metadata.uid !== uid) continue;
      const block = readBlock(object);
      const text = textOf(this.#podsIn(cidr));
      if (textOf(block.pods) === text) continue;
      const kept = keepingOrder(block);
      const { [PODS_ANNOTATION]: _, ...annotations } = kept.metadata.annotations ?? {};
      const said = text === "" ? annotations : { ...annotations, [PODS_ANNOTATION]: text };
      try {
        await objects.replace({ ...kept, metadata: { ...kept.metadata, annotations: said } });
      } catch (error) {
        // It is gone: whoever makes it anew has it looked at again.
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      }
    }
  }
}

/** Pods as text, the same for the same pods; "" for none. */
function textOf(pods: Readonly<Record<string, string>> | undefined): string {
  const entries = Object.entries(pods ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? "" : JSON.stringify(Object.fromEntries(entries));
}
