/**
 * `kubectl skylane sysdump`: what all nodes have to say, with the agents' logs and Skylane's objects, in one archive on the operator's machine. Asked of the cluster
 * is what the user may see; a Secret is never asked for. What a node answers is put below its own name, whatever it is.
 */
import { unlinkSync } from "node:fs";
import { CommandError, parseInput } from "../command.ts";
import { type Entry, readArchive, writeArchive } from "../sysdump/archive.ts";
import { fileName, newFile } from "../sysdump/index.ts";
import { collect, type Part, SUMMARY } from "../sysdump/part.ts";
import { describeError } from "../main.ts";
import { type Agent, agents } from "./agents.ts";
import { type Kubectl, kubectlOutput } from "./call.ts";

/** Nodes in one archive, unless another number is asked for: more are rarely read, and each has a megabyte or two. */
const NODES = 100;
const MOST_NODES = 10_000;
/** Nodes that are asked at once. */
const AT_ONCE = 8;
/** Of one answer of kubectl's, and of one node's archive as it comes and as it is. */
const LIMITS = { most: 64 << 20, timeoutMs: 120_000 };
const MOST_OF_NODE = 256 << 20;
const LOGS = ["--container=agent", "--timestamps", "--tail=20000", "--limit-bytes=8388608"];
/** What of the cluster says how Skylane is: file, and how to ask for it. */
const OBJECTS: readonly (readonly [file: string, ...ask: string[]])[] = [
  ["version.json", "version", "--output=json"],
  ["nodes.json", "get", "nodes", "--output=json"],
  ["agents.txt", "get", "pods", "--output=wide"],
  ["daemonset.yaml", "get", "daemonsets", "--output=yaml"],
  ["configmap.yaml", "get", "configmap", "skylane", "--output=yaml"],
  ["events-of-nodes.txt", "get", "events", "--all-namespaces", "--field-selector=involvedObject.kind=Node"],
  ...["podnetworks", "networkblocks", "networkendpoints", "ipclaims", "egressgateways"].map(
    (kind) => [`${kind}.json`, "get", `${kind}.skylane.dev`, "--all-namespaces", "--output=json"] as const,
  ),
];

const LINE: Parameters<typeof parseInput>[0] = {
  options: {
    output: { value: "FILE", short: "o", help: "" },
    "max-nodes": { value: "N", help: "" },
  },
};

/**
 * Makes the archive and prints its name. @param node the only one, or "" @param argv further options
 * @throws UsageError; CommandError when there is no agent, kubectl cannot be run, or the file cannot be made
 */
export async function sysdump(cluster: Kubectl, node: string, argv: readonly string[]): Promise<number> {
  const input = parseInput(LINE, argv);
  const most = input.number("max-nodes", 1, MOST_NODES) ?? NODES;
  const all = await agents(cluster, node);
  if (all.length === 0)
    throw new CommandError(`no agent of Skylane's ${node === "" ? "is there" : `runs on node ${node}`}`);
  const chosen = all.slice(0, most);
  const now = new Date();
  const output = input.text("output") ?? fileName(node === "" ? "cluster" : node, now);
  const file = newFile(output);
  try {
    const left = all.slice(most).map((one) => one.node);
    const heading = [
      `Skylane on ${chosen.length} of ${all.length} nodes at ${now.toISOString()}`,
      ...(left.length > 0 ? [`left out (--max-nodes, --node): ${left.join(" ")}`] : []),
    ].join("\n");
    await writeArchive(everything(cluster, chosen, heading), file, now);
  } catch (error) {
    unlinkSync(output);
    throw error;
  }
  process.stdout.write(`${output}\n`);
  return 0;
}

async function* everything(cluster: Kubectl, chosen: readonly Agent[], heading: string): AsyncGenerator<Entry> {
  const troubles: string[] = [];
  const waiting = chosen.values();
  // Each asks one node after the other; what they have found is written in the order in which they began.
  const asked: Promise<Entry[]>[] = [];
  const next = (): void => {
    const { value, done } = waiting.next();
    if (done === true) return;
    const answer = ofNode(cluster, value, troubles);
    // Awaited below, when its turn comes.
    answer.catch(() => undefined);
    asked.push(answer);
  };
  for (let n = 0; n < AT_ONCE; n++) next();
  for (let answer = asked.shift(); answer; answer = asked.shift()) {
    yield* await answer;
    next();
  }
  const parts = OBJECTS.map(
    ([file, ...ask]): Part => ({ path: `cluster/${file}`, look: () => kubectlOutput(cluster, ask, LIMITS) }),
  );
  yield* collect(parts, [heading, ...troubles].join("\n"), LIMITS.most);
}

/** What one node has to say, and its agent's log. */
async function ofNode(cluster: Kubectl, { pod, node }: Agent, troubles: string[]): Promise<Entry[]> {
  const entries: Entry[] = [];
  try {
    const ask = ["exec", pod, "--container=agent", "--", "skylanectl", "sysdump", "--output", "-"];
    const answer = await kubectlOutput(cluster, ask, LIMITS);
    for await (const { path, data } of readArchive(answer, MOST_OF_NODE))
      entries.push({ path: `nodes/${node}/${path}`, data });
  } catch (error) {
    troubles.push(`nodes/${node}: ${describeError(error)}`);
  }
  const log = (name: string, ...more: string[]): Part => ({
    path: `nodes/${node}/${name}`,
    look: () => kubectlOutput(cluster, ["logs", pod, ...LOGS, ...more], LIMITS),
  });
  for await (const entry of collect([log("agent.log"), log("agent-before.log", "--previous")], "", LIMITS.most))
    if (!entry.path.endsWith(SUMMARY)) entries.push(entry);
  return entries;
}
