/** What an agent finds that another one has left in the middle of a change, and what it missed because the kernel told of too much at once. */
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toolRunner } from "../../../src/dataplane/nft/index.ts";
import type { Occasion } from "../../../src/enforcement/connections.ts";
import { EnforcedRules } from "../../../src/enforcement/enforced-rules.ts";
import type { Logger } from "../../../src/log/index.ts";
import {
  type Changes,
  type Packet,
  PolicyModel,
  PolicyTable,
  readNetworkPolicy,
  type Revocation,
} from "../../../src/policy/index.ts";
import type { Pod, Policy } from "../../../src/policy/semantics/types.ts";
import { eventually } from "../../support/eventually.ts";
import { type PolicyNode, policyNode } from "./policy-node.ts";

const HERE = "here";
const pod = (name: string, ip: string): Pod => ({
  namespace: "shop",
  name,
  labels: { app: name },
  ips: [ip],
  ports: [],
  node: HERE,
  hostNetwork: false,
  ended: false,
});
const SERVER = pod("server", "10.0.0.1");
const CLIENT = pod("client", "10.0.0.3");

function policy(ingress: unknown): Policy {
  const { policy } = readNetworkPolicy({
    metadata: { namespace: "shop", name: "server" },
    spec: { podSelector: { matchLabels: { app: "server" } }, ingress },
  });
  assert.ok(policy);
  return policy;
}

const FROM_CLIENT = policy([{ from: [{ podSelector: { matchLabels: { app: "client" } } }] }]);
const FROM_NOBODY = policy([]);
const packet = (source: Pod, destination: Pod): Packet => ({
  source: source.ips[0] as string,
  destination: destination.ips[0] as string,
  protocol: "TCP",
  port: 80,
});

/** What an agent does not get to do. */
class Killed extends Error {}

describe("rules of network policies, over faults", () => {
  let node: PolicyNode;
  let netns: number;
  let directory: string;
  let rules: EnforcedRules | undefined;
  let revoked: Revocation[];
  /** Of each time that some were: what the changes were about. */
  let occasions: Occasion[];
  let said: string[];

  before(() => {
    node = policyNode(["172.30.0.1", "fd30::1"]);
    for (const { name, ips } of [SERVER, CLIENT]) node.pod(name, ips);
    netns = openSync(node.ns.path, "r");
    directory = mkdtempSync(join(tmpdir(), "skylane-policy-faults-"));
  });
  beforeEach(() => {
    [revoked, occasions, said] = [[], [], []];
  });
  afterEach(async () => {
    await rules?.stop();
    await rules?.remove();
    rules = undefined;
  });
  after(() => {
    closeSync(netns);
    rmSync(directory, { recursive: true });
  });

  const arrives = async (): Promise<boolean[]> => node.arriving([packet(CLIENT, SERVER), packet(SERVER, CLIENT)]);
  const chains = (): string[] =>
    [...node.ns.exec("nft", "list", "chains", "inet").matchAll(/chain (\w+)/g)].map(([, name]) => name as string);

  const peers = (): string => node.ns.exec("nft", "list", "map", "inet", "skylane_policy", "peers4");

  /** An agent that starts, and hears of everything. */
  async function agent(one: Policy): Promise<EnforcedRules> {
    const say = (message: string): void => void said.push(message);
    rules = new EnforcedRules({
      log: { error: say, warn: say, info: say, debug: say } as unknown as Logger,
      netns,
      nodeName: HERE,
      podCidrs: ["10.0.0.0/24"],
      onRevoked: (those, occasion) => {
        revoked.push(...those);
        occasions.push(occasion);
      },
      onState: () => undefined,
      onRepair: () => undefined,
    });
    const all: Changes = { pods: { set: [SERVER, CLIENT] }, policies: { set: [one] } };
    const done = rules.change(all);
    rules.begin();
    await done;
    return rules;
  }

  it("are right by the next agent where one was killed before, between or after the transactions of a change", async () => {
    const run = toolRunner({ netns: node.ns.path });
    const model = (): PolicyModel => {
      const made = new PolicyModel(HERE);
      made.replace({ pods: [SERVER, CLIENT], policies: [FROM_CLIENT] });
      return made;
    };
    await agent(FROM_NOBODY);
    const wanted = chains().length;
    for (const transactions of [0, 1, 2]) {
      const first = model();
      let left = transactions;
      using table = new PolicyTable({
        netns,
        run: async (...call) => {
          if (left-- === 0) throw new Killed();
          const output = await run(...call);
          if (left === 0) throw new Killed();
          return output;
        },
      });
      using before = new PolicyTable({ netns });
      await rules?.stop();
      await before.put(first.ruleset);
      const { rules: change } = first.change({ policies: { set: [FROM_NOBODY] } });
      const dies = table.apply(first.ruleset, change);
      if (transactions < 2) await assert.rejects(dies, Killed);
      else await dies;
      // Until the next agent comes there are the old rules or the new ones, and nothing in between.
      assert.deepEqual(await arrives(), [transactions !== 2, true]);
      revoked.length = 0;
      await agent(FROM_NOBODY);
      assert.deepEqual(await arrives(), [false, true]);
      assert.equal(chains().length, wanted, "nothing is left of what the first one had begun");
      assert.ok(
        revoked.some(({ ip }) => ip === SERVER.ips[0]),
        "connections are judged that the first one did not get to",
      );
    }
  });

  it("do not have a pod that comes wait for the judgement of connections, and nothing else put off by it", async () => {
    const { namespace, labels } = SERVER;
    const another = (n: number): Pod => ({ ...pod(`server${n}`, `10.0.0.${10 + n}`), namespace, labels });
    const comes = (n: number): Changes => ({ pods: { set: [another(n)] } });
    const running = await agent(FROM_CLIENT);
    occasions.length = 0;
    await running.change(comes(1), "coming");
    assert.deepEqual(occasions, ["coming"]);
    await Promise.all([running.change({ policies: { set: [FROM_NOBODY] } }), running.change(comes(2), "coming")]);
    assert.deepEqual(occasions, ["coming", "change"], "the policy's change is no pod's that comes");
    await Promise.all([running.change({ pods: { gone: [CLIENT] } }, "leaving"), running.change(comes(3), "coming")]);
    assert.deepEqual(occasions, ["coming", "change", "coming"], "the sooner of two delays holds for both");
    assert.ok(revoked.some(({ ip }) => ip === another(3).ips[0]));
  });

  it("are put back where somebody changed them, and the kernel dropped the news of it", async () => {
    await agent(FROM_CLIENT);
    assert.deepEqual(await arrives(), [true, true]);
    const file = join(directory, "flood.nft");
    const elements = Array.from({ length: 20_000 }, (_, n) => `10.9.${n >> 8}.${n & 255}`).join(", ");
    node.ns.exec("nft", "add table inet flood; add set inet flood many { type ipv4_addr; }");
    // Nothing of this turn is heard before its end: the socket for notifications overflows.
    node.ns.exec("nft", "flush map inet skylane_policy peers4");
    assert.ok(!peers().includes(CLIENT.ips[0] as string));
    writeFileSync(file, `add element inet flood many { ${elements} }\nflush set inet flood many\n`);
    for (let n = 0; n < 5; n++) node.ns.exec("nft", "-f", file);
    await eventually(() => said.some((text) => text.includes("notifications of the packet filter were lost")));
    await eventually(() => peers().includes(CLIENT.ips[0] as string));
    assert.deepEqual(await arrives(), [true, true]);
    node.ns.exec("nft", "delete table inet flood");
  });
});
