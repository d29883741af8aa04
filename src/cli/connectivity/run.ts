/** One run of the test, from the choice of nodes to the report, and whatever happens on the way what it has made is removed. */
import { randomBytes } from "node:crypto";
import { constants } from "node:os";
import { type Family, familyOf } from "../../addr/index.ts";
import { CommandError, type Input, UsageError } from "../command.ts";
import type { Kubectl } from "../kubectl/call.ts";
import { describeError } from "../main.ts";
import { type NotStarted, removeNamespaces, type Started, TestCluster, testNamespaces } from "./cluster.ts";
import { type Findings, judge, type Outcome, type Report, wordsOf } from "./judge.ts";
import {
  type Check,
  DEFAULTS,
  type Kind,
  planChecks,
  planPolicyChecks,
  sample,
  type Services,
  type TestedNode,
  TITLES,
} from "./plan.ts";
import { renderReport } from "./render.ts";

const MOST_NODES = 1000;
const MOST_PEERS = 100;
const MOST_STARTING = 1800;
/** Ends that are asked at once. */
const AT_ONCE = 16;
/** Failures that are traced while the pods are there. */
const TRACED = 3;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/**
 * Runs the test, or removes what others have left, and prints what came of it.
 * @param kubectl without a namespace @param system where Skylane is installed
 * @returns the exit status. @throws UsageError, CommandError
 */
export async function connectivityTest(kubectl: Kubectl, system: string, input: Input): Promise<number> {
  const options = {
    nodes: input.number("nodes", 1, MOST_NODES) ?? DEFAULTS.nodes,
    peers: input.number("peers", 1, MOST_PEERS) ?? DEFAULTS.peers,
    startingMs: (input.number("timeout", 1, MOST_STARTING) ?? DEFAULTS.startingSeconds) * 1000,
  };
  const [keep, json] = [input.flag("keep"), input.json];
  if (input.flag("cleanup")) {
    if (keep) throw new UsageError("--keep and --cleanup exclude each other");
    return await cleanUp(kubectl);
  }
  const namespace = `skylane-connectivity-${randomBytes(4).toString("hex")}`;
  const stop = new AbortController();
  let caught: (typeof SIGNALS)[number] | undefined;
  const onSignal = (signal: (typeof SIGNALS)[number]): void => {
    say(`${signal}: removing namespace ${namespace}${caught ? " still" : ""}`);
    caught = signal;
    stop.abort(new CommandError("interrupted"));
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    const cluster = new TestCluster(
      { kubectl, system, signal: stop.signal },
      namespace,
      randomBytes(16).toString("hex"),
    );
    const found = await cluster.nodes();
    let report: Report | undefined;
    let removed = true;
    try {
      report = await test(cluster, found, options);
    } finally {
      // Not in the way of what went wrong before.
      if (!keep || !report) removed = await remove(cluster);
    }
    process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : renderReport(report, keep));
    return report.ok && removed ? 0 : 1;
  } catch (error) {
    if (caught === undefined) throw error;
    return 128 + constants.signals[caught];
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

async function cleanUp(kubectl: Kubectl): Promise<number> {
  const names = await testNamespaces(kubectl);
  const gone = await removeNamespaces(kubectl, names);
  for (const name of names) process.stdout.write(`namespace ${name} ${gone ? "removed" : "is being removed"}\n`);
  return gone ? 0 : 1;
}

/** @returns whether it could be asked for; says what of it lasts */
async function remove(cluster: TestCluster): Promise<boolean> {
  try {
    if (!(await cluster.remove()))
      say(`namespace ${cluster.namespace} is still being removed: pods of a node that does not answer hold it`);
    return true;
  } catch (error) {
    say(
      `namespace ${cluster.namespace} could not be removed: ${describeError(error)}; kubectl skylane connectivity test --cleanup removes it`,
    );
    return false;
  }
}

const isStarted = (one: Started): one is Exclude<Started, NotStarted> => "peer" in one;

async function test(
  cluster: TestCluster,
  { nodes: all, without }: Awaited<ReturnType<TestCluster["nodes"]>>,
  options: { nodes: number; peers: number; startingMs: number },
): Promise<Report> {
  const chosen = sample(all, options.nodes);
  say(
    `starting ${chosen.length * 2} pods on ${chosen.length} of ${all.length} nodes in namespace ${cluster.namespace}`,
  );
  await cluster.create(chosen);
  const [started, services] = await Promise.all([cluster.started(chosen, options.startingMs), cluster.services()]);
  const running = started.filter(isStarted).map(({ node, ...pods }): TestedNode => ({ ...node, ...pods }));
  const checks = planChecks(running, options.peers, services);
  say(`trying ${checks.length} ways on ${running.length} nodes`);
  const outcomes = await tryAll(cluster, checks);
  await askWhatArrived(cluster, outcomes);
  say("trying a network policy");
  await cluster.createPolicy();
  const policyChecks = planPolicyChecks(running);
  // First what it denies: then it is there when it is to let through.
  for (const kind of ["policy-deny", "policy-allow"] as const)
    outcomes.push(
      ...(await tryAll(
        cluster,
        policyChecks.filter((check) => check.kind === kind),
      )),
    );
  const report = judge({
    namespace: cluster.namespace,
    nodes: running.map(({ name }) => name),
    outcomes,
    notStarted: started.filter((one): one is NotStarted => !isStarted(one)),
    skipped: skippedOf(running, services),
    notes: notesOf(running, all.length - chosen.length, without),
  });
  await traceSome(cluster, report);
  return report;
}

/** Lets each end try what it is to try, some ends at once. Where one cannot be asked that is what came of it. */
async function tryAll(cluster: TestCluster, checks: readonly Check[]): Promise<Outcome[]> {
  const ends = [...Map.groupBy(checks, ({ asker }) => `${asker.where}/${asker.pod}`).values()];
  const outcomes = await someAtOnce(ends, async (own): Promise<Outcome[]> => {
    const [{ asker }] = own as [Check];
    try {
      const answers = await cluster.ask(
        asker,
        own.map(({ question }) => question),
      );
      return own.map((check, i) => ({ check, ...(answers[i] && { answer: answers[i] }) }));
    } catch (error) {
      cluster.throwIfInterrupted();
      if (!(error instanceof CommandError)) throw error;
      return own.map((check) => ({ check, problem: describeError(error) }));
    }
  });
  return outcomes.flat();
}

/** Asks the far ends of datagrams that had no answer whether they got them. */
async function askWhatArrived(cluster: TestCluster, outcomes: readonly Outcome[]): Promise<void> {
  const lost = outcomes.filter(({ check, answer }) => check.far !== undefined && answer?.ok === false);
  const byPod = [...Map.groupBy(lost, ({ check }) => check.far as string)];
  await someAtOnce(byPod, async ([pod, all]) => {
    let heard: Set<string>;
    try {
      heard = await cluster.heard(pod);
    } catch (error) {
      cluster.throwIfInterrupted();
      // Then the direction is not known; that the pod cannot be asked is told by what it was to try.
      if (!(error instanceof CommandError)) throw error;
      return;
    }
    for (const outcome of all)
      if (outcome.check.question.kind === "udp") outcome.heard = heard.has(outcome.check.question.key);
  });
}

async function traceSome(cluster: TestCluster, { failures }: Report): Promise<void> {
  await Promise.all(
    failures
      .filter(({ trace }) => trace)
      .slice(0, TRACED)
      .map(async (failure) => {
        try {
          failure.traced = wordsOf(await cluster.trace(failure.trace ?? []));
        } catch (error) {
          cluster.throwIfInterrupted();
          if (!(error instanceof CommandError)) throw error;
          failure.traced = `it could not be followed: ${describeError(error)}`;
        }
      }),
  );
}

async function someAtOnce<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const waiting = all.entries();
  const worker = async (): Promise<void> => {
    for (const [i, one] of waiting) results[i] = await work(one);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, all.length) }, worker));
  return results;
}

