/**
 * Which sandbox is which container's, by this node's records of attachments: what a request says of the two is held against them.
 * So whoever has come by the launcher's key cannot put an interface of one pod into another one's sandbox, nor take another
 * pod's attachment away by naming it.
 *
 * Inode numbers of network namespaces are used again as soon as they are free (kernel, fs/proc/generic.c, proc_alloc_inum), so a
 * record counts only while its link is there, which goes with its sandbox.
 */
import {
  type Attachment,
  type AttachmentRecord,
  CniError,
  CODE,
  newAttachments,
  type PrepareRequest,
} from "../cni/index.ts";
import type { NetworkRecords } from "../config/index.ts";
import type { Link } from "../netlink/index.ts";
import { hostIfname } from "../dataplane/pod-link/index.ts";
import { bootId, netnsIdentity, type NetnsIdentity, sameNetns, SysError } from "../sys/index.ts";
import { recordedNetworks } from "../instances/index.ts";
import { podOfAlias } from "../pod-requests/index.ts";

export interface SandboxesOptions {
  config: NetworkRecords;
  /** A host end by name. @param hostNetns path of its network namespace, where that is not the host's @throws NetlinkError */
  hostEnd: (name: string, hostNetns: string | undefined) => Pick<Link, "alias"> | undefined;
}

/** See the header. */
export class Sandboxes {
  readonly #options: SandboxesOptions;
  /** Records by their files' names, by network: what was read is not read again with each request. */
  readonly #read = new Map<string, Map<string, AttachmentRecord>>();

  constructor(options: SandboxesOptions) {
    this.#options = options;
  }

  /**
   * Sees that an ADD is about a sandbox in which no other pod is attached, and about a container that is attached in no other sandbox.
   * Who names no pod gets nothing of another one's. @throws CniError
   */
  requireFree({ attachment: { containerId }, netns, pod: asking }: PrepareRequest): void {
    const identity = identityOf(netns);
    // What this request is about changes with it.
    this.#forget(containerId);
    for (const record of this.#records()) {
      const { owner, netnsIdentity: of } = record;
      const isSandbox = identity !== undefined && of !== undefined && sameNetns(of, identity);
      if (of === undefined || isSandbox === (owner.containerId === containerId)) continue;
      const pod = this.#attachedPod(record);
      if (pod === undefined || (isSandbox && (!asking || pod === `pod ${asking.namespace}/${asking.name}`))) continue;
      throw new CniError(
        CODE.notAllowed,
        isSandbox
          ? `the sandbox is that of ${pod}, which is attached there as container ${owner.containerId}`
          : `container ${containerId} is attached in another sandbox, as ${pod}`,
        "A sandbox is one pod's. The runtime must call DEL for the container that was in it before.",
      );
    }
    this.#forget(containerId);
  }

  /**
   * Sees that a DEL is about the sandbox in which the attachment was made.
   * @returns whether it is; not where the attachment's own sandbox is gone and another one has its path. @throws CniError
   */
  requireOwn({ network, containerId, ifname }: Attachment & { network: string }, netns: string): boolean {
    this.#forget(containerId);
    const record = newAttachments({ ...this.#options.config, network }).find({ containerId, ifname });
    const identity = identityOf(netns);
    if (!record?.netnsIdentity || identity === undefined || isIn(record, identity)) return true;
    const pod = this.#attachedPod(record);
    if (pod === undefined) return false;
    throw new CniError(
      CODE.notAllowed,
      `container ${containerId} interface ${ifname} is attached in another sandbox than the one that is named, as ${pod}`,
      "CNI_NETNS must be the sandbox of the container's ADD, or be left out.",
    );
  }

  /** The pod of a record, while its link is there. */
  #attachedPod({ owner, hostNetns }: AttachmentRecord): string | undefined {
    const name = hostIfname(owner.containerId, owner.ifname);
    const end = this.#options.hostEnd(name, hostNetns);
    return end && `pod ${podOfAlias(end.alias, name)}`.replace(/^pod container/, "container");
  }

  /** Those of this boot, in all networks. */
  *#records(): Generator<AttachmentRecord> {
    const { config } = this.#options;
    const networks = [config.network, ...recordedNetworks(config)];
    for (const network of this.#read.keys()) if (!networks.includes(network)) this.#read.delete(network);
    for (const network of networks) {
      const records = newAttachments({ ...config, network }).byFile(this.#read.get(network));
      this.#read.set(network, records);
      for (const record of records.values()) if (record.bootId === bootId()) yield record;
    }
  }

  /** A container's records may be others the next time. */
  #forget(containerId: string): void {
    for (const records of this.#read.values())
      for (const [file, { owner }] of records) if (owner.containerId === containerId) records.delete(file);
  }
}

const isIn = ({ netnsIdentity, bootId: boot }: AttachmentRecord, identity: NetnsIdentity): boolean =>
  netnsIdentity !== undefined && boot === bootId() && sameNetns(netnsIdentity, identity);

function identityOf(netns: string): NetnsIdentity | undefined {
  try {
    return netnsIdentity(netns);
  } catch (error) {
    if (error instanceof SysError) return undefined; // no sandbox at all, which is said elsewhere
    throw error;
  }
}
