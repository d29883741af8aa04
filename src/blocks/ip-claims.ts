/**
 * Claims in use: which one a pod has, its addresses and MAC address at first use, and that one node at a time has them.
 *
 * The claim's status says who uses it, written only over the version that was read, so of two nodes one learns of the other.
 * It ends when the one who has it clears it (DEL), when the pod named there is gone from the API or runs on another node
 * now, or when that node is gone. A node that died silently does not block for ever: Kubernetes removes its pods when the
 * Node is deleted or marked out of service, and an operator who removes a pod by force says that it runs no more; until then
 * nobody can know, and two nodes with one address would be worse than one pod that waits.
 */
import { derivedMac } from "../addr/index.ts";
import { ApiError } from "../kube/index.ts";
import { type IPClaimInfo, parseIPClaim } from "../networks/index.ts";
import { calling, outcomeUnknown } from "./acquire.ts";
import type { ClaimAddresses } from "./claim-addresses.ts";
import { BlockError } from "./errors.ts";

/** How often a status is written again when others write it, or the answer is lost. */
const MAX_ATTEMPTS = 8;

/** What is asked of the API about claims and those who use them. All throw ApiError. */
export interface ClaimObjects {
  /** As it is now, never from a cache; `undefined` when there is none. */
  get(namespace: string, name: string): Promise<unknown>;
  /** Changes keys of the status (null removes one) of that version of the claim; 409 when it is another by now. */
  patchStatus(namespace: string, name: string, status: object, resourceVersion: string): Promise<unknown>;
  /** A pod as it is now, and the node that it is bound to ("" for none); `undefined` when there is none. */
  pod(namespace: string, name: string): Promise<{ uid: string; node: string } | undefined>;
  nodeExists(name: string): Promise<boolean>;
}

export interface IpClaimsOptions {
  network: string;
  /** This node. */
  node: string;
  objects: ClaimObjects;
  addresses: ClaimAddresses;
}

/** The pod that wants a claim. */
export interface ClaimingPod {
  name: string;
  /** As the runtime knows it; a pod of the same name with another uid is another one. */
  uid?: string;
}

/** What a claim gives. */
export interface Claimed {
  /** One a family of the network, in the order of its CIDRs. */
  ips: string[];
  mac: string;
}

/**
 * The claim that a pod uses in a network: the one that its annotation names, otherwise the one that names the pod.
 * @throws BlockError `refused` when the named one is not there or another network's, or when two name the pod
 */
export function claimOf(
  claims: Iterable<IPClaimInfo>,
  network: string,
  pod: { namespace: string; name: string },
  named?: string,
): IPClaimInfo | undefined {
  const here = [...claims].filter((claim) => claim.namespace === pod.namespace);
  const whose = `pod ${pod.namespace}/${pod.name}`;
  if (named !== undefined) {
    const claim = here.find(({ name }) => name === named);
    if (claim === undefined) throw new BlockError("refused", `${whose} names IPClaim ${named}, which does not exist`);
    if (claim.network !== network) {
      const of = `is of network ${claim.network}, not ${network}`;
      throw new BlockError("refused", `${whose} names IPClaim ${named}, which ${of}`);
    }
    return claim;
  }
  const found = here.filter((claim) => claim.network === network && claim.podName === pod.name);
  if (found.length > 1) {
    const names = found.map(({ name }) => name).sort();
    throw new BlockError(
      "refused",
      `${whose} is named by IPClaims ${names.join(", ")} of network ${network}; one may be`,
    );
  }
  return found[0];
}

/** One network's claims as one node uses them. */
export class IpClaims {
  readonly #o: IpClaimsOptions;

  constructor(options: IpClaimsOptions) {
    this.#o = options;
  }

  /**
   * Takes a claim into use for a pod of this node and gives its addresses, allocated at the first use. Again for the same
   * pod gives the same.
   * @throws BlockError `inUse` (by whom), `refused`, `exhausted`, `unavailable`
   */
  async attach(namespace: string, name: string, pod: ClaimingPod): Promise<Claimed> {
    const { network, node, addresses } = this.#o;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const claim = await this.#read(namespace, name);
      if (claim === undefined) throw new BlockError("refused", `IPClaim ${namespace}/${name} does not exist`);
      if (claim.network !== network) {
        throw new BlockError("refused", `IPClaim ${namespace}/${name} is of network ${claim.network}, not ${network}`);
      }
      await this.#refuseInUse(claim, pod);
      const { status } = claim;
      const asked = [...claim.ips, ...status.ips.filter((ip) => !claim.ips.some((one) => sameFamily(one, ip)))];
      const known = status.ips.length > 0 && asked.every((ip) => status.ips.includes(ip));
      const ips = await addresses.hold(`${namespace}/${name}`, asked, !known);
      const mac = claim.mac ?? status.mac ?? derivedMac(`${network}/${namespace}/${name}`);
      if (await this.#write(claim, { ips, mac, node, pod: pod.name })) return { ips, mac };
    }
    throw this.#contended(namespace, name);
  }

