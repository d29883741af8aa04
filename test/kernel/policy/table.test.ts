import assert from "node:assert/strict";
import { NftError, type RunTool, toolRunner } from "../../../src/dataplane/nft/index.ts";
import { type Packet, PolicyModel, PolicyTable, readNetworkPolicy } from "../../../src/policy/index.ts";
import type { Pod, Policy } from "../../../src/policy/semantics/types.ts";
import { type PolicyNode, policyNode } from "./policy-node.ts";

const HERE = "here";
const pod = (name: string, ip: string, labels: Record<string, string> = { app: name }): Pod => ({
  namespace: "shop",
  name,
  labels,
  ips: [ip],
  ports: [],
  node: HERE,
  hostNetwork: false,
  ended: false,
});
const SERVER = pod("server", "10.0.0.1");
const CLIENT = pod("client", "10.0.0.3");

function policy(ingress: unknown, app = "server"): Policy {
  const { policy } = readNetworkPolicy({
    metadata: { namespace: "shop", name: app },
    spec: { podSelector: { matchLabels: { app } }, ingress },
  });
  assert.ok(policy);
  return policy;
}

const FROM_CLIENT = [{ from: [{ podSelector: { matchLabels: { app: "client" } } }] }];
const packet = (source: Pod, destination: Pod): Packet => ({
  source: source.ips[0] as string,
  destination: destination.ips[0] as string,
  protocol: "TCP",
  port: 80,
});

