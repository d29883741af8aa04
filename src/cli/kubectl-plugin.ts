/**
 * `kubectl skylane`: the same commands on a node of the cluster, from wherever kubectl works. kubectl runs the executable `kubectl-skylane`
 * that it finds in PATH, and that one asks kubectl in turn which pod is the agent of a node and runs the command there.
 */
import { spawn } from "node:child_process";
import { CommandError, UsageError } from "./command.ts";
import { describeError } from "./main.ts";

const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

const USAGE = `Usage: kubectl skylane --node NODE [--namespace NAMESPACE] [--context CONTEXT] COMMAND [options]

Runs "skylanectl COMMAND" in the agent of a node: status, doctor, policy, log-level, version. Options of kubectl come before COMMAND.

Options:
  --node NODE            the node (required)
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
  if (!NODE_NAME.test(call.node))
    throw new UsageError(call.node ? `"${call.node}" is no node's name` : "--node is missing");
  return call;
}

/** Runs a call. @returns the exit status of the command. @throws CommandError when the node has no agent */
export async function runPluginCall(call: PluginCall, kubectl = "kubectl"): Promise<number> {
  const common = [...call.kubectl, `--namespace=${call.namespace}`];
  const where = ["--selector=app.kubernetes.io/name=skylane", `--field-selector=spec.nodeName=${call.node}`];
  const asked = await run(kubectl, [...common, "get", "pods", ...where, "--output=name"], true);
  if (asked.status !== 0) return asked.status;
  const [pod] = asked.stdout.split("\n").filter((line) => line.startsWith("pod/"));
  if (pod === undefined)
    throw new CommandError(
      `no pod of Skylane's runs on node ${call.node} in namespace ${call.namespace}; kubectl get nodes lists the nodes`,
    );
  const { status } = await run(
    kubectl,
    [...common, "exec", pod, "--container=agent", "--", "skylanectl", ...call.command],
    false,
  );
  return status;
}

function run(program: string, args: readonly string[], capture: boolean): Promise<{ status: number; stdout: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], { stdio: ["inherit", capture ? "pipe" : "inherit", "inherit"] });
    let stdout = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.once("error", (cause) => reject(new CommandError(`${program} cannot be run`, { cause })));
    child.once("close", (code) => resolve({ status: code ?? 1, stdout }));
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
