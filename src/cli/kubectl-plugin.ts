/**
 * `kubectl skylane`: the same commands on a node of the cluster, from wherever kubectl works. kubectl runs the executable `kubectl-skylane`
 * that it finds in PATH, and that one asks kubectl in turn which pod is the agent of a node and runs the command there.
 */
import { spawn } from "node:child_process";
import { CommandError, UsageError } from "./command.ts";
import { describeError } from "./main.ts";
import { kubectlTrace } from "./trace/kubectl.ts";

const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

const USAGE = `Usage: kubectl skylane --node NODE [--namespace NAMESPACE] [--context CONTEXT] COMMAND [options]
       kubectl skylane trace [NAMESPACE/]POD|IP [NAMESPACE/]POD|IP [options]

Runs "skylanectl COMMAND" in the agent of a node: status, doctor, probes, policy, log-level, version. Options of kubectl come before COMMAND.
trace finds the two pods and asks both of their nodes: every hop of a packet from the one to the other, and the first that is wrong.

Options:
  --node NODE            the node (required, but for trace)
  -n, --namespace NAME   where Skylane is installed (skylane-system)
  --context NAME         context of the kubeconfig
  --kubeconfig FILE      another kubeconfig
`;

/** What was asked of the plugin. */
export interface PluginCall {
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
  // Both of a trace's nodes are found by its pods.
  if (!NODE_NAME.test(call.node) && !(call.node === "" && call.command[0] === "trace"))
    throw new UsageError(call.node ? `"${call.node}" is no node's name` : "--node is missing");
  return call;
}

/** Runs a call. @returns the exit status of the command. @throws CommandError when the node has no agent */
export async function runPluginCall(call: PluginCall, kubectl = "kubectl"): Promise<number> {
  const common = [...call.kubectl, `--namespace=${call.namespace}`];
  const [word, ...words] = call.command;
  if (word === "trace") {
    const get = async (what: readonly string[]): Promise<unknown> => {
      const { status, stdout, stderr } = await run(kubectl, [...call.kubectl, "get", ...what, "--output=json"], "all");
      if (status !== 0) throw new CommandError(stderr.trim() || `kubectl get ${what.join(" ")} failed`);
      return JSON.parse(stdout) as unknown;
    };
    return kubectlTrace(words, call.node === "" ? undefined : call.node, get, async (node, there) => {
      const pod = await agentOf(kubectl, call, node, "all");
      if (typeof pod === "number") throw new CommandError(`kubectl cannot look for the agent of node ${node}`);
      return run(kubectl, [...common, "exec", pod, "--container=agent", "--", "skylanectl", ...there], "all");
    });
  }
  const pod = await agentOf(kubectl, call, call.node, "stdout");
  if (typeof pod === "number") return pod;
  const command = ["exec", pod, "--container=agent", "--", "skylanectl", ...call.command];
  return (await run(kubectl, [...common, ...command], "nothing")).status;
}

/** What of a program's output is kept; the rest goes where this one's goes. */
type Kept = "all" | "stdout" | "nothing";

/** The agent's pod of a node; the exit status of kubectl where it cannot be asked for. @throws CommandError when there is none */
async function agentOf(
  program: string,
  { kubectl, namespace }: PluginCall,
  node: string,
  kept: Kept,
): Promise<string | number> {
  const where = ["--selector=app.kubernetes.io/name=skylane", `--field-selector=spec.nodeName=${node}`];
  const words = [...kubectl, `--namespace=${namespace}`, "get", "pods", ...where, "--output=name"];
  const asked = await run(program, words, kept);
  if (asked.status !== 0) return asked.status;
  const [pod] = asked.stdout.split("\n").filter((line) => line.startsWith("pod/"));
  if (pod === undefined)
    throw new CommandError(
      `no pod of Skylane's runs on node ${node} in namespace ${namespace}; kubectl get nodes lists the nodes`,
    );
  return pod;
}

function run(
  program: string,
  args: readonly string[],
  kept: Kept,
): Promise<{ status: number; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const [out, err] = [kept === "nothing" ? "inherit" : "pipe", kept === "all" ? "pipe" : "inherit"] as const;
    const child = spawn(program, [...args], { stdio: ["inherit", out, err] });
    const said = { stdout: "", stderr: "" };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
    child.once("error", (cause) => reject(new CommandError(`${program} cannot be run`, { cause })));
    child.once("close", (code) => resolve({ status: code ?? 1, ...said }));
  });
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
