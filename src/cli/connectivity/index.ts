/** `skylanectl connectivity test`, on an operator's machine also `kubectl skylane connectivity test`: whether pods, nodes and Services reach each other. */
import { CLUSTER_OPTIONS, clusterOf } from "../kubectl/cluster-options.ts";
import { type Command, type Input, OUTPUT, parseInput, UsageError } from "../command.ts";
import type { Kubectl } from "../kubectl/call.ts";
import { peerCommand } from "./peer/index.ts";
import { DEFAULTS } from "./plan.ts";

const TEST_OPTIONS = {
  ...OUTPUT,
  nodes: { value: "N", help: `on so many nodes at most, spread over all (${DEFAULTS.nodes})` },
  peers: { value: "K", help: `each node tries so many others (${DEFAULTS.peers}), and is tried by as many` },
  timeout: {
    value: "SECONDS",
    help: `how long pods may take to start (${DEFAULTS.startingSeconds}); everything else has its own limit`,
  },
  keep: { help: "leave the pods, to look around in them" },
  cleanup: { help: "only remove what earlier runs have left, also what runs that go on have made" },
} as const;

/** Only the test itself needs its code. */
async function start(kubectl: Kubectl, system: string, input: Input): Promise<number> {
  const { connectivityTest } = await import("./run.ts");
  return await connectivityTest(kubectl, system, input);
}

const testCommand: Command = {
  words: ["connectivity", "test"],
  summary: "Tries on all nodes whether pods, nodes and Services reach each other",
  options: {
    ...TEST_OPTIONS,
    ...CLUSTER_OPTIONS,
  },
  details:
    "Needs kubectl. Makes a namespace with two pods on each node, from the agents' own image, and removes it at the end, also when it fails or is interrupted. Tries in both families: pods on the same and on other nodes by TCP, UDP, packets of full size and one byte more; pods and nodes; Services; cluster DNS; a policy that denies one of two.\n" +
    "Exit status: 0 everything works, 1 something does not, or it could not be tried, 2 wrong command line, 130 interrupted.",
  run: (input) => {
    const { options, namespace } = clusterOf(input);
    return start({ program: "kubectl", options }, namespace, input);
  },
};

/** The test, and what it starts in its pods. */
export const connectivityCommands: readonly Command[] = [testCommand, peerCommand];

/** The same as kubectl's plugin runs it. @param words after "connectivity". @returns the exit status. @throws UsageError, CommandError */
export function kubectlConnectivity(kubectl: Kubectl, system: string, words: readonly string[]): Promise<number> {
  const [word, ...rest] = words;
  if (word !== "test") throw new UsageError('say "connectivity test"');
  const input: Input = parseInput({ options: TEST_OPTIONS }, rest);
  return start(kubectl, system, input);
}
