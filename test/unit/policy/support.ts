/** Random clusters with policies, small enough that things meet, and the ends of packets that are worth asking about. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { PolicyModel } from "../../../src/policy/index.ts";
import type { Changes, NamedAddress, RulesetChange } from "../../../src/policy/index.ts";
import { outcomeAt } from "./evaluator.ts";
import { directed, type Packet, type Verdict } from "../../../src/policy/semantics/oracle.ts";
import { type Labels, selectorOf, type Selector } from "../../../src/policy/semantics/selector.ts";
import {
  type ClusterNode,
  isSelectable,
  type NamedPort,
  type Namespace,
  type Peer,
  type Pod,
  type PodSelection,
  type Policy,
  type PortMatch,
  type Protocol,
  policyKeyOf,
  type Rule,
  type World,
} from "../../../src/policy/semantics/types.ts";
import { keyOf } from "../../../src/json/index.ts";

export const NODE = "here";
export const POD_CIDRS: readonly string[] = ["10.0.0.0/24", "fd00::/64"];
const NAMESPACES = ["red", "green", "blue"] as const;
export const PORTS = [53, 80, 81, 443, 8080] as const;
const PORT_NAMES = ["web", "dns"] as const;
const KEYS = ["app", "tier"] as const;
const VALUES = ["a", "b", "c"] as const;
/** Nobody in the cluster has these. */
export const STRANGERS = ["192.0.2.1", "192.0.2.130", "10.0.9.9", "2001:db8::1", "2001:db8:1::1"] as const;
const BLOCKS: readonly string[] = [
  "0.0.0.0/0",
  "10.0.0.0/8",
  "10.0.0.0/30",
  "10.0.0.2/32",
  "192.0.2.0/24",
  "192.0.2.128/25",
  "::/0",
  "fd00::/16",
  "fd00::2/127",
  "2001:db8::/32",
  "2001:db8:1::/48",
];
const EXCEPT: Readonly<Record<string, readonly string[]>> = {
  "0.0.0.0/0": ["10.0.0.0/8", "192.0.2.128/25"],
  "10.0.0.0/8": ["10.0.0.0/30", "10.0.0.2/32"],
  "192.0.2.0/24": ["192.0.2.128/25"],
  "::/0": ["fd00::/16", "2001:db8:1::/48"],
  "2001:db8::/32": ["2001:db8:1::/48"],
};

const labels: fc.Arbitrary<Labels> = fc.dictionary(fc.constantFrom(...KEYS), fc.constantFrom(...VALUES), {
  maxKeys: 2,
  noNullPrototype: true,
});

const requirement = fc.oneof(
  fc.record({
    label: fc.constantFrom(...KEYS),
    operator: fc.constantFrom("In" as const, "NotIn" as const),
    values: fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    label: fc.constantFrom(...KEYS),
    operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const),
    values: fc.constant([]),
  }),
);

export const selector: fc.Arbitrary<Selector> = fc.array(requirement, { maxLength: 2 }).map(selectorOf);

const selection: fc.Arbitrary<PodSelection> = fc.oneof(
  fc.record({ namespace: fc.constantFrom(...NAMESPACES), namespaces: fc.constant(undefined), pods: selector }),
  fc.record({ namespace: fc.constant(undefined), namespaces: selector, pods: selector }),
);

const peer: fc.Arbitrary<Peer> = fc.oneof(
  { weight: 3, arbitrary: selection.map((pods): Peer => ({ kind: "pods", pods })) },
  { weight: 1, arbitrary: selector.map((nodes): Peer => ({ kind: "nodes", nodes })) },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom(...BLOCKS)
      .chain((cidr) =>
        fc.subarray([...(EXCEPT[cidr] ?? [])]).map((except): Peer => ({ kind: "block", block: { cidr, except } })),
      ),
  },
);

/** Of rules for egress that accept, which alone may have them. */
const namesPeer: fc.Arbitrary<Peer> = fc
  .subarray(["a.example", "*.a.example", "b.example"], { minLength: 1 })
  .map((names) => ({ kind: "names", names }));

const named: fc.Arbitrary<NamedAddress> = fc.record({
  name: fc.constantFrom("a.example", "www.a.example", "b.example", "nobody.example"),
  ip: fc.constantFrom("192.0.2.1", "192.0.2.130", "10.0.0.2", "10.0.9.9", "2001:db8::1", "fd00::2"),
});
/** A time that no test comes to, and near enough for nft, which refuses to count decades; the agent keeps no name longer than a day. */
const LATER = Date.now() + 12 * 3_600_000;

