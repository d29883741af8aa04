/** Addresses of a pod network on this node: the blocks that it has claimed, and the claims of its pods. */
import { BlockClaims, blockObjects, takenBlocks } from "../blocks/index.ts";
import { claimObjects, Claims } from "../claims/index.ts";
import type { Ipam } from "../ipam/index.ts";
import type { KubeClient, ObjectReflector } from "../kube/index.ts";
import type { NetworkBlock, PodNetworkInfo } from "../networks/index.ts";

export interface MemberAddressesOptions {
  client: KubeClient;
  info: PodNetworkInfo;
  /** Our own Node, to which blocks belong. */
  node: { name: string; uid: string };
  /** The blocks of this node, all networks'. */
  own: Pick<ObjectReflector<NetworkBlock>, "objects">;
  ipam: Ipam;
  /** A block of ours is lost. */
  onProblem: (message: string) => void;
  /** Whether an endpoint has the IP or MAC address. */
  inUse: (address: string) => boolean | Promise<boolean>;
}

/** See the header. */
export class MemberAddresses {
  readonly blocks: BlockClaims;
  readonly claims: Claims;

  constructor({ client, info, node, own, ipam, onProblem, inUse }: MemberAddressesOptions) {
    const { name: network, cidrs, blockSize } = info;
    const objects = blockObjects(client);
    const taken = () => takenBlocks(client, network);
    const view = () => own.objects.values();
    const common = { network, cidrs, blockSize, node: node.name, taken };
    this.blocks = new BlockClaims({ ...common, nodeUid: node.uid, objects, view, ipam, onProblem });
    this.claims = new Claims({ ...common, claims: claimObjects(client), blocks: objects, inUse });
  }
}
