/** Addresses of a pod network on this node: the blocks that it has claimed, and the claims of its pods. */
import { BlockClaims, blockObjects } from "../blocks/index.ts";
import { claimObjects, Claims } from "../claims/index.ts";
import type { Ipam } from "../ipam/index.ts";
import { type KubeClient, ObjectReflector } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import {
  NETWORK_BLOCKS,
  NETWORK_LABEL,
  type NetworkBlock,
  parseNetworkBlock,
  type PodNetworkInfo,
  sameObject,
} from "../networks/index.ts";

export interface MemberAddressesOptions {
  client: KubeClient;
  info: PodNetworkInfo;
  /** Our own Node, to which blocks belong. */
  node: { name: string; uid: string };
  ipam: Ipam;
  log: Logger;
  /** A block of ours is lost. */
  onProblem: (message: string) => void;
  /** Whether an endpoint has the address. */
  inUse: (ip: string) => boolean;
}

/** Watches the network's blocks from {@link start} to {@link stop}. */
export class MemberAddresses {
  readonly blocks: BlockClaims;
  readonly claims: Claims;
  /** All nodes' blocks. */
  readonly #seen: ObjectReflector<NetworkBlock>;

  constructor({ client, info, node, ipam, log, onProblem, inUse }: MemberAddressesOptions) {
    const { name: network, cidrs, blockSize } = info;
    const source = {
      what: `blocks of network ${network}`,
      path: NETWORK_BLOCKS,
      labelSelector: `${NETWORK_LABEL}=${network}`,
      parse: parseNetworkBlock,
      same: sameObject,
    };
    this.#seen = new ObjectReflector(client, source, { log });
    const view = () => this.#seen.objects.values();
    const common = { network, cidrs, blockSize, node: node.name, view };
    this.blocks = new BlockClaims({ ...common, nodeUid: node.uid, objects: blockObjects(client), ipam, onProblem });
    this.claims = new Claims({ ...common, claims: claimObjects(client), blocks: blockObjects(client), inUse });
  }

  start(): void {
    this.#seen.start();
  }

  /** Resolves when all blocks are known. */
  whenSynced(): Promise<void> {
    return this.#seen.whenSynced();
  }

  stop(): Promise<void> {
    return this.#seen.stop();
  }
}
