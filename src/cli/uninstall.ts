/**
 * `skylanectl uninstall`: takes everything of Skylane's off this node. What is on the node follows from the agent's
 * configuration, so that is read the same way as the agent reads it.
 */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import type { AgentConfig } from "../config/index.ts";
import { type Command, CommandError, type Input } from "./command.ts";
import { uninstallCni } from "./install-cni.ts";
import { requireRoot } from "./root.ts";

/** Where a Pod's service account is mounted. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/** The options that the agent has under the same names. */
const SAME = ["config", "node-name", "kubeconfig", "run-dir", "data-dir"] as const;

/** The agent's configuration; a Node that nothing names is called like the machine, as kubelet does it. @throws ConfigError */
async function agentConfig(input: Input): Promise<AgentConfig> {
  const { ConfigError, loadAgentConfig } = await import("../config/index.ts");
  const argv = SAME.flatMap((name) => {
    const value = input.text(name);
    return value === undefined ? [] : [`--${name}`, value];
  });
  try {
    return loadAgentConfig({ argv, env: process.env });
  } catch (error) {
    if (!(error instanceof ConfigError) || argv.includes("--node-name")) throw error;
    return loadAgentConfig({ argv: ["--node-name", hostname().toLowerCase(), ...argv], env: process.env });
  }
}

async function run(input: Input): Promise<number> {
  requireRoot("nothing was removed");
  // Only this command needs the agent's code and what that stands on.
  const { uninstall, UninstallRefused } = await import("../agent/index.ts");
  const { nodeName, kubeconfig, runDir, dataDir, cni } = await agentConfig(input);
  const reachable = kubeconfig !== undefined || existsSync(SERVICE_ACCOUNT);
  try {
    const { removed, problems } = await uninstall({
      runDir,
      dataDir,
      cni,
      pods: input.flag("pods"),
      force: input.flag("force"),
      ...(reachable ? { node: { name: nodeName, connect: { kubeconfig } } } : {}),
    });
    if (input.flag("executable")) removed.push(...uninstallCni(cni.binDir));
    for (const line of removed) process.stdout.write(`removed ${line}\n`);
    if (removed.length === 0) process.stdout.write("nothing of Skylane was on this node\n");
    if (!reachable)
      process.stdout.write(
        `the Node's annotations were left, for want of --kubeconfig: kubectl annotate node ${nodeName} skylane.dev/vtep- skylane.dev/policy-faults-\n`,
      );
    for (const problem of problems) process.stderr.write(`not removed: ${problem}\n`);
    return problems.length === 0 ? 0 : 1;
  } catch (error) {
    if (error instanceof UninstallRefused) throw new CommandError(error.message, { cause: error });
    throw error;
  }
}

/** The command; exit status 1 when something could not be removed or nothing was, for a stated reason. */
export const uninstallCommand: Command = {
  words: ["uninstall"],
  summary: "Removes everything of Skylane from this node",
  options: {
    config: { value: "FILE", help: "the agent's configuration (/etc/skylane/agent.yaml, when it is there)" },
    "node-name": { value: "NAME", help: "this machine's Node (its host name)" },
    kubeconfig: { value: "FILE", help: "for removing the Node's annotations" },
    "run-dir": { value: "DIR", help: "the agent's runDir (/run/skylane)" },
    "data-dir": { value: "DIR", help: "the agent's dataDir (/var/lib/cni/skylane)" },
    pods: { help: "also cut off pods that are still attached" },
    force: { help: "although an agent runs here" },
    executable: { help: "also remove the CNI executable that install-cni put in place" },
  },
  details:
    "Devices, routes, rules, published state, the CNI configuration, reservations, and the annotations on the Node. Nothing that is not Skylane's is touched; forwarding stays switched on.",
  run,
};
