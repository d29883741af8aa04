/** Does the fast path carry what it could, where it is configured? What is in its way costs speed and nothing else. */
import type { Facts } from "../facts.ts";
import { type Finding, ok, some, warn } from "../finding.ts";

/** All about it; nothing where it is not configured. */
export function judgeFastPath({ agent }: Facts): Finding[] {
  const fast = "value" in agent ? agent.value.fastPath : undefined;
  if (!fast) return [];
  if (!fast.on)
    return [
      warn(
        "fastpath",
        `off: ${fast.message}`,
        "Pods' packets take the ordinary path, which is slower and does the same.",
        "docs/fast-path.md says what it needs; fastPath: off (Helm: fastPath) keeps the agent from trying.",
      ),
    ];
  const { message, pods, prefixes, ordinary } = fast;
  return [
    ok("fastpath", `on, ${pods} links of pods, ${prefixes} prefixes of peers (${message})`),
    ...(ordinary.length > 0
      ? [
          warn(
            "fastpath.ordinary",
            some(ordinary.map(({ what, why }) => `${what}: ${why}`)),
            "Their packets take the ordinary path, which is slower and does the same.",
            "Nothing, where it is meant so; docs/fast-path.md says what keeps a pod or a peer from it.",
          ),
        ]
      : []),
  ];
}
