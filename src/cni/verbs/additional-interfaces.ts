/**
 * Interfaces beside the one that a runtime asks for. A runtime knows of one interface of a pod; whoever wants more says so
 * on the pod, which only the agent can read (see `Host.prepare`). Each of them is an attachment like any other, with
 * a record, addresses and a link of its own, in its own pod network; the record of the one that was asked for lists them, so that whoever
 * takes that one back takes back all of them, without the agent and without the API server.
 */
import type { Attachment } from "../spec/environment.ts";
import { CniError, CODE } from "../spec/errors.ts";

/** An attachment's place: a pod network and the interface in the sandbox. */
export interface Place {
  network: string;
  ifname: string;
}

/** What an interface is to have. */
export interface Wanted {
  /** Asked-for addresses, at most one a family; others are given any. */
  ips?: string[];
  mac?: string;
  /** NAMESPACE/NAME/UID of the IPClaim whose addresses and MAC these are. */
  claim?: string;
  /** The claim is in use by another pod, which has its addresses until this one sends from them. */
  standby?: boolean;
  /** What the pod reaches through it, as canonical prefixes; what its network says by default. */
  destinations?: readonly string[];
}

/** An interface that a pod is to have beside the one that its runtime asks for. */
export interface AdditionalInterface extends Place, Wanted {}

/** A pod as its runtime names it. */
export interface AskingPod {
  namespace: string;
  name: string;
  /** Tells it from an earlier or a later pod of its name; runtimes older than containerd 1.4 do not say it. */
  uid?: string;
}

/** Who asks for what. */
export interface PrepareRequest {
  attachment: Attachment;
  /** Path of the sandbox. */
  netns: string;
  /** The pod network of the interface that the runtime asks for. */
  network: string;
  /** The pod, where the runtime names one (CNI_ARGS). */
  pod: AskingPod | undefined;
}

/** What a pod is to have. */
export interface Prepared {
  /** Of the interface that the runtime asks for, where it does not say so itself. */
  own?: Wanted;
  additional: readonly AdditionalInterface[];
  /**
   * Where the pod's default route leads through one of the others: what it still reaches through the interface that was asked
   * for. Whatever it sends from that one's addresses goes through it all the same.
   */
  destinations?: readonly string[];
  /** Told of all interfaces when they are made, the one that was asked for first. */
  attached?: (made: readonly AttachedInterface[]) => void;
}

/** An interface that was made. */
export interface AttachedInterface extends Place {
  ips: string[];
  mac: string;
  /** In bytes. */
  mtu: number;
  /** Gateways of the pod's default routes that lead through it, one a family. */
  gateway: string[];
}

/** An attachment whose link is there. */
export interface Linked extends Attachment {
  network: string;
  /** Its addresses are a claim's. */
  claimed: boolean;
  standby: boolean;
}

/**
 * The answer where nobody can tell whether a pod wants a further network, or which policies it has: one that started without an interface
 * that it asked for would never get it.
 */
export const agentNeeded = (network: string): CniError =>
  new CniError(
    CODE.tryAgain,
    `pod network "${network}": only skylane-agent knows which networks and network policies this pod has, and it does not answer on this node`,
    "Pods come again once it does; see the skylane-agent pod of this node and its log.",
  );
