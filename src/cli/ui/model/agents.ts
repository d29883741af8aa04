/** What changed between two answers of an agent, in words for the time line. Pure. */
import type { MapNode } from "../wire.ts";
import type { AgentFacts } from "./facts.ts";
import type { TimeLine } from "./time-line.ts";

/** What is remembered of an agent's last answer. */
export interface Heard {
  uptimeSeconds: number;
  /** By network and kind. */
  repairs: ReadonlyMap<string, number>;
  refused: ReadonlySet<string>;
  verdicts: ReadonlySet<string>;
}

const refusalOf = ({ network, node, reason }: MapNode["refused"][number]): string => `${node} (${network}): ${reason}`;

/** What to remember of an answer. */
function heard({ uptimeSeconds, vteps, refused, probes }: AgentFacts): Heard {
  const repairs = vteps.flatMap(({ network, byKind }) =>
    Object.entries(byKind).map(([kind, count]): [string, number] => [`${kind} in ${network}`, count]),
  );
  return {
    uptimeSeconds,
    repairs: new Map(repairs),
    refused: new Set(refused.map(refusalOf)),
    verdicts: new Set(probes?.verdicts.map(({ found }) => found)),
  };
}

/** Puts on the time line what is new in an answer. @param before the last one; absent for an agent that is heard for the first time */
export function tell(line: TimeLine, node: string, before: Heard | undefined, facts: AgentFacts, now: number): Heard {
  const after = heard(facts);
  const restarted = before !== undefined && after.uptimeSeconds < before.uptimeSeconds;
  if (restarted) line.add(now, "node", false, node, "the agent was started again");
  if (before) {
    const repaired = [...after.repairs]
      // An agent that was started again counts from 0.
      .map(([what, count]) => [what, count - (restarted ? 0 : (before.repairs.get(what) ?? 0))] as const)
      .filter(([, count]) => count > 0)
      .map(([what, count]) => `${count} ${what}`);
    if (repaired.length > 0) line.add(now, "repair", false, node, `put back: ${repaired.join(", ")}`);
  }
  for (const one of facts.refused)
    if (!before?.refused.has(refusalOf(one)))
      line.add(now, "refusal", true, node, `refuses ${refusalOf(one)}: ${one.message}`);
  for (const one of before?.refused ?? [])
    if (!after.refused.has(one)) line.add(now, "refusal", false, node, `no longer refuses ${one}`);
  for (const one of after.verdicts) if (!before?.verdicts.has(one)) line.add(now, "probe", true, node, one);
  for (const one of before?.verdicts ?? [])
    if (!after.verdicts.has(one)) line.add(now, "probe", false, node, `over: ${one}`);
  return after;
}