const BETWEEN: readonly Kind[] = (Object.keys(TITLES) as Kind[]).filter(
  (kind) => kind.startsWith("pod-pod-") && kind !== "pod-pod-here",
);

function skippedOf(running: readonly TestedNode[], { api, dns }: Services): Findings["skipped"] {
  const alone = [...BETWEEN, "pod-node" as const].map((kind) => ({ kind, why: "there are no two nodes" }));
  return [
    ...(running.length < 2 ? alone : []),
    ...(api ? [] : [{ kind: "api" as const, why: "Service default/kubernetes cannot be read" }]),
    ...(api && dns
      ? []
      : [{ kind: "dns" as const, why: "no Service with label k8s-app=kube-dns can be read in kube-system" }]),
  ];
}

function notesOf(running: readonly TestedNode[], leftOut: number, without: readonly string[]): string[] {
  const familiesOf = (ips: readonly string[]): Family[] => [...new Set(ips.map(familyOf))];
  const families = new Set(running.flatMap(({ peer }) => familiesOf(peer.ips)));
  const lacking = [...families].flatMap((family) => {
    const names = running.filter(({ peer }) => !familiesOf(peer.ips).includes(family)).map(({ name }) => name);
    return names.length === 0 ? [] : [`without an IPv${family} address for pods: ${names.join(", ")}`];
  });
  return [
    ...lacking,
    ...(leftOut > 0 ? [`${leftOut} more nodes were not tested: --nodes`] : []),
    ...(without.length > 0 ? [`without a running agent, not tested: ${without.slice(0, 20).join(", ")}`] : []),
  ];
}
