/** What is said in the status of a ClusterNetworkPolicy, for its author: whether every node enforces it, or what of it cannot be read. */
import type { ReadPolicy } from "./policy-object.ts";
import { isObject, type Json } from "../../json/index.ts";

/** Conditions of others are others': implementations may share a cluster. */
export const ACCEPTED = "skylane.dev/Accepted";

/** The API's own limit of a condition's message is 32,768 characters; people read less. */
const MESSAGE = 2_000;

/** What a condition says, but since when. */
export interface Accepted {
  status: "True" | "False";
  reason: "Accepted" | "Faults" | "Invalid";
  message: string;
  observedGeneration?: number;
}

/** What is to be said of a policy. Never an empty text: older API servers take one for null. */
export function acceptedFor({ policy, faults }: ReadPolicy, generation: number | undefined): Accepted {
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  if (faults.length === 0)
    return {
      status: "True",
      reason: "Accepted",
      message: `every node enforces it for its pods${about(policy)}`,
      ...observed,
    };
  const effect = policy ? "what cannot be read of it fails closed" : "it is not in force, as it cannot be read";
  const message = `${effect}: ${faults.join("; ")}`.slice(0, MESSAGE);
  return { status: "False", reason: policy ? "Faults" : "Invalid", message, ...observed };
}

/** What depends on a node's kernel. */
const about = (policy: ReadPolicy["policy"]): string =>
  policy?.egress?.some(({ peers }) => peers?.some(({ kind }) => kind === "names"))
    ? ", its rules with domainNames where the node's kernel can hold answers of DNS servers (skylanectl policy list says where it cannot)"
    : "";

/** Whether an object's status says that already. */
export function saysAccepted(object: unknown, wanted: Accepted): boolean {
  const found = conditionsOf(object).find(({ type }) => type === ACCEPTED);
  return found !== undefined && Object.entries(wanted).every(([key, value]) => found[key] === value);
}

/**
 * The conditions that an object is to have, those of others as they are.
 * @param now RFC 3339, for one whose status is another than it was
 */
export function withAccepted(object: unknown, wanted: Accepted, now: string): Json[] {
  const all = conditionsOf(object);
  const before = all.find(({ type }) => type === ACCEPTED);
  const since = before?.["status"] === wanted.status ? before["lastTransitionTime"] : undefined;
  const ours = { type: ACCEPTED, ...wanted, lastTransitionTime: typeof since === "string" ? since : now };
  return before ? all.map((one) => (one === before ? ours : one)) : [...all, ours];
}

function conditionsOf(object: unknown): Json[] {
  const status = isObject(object) ? object["status"] : undefined;
  const conditions = isObject(status) ? status["conditions"] : undefined;
  return Array.isArray(conditions) ? conditions.filter(isObject) : [];
}