const protocol: fc.Arbitrary<Protocol> = fc.constantFrom("TCP" as const, "UDP" as const, "SCTP" as const);

const portMatch: fc.Arbitrary<PortMatch> = fc.oneof(
  fc
    .tuple(protocol, fc.constantFrom(...PORTS), fc.constantFrom(...PORTS))
    .map(([protocol, a, b]): PortMatch => ({ protocol, first: Math.min(a, b), last: Math.max(a, b) })),
  protocol.map((protocol): PortMatch => ({ protocol, first: 0, last: 65_535 })),
  fc.record({ name: fc.constantFrom(...PORT_NAMES), protocol: fc.option(protocol, { nil: undefined }) }),
);

const ruleWith = (actions: readonly Rule["action"][], egress: boolean): fc.Arbitrary<Rule> =>
  fc
    .record({
      action: fc.constantFrom(...actions),
      peers: fc.option(
        fc.array(fc.oneof({ weight: 6, arbitrary: peer }, { weight: 1, arbitrary: namesPeer }), { maxLength: 3 }),
        { nil: undefined, freq: 4 },
      ),
      ports: fc.option(fc.array(portMatch, { maxLength: 3 }), { nil: undefined, freq: 2 }),
    })
    .map((rule) =>
      rule.action === "Accept" && egress
        ? rule
        : { ...rule, peers: rule.peers?.filter(({ kind }) => kind !== "names") },
    );

const rules = (actions: readonly Rule["action"][], egress: boolean): fc.Arbitrary<Rule[] | undefined> =>
  fc.option(fc.array(ruleWith(actions, egress), { maxLength: 3 }), { nil: undefined, freq: 3 });

const audit = fc.integer({ min: 0, max: 4 }).map((n) => n === 0);

export const policy: fc.Arbitrary<Policy> = fc.oneof(
  fc
    .tuple(
      fc.constantFrom(...NAMESPACES),
      fc.constantFrom("p", "q", "r"),
      selector,
      rules(["Accept"], false),
      rules(["Accept"], true),
      audit,
    )
    .map(
      ([namespace, name, pods, ingress, egress, audit]): Policy => ({
        kind: "NetworkPolicy",
        namespace,
        name,
        tier: "NetworkPolicy",
        priority: 0,
        subject: { namespace, namespaces: undefined, pods },
        ingress,
        egress,
        audit,
      }),
    ),
  fc
    .tuple(
      fc.constantFrom("x", "y", "z"),
      fc.constantFrom("Admin" as const, "Baseline" as const),
      fc.nat({ max: 2 }),
      selector,
      selector,
      rules(["Accept", "Deny", "Pass"], false),
      rules(["Accept", "Deny", "Pass"], true),
      audit,
    )
    .map(
      ([name, tier, priority, namespaces, pods, ingress, egress, audit]): Policy => ({
        kind: "ClusterNetworkPolicy",
        namespace: undefined,
        name,
        tier,
        priority,
        subject: { namespace: undefined, namespaces, pods },
        ingress: ingress?.length === 0 ? undefined : ingress,
        egress: egress?.length === 0 ? undefined : egress,
        audit,
      }),
    ),
);

const namedPort: fc.Arbitrary<NamedPort> = fc.record({
  name: fc.constantFrom(...PORT_NAMES),
  protocol,
  port: fc.constantFrom(...PORTS),
});

/** Addresses follow from the number, so that no two pods have the same. */
export const podNumbered = (n: number): fc.Arbitrary<Pod> =>
  fc
    .record({
      labels,
      ports: fc.array(namedPort, { maxLength: 2 }),
      dual: fc.constantFrom([4], [6], [4, 6]),
      hostNetwork: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      ended: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    })
    .map(({ dual, ...rest }) => ({
      ...rest,
      namespace: NAMESPACES[n % NAMESPACES.length] as string,
      name: `pod-${n}`,
      // Every other pod is on this node.
      node: n % 2 === 0 ? NODE : "there",
      ips: dual.map((family) => (family === 4 ? `10.0.0.${n + 1}` : `fd00::${(n + 1).toString(16)}`)),
    }));

export const namespaceNamed = (name: string): fc.Arbitrary<Namespace> =>
  fc.record({ name: fc.constant(name), labels, audit });

export const nodeNamed = (name: string, n: number): fc.Arbitrary<ClusterNode> =>
  fc.record({ name: fc.constant(name), labels, ips: fc.constant([`172.30.0.${n}`, `fd30::${n}`]) });

