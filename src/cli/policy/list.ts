/** `skylanectl policy list`: which network policies are in force on this node, what is not and why, and what they have counted. */
import type { PolicyList, PolicyReport, RuleReport } from "../../enforcement/index.ts";
import { AGENT_SOCKET, askAgentForJson } from "../agent/client.ts";
import { type Command, OUTPUT } from "../command.ts";
import { type Cell, properties, table } from "../table.ts";

const nameOf = ({ kind, namespace, name }: PolicyReport): string =>
  `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;

const sum = (rules: readonly RuleReport[], verdict: RuleReport["verdict"]): number =>
  rules.filter((rule) => rule.verdict === verdict).reduce((all, { packets }) => all + packets, 0);

const row = (policy: PolicyReport): Cell[] => [
  nameOf(policy),
  policy.priority === undefined ? policy.tier : `${policy.tier} ${policy.priority}`,
  policy.generation,
  policy.mode,
  policy.state,
  policy.pods.length,
  sum(policy.rules, "allow"),
  sum(policy.rules, "deny"),
  sum(policy.rules, "audit"),
];

const HEADINGS = ["POLICY", "TIER", "GENERATION", "MODE", "STATE", "PODS HERE", "ALLOWED", "DENIED", "WOULD DENY"];

/** The whole list for people. @param rules also what each rule has counted */
export function renderPolicies({ node, message, policies, others }: PolicyList, rules = false): string {
  const why = policies.flatMap((policy) => policy.why.map((reason): Cell[] => [nameOf(policy), reason]));
  const ofRules = policies.flatMap((policy) =>
    policy.rules.map(({ direction, index, name, verdict, packets, bytes }): Cell[] => [
      nameOf(policy),
      `${direction}[${index}]`,
      name,
      verdict,
      packets,
      bytes,
    ]),
  );
  const unruled = others
    .filter(({ packets }) => packets > 0)
    .map(({ what, direction, verdict, packets, bytes }): Cell[] => [what, direction, verdict, packets, bytes]);
  const sections = [
    properties([
      ["Node", node],
      ["State", message],
    ]),
    policies.length > 0 ? table(HEADINGS, policies.map(row)) : "",
    why.length > 0 ? table(["NOT IN FORCE", "WHY"], why) : "",
    rules && ofRules.length > 0 ? table(["POLICY", "RULE", "NAME", "VERDICT", "PACKETS", "BYTES"], ofRules) : "",
    unruled.length > 0 ? table(["NO RULE", "DIRECTION", "VERDICT", "PACKETS", "BYTES"], unruled) : "",
  ];
  return sections.filter((section) => section !== "").join("\n");
}

/** The command; exit status 1 where policies are not in force. */
export const policyListCommand: Command = {
  words: ["policy", "list"],
  summary: "Lists the network policies that are in force on this node",
  options: {
    ...OUTPUT,
    rules: { help: "also what each rule has counted" },
    socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` },
  },
  details:
    "Numbers are packets since the agent started: of denied ones all, of allowed ones those that begin a connection.\n" +
    "Exit status: 0 everything is in force, 1 something is not, or no agent answers, 2 wrong command line.",
  async run(input) {
    const list = await askAgentForJson<PolicyList>("/policies", input.text("socket"));
    process.stdout.write(input.json ? `${JSON.stringify(list, null, 2)}\n` : renderPolicies(list, input.flag("rules")));
    const whole = list.presence !== "unknown" && list.policies.every(({ why }) => why.length === 0);
    return whole ? 0 : 1;
  },
};
