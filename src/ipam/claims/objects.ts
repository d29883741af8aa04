/** Claims as this folder reads them, and the little that it asks of a client about them. */
import { familyOf } from "../../addr/index.ts";
import { BlockError } from "../blocks/index.ts";
import { type IPClaimInfo, ObjectError, parseIPClaim, readyOf } from "../../crd/index.ts";
import { addressOf } from "./macs.ts";

/** A pod, as far as it says whether it still has what it was given. */
export interface PodFacts {
  uid: string;
  /** The node that it is bound to, "" for none. */
  node: string;
  /** It has ended (phase Succeeded or Failed) and does not run again. */
  finished: boolean;
}

/** What is asked of the API about claims and those who use them, never of a cache. All methods throw ApiError. */
export interface ClaimObjects {
  /** A claim; `undefined` when there is none. */
  get(namespace: string, name: string): Promise<unknown>;
  /** The claims of a namespace, or of all. */
  list(namespace?: string): Promise<unknown[]>;
  /** Changes keys of the status (null removes one) of that version of the claim; 409 when it is another by now. */
  patchStatus(namespace: string, name: string, status: object, resourceVersion: string): Promise<unknown>;
  /** A pod; `undefined` when there is none. */
  pod(namespace: string, name: string): Promise<PodFacts | undefined>;
  nodeExists(name: string): Promise<boolean>;
}

/** A claim that is or was: its name, and the uid that tells it from one that is made anew by that name. */
export interface Holder {
  namespace: string;
  name: string;
  uid: string;
}

/** A holder as blocks' entries have it: NAMESPACE/NAME/UID. */
export const holderText = ({ namespace, name, uid }: Holder): string => `${namespace}/${name}/${uid}`;

/** The holder of a text of {@link holderText}. */
export function holderOf(text: string): Holder {
  const [namespace = "", name = "", uid = ""] = text.split("/");
  return { namespace, name, uid };
}

/** A claim whose spec makes no sense: nobody can have it, and its owner is to hear why. */
export class UnusableClaim extends BlockError {
  override name = "UnusableClaim";
  readonly claim: Pick<IPClaimInfo, "namespace" | "name" | "resourceVersion" | "status">;

  /** @param object of the API. @param fault names claim and key */
  constructor(object: unknown, fault: ObjectError) {
    super("refused", fault.message, { cause: fault });
    const { metadata, status } = object as {
      metadata: { namespace?: string; name: string; resourceVersion: string };
      status?: Readonly<Record<string, unknown>>;
    };
    const { namespace = "", name, resourceVersion } = metadata;
    const ready = readyOf(status ?? {});
    this.claim = { namespace, name, resourceVersion, status: { ips: [], ...(ready && { ready }) } };
  }
}

/** Reads a claim. @throws UnusableClaim naming claim and key */
export function readClaim(object: unknown): IPClaimInfo {
  try {
    return parseIPClaim(object);
  } catch (error) {
    if (!(error instanceof ObjectError)) throw error;
    throw new UnusableClaim(object, error);
  }
}

/**
 * Whether an entry's claim has, or may still come to have, the address. A uid that is gone never comes back, and what a status
 * says once it says for ever; so what is false once is false for ever, whatever is under way anywhere.
 * @param object the object of the claim's name, read after the entry was. @param key of the entry (macs.ts)
 */
export function stillHolds(object: unknown, uid: string, key: string): boolean {
  const { metadata } = (object ?? {}) as { metadata?: { uid?: unknown } };
  if (metadata?.uid !== uid) return false;
  try {
    const { ips, mac } = parseIPClaim(object).status;
    const address = addressOf(key);
    if (address !== key) return mac === undefined || mac === address;
    return ips.includes(key) || !ips.some((other) => familyOf(other) === familyOf(key));
  } catch (error) {
    if (error instanceof ObjectError) return true; // it is there: what it has cannot be said, so it keeps everything
    throw error;
  }
}
