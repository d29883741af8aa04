/** What a trace needs of a cluster, asked by kubectl. */
import type { RunThere } from "../trace/both.ts";
import type { Get } from "../trace/kubectl.ts";
import type { StartThere } from "../trace/live/both.ts";
import { startRunning } from "../trace/live/running.ts";
import { inAgent, LIMITS } from "./agents.ts";
import { type Kubectl, kubectlAnswer, kubectlOutput, type Limits } from "./call.ts";

/** @param anywhere without a namespace @param system in Skylane's, whose name is `namespace` */
export const tracingBy = (
  anywhere: Kubectl,
  system: Kubectl,
  namespace: string,
  limits: Limits = LIMITS,
): { get: Get; run: RunThere; start: StartThere } => ({
  get: async (what) =>
    JSON.parse((await kubectlOutput(anywhere, ["get", ...what, "--output=json"], limits)).toString()),
  run: async (node, words) => {
    const answer = await kubectlAnswer(system, await inAgent(system, namespace, node, words), limits);
    return { ...answer, stdout: answer.stdout.toString() };
  },
  start: async (node, words) => {
    const [exec = "", ...rest] = await inAgent(system, namespace, node, words);
    return await startRunning([system.program, ...system.options, exec, "--stdin", ...rest]);
  },
});
