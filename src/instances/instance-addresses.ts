/** Addresses of a pod network on this node: the blocks that it has claimed, and the claims of its pods. */
import { BlockClaims, blockObjects, type Followed } from "../ipam/blocks/index.ts";
import type { Linked } from "../cni/index.ts";
import { claimObjects, type ClaimPlaces, Claims } from "../ipam/claims/index.ts";
import type { Ipam } from "../ipam/local/index.ts";
import type { KubeClient, ObjectReflector } from "../kube/index.ts";
import type { NetworkBlock, PodNetworkInfo } from "../crd/index.ts";
import type { NodeIdentity } from "../nodes/index.ts";

export interface InstanceAddressesOptions {
  client: KubeClient;
  info: PodNetworkInfo;
  /** Our own Node, to which blocks belong. */
  node: NodeIdentity;
  /** The blocks of this node, all networks'. */
  own: Pick<ObjectReflector<NetworkBlock>, "objects">;
  /** The blocks of all nodes in this network. */
  all: Pick<Followed, "view" | "whenSynced">;
  /** Told of claims that this node has in use. */
  places: Pick<ClaimPlaces, "know">;
  ipam: Ipam;
  /** A block of ours is lost. */
  onProblem: (message: string) => void;
  /** Whether an endpoint has the IP or MAC address. */
  inUse: (address: string) => boolean | Promise<boolean>;
}

/** See the header. */
export class InstanceAddresses {
  readonly blocks: BlockClaims;
  readonly claims: Claims;
  readonly #ipam: Ipam;

  constructor({ client, info, node, own, all, places, ipam, onProblem, inUse }: InstanceAddressesOptions) {
    const { name: network, cidrs, blockSize } = info;
    this.#ipam = ipam;
    const objects = blockObjects(client);
    const taken = () => all.whenSynced.then(() => all.view.all);
    const view = () => own.objects.values();
    const common = { network, cidrs, blockSize, node: node.name, taken };
    this.blocks = new BlockClaims({
      ...common,
      networkUid: info.uid,
      nodeUid: () => node.uid,
      objects,
      view,
      ipam,
      onProblem,
    });
    this.claims = new Claims({
      ...common,
      claims: claimObjects(client),
      blocks: objects,
      inUse,
      onUse: (claim) => places.know(claim),
    });
  }
  /**
   * Sees that the addresses which an attachment was given are in blocks of this node at this moment; a claim's are in none.
   * @throws BlockError, IpamStorageError
   */
  async confirm(attachment: Linked): Promise<void> {
    if (!attachment.claimed) await this.blocks.confirm(this.#ipam.reservationsOf(attachment));
  }
}
