/**
 * `kubectl skylane`: the same commands on a node of the cluster, from wherever kubectl works. kubectl runs the executable `kubectl-skylane`
 * that it finds in PATH, and that one asks kubectl in turn which pod is the agent of a node and runs the command there.
 */
import { CommandError, UsageError } from "../command.ts";
import { describeError } from "../main.ts";
import { kubectlTrace } from "../trace/kubectl.ts";
import { type Kubectl, kubectl, kubectlAnswer, kubectlOutput } from "./call.ts";
import { sysdump } from "./sysdump.ts";

/** Commands that are about more than one node, and find by themselves which. */
const WIDE = ["trace", "sysdump"];
const LIMITS = { most: 64 << 20, timeoutMs: 60_000 };
const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

const USAGE = `Usage: kubectl skylane --node NODE [--namespace NAMESPACE] [--context CONTEXT] COMMAND [options]
       kubectl skylane trace [NAMESPACE/]POD|IP [NAMESPACE/]POD|IP|svc/NAME [options]
       kubectl skylane sysdump [--output FILE] [--max-nodes N]

Runs "skylanectl COMMAND" in the agent of a node: status, doctor, probes, flows, policy, log-level, version. Options of kubectl come before COMMAND.
trace finds the two pods and asks both of their nodes: every hop of a packet from the one to the other, and the first that is wrong; to a Service,
to each pod behind it.
sysdump writes what all nodes have to say, or one, into an archive here: status, findings, kernel objects, logs, Skylane's objects; no secrets.

Options:
  --node NODE            the node (required, but for trace and sysdump)
  -n, --namespace NAME   where Skylane is installed (skylane-system)
  --context NAME         context of the kubeconfig
  --kubeconfig FILE      another kubeconfig
`;

/** What was asked of the plugin. */
export interface PluginCall {
  /** "": no node was named. */
  node: string;
  namespace: string;
  /** Options that kubectl itself is to have. */
  kubectl: string[];
  command: string[];
}

/** Takes the plugin's own options off the command line. @returns undefined where help is asked for. @throws UsageError */
export function parsePluginCall(argv: readonly string[]): PluginCall | undefined {
  const call: PluginCall = { node: "", namespace: "skylane-system", kubectl: [], command: [] };
  let at = 0;
  for (; at < argv.length && argv[at]?.startsWith("-"); at++) {
    const [name = "", inline] = (argv[at] as string).split(/=(.*)/s);
    if (name === "--help" || name === "-h") return undefined;
    const value = inline ?? argv[++at];
    if (value === undefined) throw new UsageError(`${name} needs a value`);
    if (name === "--node") call.node = value;
    else if (name === "--namespace" || name === "-n") call.namespace = value;
    else if (name === "--context" || name === "--kubeconfig") call.kubectl.push(`${name}=${value}`);
    else throw new UsageError(`unknown option "${name}"; options of the command come after it`);
  }
  call.command = argv.slice(at);
  if (call.command.length === 0) return undefined;
  if (call.node === "" && WIDE.includes(call.command[0] as string)) return call;
  if (!NODE_NAME.test(call.node))
    throw new UsageError(call.node ? `"${call.node}" is no node's name` : "--node is missing");
  return call;
}

/** Runs a call. @returns the exit status of the command. @throws CommandError when the node has no agent, or kubectl fails */
export async function runPluginCall(call: PluginCall, program = "kubectl"): Promise<number> {
  const cluster: Kubectl = { program, options: [...call.kubectl, `--namespace=${call.namespace}`] };
  const [word, ...words] = call.command;
  if (word === "sysdump") return await sysdump(cluster, call.node, words);
  if (word === "trace") return await trace(call, cluster, words);
  return await kubectl(cluster, await inAgent(cluster, call, call.node, call.command));
}

function trace(call: PluginCall, cluster: Kubectl, words: readonly string[]): Promise<number> {
  // Pods are in namespaces of their own.
  const anywhere = { ...cluster, options: call.kubectl };
  const get = async (what: readonly string[]): Promise<unknown> =>
    JSON.parse((await kubectlOutput(anywhere, ["get", ...what, "--output=json"], LIMITS)).toString());
  return kubectlTrace(words, call.node === "" ? undefined : call.node, get, async (node, there) => {
    const answer = await kubectlAnswer(cluster, await inAgent(cluster, call, node, there), LIMITS);
    return { ...answer, stdout: answer.stdout.toString() };
  });
}

/** What kubectl is asked for so that a command runs in the agent of a node. @throws CommandError when there is none */
async function inAgent(
  cluster: Kubectl,
  { namespace }: PluginCall,
  node: string,
  command: readonly string[],
): Promise<string[]> {
  const where = ["--selector=app.kubernetes.io/name=skylane", `--field-selector=spec.nodeName=${node}`];
  const pods = (await kubectlOutput(cluster, ["get", "pods", ...where, "--output=name"], LIMITS)).toString();
  const [pod] = pods.split("\n").filter((line) => line.startsWith("pod/"));
  if (pod === undefined)
    throw new CommandError(
      `no pod of Skylane's runs on node ${node} in namespace ${namespace}; kubectl get nodes lists the nodes`,
    );
  return ["exec", pod, "--container=agent", "--", "skylanectl", ...command];
}

/** The plugin as a program. @returns the exit status; never rejects */
export async function kubectlPlugin(argv: readonly string[], stderr: (text: string) => void): Promise<number> {
  try {
    const call = parsePluginCall(argv);
    if (call) return await runPluginCall(call);
    stderr(USAGE);
    return argv.length === 0 ? 2 : 0;
  } catch (error) {
    stderr(`kubectl skylane: ${describeError(error)}\n`);
    if (error instanceof UsageError) stderr(USAGE);
    return error instanceof UsageError ? 2 : 1;
  }
}
