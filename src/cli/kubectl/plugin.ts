/**
 * `kubectl skylane`: the same commands on a node of the cluster, from wherever kubectl works. kubectl runs the executable `kubectl-skylane`
 * that it finds in PATH, and that one asks kubectl in turn which pod is the agent of a node and runs the command there.
 */
import { SYSTEM_NAMESPACE } from "./cluster-options.ts";
import { UsageError } from "../command.ts";
import { kubectlConnectivity } from "../connectivity/index.ts";
import { describeError } from "../main.ts";
import { kubectlTrace } from "../trace/kubectl.ts";
import { tracingBy } from "./tracing.ts";
import { inAgent } from "./agents.ts";
import { type Kubectl, kubectl } from "./call.ts";
import { sysdump } from "./sysdump.ts";
import { kubectlUi } from "./ui.ts";

/** Commands that are about more than one node, and find by themselves which. */
const WIDE = ["connectivity", "trace", "sysdump", "ui"];
const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

const USAGE = `Usage: kubectl skylane --node NODE [--namespace NAMESPACE] [--context CONTEXT] COMMAND [options]
       kubectl skylane trace [NAMESPACE/]POD|IP [NAMESPACE/]POD|IP|svc/NAME [options]
       kubectl skylane connectivity test [--nodes N] [--peers K] [--timeout SECONDS] [--keep] [-o json] | --cleanup
       kubectl skylane sysdump [--output FILE] [--max-nodes N]
       kubectl skylane ui [--port N]

Runs "skylanectl COMMAND" in the agent of a node: status, doctor, probes, flows, policy, log-level, version. Options of kubectl come before COMMAND.
trace finds the two pods and asks both of their nodes: every hop of a packet from the one to the other, and the first that is wrong; to a Service,
to each pod behind it. With --live it sends a marked packet, too, and shows where it was seen last.
connectivity test starts pods on all nodes, tries whether pods, nodes and Services reach each other, and removes them again.
sysdump writes what all nodes have to say, or one, into an archive here: status, findings, kernel objects, logs, Skylane's objects; no secrets.
ui shows a live map of the cluster in a browser on this machine, until Ctrl-C: nodes, networks, health of each pair, pods, Events.

Options:
  --node NODE            the node (required, but for connectivity test, trace, sysdump and ui)
  -n, --namespace NAME   where Skylane is installed (${SYSTEM_NAMESPACE})
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
  const call: PluginCall = { node: "", namespace: SYSTEM_NAMESPACE, kubectl: [], command: [] };
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
  if (word === "connectivity") {
    if (call.node !== "") throw new UsageError("connectivity test is about all nodes: leave out --node");
    // Its pods are in a namespace of their own.
    return await kubectlConnectivity({ program, options: call.kubectl }, call.namespace, words);
  }
  if (word === "ui") {
    if (call.node !== "") throw new UsageError("ui shows all nodes: leave out --node");
    return await kubectlUi(cluster, words);
  }
  return await kubectl(cluster, await inAgent(cluster, call.namespace, call.node, call.command));
}

function trace(call: PluginCall, cluster: Kubectl, words: readonly string[]): Promise<number> {
  // Pods are in namespaces of their own.
  const anywhere = { ...cluster, options: call.kubectl };
  const { get, run, start } = tracingBy(anywhere, cluster, call.namespace);
  return kubectlTrace(words, call.node === "" ? undefined : call.node, get, run, start);
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
