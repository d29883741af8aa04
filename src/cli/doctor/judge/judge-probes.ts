/** What the agents' probes have found between nodes, where they are on. */
import type { Facts } from "../facts.ts";
import { fail, type Finding, ok, warn } from "../finding.ts";

/** What costs speed, and nothing else so far. */
const SLOW: ReadonlySet<string> = new Set(["fragments", "loss"]);

/** A finding for each fault that stands; nothing where the agent does not probe. */
export function judgeProbes({ agent }: Facts): Finding[] {
  const probes = "value" in agent ? agent.value.probes : undefined;
  if (!probes) return [];
  const { on, message, peers, verdicts } = probes;
  if (!on)
    return [
      warn(
        "probes",
        `off: ${message}`,
        "The agent does not see what is wrong between nodes, until somebody asks doctor on the right one.",
        "The agent needs CAP_NET_RAW; probes: off in the configuration silences this.",
      ),
    ];
  if (verdicts.length === 0) return [ok("probes", `${peers.measured} of ${peers.all} peers measured, none at fault`)];
  return verdicts.map(({ fault, found, meaning, cure }) =>
    SLOW.has(fault) ? warn(`probes.${fault}`, found, meaning, cure) : fail(`probes.${fault}`, found, meaning, cure),
  );
}
