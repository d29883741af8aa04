/**
 * Does the fast path carry what it could, where it is configured? What is in its way costs speed and nothing else, and the default is to have it where it
 * can be: so none of it is a trouble.
 */
import type { AgentStatus } from "../../agent/client.ts";
import type { Facts } from "../facts.ts";
import { type Finding, ok, some } from "../finding.ts";

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
  if (!on) return [ok("fastpath", `${where}off, all packets take the ordinary path, which does the same: ${message}`)];
  return [
    ok("fastpath", `${where}on, ${pods} links of pods, ${prefixes} prefixes of peers (${message})`),
    ...(ordinary.length > 0
      ? [
          ok(
            "fastpath.ordinary",
            `${where}on the ordinary path, which does the same: ${some(ordinary.map(({ what, why }) => `${what}: ${why}`))}`,
          ),
        ]
      : []),
  ];
}
