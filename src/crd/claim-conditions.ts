/** What a claim says of itself, for its owner: the condition `Ready` of its status. */
import { isObject, type Json } from "../json/index.ts";

/** Why a claim has not what it asks for: a word for programs, and the sentence of the pod's event. */
export interface ClaimRefusal {
  reason: "Refused" | "Exhausted" | "Invalid";
  message: string;
}

/** The condition as it is there; undefined where there is none, or one that makes no sense. */
export interface ClaimReady {
  type: "Ready";
  status: "True" | "False";
  reason: string;
  message: string;
  /** RFC 3339. */
  lastTransitionTime: string;
}

/** Reads the condition `Ready` of a status. */
export function readyOf(status: Json): ClaimReady | undefined {
  const all = Array.isArray(status["conditions"]) ? (status["conditions"] as unknown[]) : [];
  const found = all.find((one): one is Json => isObject(one) && one["type"] === "Ready");
  if (found?.["status"] !== "True" && found?.["status"] !== "False") return undefined;
  const text = (key: string): string => (typeof found[key] === "string" ? found[key] : "");
  return {
    type: "Ready",
    status: found["status"],
    reason: text("reason"),
    message: text("message"),
    lastTransitionTime: text("lastTransitionTime"),
  };
}

/** Never an empty text: API servers before 1.21 take one in a list for null, and refuse the status. */
const HELD = { reason: "Held", message: "it has its addresses" } as const;

/**
 * The condition that a claim is to have.
 * @param refusal why it has not what it asks for; undefined when it has. @param now RFC 3339, for one that turns
 * @returns undefined when that is said already
 */
export function claimReady(
  before: ClaimReady | undefined,
  refusal: ClaimRefusal | undefined,
  now: string,
): ClaimReady | undefined {
  const status = refusal ? "False" : "True";
  const { reason, message } = refusal ?? HELD;
  if (before?.status === status && before.reason === reason && before.message === message) return undefined;
  const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now;
  return { type: "Ready", status, reason, message, lastTransitionTime };
}
