/**
 * What the answers mean: pure. Between two nodes what fails in TCP and UDP, and what both ends tell, is one failure, and has a direction where one end has
 * heard what the other one misses the answer to.
 */
import type { Family } from "../../addr/index.ts";
import type { Hop } from "../trace/types.ts";
import type { NotStarted } from "./cluster.ts";
import type { Answer } from "./peer/questions.ts";
import { type Check, type Kind, NAMESPACE, TITLES } from "./plan.ts";

/** A check and what came of it. */
export interface Outcome {
  check: Check;
  /** Absent where its end could not be asked. */
  answer?: Answer;
  /** Why not. */
  problem?: string;
  /** Of a datagram without an answer: whether it arrived, where that could be asked. */
  heard?: boolean;
}

/** A kind of checks in one family. */
export interface Row {
  kind: Kind;
  title: string;
  family?: Family;
  passed: number;
  failed: number;
  /** Not tried, as the end that was to try could not be asked. */
  unasked: number;
}

/** Something that is wrong, with all that shows it. */
export interface Failure {
  /** In a line. */
  what: string;
  kinds: Kind[];
  family?: Family;
  /** Nodes that it is about. */
  nodes: string[];
  /** What was found, one line for each pair of ends. */
  is: string[];
  /** What to do. */
  next: string;
  /** Words for `kubectl skylane trace`. */
  trace?: string[];
  /** What a trace found while the pods were there. */
  traced?: string;
}

/** What of the test there was no occasion for. */
export interface Skipped {
  kind: Kind;
  title: string;
  why: string;
}

/** All of it. */
export interface Report {
  ok: boolean;
  namespace: string;
  nodes: number;
  rows: Row[];
  failures: Failure[];
  skipped: Skipped[];
  /** The one node that all failures are about. */
  concerns?: string;
  notes: string[];
}

/** What was tried, and what was not. */
export interface Findings {
  namespace: string;
  /** Nodes with pods of the test. */
  nodes: readonly string[];
  outcomes: readonly Outcome[];
  notStarted: readonly NotStarted[];
  skipped: readonly { kind: Kind; why: string }[];
  notes: readonly string[];
}

const PAIR_KINDS: readonly Kind[] = ["pod-pod-tcp", "pod-pod-udp", "pod-pod-full", "pod-pod-over"];
const LARGE: readonly Kind[] = ["pod-pod-full", "pod-pod-over"];
const WORD: Partial<Record<Kind, string>> = {
  "pod-pod-tcp": "TCP",
  "pod-pod-udp": "UDP",
  "pod-pod-full": "full packets",
  "pod-pod-over": "packets in pieces",
};
const ORDER = Object.keys(TITLES) as Kind[];

/** The whole of it. */
export function judge({ namespace, nodes, outcomes, notStarted, skipped, notes }: Findings): Report {
  const failures = [
    ...notStarted.map(startFailure),
    ...unasked(outcomes),
    ...between(outcomes, namespace),
    ...others(outcomes, namespace),
  ];
  const concerned = failures.map((failure) => failure.nodes);
  const [first = [], ...rest] = concerned;
  const common = first.filter((node) => rest.every((all) => all.includes(node)));
  const concerns = rest.length > 0 && nodes.length > 2 && common.length === 1 ? common[0] : undefined;
  return {
    ok: failures.length === 0,
    namespace,
    nodes: nodes.length,
    rows: [startRow(nodes.length, notStarted.length), ...rowsOf(outcomes)],
    failures,
    skipped: skipped.map(({ kind, why }) => ({ kind, title: TITLES[kind], why })),
    ...(concerns !== undefined && { concerns }),
    notes: [...notes],
  };
}

/** What a trace has found, in words. */
export const wordsOf = (hop: Hop | undefined): string =>
  hop
    ? `${hop.hop} on ${hop.node}: should be ${hop.should}; is ${hop.is}. ${hop.cure ?? ""}`.trim()
    : "nothing is wrong on this way as far as it can see: other packet filters on the nodes, or the network between them";

const startRow = (started: number, not: number): Row => ({
  kind: "start",
  title: TITLES.start,
  passed: started,
  failed: not,
  unasked: 0,
});

const ofFamily = (family: Family | undefined): { family?: Family } => (family === undefined ? {} : { family });

function rowsOf(outcomes: readonly Outcome[]): Row[] {
  const rows = new Map<string, Row>();
  for (const { check, answer } of outcomes) {
    const { kind, family } = check;
    const key = `${String(ORDER.indexOf(kind)).padStart(2, "0")} ${family ?? 0}`;
    const row = rows.get(key) ?? { kind, title: TITLES[kind], ...ofFamily(family), passed: 0, failed: 0, unasked: 0 };
    if (!answer) row.unasked++;
    else if (answer.ok) row.passed++;
    else row.failed++;
    rows.set(key, row);
  }
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}

const startFailure = ({ node, why }: NotStarted): Failure => ({
  what: `the test's pods do not run on ${node}`,
  kinds: ["start"],
  nodes: [node],
  is: [why],
  next: `kubectl skylane --node ${node} doctor; the node's own state: kubectl describe node ${node}`,
});