describe("the table of network policies", () => {
  let node: PolicyNode;
  let run: RunTool;

  before(() => {
    node = policyNode(["172.30.0.1", "fd30::1"]);
    for (const { name, ips } of [SERVER, CLIENT]) node.pod(name, ips);
    run = toolRunner({ netns: node.ns.path });
  });

  const modelWith = (...policies: Policy[]): PolicyModel => {
    const model = new PolicyModel(HERE);
    model.replace({ pods: [SERVER, CLIENT], policies });
    return model;
  };
  const arrives = async (): Promise<boolean[]> => node.arriving([packet(CLIENT, SERVER), packet(SERVER, CLIENT)]);

  it("changes by elements, by rules, by nothing, and goes", async () => {
    using table = new PolicyTable({ netns: node.ns.path });
    const model = modelWith(policy(FROM_CLIENT));
    await table.put(model.ruleset);
    assert.deepEqual(await arrives(), [true, true]);
    const change = async (pod: Pod): Promise<string> =>
      table.apply(model.ruleset, model.change({ pods: { set: [pod] } }).rules);
    assert.equal(await change({ ...CLIENT, labels: { app: "stranger" } }), "elements");
    assert.deepEqual(await arrives(), [false, true]);
    assert.equal(await change({ ...CLIENT, labels: { app: "stranger" } }), "nothing");
    const { rules } = model.change({ policies: { set: [policy([{}])] } });
    assert.equal(await table.apply(model.ruleset, rules), "change");
    assert.deepEqual(await arrives(), [true, true]);
    await table.remove();
    assert.doesNotMatch(node.ns.exec("nft", "list", "tables"), /policy/);
    await table.remove();
  });

  it("has what is new of its rules before anything leads there, and the rest at once", async () => {
    let between: boolean[] | undefined;
    let looks = false;
    using table = new PolicyTable({
      netns: node.ns.path,
      run: async (program, args, input) => {
        const output = await run(program, args, input);
        if (looks) between = await arrives();
        return output;
      },
    });
    const model = modelWith(policy(FROM_CLIENT));
    await table.put(model.ruleset);
    assert.deepEqual(await arrives(), [true, true]);
    looks = true;
    const { rules } = model.change({ policies: { set: [policy([])] } });
    assert.equal(await table.apply(model.ruleset, rules), "change");
    assert.deepEqual(between, [true, true]);
    assert.deepEqual(await arrives(), [false, true]);
  });

  it("takes thousands of peers that a new policy has in one transaction", async () => {
    const PEERS = 4_000;
    const peers = Array.from({ length: PEERS }, (_, n) => ({
      ...pod(`peer${n}`, `10.1.${n >> 8}.${n & 255}`, { app: "peer" }),
      node: "elsewhere",
    }));
    using table = new PolicyTable({ netns: node.ns.path, onRefused: (error) => assert.fail(error) });
    const model = modelWith(policy(FROM_CLIENT));
    model.change({ pods: { set: peers } });
    await table.put(model.ruleset);
    const elements = (): number => {
      const text = node.ns.exec("nft", "-j", "list", "map", "inet", "skylane_policy", "peers4");
      const { nftables } = JSON.parse(text) as { nftables: { map?: { elem?: unknown[] } }[] };
      return nftables.find(({ map }) => map)?.map?.elem?.length ?? 0;
    };
    const before = elements();
    const from = [{ from: [{ podSelector: { matchLabels: { app: "peer" } } }] }];
    const change = async (...ingress: unknown[]): Promise<string> =>
      table.apply(model.ruleset, model.change({ policies: { set: ingress.map((one) => policy(one)) } }).rules);
    assert.equal(await change(from), "change");
    assert.equal(elements(), PEERS);
    assert.deepEqual(await arrives(), [false, true]);
    assert.equal(await change(FROM_CLIENT), "change");
    assert.equal(elements(), before);
    assert.deepEqual(await arrives(), [true, true]);
  });

  it("is put in place whole where somebody has changed what a change is about", async () => {
    const refused: string[] = [];
    using table = new PolicyTable({ netns: node.ns.path, onRefused: ({ message }) => refused.push(message) });
    const model = modelWith(policy(FROM_CLIENT));
    await table.put(model.ruleset);
    const whole = async (pod: Pod): Promise<void> => {
      assert.equal(await table.apply(model.ruleset, model.change({ pods: { set: [pod] } }).rules), "whole");
    };
    node.ns.exec("nft", "flush map inet skylane_policy peers4");
    await whole({ ...CLIENT, labels: { app: "stranger" } });
    assert.deepEqual(await arrives(), [false, true]);
    node.ns.exec("nft", "delete table inet skylane_policy");
    await whole(CLIENT);
    assert.deepEqual(await arrives(), [true, true]);
    assert.equal(refused.length, 2);
    await table.put(model.ruleset);
  });

  it("says a packet's protocol by connection tracking where the kernel supports ports by that alone", async () => {
    const asOnLaterKernels: RunTool = (program, args, input = "") =>
      input.includes("meta l4proto . th dport vmap")
        ? Promise.reject(
            new NftError(program, "refused", "Error: Could not process rule: Operation not supported", "no"),
          )
        : run(program, args, input);
    const limits: string[] = [];
    const onLimited = (what: string): void => void limits.push(what);
    using table = new PolicyTable({ netns: node.ns.path, run: asOnLaterKernels, onLimited });
    const to = (port: number, endPort = port) => [{ ports: [{ protocol: "TCP", port, endPort }] }];
    const model = modelWith(policy(FROM_CLIENT));
    await table.put(model.ruleset);
    assert.deepEqual([await arrives(), limits], [[true, true], []]);
    for (const [rules, passes] of [
      [to(80), true],
      [to(81, 90), false],
      [to(70, 80), true],
    ] as const) {
      await table.apply(model.ruleset, model.change({ policies: { set: [policy(rules)] } }).rules);
      assert.deepEqual(await arrives(), [passes, true]);
    }
    assert.equal(limits.length, 1);
  });

  it("closes pods with policies, and no others, where the kernel refuses their rules", async () => {
    const lacking: RunTool = (program, args, input = "") =>
      input.includes("allow_")
        ? Promise.reject(new NftError(program, "refused", "no such rule", "no such rule"))
        : run(program, args, input);
    using table = new PolicyTable({ netns: node.ns.path, run: lacking });
    const model = modelWith(policy(FROM_CLIENT));
    await assert.rejects(table.put(model.ruleset), /no such rule/);
    assert.deepEqual(await arrives(), [false, true]);
    using able = new PolicyTable({ netns: node.ns.path });
    await able.put(model.ruleset);
    assert.deepEqual(await arrives(), [true, true]);
  });
});
