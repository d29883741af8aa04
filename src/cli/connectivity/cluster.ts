/** The cluster as the test needs it: read, changed and asked by kubectl, with the rights of whoever runs it. What pods say is hostile, and read strictly. */
import { isIP } from "node:net";
import { part } from "../../json/index.ts";
import { CommandError } from "../command.ts";
import { AGENT_SELECTOR } from "../kubectl/agents.ts";
import { type Kubectl, kubectlAnswer, kubectlOutput, type Limits } from "../kubectl/call.ts";
import { tracingBy } from "../kubectl/tracing.ts";
import { describeError } from "../main.ts";
import { firstWrongHop } from "../trace/kubectl.ts";
import type { Hop } from "../trace/types.ts";
import { namespaceObject, OWNER, OWNER_LABEL, podNames, policyObject, testObjects } from "./objects.ts";
import { type Answer, parseAnswers, parseHeard, type Question, type Questions } from "./peer/questions.ts";
import { type Asker, SERVICE_NAME, SERVICE_PORT, type Service, type TestNode, type TestPod } from "./plan.ts";

const MOST = 64 << 20;
/** One request to the API server; as long an agent or a pod has to answer, of which it works half at most. */
const REQUEST_MS = 60_000;
/** Creating the objects of a test of the largest size. */
const CREATE_MS = 300_000;
/** Removing them. */
const REMOVE_MS = 120_000;
/** What a pod may say. */
const MOST_SAID = 4 << 20;

/** A node on which the test's pods do not run, and why. */
export interface NotStarted {
  node: string;
  why: string;
}

/** The pods of one node that run, or why they do not. */
export type Started = { node: TestNode; peer: TestPod; other: TestPod } | NotStarted;

/** How a cluster is reached. */
export interface Reach {
  /** Without a namespace. */
  kubectl: Kubectl;
  /** Where Skylane is installed. */
  system: string;
  /** Ends whatever is under way, but for removing. */
  signal: AbortSignal;
}

/** One run of the test in a cluster. */
export class TestCluster {
  readonly #reach: Reach;
  readonly namespace: string;
  readonly #token: string;

  constructor(reach: Reach, namespace: string, token: string) {
    this.#reach = reach;
    this.namespace = namespace;
    this.#token = token;
  }

  /** Nodes with a running agent, by name, and the names of those without. @throws CommandError */
  async nodes(): Promise<{ nodes: TestNode[]; without: string[] }> {
    const agentPath =
      "{range .items[*]}{.spec.nodeName}{'\\t'}{.metadata.name}{'\\t'}{.status.phase}{'\\t'}{.spec.containers[?(@.name=='agent')].image}{'\\n'}{end}";
    const nodePath =
      "{range .items[*]}{.metadata.name}{'\\t'}{.status.daemonEndpoints.kubeletEndpoint.Port}{'\\t'}{.status.addresses[?(@.type=='InternalIP')].address}{'\\n'}{end}";
    const [agents, all] = await Promise.all([
      this.#lines("get", "pods", `--namespace=${this.#reach.system}`, AGENT_SELECTOR, `--output=jsonpath=${agentPath}`),
      this.#lines("get", "nodes", `--output=jsonpath=${nodePath}`),
    ]);
    const running = new Map(
      agents.flatMap(([node = "", pod = "", phase, image = ""]) =>
        phase === "Running" ? [[node, { pod, image }] as const] : [],
      ),
    );
    if (running.size === 0)
      throw new CommandError(
        `no agent of Skylane's runs in namespace ${this.#reach.system}: kubectl get pods -n ${this.#reach.system}; --namespace says where else it is`,
      );
    const nodes = all.flatMap(([name = "", port, ips = ""]): TestNode[] => {
      const agent = running.get(name);
      const own = ips.split(" ").filter((ip) => isIP(ip) !== 0);
      return agent
        ? [{ name, ips: own, kubeletPort: Number(port) || 10_250, agent: agent.pod, image: agent.image }]
        : [];
    });
    const without = all.flatMap(([name = ""]) => (name === "" || running.has(name) ? [] : [name]));
    return { nodes: nodes.sort((a, b) => (a.name < b.name ? -1 : 1)), without };
  }

  /** Makes the namespace, and everything in it but the policy. @throws CommandError */
  async create(nodes: readonly TestNode[]): Promise<void> {
    // Not ended halfway: it has to be known to be there, or not, before it is removed.
    await this.#apply(namespaceObject(this.namespace), { signal: undefined });
    await this.#apply(testObjects(this.namespace, nodes, this.#token), { timeoutMs: CREATE_MS });
  }

