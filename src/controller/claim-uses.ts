/**
 * Who still uses an address of a claim that is gone, for the agent that frees such addresses. A node's NetworkEndpoints name what it publishes,
 * which may be anything: it counts where the claim's last pod was on that node and is there still, by the API server. Where nobody has seen
 * the claim's end, as when another agent had the lease then, any node's word counts, and the node is named.
 */
import { claimObjects, type ClaimObjects, holderOf } from "../ipam/claims/index.ts";
import { type KubeClient, listObjects } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import {
  type IPClaimInfo,
  NETWORK_ENDPOINTS,
  NETWORK_LABEL,
  type NetworkEndpoints,
  ObjectError,
  parseNetworkEndpoints,
} from "../crd/index.ts";

/** Whose pod has a claim, or had it last; empty where none ever had. */
export type ClaimUse = Pick<IPClaimInfo["status"], "node" | "pod" | "podUid">;

export const useOf = ({ node, pod, podUid }: IPClaimInfo["status"]): ClaimUse => ({
  ...(node !== undefined && { node }),
  ...(pod !== undefined && { pod }),
  ...(podUid !== undefined && { podUid }),
});

export const sameUse = (a: ClaimUse, b: ClaimUse): boolean =>
  a.node === b.node && a.pod === b.pod && a.podUid === b.podUid;

/** Claims that are gone and remembered. */
const MOST = 16_384;
/** Addresses that are named as kept, once each. */
const MOST_TOLD = 1_024;

export interface ClaimUsesOptions {
  client: KubeClient;
  log: Pick<Logger, "warn">;
  /** A claim that is there, by NAMESPACE/NAME. */
  current: (key: string) => { uid: string; use: ClaimUse } | undefined;
  /** For tests. */
  pods?: Pick<ClaimObjects, "pod">;
}

/** See the header. */
export class ClaimUses {
  readonly #o: ClaimUsesOptions;
  readonly #pods: Pick<ClaimObjects, "pod">;
  /** Of claims whose end was seen, by NAMESPACE/NAME/UID, the oldest first. */
  readonly #last = new Map<string, ClaimUse>();
  readonly #told = new Set<string>();

  constructor(options: ClaimUsesOptions) {
    this.#o = options;
    this.#pods = options.pods ?? claimObjects(options.client);
  }

  /** A claim is gone. @param holder NAMESPACE/NAME/UID. @param use as it was at last */
  remember(holder: string, use: ClaimUse): void {
    this.#last.set(holder, use);
    for (const oldest of this.#last.keys()) {
      if (this.#last.size <= MOST) return;
      this.#last.delete(oldest);
    }
  }

  /** Whether a claim that is gone leaves a pod that has its address, as of now. Both reject with ApiError. */
  async inUse(network: string): Promise<(address: string, holder: string) => Promise<boolean>> {
    const objects = await listObjects(this.#o.client, NETWORK_ENDPOINTS, `${NETWORK_LABEL}=${network}`);
    const publishers = new Map<string, Set<string>>();
    for (const { node, endpoints } of objects.flatMap(readable))
      for (const address of endpoints.flatMap(({ ips, mac }) => [...ips, mac])) {
        const nodes = publishers.get(address);
        if (nodes) nodes.add(node);
        else publishers.set(address, new Set([node]));
      }
    return async (address, holder) => {
      const nodes = publishers.get(address);
      if (!nodes) return false;
      const use = this.#useOf(holder);
      if (use === undefined) {
        this.#tell(network, address, holder, nodes);
        return true;
      }
      return use.node !== undefined && nodes.has(use.node) && (await this.#isThere(holder, use));
    };
  }

  #useOf(holder: string): ClaimUse | undefined {
    const { namespace, name, uid } = holderOf(holder);
    const current = this.#o.current(`${namespace}/${name}`);
    return current?.uid === uid ? current.use : this.#last.get(holder);
  }

  async #isThere(holder: string, { node, pod, podUid }: ClaimUse): Promise<boolean> {
    if (pod === undefined) return false;
    const there = await this.#pods.pod(holderOf(holder).namespace, pod);
    return there !== undefined && there.node === node && there.uid === podUid && !there.finished;
  }

  #tell(network: string, address: string, holder: string, nodes: ReadonlySet<string>): void {
    const what = `${network} ${address} ${holder}`;
    if (this.#told.has(what)) return;
    if (this.#told.size >= MOST_TOLD) this.#told.clear();
    this.#told.add(what);
    const { namespace, name } = holderOf(holder);
    const who = [...nodes].sort().join(", ");
    this.#o.log.warn(
      `address ${address} of network ${network} is not freed: node ${who} publishes it, and its IPClaim ${namespace}/${name} was deleted before this agent watched`,
    );
  }
}

/** One that makes no sense is believed by no node. */
function readable(object: unknown): NetworkEndpoints[] {
  try {
    return [parseNetworkEndpoints(object)];
  } catch (error) {
    if (error instanceof ObjectError) return [];
    throw error;
  }
}
