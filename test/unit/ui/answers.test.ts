/** What agents and objects say, whatever that is. */
import assert from "node:assert/strict";
import { agentFacts, flowsOf, measuredOf } from "../../../src/cli/ui/feed/answers.ts";
import { eventFacts, nodeFacts, podFacts } from "../../../src/cli/ui/feed/parse.ts";
import { agentStatus } from "../ctl/agent-status.ts";

const meta = (name: string, more = {}) => ({
  metadata: { name, namespace: "a", uid: "u", resourceVersion: "1", ...more },
});

describe("what the live map is told", () => {
  it("has of an agent's status what it shows", () => {
    const facts = agentFacts(JSON.parse(JSON.stringify(agentStatus)));
    assert.equal(facts.vteps[0]?.network, "default");
    assert.equal(facts.ready, agentStatus.ready.ready);
  });

  it("refuses what is no status, and takes what makes sense of one that is odd", () => {
    for (const odd of [null, 1, "x", [], {}, { ready: true }, { ready: { ready: "yes" } }])
      assert.throws(() => agentFacts(odd), TypeError);
    const facts = agentFacts({
      ready: { ready: false, checks: "none" },
      networks: [
        null,
        7,
        { network: 5, vni: "x", peers: {}, repairs: { byKind: [1], total: Number.NaN }, refused: [{}] },
      ],
      probes: { verdicts: [{ found: "y".repeat(100_000) }] },
    });
    assert.equal(facts.vteps.length, 1);
    assert.deepEqual([facts.vteps[0]?.vni, facts.vteps[0]?.peers, facts.vteps[0]?.repairs], [0, 0, 0]);
    assert.ok((facts.probes?.verdicts[0]?.found.length ?? 0) < 1_000);
    assert.equal(facts.why, "it does not say why");
  });

  it("has of probes the fault of each peer, or that it answers, with the best round trip through the tunnel", () => {
    const path = (of: string, rttMs?: number, seen?: string) => ({ path: of, ip: "192.0.2.1", rttMs, seen });
    const figures = [
      {
        node: "a",
        paths: [path("tunnel", 0.5, "answers"), path("tunnel", 0.3, "answers"), path("underlay", 0.1, "answers")],
      },
      { node: "b", fault: "down", paths: [path("tunnel", undefined, "silent")] },
      { node: "c", paths: [path("tunnel")] },
      { node: "d", fault: "unheard-of", paths: [path("tunnel", undefined, "answers")] },
      { node: 5 },
    ];
    assert.deepEqual(measuredOf({ figures }), [
      { node: "a", state: "answers", rttMs: 0.3 },
      { node: "b", state: "down" },
      { node: "c", state: "unknown" },
      { node: "d", state: "answers" },
    ]);
    assert.deepEqual(measuredOf("nothing"), []);
  });

  it("has of flows each once: as the node says on which it begins, or that has denied it", () => {
    const flow = (more: object) => ({
      state: "open",
      verdict: "allowed",
      protocol: 6,
      start: 1,
      source: { ip: "192.0.2.1", port: 1, pod: "a/b", node: "node1" },
      destination: { ip: "192.0.2.2", port: 80, pod: "a/c", node: "node2" },
      ...more,
    });
    const denied = flow({ verdict: "denied", policy: "a/deny", end: 5 });
    const flows = [flow({}), denied, flow({ source: { ip: "x" } }), flow({ verdict: "maybe" }), null];
    assert.deepEqual(
      flowsOf({ flows }, "node1").map(({ verdict, at, source }) => [verdict, at, source.pod]),
      [
        ["allowed", 1, "a/b"],
        ["denied", 5, "a/b"],
      ],
    );
    assert.deepEqual(
      flowsOf({ flows }, "node2").map(({ verdict, policy }) => [verdict, policy]),
      [["denied", "a/deny"]],
    );
    assert.deepEqual(flowsOf({}, "node1"), []);
    const service = { ip: "10.96.0.9", port: 443, name: "a/web" };
    const named = [
      flow({ network: "blue", service: { ...service, portName: "https" } }),
      flow({ service }),
      flow({ service: { ip: service.ip, port: 443 } }),
      flow({ service: { ip: 5 } }),
    ];
    assert.deepEqual(
      flowsOf({ flows: named }, "node1").map((one) => [one.network, one.service]),
      [
        ["blue", "a/web:https"],
        ["default", "a/web"],
        ["default", "10.96.0.9"],
        ["default", undefined],
      ],
    );
  });

  it("has of a pod where it is and its addresses, and nothing of one on the host's network or that has ended", () => {
    const annotation = JSON.stringify([
      { name: "default", default: true, ips: ["192.0.2.1"] },
      { name: "blue", ips: ["198.51.100.7", "<script>"] },
      5,
    ]);
    const object = {
      ...meta("web", { annotations: { "k8s.v1.cni.cncf.io/network-status": annotation } }),
      spec: { nodeName: "node1" },
      status: { phase: "Running", podIPs: [{ ip: "192.0.2.1" }, { ip: "none" }] },
    };
    assert.deepEqual(podFacts(object).facts, {
      key: "a/web",
      node: "node1",
      phase: "Running",
      ips: ["192.0.2.1"],
      further: [{ network: "blue", ips: ["198.51.100.7"] }],
    });
    assert.equal(podFacts({ ...object, spec: { ...object.spec, hostNetwork: true } }).facts, undefined);
    assert.equal(podFacts({ ...object, status: { phase: "Succeeded" } }).facts, undefined);
    assert.deepEqual(
      podFacts(meta("x", { annotations: { "k8s.v1.cni.cncf.io/network-status": "{" } })).facts?.further,
      [],
    );
    assert.throws(() => podFacts({}), TypeError);
  });

  it("has of a Node and an Event what they are about", () => {
    const status = {
      conditions: [{ type: "Ready", status: "Unknown" }],
      addresses: [
        { type: "InternalIP", address: "192.0.2.9" },
        { type: "Hostname", address: "node1" },
      ],
    };
    assert.deepEqual(nodeFacts({ ...meta("node1"), status }).facts, {
      name: "node1",
      ips: ["192.0.2.9"],
      kubelet: "unknown",
    });
    const event = {
      ...meta("e"),
      type: "Warning",
      reason: "R",
      message: "m",
      count: 2,
      lastTimestamp: "2026-01-01T00:00:00Z",
    };
    assert.deepEqual(eventFacts({ ...event, involvedObject: { kind: "Node", name: "node1" } }).facts, {
      key: "u",
      at: Date.UTC(2026, 0, 1),
      bad: true,
      reason: "R",
      subject: "node1",
      message: "m",
      count: 2,
    });
  });
});
