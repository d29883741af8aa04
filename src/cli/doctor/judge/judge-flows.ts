/** Whether the agent records who talks to whom, where that is configured. */
import type { Facts } from "../facts.ts";
import { type Finding, ok, warn } from "../finding.ts";

/** Nothing where the agent is not to record flows. */
export function judgeFlows({ agent }: Facts): Finding[] {
  const flows = "value" in agent ? agent.value.flows : undefined;
  if (!flows) return [];
  const { on, error, flows: count, sampled } = flows;
  if (on)
    return [ok("flows", `${count} flows remembered${sampled > 1 ? `, of one in ${sampled} connections by now` : ""}`)];
  return [
    warn(
      "flows",
      `not recorded: ${error ?? "the agent begins to listen"}`,
      "skylanectl flows shows nothing new, and the metrics of flows stand still. Packets are not concerned.",
      "The kernel has to follow connections (nf_conntrack, with events and accounting), and the agent needs CAP_NET_ADMIN; flows: off silences this.",
    ),
  ];
}
