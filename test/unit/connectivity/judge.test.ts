/** What a connectivity test makes of its answers. */
import assert from "node:assert/strict";
import { judge, type Outcome, type Report, wordsOf } from "../../../src/cli/connectivity/judge.ts";
import { type Check, planChecks, planPolicyChecks } from "../../../src/cli/connectivity/plan.ts";
import { renderReport } from "../../../src/cli/connectivity/render.ts";
import { nodes, services } from "./nodes.ts";

const NAMESPACE = "skylane-connectivity-0011";
const all = nodes(4);
const checks = [...planChecks(all, 3, services), ...planPolicyChecks(all)];

/** What is found where these fail. @param heard whether a datagram that has no answer has arrived */
function found(fails: (check: Check) => boolean, heard?: (check: Check) => boolean | undefined): Report {
  const outcomes = checks.map((check): Outcome => {
    if (!fails(check)) return { check, answer: { ok: true, is: "fine" } };
    const arrived = check.question.kind === "udp" ? heard?.(check) : undefined;
    return { check, answer: { ok: false, is: "no answer" }, ...(arrived !== undefined && { heard: arrived }) };
  });
  const names = all.map(({ name }) => name);
  return judge({ namespace: NAMESPACE, nodes: names, outcomes, notStarted: [], skipped: [], notes: [] });
}

const between = ({ kind }: Check): boolean => kind.startsWith("pod-pod-") && kind !== "pod-pod-here";
const pair = (check: Check, from: string, to: string): boolean => check.from.node === from && check.to.node === to;

describe("connectivity judgement", () => {
  it("has a row for each kind and family, and no failure where everything works", () => {
    const report = found(() => false);
    assert.deepEqual([report.ok, report.failures, report.concerns], [true, [], undefined]);
    const row = report.rows.find(({ kind, family }) => kind === "pod-pod-full" && family === 6);
    assert.deepEqual([row?.passed, row?.failed, row?.unasked], [12, 0, 0]);
    assert.equal(report.rows.length, 12 * 2 + 3);
    assert.match(
      renderReport(report, false),
      /pod to pod on another node, UDP, full size \(DF\) +IPv6 +ok +12 +0 +0\n/,
    );
    assert.match(renderReport(report, false), /Everything that was tried works, on 4 nodes\.\n$/);
  });

  it("names the direction in which packets are lost, from what both ends tell", () => {
    // Of node1's pods nothing reaches node2: it hears nothing, and its own questions arrive, but not the answers to them.
    const report = found(
      (check) =>
        between(check) && check.family === 4 && (pair(check, "node1", "node2") || pair(check, "node2", "node1")),
      (check) => pair(check, "node2", "node1"),
    );
    const [failure, ...more] = report.failures;
    assert.deepEqual(more, []);
    assert.equal(
      failure?.what,
      "packets of pods from node1 to node2 are lost, IPv4: TCP, UDP, full packets, packets in pieces",
    );
    assert.deepEqual(failure?.nodes, ["node1", "node2"]);
    assert.equal(failure?.is.length, 8);
    const words = [`${NAMESPACE}/peer-1`, `${NAMESPACE}/peer-2`, "--family=4", "--protocol=tcp", "--port=7359"];
    assert.deepEqual(failure?.trace, words);
    assert.equal(failure?.next, `kubectl skylane trace ${words.join(" ")}`);
  });

  it("traces from the end whose packets are lost, also where the other one has found it", () => {
    const { failures } = found(
      (check) => check.kind === "pod-pod-udp" && check.family === 6 && pair(check, "node3", "node1"),
      () => true,
    );
    assert.deepEqual([failures.length, failures[0]?.nodes], [1, ["node1", "node3"]]);
    assert.deepEqual(failures[0]?.trace?.slice(0, 2), [`${NAMESPACE}/peer-1`, `${NAMESPACE}/peer-3`]);
  });

  it("says of what far ends could not be asked that it is not reached, without a direction", () => {
    const { failures } = found((check) => between(check) && check.family === 6 && pair(check, "node1", "node2"));
    assert.equal(
      failures[0]?.what,
      "pods on node1 do not reach pods on node2, IPv6: TCP, UDP, full packets, packets in pieces",
    );
  });

  it("tells a black hole for large packets from a way that carries none", () => {
    const { failures } = found(
      (check) =>
        ["pod-pod-full", "pod-pod-over"].includes(check.kind) && check.family === 4 && pair(check, "node2", "node3"),
      () => false,
    );
    assert.equal(
      failures[0]?.what,
      "large packets of pods from node2 to node3 are lost, IPv4: full packets, packets in pieces",
    );
    assert.match(failures[0]?.next ?? "", /kubectl skylane --node node2 probes node3/);
  });

  it("counts what fails for many for one, and says which node everything is about", () => {
    const services = found(({ kind, family }) => kind === "pod-service" && family === 4);
    assert.deepEqual(
      services.failures.map(({ what }) => what),
      ["pod to Service, IPv4: fails from node1, node2, node3, node4"],
    );
    assert.match(services.failures[0]?.next ?? "", /^kubectl skylane trace \S+\/peer-1 \S+\/svc\/peers .*; kube-proxy/);
    const lonely = found(({ from, to }) => from.node === "node3" || to.node === "node3");
    assert.ok(lonely.failures.length > 4);
    assert.equal(lonely.concerns, "node3");
    assert.match(renderReport(lonely, true), /\nEverything that fails is about node3\.\n/);
  });

  it("tells a policy that lets through what it is to deny", () => {
    const { failures } = found(({ kind, to, family }) => kind === "policy-deny" && to.node === "node2" && family === 4);
    assert.equal(failures[0]?.what, "a policy keeps the denied peer out, IPv4: fails from node1");
    assert.match(failures[0]?.next ?? "", /kubectl skylane --node node2 policy list/);
  });

  it("names pods that do not start and ends that cannot be asked, and calls nothing tried that was not", () => {
    const outcomes = checks.map(
      (check): Outcome =>
        check.asker.pod === "peer-2"
          ? { check, problem: "kubectl exec: \u001b[31mno" }
          : { check, answer: { ok: true, is: "" } },
    );
    const notStarted = [{ node: "node5", why: "pod peer-5: ImagePullBackOff" }];
    const findings = { namespace: NAMESPACE, nodes: ["node1"], outcomes, notStarted, notes: ["a note"] };
    const report = judge({ ...findings, skipped: [{ kind: "dns", why: "no DNS" }] });
    assert.deepEqual(
      report.failures.map(({ what }) => what),
      ["the test's pods do not run on node5", "pod peer-2 on node2 could not be asked"],
    );
    const text = renderReport(report, false);
    assert.match(text, /^pods of the test start +- +FAILED +1 +1 +0$/m);
    assert.match(text, /^pod to pod on the same node +IPv4 +UNKNOWN +3 +0 +1$/m);
    assert.match(text, /^skipped, names by cluster DNS: no DNS$/m);
    assert.match(text, /^ {3}is: {4}pod peer-5: ImagePullBackOff$/m);
    assert.ok(text.includes("\\x1b[31mno") && text.includes("\na note\n"));
    assert.match(text, /--keep/);
  });

  it("puts a trace into words", () => {
    const hop = { node: "node1", hop: "fdb", should: "an entry", is: "none", state: "wrong", cure: "Add it." } as const;
    assert.equal(wordsOf(hop), "fdb on node1: should be an entry; is none. Add it.");
    assert.match(wordsOf(undefined), /^nothing is wrong/);
  });
});
