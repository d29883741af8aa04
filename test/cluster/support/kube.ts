/**
 * The API as the tests see it: objects applied and awaited, probes run inside pods. Everything waits for a condition
 * of the cluster, never for a time.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { eventually as look } from "../../support/eventually.ts";
import type { Machine } from "./machine.ts";

export const TEST_NAMESPACE = "skylane-test";
export const SYSTEM_NAMESPACE = "skylane-system";
const MINUTE = 60_000;

/** Looks at the cluster about twice a second: each look is a process and a request. */
export const eventually: typeof look = (condition, options) => look(condition, { intervalMs: 400, ...options });
export const NODE = "/opt/skylane/lib/skylane/node";
const PROBE = "/probe/probe.cjs";

export interface KubeObject {
  metadata: {
    name: string;
    uid: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    deletionTimestamp?: string;
  };
  spec: { nodeName?: string; podCIDRs?: string[]; clusterIPs?: string[]; ports?: { nodePort?: number }[] };
  status: {
    phase?: string;
    podIPs?: { ip: string }[];
    podIP?: string;
    containerStatuses?: { name: string; containerID: string; restartCount: number }[];
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
    addresses?: { type: string; address: string }[];
  };
}

/** A pod of a test: its name, node and addresses. */
export interface TestPod {
  name: string;
  node: string;
  ips: string[];
}

/** What a probe prints of one address. */
export interface ProbeResult {
  address: string;
  seenAs: string;
  bytes: number;
  answers?: number;
}

export const isReady = (object: KubeObject): boolean =>
  object.status.conditions?.some((c) => c.type === "Ready" && c.status === "True") ?? false;

export class Kube {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  async list(resource: string, ...args: string[]): Promise<KubeObject[]> {
    const text = await this.#machine.kubectl(["get", resource, "-o", "json", ...args]);
    return (JSON.parse(text) as { items: KubeObject[] }).items;
  }

