/**
 * The claims of one network as one node uses them: which one a pod has, what it gives, and which pod has it in use.
 *
 * A claim's status is written only over the version that was read, and its addresses after their entries in the blocks (see
 * addresses.ts). So whoever comes after a crash in between finds the entries, and goes on.
 */
import { BlockError, type BlockObjects, calling, type SeenBlock, unavailable } from "../blocks/index.ts";
import { ApiError } from "../../kube/index.ts";
import { claimReady, type IPClaimInfo } from "../../crd/index.ts";
import { ClaimAddresses } from "./addresses.ts";
import { type ClaimingPod, claimOfPod } from "./choice.ts";
import { claimWithMac, macOf } from "./macs.ts";
import { type ClaimObjects, holderOf, holderText, readClaim, UnusableClaim } from "./objects.ts";
import { KeyedMutex } from "../../reconcile/index.ts";

export type { ClaimingPod } from "./choice.ts";

/** How often a status is written anew because others wrote it. */
const MAX_ATTEMPTS = 8;

export interface ClaimsOptions {
  network: string;
  /** Canonical, one a family. */
  cidrs: readonly string[];
  /** Addresses a block, a power of two; a block of claims has 1,024 at most. */
  blockSize: number;
  /** This node. */
  node: string;
  claims: ClaimObjects;
  blocks: BlockObjects;
  /** Blocks of this network, all nodes' and claims'; may be behind. Rejects with ApiError. */
  taken: () => Promise<Iterable<SeenBlock>>;
  /** Whether an endpoint of the network has the IP or MAC address, as far as is known: it is given to no other claim meanwhile. */
  inUse?: (address: string) => boolean | Promise<boolean>;
  /** Told of a claim that this node has in use, as it is in the API by then. */
  onUse?: (claim: IPClaimInfo) => void;
}

/** Who has a claim in use. */
export interface Use {
  node: string;
  pod: string;
}

/** A pod of this node that is to have a claim. */
export interface ClaimUsing {
  /** As {@link Claims.forPod} gave it. */
  claim: string;
  pod: string;
  /** The pod's own, where it is known: a late request of an earlier pod of that name is not this one's. */
  podUid?: string | undefined;
  /** Another's use that ends with this though its pod is alive, as in a live migration. */
  from?: Use;
}

/** What a claim gives to a pod. */
export interface Claimed {
  /** NAMESPACE/NAME/UID. */
  claim: string;
  /** One a family, in the order of the network's CIDRs. */
  ips: string[];
  mac: string;
  /**
   * Who has it in use, or had it last, if that is not a pod of this name on this node. `alive`: that very pod is in the API,
   * has not ended, and its Node exists: nobody may have the addresses beside it but in a live migration.
   */
  heldBy?: Use & { alive: boolean };
}

/** See the header. */
export class Claims {
  readonly #o: ClaimsOptions;
  readonly #addresses: ClaimAddresses;
  /** What reads, asks the API and then writes must not meet itself half way: there is one at a time in the network. */
  readonly #mutex = new KeyedMutex();
  #blockSize: number;

  constructor(options: ClaimsOptions) {
    const { inUse = () => false } = options;
    this.#o = options;
    this.#blockSize = options.blockSize;
    this.#addresses = new ClaimAddresses({ ...options, inUse, blockSize: () => this.#blockSize });
  }

  /** The size of blocks that are made from now on. */
  setBlockSize(blockSize: number): void {
    this.#blockSize = blockSize;
  }

