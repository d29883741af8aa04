/**
 * What is said in the status of a ClusterNetworkPolicy, for its author: whether every node enforces it, or what of it cannot be read; and which
 * nodes cannot keep its domain names.
 */
import type { Policy } from "../semantics/types.ts";
import type { ReadPolicy } from "./policy-object.ts";
import { isObject, type Json } from "../../json/index.ts";

/** Conditions of others are others': implementations may share a cluster. */
export const ACCEPTED = "skylane.dev/Accepted";
/** On policies with domain names alone. */
export const DOMAIN_NAMES = "skylane.dev/DomainNames";

/** The API's own limit of a condition's message is 32,768 characters; people read less. */
const MESSAGE = 2_000;
/** Nodes that a condition names. */
const MOST_NODES = 10;

/** What a condition says, but since when. */
export interface Condition {
  status: "True" | "False";
  reason: string;
  message: string;
  observedGeneration?: number;
}

/** Conditions of ours that are to be otherwise, by type; undefined: that there is to be none. */
export type ConditionChanges = Readonly<Record<string, Condition | undefined>>;

const observed = (generation: number | undefined): Pick<Condition, "observedGeneration"> =>
  generation === undefined ? {} : { observedGeneration: generation };

/** What is to be said of a policy. Never an empty text: older API servers take one for null. */
export function acceptedFor({ policy, faults }: ReadPolicy, generation: number | undefined): Condition {
  if (faults.length === 0)
    return {
      status: "True",
      reason: "Accepted",
      message: `every node enforces it for its pods${about(policy)}`,
      ...observed(generation),
    };
  const effect = policy ? "what cannot be read of it fails closed" : "it is not in force, as it cannot be read";
  const message = `${effect}: ${faults.join("; ")}`.slice(0, MESSAGE);
  return { status: "False", reason: policy ? "Faults" : "Invalid", message, ...observed(generation) };
}

/** What depends on a node's kernel. */
const about = (policy: ReadPolicy["policy"]): string =>
  policy && hasNames(policy)
    ? `, its rules with domainNames where the node can hold answers of DNS servers (condition ${DOMAIN_NAMES})`
    : "";

/** Whether a policy has domain names as peers. */
export const hasNames = ({ egress = [] }: Policy): boolean =>
  egress.some(({ peers }) => peers?.some(({ kind }) => kind === "names"));

/**
 * What is to be said of a policy's domain names.
 * @param causes why nodes cannot keep them, by node; each a line that is bounded (node-faults.ts)
 */
export function domainNamesFor(causes: ReadonlyMap<string, string>, generation: number | undefined): Condition {
  if (causes.size === 0)
    return {
      status: "True",
      reason: "Held",
      message: "no node says that it cannot hold answers of DNS servers",
      ...observed(generation),
    };
  const named = [...causes.keys()].sort().slice(0, MOST_NODES);
  const byCause = Map.groupBy(named, (node) => causes.get(node) as string);
  const who = [...byCause].map(([cause, nodes]) => `${nodes.join(", ")} (${cause})`).join("; ");
  const more = causes.size > named.length ? `; and ${causes.size - named.length} more` : "";
  return {
    status: "False",
    reason: "NodesCannotHold",
    message: `its rules with domainNames allow nothing on nodes that cannot hold answers of DNS servers: ${who}${more}`,
    ...observed(generation),
  };
}

/** What an object's status says in a condition of this type, as far as it is ours to say; undefined where it has none. */
export function saidIn(object: unknown, type: string): Json | undefined {
  const found = conditionsOf(object).find((one) => one["type"] === type);
  if (!found) return undefined;
  const { status, reason, message, observedGeneration } = found;
  return { status, reason, message, ...(observedGeneration !== undefined && { observedGeneration }) };
}

/** Whether that is what is to be said; undefined on both sides: nothing. */
export function says(said: Json | undefined, wanted: Condition | undefined): boolean {
  if (!said || !wanted) return said === wanted;
  return (["status", "reason", "message", "observedGeneration"] as const).every((key) => said[key] === wanted[key]);
}

/**
 * The conditions that an object is to have, those of others as they are.
 * @param now RFC 3339, for one whose status is another than it was
 */
export function withConditions(object: unknown, changes: ConditionChanges, now: string): Json[] {
  const all = conditionsOf(object);
  const types = new Set(all.map(({ type }) => type));
  const made = (type: string, wanted: Condition, before?: Json): Json => {
    const since = before?.["status"] === wanted.status ? before["lastTransitionTime"] : undefined;
    return { type, ...wanted, lastTransitionTime: typeof since === "string" ? since : now };
  };
  const kept = all.flatMap((one): Json[] => {
    const type = String(one["type"]);
    if (!Object.hasOwn(changes, type)) return [one];
    const wanted = changes[type];
    return wanted ? [made(type, wanted, one)] : [];
  });
  const added = Object.entries(changes).flatMap(([type, wanted]) =>
    wanted && !types.has(type) ? [made(type, wanted)] : [],
  );
  return [...kept, ...added];
}

function conditionsOf(object: unknown): Json[] {
  const status = isObject(object) ? object["status"] : undefined;
  const conditions = isObject(status) ? status["conditions"] : undefined;
  return Array.isArray(conditions) ? conditions.filter(isObject) : [];
}
