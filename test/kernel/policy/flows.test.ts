import assert from "node:assert/strict";
import { type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { type LoggedPacket, PacketLog } from "../../../src/dataplane/nflog/index.ts";
import { countsByChain } from "../../../src/dataplane/nft/index.ts";
import { DeniedPackets } from "../../../src/enforcement/observe/denied-packets.ts";
import type { Logger } from "../../../src/log/index.ts";
import {
  LOG_GROUP,
  nameOfOutcome,
  outcomeOfPrefix,
  type Packet,
  POLICY_TABLE,
  PolicyModel,
  readNetworkPolicy,
  PolicyTable,
} from "../../../src/policy/index.ts";
import type { Pod, Policy } from "../../../src/policy/semantics/types.ts";
import { eventually } from "../../support/eventually.ts";
import type { TestNamespace } from "../support/netns.ts";
import { type PolicyNode, policyNode } from "./policy-node.ts";

const HERE = "here";
const SERVER = { 4: "10.0.0.1", 6: "fd00::1" } as const;
const CLIENT = { 4: "10.0.0.3", 6: "fd00::3" } as const;
const FAMILIES = [4, 6] as const;

const pod = (name: string, ips: readonly string[]): Pod => ({
  namespace: "shop",
  name,
  labels: { app: name },
  ips,
  ports: [],
  node: HERE,
  hostNetwork: false,
  ended: false,
});

function policy(spec: object, audit = false, name = "p"): Policy {
  const annotations = audit ? { "skylane.dev/policy-mode": "audit" } : {};
  const { policy, faults } = readNetworkPolicy({ metadata: { namespace: "shop", name, annotations }, spec });
  assert.deepEqual(faults, []);
  assert.ok(policy);
  return policy;
}

const OF_SERVER = { podSelector: { matchLabels: { app: "server" } } };
const FROM_CLIENT = { from: [{ podSelector: { matchLabels: { app: "client" } } }], ports: [{ port: 8080 }] };

/** Echoes lines, and says when it can. */
const ECHO = (port: number): string => `
  require("node:net").createServer((s) => { s.on("error", () => {}); s.pipe(s); }).listen({ port: ${port}, host: "::" }, () => console.log("ready"));
`;
/** Connects, and sends on each line that it is given; says what comes back. */
const TALK = (host: string, port: number): string => `
  const s = require("node:net").connect({ host: ${JSON.stringify(host)}, port: ${port} }, () => console.log("ready"));
  s.on("error", (error) => console.log(error.code));
  s.on("data", (data) => process.stdout.write(data));
  process.stdin.pipe(s);
`;

class Program {
  readonly #child: ChildProcess;
  output = "";

  constructor(ns: TestNamespace, text: string) {
    this.#child = ns.spawn(process.execPath, ["-e", text], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdout?.setEncoding("utf8").on("data", (data: string) => {
      this.output += data;
    });
  }

  says(text: string): Promise<unknown> {
    return eventually(() => this.output.includes(text), { timeoutMs: 60_000, message: text });
  }

  tell(text: string): void {
    this.#child.stdin?.write(text);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

describe("connections under network policies", () => {
  let node: PolicyNode;
  let server: TestNamespace;
  let client: TestNamespace;
  let table: PolicyTable;
  let model: PolicyModel;
  const programs: Program[] = [];
  let log: PacketLog | undefined;

  /** Packets that rules log, as they come; of one test. */
  const listen = (): LoggedPacket[] => {
    const packets: LoggedPacket[] = [];
    log = PacketLog.open({
      group: LOG_GROUP,
      netns: node.ns.path,
      onPackets: (more) => packets.push(...more),
      onLost: (reason) => assert.fail(reason),
    });
    return packets;
  };
  /** What the rules have counted that people call by a name. */
  const counted = async (name: string): Promise<number> => {
    const counts = await countsByChain(POLICY_TABLE, node.ns.path);
    const chains = [...model.ruleset.chains].filter(
      ([, chain]) => chain.kind === "outcome" && nameOfOutcome(chain.outcome) === name,
    );
    return chains.reduce((sum, [chain]) => sum + (counts.get(chain)?.packets ?? 0), 0);
  };
  const start = async (ns: TestNamespace, text: string): Promise<Program> => {
    const program = new Program(ns, text);
    programs.push(program);
    await program.says("ready");
    return program;
  };
  const put = async (...policies: Policy[]): Promise<void> => {
    await table.apply(model.ruleset, model.replace({ policies }).rules);
  };
  const first = (more: Partial<Packet> = {}): Packet[] =>
    FAMILIES.map((family) => ({
      source: CLIENT[family],
      destination: SERVER[family],
      protocol: "TCP",
      port: 8080,
      ...more,
    }));

  before(async function () {
    this.timeout(120_000);
    node = policyNode(["172.30.0.1", "fd30::1"]);
    server = node.pod("server", Object.values(SERVER));
    client = node.pod("client", Object.values(CLIENT));
    await Promise.all([start(server, ECHO(8080)), start(node.ns, ECHO(9090))]);
  });

  afterEach(async () => {
    table[Symbol.dispose]();
    await log?.close();
    log = undefined;
  });

  beforeEach(async () => {
    model = new PolicyModel(HERE);
    model.replace({
      pods: [pod("server", Object.values(SERVER)), pod("client", Object.values(CLIENT))],
      namespaces: [{ name: "shop", labels: {}, audit: false }],
      nodes: [{ name: HERE, labels: {}, ips: ["172.30.0.1", "fd30::1"] }],
    });
    table = new PolicyTable({ netns: node.ns.path });
    await table.put(model.ruleset);
  });

  after(async () => {
    await Promise.all(programs.map((program) => program.end()));
  });

  it("go on by their replies, whatever the policies of the pod that answers", async () => {
    await put(
      policy({ ...OF_SERVER, policyTypes: ["Ingress", "Egress"], ingress: [FROM_CLIENT] }),
      policy({ podSelector: {}, policyTypes: ["Ingress"] }, false, "deny"),
    );
    for (const family of FAMILIES) {
      const talk = await start(client, TALK(SERVER[family], 8080));
      talk.tell("hello\n");
      await talk.says("hello");
    }
    assert.deepEqual(await node.arriving(first({ source: "10.0.0.1", destination: "10.0.0.3" }).slice(0, 1)), [false]);
  });

  it("that are established go on, new ones do not, when a policy comes that allows neither", async () => {
    const talks = await Promise.all(FAMILIES.map((family) => start(client, TALK(SERVER[family], 8080))));
    await put(policy(OF_SERVER));
    assert.deepEqual(await node.arriving(first()), [false, false]);
    for (const talk of talks) talk.tell("still here\n");
    for (const talk of talks) await talk.says("still here");
  });

  it("do not begin in the middle where a pod has policies, in either direction, and do where it has none", async () => {
    const ACK = 0x10;
    const back = FAMILIES.map(
      (family): Packet => ({ source: SERVER[family], destination: CLIENT[family], protocol: "TCP", port: 61_999 }),
    );
    assert.deepEqual(await node.arriving([...first(), ...back], ACK), [true, true, true, true]);
    await put(policy({ ...OF_SERVER, policyTypes: ["Ingress", "Egress"], ingress: [FROM_CLIENT], egress: [{}] }));
    assert.deepEqual(await node.arriving(first()), [true, true]);
    assert.deepEqual(await node.arriving([...first(), ...back], ACK), [false, false, false, false]);
    // The next packet of an ended connection may go in the direction about which no policy says anything.
    for (const spec of [
      { ...OF_SERVER, policyTypes: ["Ingress"], ingress: [FROM_CLIENT] },
      { ...OF_SERVER, policyTypes: ["Egress"], egress: [{}] },
    ]) {
      await put(policy(spec));
      assert.deepEqual(await node.arriving([...first(), ...back], ACK), [false, false, false, false]);
      assert.deepEqual(await node.arriving([...first(), ...back]), [true, true, true, true]);
    }
    await put(policy({ ...OF_SERVER, policyTypes: ["Ingress"] }, true));
    assert.deepEqual(await node.arriving(back, ACK), [true, true]);
  });

  it("reach an isolated pod from its node, and the node from the pod", async () => {
    await put(policy({ podSelector: {}, policyTypes: ["Ingress", "Egress"] }));
    assert.deepEqual(await node.arriving(first()), [false, false]);
    for (const family of FAMILIES) {
      const probe = await start(node.ns, TALK(SERVER[family], 8080));
      probe.tell("probe\n");
      await probe.says("probe");
    }
    for (const ip of ["172.30.0.1", "fd30::1"]) {
      const talk = await start(server, TALK(ip, 9090));
      talk.tell("own node\n");
      await talk.says("own node");
    }
  });

  it("are counted and logged by the rule that denies them, or would", async () => {
    const packets = listen();
    const logged = async (count: number): Promise<string[]> => {
      await eventually(() => packets.length >= count, { timeoutMs: 30_000 });
      return packets.splice(0).map(({ prefix, source, destination, protocol, port }) => {
        const outcome = outcomeOfPrefix(model.ruleset, prefix);
        assert.ok(outcome, prefix);
        assert.ok(FAMILIES.some((family) => source === CLIENT[family] && destination === SERVER[family]));
        assert.deepEqual([protocol, port], [6, 8080]);
        return `${outcome.kind} ${nameOfOutcome(outcome)}`;
      });
    };
    await put(policy(OF_SERVER));
    assert.deepEqual(await node.arriving(first()), [false, false]);
    assert.deepEqual(await logged(2), Array(2).fill("deny default deny, ingress"));
    await put(policy(OF_SERVER, true));
    assert.deepEqual(await node.arriving(first()), [true, true]);
    assert.deepEqual(await logged(2), Array(2).fill("audit default deny, ingress"));
    await put(policy({ ...OF_SERVER, ingress: [FROM_CLIENT] }));
    assert.deepEqual(await node.arriving(first()), [true, true]);
    assert.equal(await counted("NetworkPolicy shop/p ingress[0]"), 2);
    const shown = node.ns.exec("nft", "list", "table", "inet", "skylane_policy");
    assert.match(shown, /counter packets 2 bytes \d+ comment "NetworkPolicy shop\/p ingress\[0\]"/);
  });

  it("are told of to one listener alone, and a table that is not there has no counters", async () => {
    listen();
    assert.throws(listen, { code: "EPERM" });
    assert.equal((await countsByChain("nobodys", node.ns.path)).size, 0);
  });

  it("are told of with both ends, also after a time without rules", async () => {
    const lines: Record<string, unknown>[] = [];
    const logger = { info: (_: string, facts: Record<string, unknown>) => void lines.push(facts), debug: () => 0 };
    const denied = new DeniedPackets({
      log: logger as unknown as Logger,
      netns: node.ns.path,
      outcomeOf: (prefix) => outcomeOfPrefix(model.ruleset, prefix),
      podAt: (ip) =>
        Object.values(SERVER).some((own) => own === ip) ? { namespace: "shop", name: "server" } : undefined,
      nameOf: () => undefined,
      isolating: (direction, ip) => model.policiesAt(direction, ip),
      event: () => undefined,
    });
    try {
      await put(policy(OF_SERVER));
      const told = (): Promise<unknown> =>
        eventually(async () => {
          await node.arriving(first());
          return lines.length > 0;
        });
      denied.listen(true);
      await told();
      assert.deepEqual([lines[0]?.["pod"], lines[0]?.["port"]], ["shop/server", 8080]);
      denied.listen(false);
      // Who listens keeps others from the group.
      await eventually(() => listen());
      await log?.close();
      lines.length = 0;
      denied.listen(true);
      await told();
    } finally {
      await denied.stop();
    }
  });

  it("log a flood now and then, and count all of it", async () => {
    const packets = listen();
    await put(policy(OF_SERVER));
    const flood = Array.from({ length: 400 }, () => first()).flat();
    assert.deepEqual(
      await node.arriving(flood),
      flood.map(() => false),
    );
    await eventually(() => packets.length > 0);
    assert.ok(packets.length < 800, `${packets.length} of 800 packets were logged`);
    assert.equal(await counted("default deny, ingress"), 800);
  });
});