/** One failure for each end that could not be asked. */
function unasked(outcomes: readonly Outcome[]): Failure[] {
  const ends = new Map<string, Outcome>();
  for (const outcome of outcomes) if (!outcome.answer) ends.set(outcome.check.asker.pod, outcome);
  return [...ends].map(([pod, { check, problem }]) => ({
    what: `${check.asker.where === "agent" ? "the agent's pod" : "pod"} ${pod} on ${check.from.node} could not be asked`,
    kinds: [...new Set(outcomes.filter((one) => one.check.asker.pod === pod).map((one) => one.check.kind))],
    nodes: [check.from.node],
    is: [problem ?? "no answer"],
    next: `kubectl exec has to work there: the kubelet of ${check.from.node} and the way of the API server to it`,
  }));
}

const failed = ({ answer }: Outcome): boolean => answer?.ok === false;
const line = ({ check, answer }: Outcome): string =>
  `${check.from.is} on ${check.from.node} to ${check.to.is}${check.to.node === undefined ? "" : ` on ${check.to.node}`}, ${WORD[check.kind] ?? TITLES[check.kind]}: ${answer?.is}`;
const withNamespace = (words: readonly string[], namespace: string): string[] =>
  words.map((word) => word.replace(new RegExp(`^${NAMESPACE}/`), `${namespace}/`));

/** Between pods of two nodes. */
function between(outcomes: readonly Outcome[], namespace: string): Failure[] {
  const groups = new Map<string, { from: string; to: string; known: boolean; all: Outcome[]; trace?: string[] }>();
  const pairs = Map.groupBy(
    outcomes.filter((outcome) => failed(outcome) && PAIR_KINDS.includes(outcome.check.kind)),
    ({ check }) => JSON.stringify([check.from.node, check.to.node, check.family]),
  );
  for (const [, all] of pairs) {
    const [{ check }] = all as [Outcome];
    const told = all.find(({ heard }) => heard !== undefined)?.heard;
    const [there, back] = [check.from.node, check.to.node as string];
    const [from, to] = told === true ? [back, there] : [there, back];
    const known = told !== undefined;
    const words = check.trace && withNamespace(check.trace, namespace);
    const [one = "", other = "", ...options] = words ?? [];
    const trace = words && (told === true ? [other, one, ...options] : words);
    const key = JSON.stringify([from, to, check.family, known]);
    const group = groups.get(key) ?? { from, to, known, all: [], ...(trace && { trace }) };
    group.all.push(...all);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ from, to, known, all, trace }) => {
    const kinds = PAIR_KINDS.filter((kind) => all.some(({ check }) => check.kind === kind));
    const large = kinds.every((kind) => LARGE.includes(kind));
    const family = all[0]?.check.family;
    const what = known
      ? `${large ? "large packets" : "packets"} of pods from ${from} to ${to} are lost`
      : `pods on ${from} do not reach pods on ${to}`;
    return {
      what: `${what}, IPv${family}: ${kinds.map((kind) => WORD[kind]).join(", ")}`,
      kinds,
      ...ofFamily(family),
      nodes: [from, to],
      is: all.map(line),
      next: large
        ? `the underlay between the two carries less than it claims, or loses fragments: kubectl skylane --node ${from} probes ${to}; its MTU, or the setting mtu on all nodes`
        : `kubectl skylane trace ${(trace ?? []).join(" ")}`,
      ...(trace && { trace }),
    };
  });
}

/** Everything else, by kind and family: mostly one thing is wrong for many. */
function others(outcomes: readonly Outcome[], namespace: string): Failure[] {
  const groups = Map.groupBy(
    outcomes.filter((outcome) => failed(outcome) && !PAIR_KINDS.includes(outcome.check.kind)),
    ({ check }) => JSON.stringify([check.kind, check.family]),
  );
  return [...groups.values()].map((all) => {
    const [{ check }] = all as [Outcome];
    const { kind, family } = check;
    const trace = check.trace && withNamespace(check.trace, namespace);
    const nodes = [...new Set(all.flatMap((one) => [one.check.from.node, one.check.to.node ?? one.check.from.node]))];
    const from = [...new Set(all.map((one) => one.check.from.node))];
    return {
      what: `${TITLES[kind]}${family === undefined ? "" : `, IPv${family}`}: fails from ${from.join(", ")}`,
      kinds: [kind],
      ...ofFamily(family),
      nodes,
      is: all.map(line),
      next: nextFor(check, trace),
      ...(trace && { trace }),
    };
  });
}

function nextFor({ kind, from, to }: Check, trace: readonly string[] | undefined): string {
  const follow = `kubectl skylane trace ${(trace ?? []).join(" ")}`;
  switch (kind) {
    case "pod-service":
      return `${follow}; kube-proxy, or what stands in for it, on ${from.node}: kubectl get pods -n kube-system -o wide`;
    case "node-service":
      return `where pods reach it: kube-proxy on ${from.node} has to masquerade what nodes send, so its clusterCIDR names the pods' CIDRs of both families`;
    case "api":
      return `${follow}; kube-proxy on ${from.node}, and whether pods may reach the API server's own address`;
    case "dns":
      return "kubectl get pods -n kube-system -l k8s-app=kube-dns -o wide; then kubectl skylane trace from a pod to kube-system/svc/kube-dns --port 53 --protocol udp";
    case "pod-node":
    case "pod-node-here":
      return `a packet filter on ${to.node} that keeps pods out, or masquerading: kubectl skylane --node ${to.node} doctor`;
    case "node-pod":
      return `kubectl skylane --node ${from.node} doctor; a policy that closes the node's pods to it: kubectl skylane --node ${to.node} policy list`;
    case "policy-allow":
    case "policy-deny":
      return `kubectl skylane --node ${to.node} policy list: which policies are in force there, and why one is not; ${follow}`;
    default:
      return follow;
  }
}