export const PODS = 8;
export const world: fc.Arbitrary<World> = fc.record({
  pods: fc.tuple(...Array.from({ length: PODS }, (_, n) => podNumbered(n))),
  namespaces: fc.tuple(...NAMESPACES.map(namespaceNamed)),
  nodes: fc.tuple(nodeNamed(NODE, 1), nodeNamed("there", 2)),
  policies: fc
    .array(policy, { maxLength: 6 })
    .map((all) => [...new Map(all.map((one) => [policyKeyOf(one), one])).values()]),
  named: fc.uniqueArray(named, { maxLength: 4, selector: ({ name, ip }) => `${name} ${ip}` }),
});

/** One change of everything that may change. */
export const change: fc.Arbitrary<Changes> = fc.oneof(
  fc.nat({ max: PODS - 1 }).chain((n) => podNumbered(n).map((pod): Changes => ({ pods: { set: [pod] } }))),
  fc.nat({ max: PODS - 1 }).map(
    (n): Changes => ({
      pods: { gone: [{ namespace: NAMESPACES[n % NAMESPACES.length] as string, name: `pod-${n}` }] },
    }),
  ),
  fc
    .constantFrom(...NAMESPACES)
    .chain((name) => namespaceNamed(name).map((one): Changes => ({ namespaces: { set: [one] } }))),
  fc.constantFrom(...NAMESPACES).map((name): Changes => ({ namespaces: { gone: [name] } })),
  fc
    .constantFrom<[string, number]>([NODE, 1], ["there", 2])
    .chain(([name, n]) => nodeNamed(name, n).map((one): Changes => ({ nodes: { set: [one] } }))),
  fc.constantFrom(NODE, "there").map((name): Changes => ({ nodes: { gone: [name] } })),
  policy.map((one): Changes => ({ policies: { set: [one] } })),
  named.chain((one) => fc.constantFrom(0, LATER).map((until): Changes => ({ names: { set: [{ ...one, until }] } }))),
  policy.map((one): Changes => ({ policies: { gone: [one] } })),
);

/** The world after a change: what comes anew comes last. */
export function changed(world: World, { pods, namespaces, nodes, policies, names }: Changes): World {
  const part = <T>(all: readonly T[], set: readonly T[], gone: readonly string[], key: (one: T) => string): T[] => {
    const others = new Set([...gone, ...set.map(key)]);
    return [...all.filter((one) => !others.has(key(one))), ...set];
  };
  const name = (one: { name: string }): string => one.name;
  return {
    pods: part(world.pods, pods?.set ?? [], (pods?.gone ?? []).map(keyOf), keyOf),
    namespaces: part(world.namespaces, namespaces?.set ?? [], namespaces?.gone ?? [], name),
    nodes: part(world.nodes, nodes?.set ?? [], nodes?.gone ?? [], name),
    policies: part(world.policies, policies?.set ?? [], (policies?.gone ?? []).map(policyKeyOf), policyKeyOf),
    named: part(
      world.named ?? [],
      (names?.set ?? []).filter(({ until }) => until > 0),
      (names?.set ?? []).map(namedKey),
      namedKey,
    ),
  };
}

const namedKey = ({ name, ip }: NamedAddress): string => `${name} ${ip}`;

/** The addresses that names have in a world, as a change. */
export const namesIn = ({ named = [] }: World): Changes => ({
  names: { set: named.map((one) => ({ ...one, until: LATER })) },
});

export function modelOf(world: World, kept = 0): PolicyModel {
  const model = new PolicyModel(NODE, POD_CIDRS, kept);
  model.change(namesIn(world));
  model.replace(world);
  return model;
}

const text = ({
  kind,
  policy,
  rule,
}: {
  kind: string;
  policy?: Policy | undefined;
  rule?: number | undefined;
}): string => `${kind}${policy ? ` ${policyKeyOf(policy)} ${rule}` : ""}`;

/** The oracle's verdict as a text. */
export function saidBy({ allowed, by, policy, rule, audit }: Verdict): string {
  const kind = (one: { allowed: boolean; by: string }): string =>
    one.by === "open" ? "open" : one.allowed ? "allow" : "deny";
  const enforced = text({ kind: kind({ allowed, by }), policy, rule });
  return audit ? `${enforced}, audit ${text({ kind: kind(audit), policy: audit.policy, rule: audit.rule })}` : enforced;
}

