/** Policies as data on a cluster of two nodes, and who reaches whom: pods of four namespaces, every port of each from each other, in both families. */
import assert from "node:assert/strict";
import { initOf } from "../../../lab/cluster/context.ts";
import { ensureNamespace } from "../../../lab/pods/pod-objects.ts";
import { podNetns } from "../../../lab/pods/pods.ts";
import { stringify } from "yaml";
import { eventually } from "../../support/eventually.ts";
import { type Case, clusterCases, type Known, type PolicyObject, type Step } from "./matrix/cluster-cases.ts";
import { Crowd, type Member, type Probe } from "./matrix/crowd.ts";
import { isToPass, NODE_PORTS, PORTS, TEAMS } from "./matrix/expected.ts";
import { podCases } from "./matrix/pod-cases.ts";
import { CLUSTER_POLICIES, define, useLab } from "./support.ts";

const MERGE = "application/merge-patch+json";
const NODES = ["node1", "node2"] as const;
/** How long answers are waited for while a change may not be there yet, in milliseconds, longer each time; and at most. */
const PATIENCE = 100;
const LONGEST = 5_000;
/** How much of what has changed is asked before everything is. */
const SAMPLE = 40;
const CONTAINERS = [
  {
    name: "main",
    image: "none",
    ports: [
      { name: "web", containerPort: 80, protocol: "TCP" },
      { name: "dns", containerPort: 53, protocol: "UDP" },
    ],
  },
];

describe("who reaches whom under policies", () => {
  const the = useLab({ nodes: 2 });
  const members: Member[] = [];
  let crowd: Crowd;
  let applied: readonly PolicyObject[] = [];
  let last: Step = { what: "nothing", policies: [], passes: {} };
  /** Objects whose labels are others than their own. */
  let relabeled: Record<string, Readonly<Record<string, string>>> = {};
  const known: Known = { ipsOf: (pod) => the().pod(pod).ips };

  before("pods that answer, and reach each other", async function () {
    this.timeout(100_000);
    await define(the(), CLUSTER_POLICIES);
    for (const team of TEAMS) {
      await ensureNamespace(the().api, team, { team });
      for (const [i, node] of NODES.entries()) {
        const [name, labels] = [`${team}${i}`, { team, number: String(i) }];
        await the().api.call("POST", `/api/v1/namespaces/${team}/pods`, {
          metadata: { name, labels },
          spec: { nodeName: node, containers: CONTAINERS },
        });
        const pod = await the().addPod(node, name, { namespace: team, labels });
        members.push({ name, inside: { netns: podNetns(the().context, pod) }, ips: pod.ips, ports: PORTS });
      }
    }
    for (const node of NODES) {
      const { status } = await the().api.call<{ status: { addresses: { type: string; address: string }[] } }>(
        "GET",
        `/api/v1/nodes/${node}`,
      );
      const ips = status.addresses.flatMap(({ type, address }) => (type === "InternalIP" ? address : []));
      members.push({ name: node, inside: { pid: initOf(the().node(node)) }, ips, ports: NODE_PORTS });
    }
    crowd = await Crowd.gather(members, the().context.env);
    await holds({ what: "no policies", policies: [], passes: {}, nodes: true });
  });

  after(() => crowd[Symbol.asyncDispose]());

  /** Makes policies, and labels, what a step says they are. */
  async function prepare({ policies, labels = {} }: Step): Promise<void> {
    for (const name of new Set([...Object.keys(relabeled), ...Object.keys(labels)])) {
      const isPod = !(TEAMS as readonly string[]).includes(name);
      const team = isPod ? name.slice(0, -1) : name;
      const own = { team, ...(isPod && { number: name.slice(-1) }) };
      const gone = Object.fromEntries(Object.keys(relabeled[name] ?? {}).map((label) => [label, null]));
      const path = isPod ? `/api/v1/namespaces/${team}/pods/${name}` : `/api/v1/namespaces/${name}`;
      await the().api.call("PATCH", path, { metadata: { labels: { ...gone, ...own, ...labels[name] } } }, MERGE);
    }
    relabeled = labels;
    const key = ({ kind, metadata }: PolicyObject): string => `${kind} ${metadata.namespace} ${metadata.name}`;
    const wanted = new Set(policies.map(key));
    const text = (all: readonly PolicyObject[]): string => all.map((one) => stringify(one)).join("---\n");
    await the().applyPolicies(text(policies));
    await the().deletePolicies(text(applied.filter((one) => !wanted.has(key(one)))));
    applied = policies;
  }

  const toPass = ({ passes, passes6 = passes }: Step, { from, to, ip, port }: Probe): boolean =>
    isToPass(ip.includes(":") ? passes6 : passes, from, to, port);

  function probesOf({ nodes = false }: Step): Probe[] {
    const pods = members.filter(({ ports }) => ports === PORTS);
    return pods.flatMap(({ name: from }) =>
      members
        .filter(({ name, ports }) => name !== from && (nodes || ports === PORTS))
        .flatMap(({ name: to, ips, ports }) =>
          ips.flatMap((ip) => ports.map((port): Probe => ({ from, to, ip, port }))),
        ),
    );
  }

  async function wrong(step: Step, probes: readonly Probe[], ms: number): Promise<string[]> {
    const toAnswer = probes.map((probe) => toPass(step, probe));
    const answers = await crowd.ask(probes, toAnswer, ms);
    return probes.flatMap(({ from, to, ip, port }, i) => {
      const wanted = toAnswer[i];
      return wanted === answers[i] ? [] : [`${from} ${wanted ? "does not reach" : "reaches"} ${to} at ${port} (${ip})`];
    });
  }

  async function soon(step: Step, probes: readonly Probe[], patience: number): Promise<void> {
    let ms = patience;
    let found: string[] = [];
    await eventually(
      async () => {
        found = await wrong(step, probes, ms);
        ms = Math.min(ms * 2, LONGEST);
        return found.length === 0;
      },
      { timeoutMs: 60_000 },
    ).catch(() => assert.fail(`${step.what}: ${found.length} differ: ${found.slice(0, 8).join("; ")}`));
  }

  /** Some of what is another than before is asked until it has come; then everything. */
  async function holds(step: Step): Promise<void> {
    const before = last;
    await prepare(step);
    last = step;
    const probes = probesOf(step);
    const changed = probes.filter((probe) => toPass(step, probe) !== toPass(before, probe));
    await soon(
      step,
      changed.filter((_, i) => i % Math.ceil(changed.length / SAMPLE) === 0),
      PATIENCE,
    );
    await soon(step, probes, LONGEST);
  }

  /** Cases need addresses, which pods have only once they are there: they are made anew then. */
  const none: Known = { ipsOf: () => [] };
  for (const cases of [clusterCases, podCases] satisfies ((known: Known) => Case[])[])
    for (const [i, { title }] of cases(none).entries())
      it(title, async () => {
        for (const step of (cases(known)[i] as Case).steps) await holds(step);
      });
});