  async get(resource: string, name: string, ...args: string[]): Promise<KubeObject> {
    return JSON.parse(await this.#machine.kubectl(["get", resource, name, "-o", "json", ...args])) as KubeObject;
  }

  async apply(...objects: object[]): Promise<void> {
    await this.#machine.kubectl(
      ["apply", "-f", "-"],
      JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }),
    );
  }

  kubectl(...args: string[]): Promise<string> {
    return this.#machine.kubectl(args);
  }

  /** Waits until every node is Ready, `count` of them. */
  async nodesReady(count: number, timeoutMs = 2 * MINUTE): Promise<KubeObject[]> {
    return eventually(
      async () => {
        const nodes = await this.list("nodes");
        const not = nodes.filter((node) => !isReady(node)).map((node) => node.metadata.name);
        if (nodes.length !== count || not.length > 0)
          throw new Error(`${nodes.length} nodes of ${count}, not ready: ${not.join(", ") || "none"}`);
        return nodes;
      },
      { timeoutMs },
    );
  }

  /** Waits until the agent of every one of `count` nodes is Ready. */
  async agentsReady(count: number, timeoutMs = 2 * MINUTE): Promise<KubeObject[]> {
    return eventually(
      async () => {
        const pods = await this.list("pods", "-n", SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=skylane");
        const ready = pods.filter((pod) => isReady(pod) && !pod.metadata.deletionTimestamp);
        if (ready.length !== count || pods.length !== count)
          throw new Error(`${ready.length} agents of ${count} are ready (${pods.length} pods)`);
        return ready;
      },
      { timeoutMs },
    );
  }

  /** What one would look at first after a failure: pods, the last events, the agents' last words. */
  async whatIsWrong(): Promise<string> {
    const looks = [
      ["get", "nodes,pods", "-A", "-o", "wide"],
      ["get", "events", "-A", "--sort-by=.lastTimestamp", "--field-selector=type=Warning"],
      ["logs", "-n", SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=skylane", "-c", "agent", "--tail=15", "--prefix"],
    ];
    const texts = looks.map((look) => this.kubectl(...look).catch((error: unknown) => String(error)));
    return (await Promise.all(texts)).map((text) => text.split("\n").slice(-40).join("\n")).join("\n");
  }

  /** A namespace for tests, with the probe that their pods run. */
  async prepare(namespace = TEST_NAMESPACE): Promise<void> {
    const probe = readFileSync(fileURLToPath(new URL("./probe.cjs", import.meta.url)), "utf8");
    await this.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "probe", namespace },
        data: { "probe.cjs": probe },
      },
    );
    await eventually(() => this.get("serviceaccount", "default", "-n", namespace), { timeoutMs: MINUTE });
  }

  /** The object of a pod that serves the probe, on a node of choice. */
  podObject(name: string, node: string, options: { hostNetwork?: boolean; command?: string[] } = {}): object {
    return {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: TEST_NAMESPACE, labels: { app: "probe" } },
      spec: {
        nodeName: node,
        hostNetwork: options.hostNetwork ?? false,
        terminationGracePeriodSeconds: 1,
        tolerations: [{ operator: "Exists" }],
        containers: [
          {
            name: "probe",
            image: this.#machine.image,
            imagePullPolicy: "Never",
            command: [NODE, PROBE, ...(options.command ?? ["serve"])],
            volumeMounts: [{ name: "probe", mountPath: "/probe" }],
          },
        ],
        volumes: [{ name: "probe", configMap: { name: "probe" } }],
      },
    };
  }

  /** Waits for a pod to be Ready and returns its addresses. */
  async podReady(name: string, namespace = TEST_NAMESPACE): Promise<TestPod> {
    return eventually(
      async () => {
        const pod = await this.get("pod", name, "-n", namespace);
        if (!isReady(pod))
          throw new Error(`pod ${name} is ${pod.status.phase}: ${JSON.stringify(pod.status.conditions)}`);
        const ips = (pod.status.podIPs ?? []).map(({ ip }) => ip);
        return { name, node: pod.spec.nodeName as string, ips };
      },
      { timeoutMs: 2 * MINUTE },
    );
  }

  /** Starts pods `<prefix>-<node>` on every node and waits for them. */
  async podsOn(nodes: readonly string[], prefix: string): Promise<TestPod[]> {
    await this.apply(...nodes.map((node) => this.podObject(`${prefix}-${node}`, node)));
    return Promise.all(nodes.map((node) => this.podReady(`${prefix}-${node}`)));
  }

  /** Deletes pods and waits until they are gone. */
  async deletePods(...names: string[]): Promise<void> {
    if (names.length === 0) return;
    await this.kubectl("delete", "pod", "-n", TEST_NAMESPACE, "--wait", "--ignore-not-found", ...names);
  }

  /**
   * Deletes pods that nothing afterwards depends on: they go while the test goes on. Their containers end at once and
   * their networks are given back; that the API forgets them takes some kubelets up to a minute.
   */
  async dismissPods(...names: string[]): Promise<void> {
    await this.kubectl("delete", "pod", "-n", TEST_NAMESPACE, "--wait=false", "--ignore-not-found", ...names);
  }

  exec(pod: string, ...command: string[]): Promise<string> {
    return this.execIn(TEST_NAMESPACE, pod, ...command);
  }

  execIn(namespace: string, pod: string, ...command: string[]): Promise<string> {
    return this.kubectl("exec", "-n", namespace, pod, "--", ...command);
  }

  /** Tries all targets once, from a pod; see `reach` of the probe for what both are. */
  reach(pod: string, targets: readonly string[], namespace = TEST_NAMESPACE): Promise<string> {
    return this.execIn(namespace, pod, NODE, PROBE, "reach", ...targets);
  }

  /** Runs the probe as a client inside a pod, against one address. @throws when it got no right answer */
  async probe(pod: string, kind: "tcp" | "udp", address: string, port: number, bytes = 64): Promise<ProbeResult> {
    const [result] = await this.probeAll(pod, kind, [address], port, bytes);
    return result as ProbeResult;
  }

  /** The same against many, by one process in the pod. @throws at the first that gave no right answer */
  async probeAll(
    pod: string,
    kind: "tcp" | "udp",
    addresses: readonly string[],
    port: number,
    bytes = 64,
  ): Promise<ProbeResult[]> {
    const text = await this.exec(pod, NODE, PROBE, kind, String(port), String(bytes), ...addresses);
    const results = text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as ProbeResult);
    if (results.length !== addresses.length)
      throw new Error(`${pod} probed ${results.length} of ${addresses.length} addresses: ${text}`);
    return results;
  }

  /**
   * Pods with open connections between all nodes, one pod a node, each to the pods of all others. They run by
   * themselves, so that neither the API server nor a kubelet need be there while they measure.
   */
  async startWatchers(pods: readonly TestPod[]): Promise<void> {
    const watchers = pods.map((pod) => {
      const others = pods.filter((other) => other !== pod).flatMap(({ ips }) => ips);
      return this.podObject(`watch-${pod.node}`, pod.node, { command: ["watch", ...others] });
    });
    await this.apply(...watchers);
    await Promise.all(pods.map((pod) => this.podReady(`watch-${pod.node}`)));
  }

  /** What the watchers saw since a moment: the longest time without an answer, and connections that broke. */
  async watched(
    pods: readonly TestPod[],
    since: Date,
  ): Promise<{ longestGapMs: number; connections: number; broken: string[] }> {
    const texts = await Promise.all(
      pods.map(({ node }) =>
        this.kubectl("logs", "-n", TEST_NAMESPACE, `watch-${node}`, `--since-time=${since.toISOString()}`),
      ),
    );
    const lines = texts.map((text) =>
      text
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as { connections: { address: string; gapMs: number; closed: boolean }[] }),
    );
    const seen = lines.flat().flatMap(({ connections }) => connections);
    if (lines.some((own) => own.length === 0)) throw new Error("a watcher said nothing meanwhile");
    return {
      longestGapMs: Math.max(...seen.map(({ gapMs }) => gapMs)),
      connections: lines.reduce((sum, own) => sum + (own.at(-1)?.connections.length ?? 0), 0),
      broken: [...new Set(seen.filter(({ closed }) => closed).map(({ address }) => address))],
    };
  }
}
