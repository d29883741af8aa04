/** The agents' pods, by which commands are run on nodes. */
import { CommandError } from "../command.ts";
import { type Kubectl, kubectlOutput, type Limits } from "./call.ts";

/** What Skylane's own pods have. */
export const AGENT_SELECTOR = "--selector=app.kubernetes.io/name=skylane";
/** Of one answer of kubectl's. */
export const LIMITS: Limits = { most: 64 << 20, timeoutMs: 60_000 };

/** An agent's pod. */
export interface Agent {
  pod: string;
  node: string;
}

/** All agents, or that of one node. @param node "" for all. @throws CommandError as kubectl said it */
export async function agents(cluster: Kubectl, node: string): Promise<Agent[]> {
  const path = "{range .items[*]}{.metadata.name}{' '}{.spec.nodeName}{'\\n'}{end}";
  const only = node === "" ? [] : [`--field-selector=spec.nodeName=${node}`];
  const ask = ["get", "pods", AGENT_SELECTOR, ...only, `--output=jsonpath=${path}`];
  const lines = (await kubectlOutput(cluster, ask, LIMITS)).toString().split("\n");
  return lines.flatMap((line) => {
    const [pod, on] = line.split(" ");
    return pod && on ? [{ pod, node: on }] : [];
  });
}

/**
 * What kubectl is asked for so that a command runs in the agent of a node.
 * @param namespace in which Skylane is; the cluster's options have it as well
 * @throws CommandError when there is none
 */
export async function inAgent(
  cluster: Kubectl,
  namespace: string,
  node: string,
  command: readonly string[],
): Promise<string[]> {
  const where = [AGENT_SELECTOR, `--field-selector=spec.nodeName=${node}`];
  const pods = (await kubectlOutput(cluster, ["get", "pods", ...where, "--output=name"], LIMITS)).toString();
  const [pod] = pods.split("\n").filter((line) => line.startsWith("pod/"));
  if (pod === undefined)
    throw new CommandError(
      `no pod of Skylane's runs on node ${node} in namespace ${namespace}; kubectl get nodes lists the nodes`,
    );
  return ["exec", pod, "--container=agent", "--", "skylanectl", ...command];
}
