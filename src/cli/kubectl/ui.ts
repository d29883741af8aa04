/**
 * `kubectl skylane ui`, `skylanectl ui`: the live map of a cluster that kubectl reaches, with the rights of whoever runs it: objects through `kubectl proxy`,
 * agents by running skylanectl in their pods.
 */
import { CLUSTER_OPTIONS, clusterOf } from "./cluster-options.ts";
import { type Command, CommandError, type Input, parseInput } from "../command.ts";
import type { Cluster, Question } from "../ui/cluster.ts";
import { agents } from "./agents.ts";
import { type Kubectl, kubectlAnswer, kubectlOutput, type Limits } from "./call.ts";
import type { Proxy } from "./proxy.ts";

/** Of what one agent answers, and how long a node that is off holds up one of a few questions at a time. */
const ANSWER: Limits = { most: 64 << 20, timeoutMs: 8_000 };
const TITLE: Limits = { most: 1 << 16, timeoutMs: 10_000 };
/** A trace waits for others itself. */
const TRACE: Limits = { most: 4 << 20, timeoutMs: 60_000 };
/** What each question is to skylanectl. */
const WORDS: Readonly<Record<Question, readonly string[]>> = {
  status: ["status"],
  probes: ["probes"],
  flows: ["flows", "--since=30s"],
};
/** Each question is a process here and one in the agent's pod. */
const EVERY_MS = 2_000;
/** Which pod is whose agent is looked up again after so long at least, in milliseconds. */
const LOOK_UP_MS = 5_000;

const PORT = { port: { value: "N", help: "serve it on this port (one that is free)" } };
const LINE: Parameters<typeof parseInput>[0] = { options: PORT };

const inPod = (pod: string, words: readonly string[]): string[] => [
  "exec",
  pod,
  "--container=agent",
  "--",
  "skylanectl",
  ...words,
];

/** JSON, one value a line. @throws SyntaxError */
const lines = (text: Buffer): unknown[] =>
  text
    .toString()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);

class KubectlCluster implements Cluster {
  readonly title: string;
  readonly everyMs = EVERY_MS;
  readonly #cluster: Kubectl;
  readonly #proxy: Proxy;
  #pods = new Map<string, string>();
  /** Nodes whose pod has not answered when it was asked last. */
  readonly #doubted = new Set<string>();
  #looking: Promise<void> | undefined;
  #looked = -Infinity;

  constructor(cluster: Kubectl, proxy: Proxy, title: string) {
    this.#cluster = cluster;
    this.#proxy = proxy;
    this.title = title;
  }

  get api(): Proxy["client"] {
    return this.#proxy.client;
  }

  async ask(node: string, question: Question): Promise<unknown> {
    const pod = await this.#podOf(node);
    // Until it has answered the pod may be another one by now.
    this.#doubted.add(node);
    const { status, stdout, stderr } = await kubectlAnswer(
      this.#cluster,
      inPod(pod, [...WORDS[question], "--output=json"]),
      ANSWER,
    );
    let answer: unknown;
    try {
      // By its status it says whether all is well, which is in the answer, too.
      answer = question === "flows" ? { flows: lines(stdout) } : JSON.parse(stdout.toString());
    } catch (cause) {
      throw new CommandError(stderr.trim() || `kubectl exec: status ${status}, and no answer`, { cause });
    }
    this.#doubted.delete(node);
    return answer;
  }

  async run(node: string, words: readonly string[]): Promise<{ status: number; stdout: string; stderr: string }> {
    const answer = await kubectlAnswer(this.#cluster, inPod(await this.#podOf(node), words), TRACE);
    return { ...answer, stdout: answer.stdout.toString() };
  }

  close(): Promise<void> {
    return this.#proxy.close();
  }

  /** @throws CommandError when the node has none */
  async #podOf(node: string): Promise<string> {
    const sure = this.#pods.has(node) && !this.#doubted.has(node);
    if (!sure && performance.now() - this.#looked >= LOOK_UP_MS)
      this.#looking ??= this.#lookUp().finally(() => (this.#looking = undefined));
    if (!sure) await this.#looking;
    const pod = this.#pods.get(node);
    if (pod === undefined) throw new CommandError("no pod of Skylane's runs on the node");
    return pod;
  }

  async #lookUp(): Promise<void> {
    this.#looked = performance.now();
    this.#pods = new Map((await agents(this.#cluster, "")).map(({ pod, node }) => [node, pod]));
  }
}

/** A cluster that kubectl reaches, for the map. @param cluster with the namespace of Skylane among its options. @throws CommandError when it does not */
export async function kubectlCluster(cluster: Kubectl): Promise<Cluster> {
  const title = (await kubectlOutput(cluster, ["config", "current-context"], TITLE)).toString().trim();
  // Only this command needs the client of the API server.
  const { Proxy } = await import("./proxy.ts");
  return new KubectlCluster(cluster, await Proxy.start(cluster), title);
}

/** Shows the map until somebody ends it. @throws UsageError, CommandError */
async function show(cluster: Kubectl, input: Input): Promise<number> {
  const port = input.number("port", 0, 65_535) ?? 0;
  const { interrupted, showMap } = await import("../ui/ui.ts");
  const map = await showMap(await kubectlCluster(cluster), port);
  process.stdout.write(
    `The live map: ${map.url}\nWhoever has this address sees the cluster as you do. Ctrl-C ends it.\n`,
  );
  await interrupted();
  await map.close();
  return 0;
}

/** `kubectl skylane ui`. @throws UsageError, CommandError */
export const kubectlUi = (cluster: Kubectl, argv: readonly string[]): Promise<number> =>
  show(cluster, parseInput(LINE, argv));

/** `skylanectl ui`, for whoever has that and kubectl. */
export const uiCommand: Command = {
  words: ["ui"],
  summary: "Shows a live map of the cluster in a browser: nodes, networks, health of each pair, pods, flows, Events",
  options: {
    ...PORT,
    ...CLUSTER_OPTIONS,
  },
  details:
    "From an operator's machine, with kubectl and its rights: reads objects through kubectl proxy and asks agents by kubectl exec. Serves a page on 127.0.0.1 to whoever has the address that it prints, until Ctrl-C. Changes nothing in the cluster. The same as kubectl skylane ui.",
  run: (input) => {
    const { options, namespace } = clusterOf(input);
    return show({ program: "kubectl", options: [...options, `--namespace=${namespace}`] }, input);
  },
};
