/**
 * A pod network that has pods is not gone: whoever deletes its object waits for the last of them. Each node that takes part sees to
 * the finalizer when it joins, and the last one that leaves takes it away. A node shows that it takes part by its blocks.
 *
 * Why no network goes under a node that joins: the node claims its block, then reads the network anew, and goes on only if that
 * is the same object and not being deleted. Whoever takes the finalizer away read the network first and the blocks after that;
 * where the network is not being deleted, somebody may have joined meanwhile, so the blocks are read once more and the finalizer put
 * back.
 */
import { takenBlocks } from "../ipam/blocks/index.ts";
import { CniError, CODE } from "../cni/index.ts";
import { ApiError, getObject, type KubeClient, listObjects, patchFinalizers } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import {
  isOfPredecessor,
  NETWORK_BLOCKS,
  NETWORK_LABEL,
  NODE_LABEL,
  POD_NETWORKS,
  type PodNetworkInfo,
} from "../crd/index.ts";

/** Held while pods are in the network. */
export const FINALIZER = "skylane.dev/pods";
/** How often somebody else may change the object meanwhile. */
const MAX_ATTEMPTS = 8;

/** A network: this very object, not a later one of its name. */
export interface HeldNetwork {
  name: string;
  uid: string;
}

interface Held {
  uid: string;
  resourceVersion: string;
  deletionTimestamp?: string;
  finalizers?: string[];
}

/** The answer to a pod that comes too late. */
export const beingDeleted = (name: string): CniError =>
  new CniError(
    CODE.notAllowed,
    `PodNetwork "${name}" is being deleted and takes no more pods`,
    "It goes with the last pod that is in it; then it can be made anew.",
  );

/** The answer to a pod of a network whose predecessor still has pods. @param where they are */
export const predecessorHasPods = (name: string, where: string): CniError =>
  new CniError(
    CODE.tryAgain,
    `PodNetwork "${name}" was deleted and made anew, and ${where} still has pods of the one before`,
    `Delete the pods that were in it before; no pod can be in the new "${name}" as long as they run.`,
  );

/** Sees to the finalizer of a network that this node takes part in. @throws CniError when it is deleted; ApiError */
async function holdNetwork(client: KubeClient, network: HeldNetwork): Promise<void> {
  await changing(client, network, async (held) => {
    if (held === undefined || held.deletionTimestamp !== undefined) throw beingDeleted(network.name);
    const { finalizers = [] } = held;
    return finalizers.includes(FINALIZER) ? undefined : [...finalizers, FINALIZER];
  });
}

/** Takes the finalizer away if no node takes part. Returns whether it was taken away. @throws ApiError */
export async function letNetworkGo(client: KubeClient, network: HeldNetwork): Promise<boolean> {
  let deleting = false;
  const gone = await changing(client, network, async (held) => {
    const { finalizers = [], deletionTimestamp } = held ?? {};
    deleting = deletionTimestamp !== undefined;
    if (!finalizers.includes(FINALIZER) || (await hasNodes(client, network.name))) return undefined;
    return finalizers.filter((one) => one !== FINALIZER);
  });
  if (!gone || deleting || !(await hasNodes(client, network.name))) return gone;
  await holdNetwork(client, network);
  return false;
}

/** One node's hold on a network that it takes part in. */
export class NetworkHold {
  readonly #client: KubeClient;
  readonly #network: PodNetworkInfo;
  readonly #node: string;
  readonly #log: Pick<Logger, "info" | "warn">;
  #held = false;

  constructor(client: KubeClient, network: PodNetworkInfo, node: string, log: Pick<Logger, "info" | "warn">) {
    this.#client = client;
    this.#network = network;
    this.#node = node;
    this.#log = log;
  }

  /**
   * Once the node has claimed its blocks: no other node may still be in a network that had the name before.
   * @throws CniError; ApiError
   */
  async ensure(): Promise<void> {
    if (this.#held) return;
    const { name } = this.#network;
    const former = (await takenBlocks(this.#client, name)).find(
      (block) => block.node !== "" && block.node !== this.#node && isOfPredecessor(block, this.#network),
    );
    if (former) throw predecessorHasPods(name, `node ${former.node}`);
    try {
      await holdNetwork(this.#client, this.#network);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 403)) throw error;
      const why = "the ClusterRole does not let agents patch podnetworks";
      this.#log.warn(`the network can be deleted under its pods: ${why}`, { error });
    }
    this.#held = true;
  }

  /** When the node has left. Nothing depends on it: the agent that writes the status of networks looks again at those that are deleted. */
  async letGo(): Promise<void> {
    try {
      if (await letNetworkGo(this.#client, this.#network)) this.#log.info("no node has pods in the network any more");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#log.warn("the finalizer of the network is left; it goes when the network is deleted", { error });
    }
  }
}

/** Whether a node has a block of it. @throws ApiError */
const hasNodes = async (client: KubeClient, network: string): Promise<boolean> =>
  (await listObjects(client, NETWORK_BLOCKS, `${NETWORK_LABEL}=${network},${NODE_LABEL}`)).length > 0;

/** Writes what `change` wants over the version that it was shown; undefined is shown when this very object is gone. */
async function changing(
  client: KubeClient,
  { name, uid }: HeldNetwork,
  change: (held: Held | undefined) => Promise<string[] | undefined>,
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    const object = (await getObject(client, POD_NETWORKS, name)) as { metadata: Held } | undefined;
    const held = object?.metadata.uid === uid ? object.metadata : undefined;
    const finalizers = await change(held);
    if (finalizers === undefined || held === undefined) return false;
    try {
      await patchFinalizers(client, POD_NETWORKS, name, { uid, resourceVersion: held.resourceVersion, finalizers });
      return true;
    } catch (error) {
      const changed = error instanceof ApiError && (error.status === 409 || error.isGone(name) || error.status === 422);
      if (!changed || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}