  /**
   * Ends the use of a claim by a pod of this node; that it is another's or gone by now is fine. Its addresses stay the claim's.
   * To be called when the pod's interface is gone. A failure loses nothing: the pod's end in the API frees the claim as well.
   * @throws BlockError `unavailable`
   */
  async detach(namespace: string, name: string, podName: string): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const claim = await this.#read(namespace, name);
      if (claim?.status.node !== this.#o.node || claim.status.pod !== podName) return;
      if (await this.#write(claim, { node: null, pod: null })) return;
    }
    throw this.#contended(namespace, name);
  }

  /**
   * Frees addresses whose claim is gone, or has others by now. Any node of the network may do it, at any time, all at once:
   * an address is freed only in the block as it was before the claim was looked for.
   * @param inUse whether some pod still has it: a claim may be deleted under its pod
   * @returns the freed addresses. @throws BlockError `unavailable`
   */
  async sweep(inUse: (ip: string) => boolean): Promise<string[]> {
    const { network, addresses } = this.#o;
    const freed: string[] = [];
    for (const read of await addresses.blocks()) {
      for (const [ip, holder] of Object.entries(read.addresses)) {
        const [namespace = "", name = ""] = holder.split("/");
        if (inUse(ip)) continue;
        const claim = await this.#read(namespace, name);
        if (claim?.network === network && mayHave(claim, ip)) continue;
        // A second one of the same block is freed with the next sweep: it is another version by then.
        if (await addresses.free(read, ip)) freed.push(ip);
        break;
      }
    }
    return freed;
  }

  /** @throws BlockError `inUse`, or `refused` when the pod that asks is not the one that exists */
  async #refuseInUse({ namespace, name, status }: IPClaimInfo, pod: ClaimingPod): Promise<void> {
    const { node, objects } = this.#o;
    if (status.node === undefined || status.pod === undefined) return;
    if (status.node === node && status.pod === pod.name) return;
    const doing = `cannot see whether pod ${namespace}/${status.pod} still uses IPClaim ${name}`;
    const holder = await calling(doing, () => objects.pod(namespace, status.pod as string));
    if (status.pod === pod.name) {
      // A name is one pod's at a time: if it is the one that asks, the one before it is gone.
      if (holder?.node === node && (pod.uid === undefined || pod.uid === holder.uid)) return;
      throw new BlockError(
        "refused",
        `IPClaim ${namespace}/${name} is used by pod ${pod.name} on node ${status.node}; the pod of that name on this node is gone`,
      );
    }
    if (holder === undefined || holder.node !== status.node) return;
    if (!(await calling(doing, () => objects.nodeExists(status.node as string)))) return;
    throw new BlockError(
      "inUse",
      `IPClaim ${namespace}/${name} is in use by pod ${status.pod} on node ${status.node}; it is free when that pod is gone` +
        " (or its Node object, where the node died)",
    );
  }

  async #read(namespace: string, name: string): Promise<IPClaimInfo | undefined> {
    const object = await calling(`cannot read IPClaim ${namespace}/${name}`, () =>
      this.#o.objects.get(namespace, name),
    );
    return object === undefined ? undefined : parseIPClaim(object);
  }

  /** Whether it is written; false when the claim was changed, or nobody knows: read it again. */
  async #write({ namespace, name, resourceVersion }: IPClaimInfo, status: object): Promise<boolean> {
    try {
      await this.#o.objects.patchStatus(namespace, name, status, resourceVersion);
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 409 || error.status === 404 || outcomeUnknown(error)) return false;
      return calling(`cannot write the status of IPClaim ${namespace}/${name}`, () => Promise.reject(error));
    }
  }

  #contended(namespace: string, name: string): BlockError {
    return new BlockError(
      "unavailable",
      `IPClaim ${namespace}/${name} was changed by others ${MAX_ATTEMPTS} times, or the API server's answers were lost`,
    );
  }
}

const sameFamily = (a: string, b: string): boolean => a.includes(":") === b.includes(":");

/** Whether an address is or may be about to become the claim's: one that it asked for, has, or before its first use any. */
function mayHave({ ips, status }: IPClaimInfo, ip: string): boolean {
  if (ips.includes(ip)) return true;
  if (ips.some((asked) => sameFamily(asked, ip))) return status.ips.includes(ip) && status.node !== undefined;
  return status.ips.length === 0 || status.ips.includes(ip);
}
