/** What is said in the status of an EgressGateway, and whether it differs from what is there. Pure. */
import type { AddressHolder } from "../crd/index.ts";
import { isObject, type Json } from "../json/index.ts";

/** What is to be said. */
export interface EgressFacts {
  /** Why it cannot be read. */
  fault?: string;
  /** Why its pods have no way out of their network. */
  noWayOut?: string;
  holders: readonly AddressHolder[];
  /** Pods that leave by it. */
  pods: number;
  /** Why addresses cannot be used, by address. */
  refused: ReadonlyMap<string, string>;
  /** Addresses that nobody has. */
  unheld: readonly string[];
}

const MESSAGE = 2_000;

function verdictOf({
  fault,
  noWayOut,
  refused,
  unheld,
}: EgressFacts): [ready: boolean, reason: string, message: string] {
  if (fault !== undefined) return [false, "Invalid", `it is not in force, as it cannot be read: ${fault}`];
  if (noWayOut !== undefined) return [false, "NetworkWithoutWayOut", noWayOut];
  const why = Array.from(refused, ([address, reason]) => `${address} cannot be used: ${reason}`);
  if (why.length > 0) return [false, "AddressRefused", why.join("; ")];
  if (unheld.length === 0) return [true, "Served", "each of its addresses is on a node"];
  const message = `no live node that its nodeSelector selects has ${unheld.join(", ")}; packets of pods with that address are dropped`;
  return [false, "NoNode", message];
}

/**
 * The status that an object is to have.
 * @param now RFC 3339, for a condition whose status is another than it was
 * @returns undefined when it says all that already
 */
export function egressStatus(
  object: { status: Json; generation: number | undefined },
  facts: EgressFacts,
  now: string,
): Json | undefined {
  const [holds, reason, message] = verdictOf(facts);
  const status = holds ? "True" : "False";
  const before = Array.isArray(object.status["conditions"]) ? (object.status["conditions"] as unknown[]) : [];
  const same = before.find((one): one is Json => isObject(one) && one["type"] === "Ready" && one["status"] === status);
  const since = same?.["lastTransitionTime"];
  const ready = {
    type: "Ready",
    status,
    ...(object.generation !== undefined && { observedGeneration: object.generation }),
    reason,
    message: message.slice(0, MESSAGE),
    lastTransitionTime: typeof since === "string" ? since : now,
  };
  const wanted: Json = {
    addresses: facts.holders.map(({ address, node, generation }) => ({ address, node, generation })),
    pods: facts.pods,
    conditions: [ready],
  };
  const shown = ({ addresses = [], pods, conditions = [] }: Json): string =>
    JSON.stringify([sorted(addresses), pods, sorted(conditions)]);
  return shown(object.status) === shown(wanted) ? undefined : wanted;
}

/** The same whatever order keys are in. */
const sorted = (list: unknown): unknown =>
  Array.isArray(list)
    ? list.map((one) => (isObject(one) ? Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)) : one))
    : list;
