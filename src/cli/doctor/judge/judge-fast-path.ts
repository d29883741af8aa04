/** Does the fast path carry what it could, where it is configured? What is in its way costs speed and nothing else. */
import type { AgentStatus } from "../../agent/client.ts";
import type { Facts } from "../facts.ts";
import { type Finding, ok, some, warn } from "../finding.ts";

type FastPath = NonNullable<AgentStatus["fastPath"]>;

/** All about it, in the default network and in each that has one of its own; nothing where it is not configured. */
export function judgeFastPath({ agent }: Facts): Finding[] {
  if (!("value" in agent)) return [];
  const { fastPath, networks } = agent.value;
  return [
    ...(fastPath ? judgeOne(fastPath, "") : []),
    ...networks.flatMap((one) => (one.fastPath ? judgeOne(one.fastPath, `pod network ${one.network}: `) : [])),
  ];
}

/** @param where the network, before what is said of it */
function judgeOne({ on, message, pods, prefixes, ordinary }: FastPath, where: string): Finding[] {
  if (!on)
    return [
      warn(
        "fastpath",
        `${where}off: ${message}`,
        "Pods' packets take the ordinary path, which is slower and does the same.",
        "docs/fast-path.md says what it needs; fastPath: off (Helm: fastPath) keeps the agent from trying.",
      ),
    ];
  return [
    ok("fastpath", `${where}on, ${pods} links of pods, ${prefixes} prefixes of peers (${message})`),
    ...(ordinary.length > 0
      ? [
          warn(
            "fastpath.ordinary",
            where + some(ordinary.map(({ what, why }) => `${what}: ${why}`)),
            "Their packets take the ordinary path, which is slower and does the same.",
            "Nothing, where it is meant so; docs/fast-path.md says what keeps a pod or a peer from it.",
          ),
        ]
      : []),
  ];
}
