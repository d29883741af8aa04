import assert from "node:assert/strict";
import { type DenialEvent, DeniedPackets } from "../../../../src/enforcement/observe/denied-packets.ts";
import type { LoggedPacket } from "../../../../src/dataplane/nflog/index.ts";
import type { Logger } from "../../../../src/log/index.ts";
import { nameOfOutcome, type Outcome, PolicyModel, readNetworkPolicy } from "../../../../src/policy/index.ts";
import type { Pod, Policy } from "../../../../src/policy/semantics/types.ts";

const NODE = "here";
const SERVER = "10.0.0.1";
const CLIENT = "10.0.1.2";

const pod = (name: string, ip: string, node: string): Pod => ({
  namespace: "shop",
  name,
  labels: { app: name },
  ips: [ip],
  ports: [],
  node,
  hostNetwork: false,
  ended: false,
});

function policy(name: string, spec: object, audit = false): Policy {
  const annotations = audit ? { "skylane.dev/policy-mode": "audit" } : {};
  const { policy } = readNetworkPolicy({ metadata: { namespace: "shop", name, annotations }, spec });
  assert.ok(policy);
  return policy;
}

/** What is told of packets of a node with one pod that some policies isolate. */
function telling(...policies: Policy[]) {
  const model = new PolicyModel(NODE);
  model.replace({
    pods: [pod("server", SERVER, NODE), pod("client", CLIENT, "there")],
    namespaces: [{ name: "shop", labels: {}, audit: false }],
    policies,
  });
  const lines: [string, Record<string, unknown>][] = [];
  const events: DenialEvent[] = [];
  let now = 0;
  const log = { info: (message: string, facts: Record<string, unknown>) => void lines.push([message, facts]) };
  const denied = new DeniedPackets({
    log: log as unknown as Logger,
    outcomeOf: (prefix) => outcomes().find((outcome) => nameOfOutcome(outcome) === prefix),
    podAt: (ip) => (ip === SERVER ? { namespace: "shop", name: "server", uid: "u" } : undefined),
    nameOf: (ip) => (ip === CLIENT ? "pod shop/client" : undefined),
    isolating: (direction, ip) => model.policiesAt(direction, ip),
    event: (event) => events.push(event),
    now: () => now,
  });
  const outcomes = (): Outcome[] =>
    [...model.ruleset.chains.values()].flatMap((chain) => (chain.kind === "outcome" ? chain.outcome : []));
  return { denied, lines, events, later: (ms: number) => (now += ms) };
}

const packet = (more: Partial<LoggedPacket> = {}): LoggedPacket => ({
  prefix: "default deny, ingress",
  source: CLIENT,
  destination: SERVER,
  protocol: 6,
  port: 5432,
  ...more,
});

const ISOLATE = policy("isolate", { podSelector: {} });

describe("packets that policies deny", () => {
  it("are told of with both ends, and with the policies that isolate the pod", () => {
    const { denied, lines, events } = telling(ISOLATE);
    denied.take([packet()]);
    assert.deepEqual(lines, [
      [
        "a network policy denied a packet",
        {
          pod: "shop/server",
          direction: "ingress",
          peer: "pod shop/client",
          ip: SERVER,
          peerIp: CLIENT,
          protocol: "TCP",
          port: 5432,
          policy: "default deny by NetworkPolicy shop/isolate",
        },
      ],
    ]);
    assert.deepEqual(events, [
      {
        pod: { namespace: "shop", name: "server", uid: "u" },
        reason: "PolicyDenied",
        message:
          "default deny by NetworkPolicy shop/isolate denies TCP port 5432 from pod shop/client; more like it is in the agent's log, not here",
      },
    ]);
  });

  it("are told of in other words where the policy is in audit mode", () => {
    const { denied, lines, events } = telling(policy("isolate", { podSelector: {} }, true));
    denied.take([packet({ protocol: 1, port: undefined })]);
    assert.equal(lines[0]?.[0], "a network policy in audit mode would deny a packet");
    assert.equal(lines[0]?.[1]["protocol"], "ICMP");
    assert.ok(!("port" in (lines[0]?.[1] ?? {})));
    assert.equal(events[0]?.reason, "PolicyWouldDeny");
  });

  it("are one line as long as they are alike, and their number at the end", async () => {
    const { denied, lines } = telling(ISOLATE);
    denied.take([packet(), packet(), packet({ port: 80 }), packet()]);
    assert.equal(lines.length, 2);
    await denied.stop();
    assert.deepEqual(
      lines.slice(2).map(([message, { port, packets }]) => [message, port, packets]),
      [["a network policy denied a packet, again", 5432, 2]],
    );
  });

  it("of rules that are gone by now are not told of", () => {
    const { denied, lines } = telling(ISOLATE);
    denied.take([packet({ prefix: "skylane deny deny_0123 " })]);
    assert.deepEqual(lines, []);
  });

  it("do not fill the log or the API server, whatever a pod sends", async () => {
    const { denied, lines, events, later } = telling(ISOLATE);
    const scan = Array.from({ length: 60_000 }, (_, port) => packet({ port, source: `192.0.2.${port % 250}` }));
    denied.take(scan);
    assert.ok(lines.length <= 10, `${lines.length} lines`);
    assert.ok(events.length <= 5, `${events.length} Events`);
    const [told, before] = [lines.length, events.length];
    await denied.stop();
    const rest = lines.slice(told);
    assert.equal(rest.length, 1);
    assert.equal(rest[0]?.[1]["packets"], scan.length - told);
    // A minute later there may be one Event more.
    later(60_000);
    denied.take([packet(), packet({ port: 1 })]);
    assert.equal(events.length, before + 1);
    await denied.stop();
  });
});