  /**
   * What a pod's claim gives, allocated at first use and the same ever after; undefined when the pod has no claim.
   * @throws BlockError `refused`, `exhausted`, `unavailable`, in words for the pod's events
   */
  async forPod(pod: ClaimingPod): Promise<Claimed | undefined> {
    const { network, claims } = this.#o;
    const who = `pod ${pod.namespace}/${pod.podName}`;
    return this.#trying(`the IPClaim of ${who} in network ${network}`, async () => {
      const claim = await this.#usable(() =>
        calling(`cannot see which IPClaim ${who} has in network ${network}`, () => claimOfPod(claims, network, pod)),
      );
      if (claim === undefined) return { result: undefined };
      const { ips, mac } = await this.#held(claim);
      const { status } = claim;
      const known = status.mac === mac && ips.every((ip) => status.ips.includes(ip));
      if (!known || status.ready?.status === "False") {
        if ((await this.#write(claim, { ips, mac, ...condition(claim) })) === undefined) return undefined;
      }
      const heldBy = await this.#heldBy(claim, pod.podName);
      return { result: { claim: holderText(claim), ips, mac, ...(heldBy && { heldBy }) } };
    });
  }

  /**
   * The claim (NAMESPACE/NAME) of the network that has a MAC address or will have it, whether a pod uses it or not; undefined when
   * there is none. @throws BlockError `unavailable`
   */
  async withMac(mac: string): Promise<string | undefined> {
    const { network, claims } = this.#o;
    const doing = `cannot see which MAC addresses of network ${network} are claimed`;
    const found = claimWithMac(await calling(doing, () => claims.list()), network, mac);
    return found && `${found.namespace}/${found.name}`;
  }

  /**
   * Writes down that a pod of this node has the claim in use: before its interface has the addresses. That it is written
   * already is fine. It ends with the pod in the API, so there is nothing to undo.
   * @throws BlockError `inUse` (whose pod is alive and not `from`), `refused` (no such pod on this node), `unavailable`
   */
  async use({ claim: holder, pod, podUid, from }: ClaimUsing): Promise<void> {
    const { node, claims } = this.#o;
    const { namespace, name, uid } = holderOf(holder);
    const what = `IPClaim ${namespace}/${name}`;
    await this.#trying(what, async () => {
      // A late request of a runtime whose pod was made again elsewhere must not take the claim from there.
      const me = await calling(`cannot see where pod ${namespace}/${pod} is`, () => claims.pod(namespace, pod));
      const other = me !== undefined && podUid !== undefined && podUid !== me.uid;
      if (me?.node !== node || other) {
        const where = me === undefined ? "is gone" : other ? `is another one, ${me.uid}` : `is on node "${me.node}"`;
        throw new BlockError(
          "refused",
          `${what} is not given to pod ${pod} on node ${node}: the pod of that name ${where}`,
        );
      }
      const claim = await this.#read(holder);
      if (claim === undefined) {
        const gone = `${what} (uid ${uid}) was deleted while pod ${pod} was to have its addresses`;
        throw new BlockError("unavailable", `${gone}; the pod's next attempt does without it, or with a new one`);
      }
      const { status } = claim;
      if (status.node === node && status.pod === pod && status.podUid === me.uid) {
        this.#o.onUse?.(claim);
        return { result: undefined };
      }
      const rival = await this.#heldBy(claim, pod);
      if (rival?.alive === true && !(rival.node === from?.node && rival.pod === from.pod)) {
        throw new BlockError(
          "inUse",
          `${what} is in use by pod ${rival.pod} on node ${rival.node}; it is free when that pod is gone, or its Node object,` +
            " where the node died",
        );
      }
      const written = await this.#write(claim, { node, pod, podUID: me.uid });
      if (written === undefined) return undefined;
      if (written !== "unreadable") this.#o.onUse?.(written);
      return { result: undefined };
    });
  }

  /** A claim that makes no sense says so itself, for its owner. @throws what `read` does */
  async #usable<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (error instanceof UnusableClaim) await this.#say(error.claim, error);
      throw error;
    }
  }

  /** What a claim gets; one that gets nothing says so itself, for its owner. @throws BlockError as {@link forPod} does */
  async #held(claim: IPClaimInfo): Promise<{ ips: string[]; mac: string }> {
    try {
      const mac = this.#macOf(claim);
      // One after the other: those of one node need not get into each other's way.
      return { ips: await this.#mutex.run(this.#o.network, () => this.#addresses.hold(claim)), mac };
    } catch (error) {
      if (error instanceof BlockError && (error.kind === "refused" || error.kind === "exhausted"))
        await this.#say(claim, error);
      throw error;
    }
  }

  /** Writes a refusal down, unless it is there. One of a version that is not the latest is left out: that one is judged anew. */
  async #say(claim: UnusableClaim["claim"], refusal: BlockError): Promise<void> {
    const status = condition(claim, refusal);
    if (status === undefined) return;
    try {
      await this.#write(claim, status);
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      throw new BlockError(refusal.kind, `${refusal.message} (the claim does not say so: ${error.message})`, {
        cause: error,
      });
    }
  }

  /** @throws BlockError `refused`: the one in its status is another than what is asked for now */
  #macOf(claim: IPClaimInfo): string {
    const { namespace, name, mac, status } = claim;
    if (mac !== undefined && status.mac !== undefined && mac !== status.mac) {
      const what = `IPClaim ${namespace}/${name} has MAC address ${status.mac} and asks for ${mac} now`;
      throw new BlockError("refused", `${what}; a claim keeps its addresses: delete it and make another`);
    }
    return macOf(claim);
  }

  async #heldBy({ namespace, name, status }: IPClaimInfo, podName: string): Promise<Claimed["heldBy"]> {
    const { node, pod, podUid } = status;
    if (node === undefined || pod === undefined || (pod === podName && node === this.#o.node)) return undefined;
    const { claims } = this.#o;
    const alive = await calling(`cannot see whether pod ${namespace}/${pod} still uses IPClaim ${name}`, async () => {
      const now = await claims.pod(namespace, pod);
      // A name is one pod's at a time: one with another uid or on another node is the proof that the one before is gone.
      if (now === undefined || now.finished || now.uid !== podUid || now.node !== node) return false;
      return claims.nodeExists(node);
    });
    return { node, pod, alive };
  }

  /** The very claim that holds something; undefined when it is gone. */
  async #read(holder: string): Promise<IPClaimInfo | undefined> {
    const { namespace, name, uid } = holderOf(holder);
    const object = await calling(`cannot read IPClaim ${namespace}/${name}`, () => this.#o.claims.get(namespace, name));
    const claim = object === undefined ? undefined : readClaim(object);
    return claim?.uid === uid ? claim : undefined;
  }

  /** The claim as it is written; undefined when it was changed or is gone: read it again. */
  async #write(
    { namespace, name, resourceVersion }: UnusableClaim["claim"],
    status: object,
  ): Promise<IPClaimInfo | "unreadable" | undefined> {
    try {
      return readable(await this.#o.claims.patchStatus(namespace, name, status, resourceVersion));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 409 || error.status === 404) return undefined;
      throw unavailable(`cannot write the status of IPClaim ${namespace}/${name}`, error);
    }
  }

  async #trying<T>(what: string, attempt: () => Promise<{ result: T } | undefined>): Promise<T> {
    for (let n = 0; n < MAX_ATTEMPTS; n++) {
      const done = await attempt();
      if (done !== undefined) return done.result;
    }
    throw new BlockError(
      "unavailable",
      `${what} was changed by others ${MAX_ATTEMPTS} times; it is tried again with the pod's next attempt`,
    );
  }
}

function readable(object: unknown): IPClaimInfo | "unreadable" {
  try {
    return readClaim(object);
  } catch (error) {
    if (error instanceof BlockError) return "unreadable";
    throw error;
  }
}

function reasonOf(refusal: BlockError): "Invalid" | "Exhausted" | "Refused" {
  if (refusal instanceof UnusableClaim) return "Invalid";
  return refusal.kind === "exhausted" ? "Exhausted" : "Refused";
}

/** The status' part that says whether a claim has what it asks for; undefined when it is said already. */
function condition(
  { status }: Pick<IPClaimInfo, "status">,
  refusal?: BlockError,
): { conditions: object[] } | undefined {
  const why = refusal && { reason: reasonOf(refusal), message: refusal.message };
  const ready = claimReady(status.ready, why, new Date().toISOString());
  return ready && { conditions: [ready] };
}
