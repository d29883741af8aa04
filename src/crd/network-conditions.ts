/** The status of a pod network's object: what an administrator reads there, and whether it differs from what is there. */
import { isObject, type Json } from "../json/index.ts";

/** A condition of Kubernetes' convention. */
export interface Condition {
  type: "Ready" | "Conflict";
  status: "True" | "False";
  observedGeneration?: number;
  /** One word. */
  reason: string;
  message: string;
  /** RFC 3339. */
  lastTransitionTime: string;
}

/** Why there cannot be a network: a word for programs, and a sentence. */
export interface Obstacle {
  reason: "VniTaken" | "Unserved" | "Overlap" | "Invalid" | "Deleting";
  message: string;
}

/** What is to be said of a network. */
export interface NetworkFacts {
  /** Why it cannot be; undefined when it can. */
  obstacle: Obstacle | undefined;
  /** Nodes that take part. */
  nodes: number;
  /** Interfaces of pods, where somebody counts them. */
  endpoints?: number;
}

/** Never empty texts: API servers before 1.21 take one in a list for null, and refuse the status. */
const SERVED = "each node takes part from its first pod in it";
const NO_CONFLICT = "no other network has its VNI";

/**
 * The status that an object is to have.
 * @param now RFC 3339, for conditions whose status is another than it was
 * @returns undefined when it says all that already
 */
export function networkStatus(
  object: { status: Json; generation?: number | undefined },
  { obstacle, nodes, endpoints }: NetworkFacts,
  now: string,
): Json | undefined {
  const taken = obstacle?.reason === "VniTaken";
  const before = Array.isArray(object.status["conditions"]) ? (object.status["conditions"] as unknown[]) : [];
  const condition = (type: Condition["type"], holds: boolean, reason: string, message: string): Condition => {
    const status = holds ? "True" : "False";
    const same = before.find((one): one is Json => isObject(one) && one["type"] === type && one["status"] === status);
    const since = same?.["lastTransitionTime"];
    return {
      type,
      status,
      ...(object.generation !== undefined && { observedGeneration: object.generation }),
      reason,
      message,
      lastTransitionTime: typeof since === "string" ? since : now,
    };
  };
  const conditions = [
    condition("Ready", !obstacle, obstacle?.reason ?? "Served", obstacle?.message ?? SERVED),
    condition("Conflict", taken, taken ? "VniTaken" : "NoConflict", taken ? obstacle.message : NO_CONFLICT),
  ];
  const wanted: Json = { nodes, endpoints: endpoints ?? null, conditions };
  return sameStatus(object.status, wanted) ? undefined : wanted;
}

/** Whether a status says what is wanted, in whatever order its keys are; null is a key that is not there. */
function sameStatus(there: unknown, wanted: unknown): boolean {
  if (wanted === null) return there === undefined || there === null;
  if (Array.isArray(wanted))
    return (
      Array.isArray(there) && there.length === wanted.length && wanted.every((one, i) => sameStatus(there[i], one))
    );
  if (typeof wanted !== "object") return there === wanted;
  return isObject(there) && Object.entries(wanted as Json).every(([key, value]) => sameStatus(there[key], value));
}