/** The rules' outcome as a text of the same form. */
export function compiledTo(outcome: ReturnType<typeof outcomeAt>): string {
  if (!outcome) return "open";
  const { kind, rule, does } = outcome;
  const one = text({ kind: kind === "audit" ? "deny" : kind, policy: rule?.policy, rule: rule?.index });
  return does ? `${compiledTo(does)}, audit ${one}` : one;
}

/** Every address that is somebody's here, and some that are nobody's. */
export const addressesOf = (world: World): string[] => [
  ...new Set([...world.pods.flatMap(({ ips }) => ips), ...world.nodes.flatMap(({ ips }) => ips), ...STRANGERS]),
];

/** Holds the rules against the oracle, for every pod here, peer, port and direction. Returns where they differ. */
export function differences(world: World, model: PolicyModel): string[] {
  const { ruleset } = model;
  const found: string[] = [];
  const ends: [Packet["protocol"], number][] = [
    ...(["TCP", "UDP", "SCTP"] as const).flatMap((protocol) =>
      [...PORTS, 65_535].map((port): [Protocol, number] => [protocol, port]),
    ),
    ["other", 0],
  ];
  const own = world.nodes.find(({ name }) => name === NODE)?.ips ?? [];
  for (const pod of world.pods.filter((one) => one.node === NODE && isSelectable(one)))
    for (const ip of pod.ips)
      for (const peer of addressesOf(world)) {
        if (peer === ip || peer.includes(":") !== ip.includes(":")) continue;
        for (const [protocol, port] of ends)
          for (const place of ["ingress", "egress", "node"] as const) {
            const ingress = place === "ingress";
            // What the node sends to its pods is judged by nobody, and what they send to it in another place.
            if (own.includes(peer) !== (place === "node")) continue;
            const packet: Packet = { source: ingress ? peer : ip, destination: ingress ? ip : peer, protocol, port };
            const wanted = saidBy(directed(world, ingress ? "ingress" : "egress", pod, packet, place === "node"));
            const got = compiledTo(outcomeAt(ruleset, place, packet));
            if (compiledTo(model.outcomeAt(place, packet)) !== got)
              found.push(`${place} ${JSON.stringify(packet)}: ${got} in maps`);
            if (wanted !== got) found.push(`${place} of ${ip} with ${peer} ${protocol} ${port}: ${wanted}, not ${got}`);
          }
      }
  return found;
}

/** Packets between pods that are here in two worlds and everybody else. */
export function packetsOf(...worlds: readonly World[]): Packet[] {
  const here = new Set(
    worlds.flatMap(({ pods }) =>
      pods.filter((pod) => pod.node === NODE && isSelectable(pod)).flatMap(({ ips }) => ips),
    ),
  );
  const everybody = new Set(worlds.flatMap(addressesOf));
  const packets: Packet[] = [];
  for (const ip of here)
    for (const peer of everybody) {
      if (peer === ip || peer.includes(":") !== ip.includes(":")) continue;
      for (const protocol of ["TCP", "UDP", "other"] as const)
        for (const port of protocol === "other" ? [0] : [53, 80, 8080])
          packets.push(
            { source: ip, destination: peer, protocol, port },
            { source: peer, destination: ip, protocol, port },
          );
    }
  return packets;
}

/** Keeps a copy of a model's rules by what its changes say alone, and holds it against them after each. */
export function follower({ ruleset }: PolicyModel): (rules: RulesetChange) => void {
  const all = (): Map<string, Map<string, unknown>> =>
    new Map([...ruleset.maps].map(([name, { elements }]) => [name, new Map<string, unknown>(elements)]));
  const copy = all();
  const chains = new Set(ruleset.chains.keys());
  return (rules) => {
    assert.ok(!rules.whole);
    for (const [name] of rules.newChains) assert.ok(!chains.has(name) && chains.add(name), name);
    for (const [name] of rules.newMaps) assert.ok(!copy.has(name) && copy.set(name, new Map()), name);
    for (const { map, come, gone } of rules.maps) {
      const elements = copy.get(map);
      assert.ok(elements, map);
      for (const [key, value] of gone) {
        assert.equal(elements.get(key), value);
        elements.delete(key);
      }
      for (const [key, value] of come) assert.ok(!elements.has(key) && elements.set(key, value));
    }
    for (const name of rules.goneMaps) assert.ok(copy.delete(name));
    for (const [name] of rules.goneChains) assert.ok(chains.delete(name));
    assert.deepEqual(copy, all());
    assert.deepEqual([...chains].sort(), [...ruleset.chains.keys()].sort());
  };
}