  /** @throws CommandError */
  async createPolicy(): Promise<void> {
    await this.#apply(policyObject(this.namespace), {});
  }

  /** Waits until the pods run, for so long. @returns in the order of the nodes what runs. @throws CommandError */
  async started(nodes: readonly TestNode[], timeoutMs: number): Promise<Started[]> {
    const wait = ["wait", "pods", "--all", "--for=condition=Ready", `--timeout=${Math.ceil(timeoutMs / 1000)}s`];
    try {
      // Of several pods some versions wait that long for each, one after the other.
      await kubectlAnswer(this.#reach.kubectl, [...wait, this.#own], this.#limits({ timeoutMs: timeoutMs + 5000 }));
    } catch (error) {
      this.throwIfInterrupted();
      // What does not run is looked at below, with its reason.
      if (!(error instanceof CommandError)) throw error;
    }
    const [pods, events] = await Promise.all([
      this.#json("get", "pods", this.#own),
      this.#json("get", "events", this.#own, "--field-selector=type=Warning"),
    ]);
    const byName = new Map(items(pods).map((pod) => [String(part(pod, "metadata", "name")), pod]));
    const warnings = new Map(
      items(events).map((event) => [String(part(event, "involvedObject", "name")), String(part(event, "message"))]),
    );
    return nodes.map((node, i) => {
      const names = podNames(i + 1);
      for (const name of [names.peer, names.other]) {
        const why = whyNot(byName.get(name), warnings.get(name));
        if (why !== undefined) return { node: node.name, why: `pod ${name}: ${why}` };
      }
      const podOf = (name: string): TestPod => ({ name, ips: ipsOf(byName.get(name)) });
      return { node, peer: podOf(names.peer), other: podOf(names.other) };
    });
  }

  /** The test's own Service, the API server's and whether there is one of cluster DNS. @throws CommandError */
  async services(): Promise<{ own: Service; api: Service | undefined; dns: boolean }> {
    const [own, api, dns] = await Promise.all([
      this.#json("get", "service", SERVICE_NAME, this.#own),
      // Whoever may not see these tests the rest.
      this.#perhaps("get", "service", "kubernetes", "--namespace=default"),
      this.#perhaps("get", "services", "--namespace=kube-system", "--selector=k8s-app=kube-dns"),
    ]);
    const port = items(part(api, "spec", "ports") ?? []).map((one) => part(one, "port"))[0];
    return {
      own: { ips: serviceIps(own), port: SERVICE_PORT },
      api: typeof port === "number" ? { ips: serviceIps(api), port } : undefined,
      dns: items(dns).length > 0,
    };
  }

  /** Lets one end try something. @throws CommandError when it cannot be asked, or says nothing sensible */
  async ask({ where, pod }: Asker, questions: readonly Question[]): Promise<Answer[]> {
    const asked: Questions = { token: this.#token, questions };
    const input = `${JSON.stringify(asked)}\n`;
    const said = await this.#exec(where === "test" ? this.namespace : this.#reach.system, pod, "ask", input);
    return strictly(pod, () => parseAnswers(said, questions.length));
  }

  /** Which datagrams a pod of the test has got. @throws CommandError when it cannot be asked, or says nothing sensible */
  async heard(pod: string): Promise<Set<string>> {
    const said = await this.#exec(this.namespace, pod, "heard", "");
    return strictly(pod, () => parseHeard(said));
  }

  /** Follows a packet, as `kubectl skylane trace` does. @throws CommandError */
  async trace(words: readonly string[]): Promise<Hop | undefined> {
    const { kubectl, system } = this.#reach;
    const there = { ...kubectl, options: [...kubectl.options, `--namespace=${system}`] };
    const { get, run } = tracingBy(kubectl, there, system, this.#limits({}));
    return await firstWrongHop(words, get, run);
  }

  /** Removes the namespace and all that is in it. @returns whether it is gone; it goes on by itself where it is not. @throws CommandError when it cannot be asked for */
  remove = (): Promise<boolean> => removeNamespaces(this.#reach.kubectl, [this.namespace]);

  get #own(): string {
    return `--namespace=${this.namespace}`;
  }

  /** @throws CommandError once it is to end */
  throwIfInterrupted(): void {
    this.#reach.signal.throwIfAborted();
  }

  async #exec(namespace: string, pod: string, action: string, input: string): Promise<string> {
    const container = namespace === this.namespace ? "peer" : "agent";
    const where = ["exec", "--stdin", pod, `--namespace=${namespace}`, `--container=${container}`];
    const command = [...where, "--", "skylanectl", "connectivity", "peer", action];
    return (await kubectlOutput(this.#reach.kubectl, command, this.#limits({ most: MOST_SAID, input }))).toString();
  }

  async #apply(object: object, limits: Partial<Limits>): Promise<void> {
    const input = JSON.stringify(object);
    const create = ["create", "--filename=-", "--output=name"];
    await kubectlOutput(this.#reach.kubectl, create, this.#limits({ ...limits, input }));
  }

  async #json(...args: string[]): Promise<unknown> {
    return JSON.parse(
      (await kubectlOutput(this.#reach.kubectl, [...args, "--output=json"], this.#limits({}))).toString(),
    );
  }

  /** Undefined where it is not there, or may not be seen. */
  async #perhaps(...args: string[]): Promise<unknown> {
    const { status, stdout } = await kubectlAnswer(this.#reach.kubectl, [...args, "--output=json"], this.#limits({}));
    return status === 0 ? JSON.parse(stdout.toString()) : undefined;
  }

  async #lines(...args: string[]): Promise<string[][]> {
    const text = (await kubectlOutput(this.#reach.kubectl, args, this.#limits({}))).toString();
    return text
      .split("\n")
      .filter(Boolean)
      .map((line) => line.split("\t"));
  }

  #limits(limits: Partial<Limits>): Limits {
    return { most: MOST, timeoutMs: REQUEST_MS, signal: this.#reach.signal, apart: true, ...limits };
  }
}

/** Namespaces of this and other runs, also of those that still go on. @throws CommandError */
export async function testNamespaces(kubectl: Kubectl): Promise<string[]> {
  const ask = ["get", "namespaces", `--selector=${OWNER_LABEL}=${OWNER}`, "--output=name"];
  const text = (await kubectlOutput(kubectl, ask, { most: MOST, timeoutMs: REQUEST_MS })).toString();
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => line.replace(/^namespace\//, ""));
}

/** @returns whether they are gone; they go on by themselves where they are not. @throws CommandError when that cannot be asked for */
export async function removeNamespaces(kubectl: Kubectl, names: readonly string[]): Promise<boolean> {
  if (names.length === 0) return true;
  const limits = { most: MOST, timeoutMs: REMOVE_MS + REQUEST_MS, apart: true };
  const gone = ["delete", "namespace", ...names, "--ignore-not-found"];
  await kubectlOutput(kubectl, [...gone, "--wait=false"], limits);
  const { status } = await kubectlAnswer(kubectl, [...gone, `--timeout=${REMOVE_MS / 1000}s`], limits);
  return status === 0;
}

const items = (list: unknown): readonly unknown[] => {
  const all = Array.isArray(list) ? list : part(list, "items");
  return Array.isArray(all) ? all : [];
};

const texts = (values: readonly unknown[]): string[] =>
  values.filter((value): value is string => typeof value === "string" && isIP(value) !== 0);

const ipsOf = (pod: unknown): string[] => texts(items(part(pod, "status", "podIPs")).map((one) => part(one, "ip")));

const serviceIps = (service: unknown): string[] =>
  texts(items(part(service, "spec", "clusterIPs") ?? [part(service, "spec", "clusterIP")]));

/** Why a pod does not run; undefined where it does. */
function whyNot(pod: unknown, warning: string | undefined): string | undefined {
  if (pod === undefined) return "it is gone: somebody has deleted it";
  const conditions = items(part(pod, "status", "conditions"));
  const ready = conditions.some((one) => part(one, "type") === "Ready" && part(one, "status") === "True");
  if (ready && ipsOf(pod).length > 0) return undefined;
  const state = part(items(part(pod, "status", "containerStatuses"))[0], "state");
  const ended = part(state, "terminated", "exitCode");
  if (ended === 2) return "it ended at once: the agent's image on this node is older than this command";
  if (typeof ended === "number") return `it ended with status ${ended}`;
  const reason = part(state, "waiting", "reason") ?? part(pod, "status", "reason");
  const said = [reason, part(state, "waiting", "message") ?? part(pod, "status", "message"), warning];
  const words = said.filter((one) => typeof one === "string" && one !== "").join(": ");
  return words === "" ? "its kubelet has not taken it: is the node Ready?" : words.slice(0, 1000);
}

/** @throws CommandError naming the pod */
function strictly<T>(pod: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new CommandError(`pod ${pod} says what this version does not understand: ${describeError(error)}`, {
      cause: error,
    });
  }
}
