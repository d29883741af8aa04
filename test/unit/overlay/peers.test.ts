import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type LocalNetwork,
  type NodeVtep,
  type Peer,
  PeerSelector,
  REFUSAL_REASONS,
  selectPeers,
} from "../../../src/peers/index.ts";
import { cidrsOverlap } from "../../../src/addr/index.ts";
import { createdAt, local, nodeOf, peer } from "./support.ts";

const KEY = `${"A".repeat(42)}I=`;

const verdicts = (...nodes: ReturnType<typeof nodeOf>[]) => {
  const { peers, refused } = selectPeers({ ...local, encryption: "wireguard" }, nodes);
  return { peers: peers.map(({ node }) => node), refused: refused.map(({ node, reason }) => `${node} ${reason}`) };
};

const byName = (peers: Iterable<Peer>): Peer[] => [...peers].sort((a, b) => (a.node < b.node ? -1 : 1));

function take<T>(into: Map<string, T>, changes: ReadonlyMap<string, T | undefined>): void {
  for (const [name, one] of changes) {
    if (one) into.set(name, one);
    else into.delete(name);
  }
}

describe("the selection of peers", () => {
  it("takes every node that published its VTEP, and leaves out this one and those that did not", () => {
    const silent = { name: "silent", creationTimestamp: createdAt(5) };
    const elsewhere = { ...silent, name: "elsewhere", vtepAnnotation: '{"blue":{"vni":1}}' };
    const { peers, refused } = selectPeers(local, [nodeOf(0), nodeOf(1), silent, elsewhere, nodeOf(2)]);
    assert.deepEqual(peers, [peer(1), peer(2)]);
    assert.deepEqual(refused, []);
  });

  it("remembers another VNI and port of a peer, so that a roll-out of new ones splits no cluster", () => {
    assert.deepEqual(selectPeers(local, [nodeOf(1, { vni: 5000, port: 8472 })]).peers, [
      { ...peer(1), vni: 5000, port: 8472 },
    ]);
  });

  it("remembers of a peer that it publishes addresses of claims, by which others know that they have to look", () => {
    const { peers } = selectPeers(local, [nodeOf(1, { claims: true }), nodeOf(2, { claims: false })]);
    assert.deepEqual(peers, [{ ...peer(1), claims: true }, peer(2)]);
    const { refused } = selectPeers(local, [nodeOf(1, { claims: "yes" })]);
    assert.deepEqual(
      refused.map(({ reason }) => reason),
      ["BadAnnotation"],
    );
  });

  it("remembers of a peer how it takes what is encrypted, where this node encrypts", () => {
    const wireguard = { key: KEY, port: 51_871 };
    const nodes = [nodeOf(1, { wireguard }), nodeOf(2)];
    assert.deepEqual(selectPeers({ ...local, encryption: "strict" }, nodes).peers, [
      { ...peer(1), wireguard },
      peer(2),
    ]);
    assert.deepEqual(selectPeers(local, nodes).peers, [peer(1), peer(2)]);
  });

  it("takes the underlay address of our own family", () => {
    const both = { ips: ["172.30.0.101", "fd30::1"] };
    const v6 = { ...local, underlayIp: "fd30::100" };
    assert.equal(selectPeers(local, [nodeOf(1, both)]).peers[0]?.underlayIp, "172.30.0.101");
    assert.equal(selectPeers(v6, [nodeOf(1, { ips: both.ips.toReversed() })]).peers[0]?.underlayIp, "fd30::1");
    // Its device has the first one.
    assert.deepEqual(
      selectPeers(v6, [nodeOf(1, both)]).refused.map(({ message }) => message),
      ["it receives over IPv4 (172.30.0.101), this node's over IPv6 (fd30::100)"],
    );
    assert.deepEqual(verdicts(nodeOf(1, { ips: ["fd30::1"] })).refused, ["node1 NoUnderlayAddress"]);
  });

  it("lets the older of two nodes win, by creation and then by name, in whatever order they come", () => {
    const cases: [string, Record<string, unknown>][] = [
      ["DuplicateVtepIp", { ips: ["172.30.0.101"] }],
      ["DuplicateVtepMac", { mac: peer(1).mac }],
      ["DuplicateWireguardKey", { wireguard: { key: KEY, port: 9 } }],
      ["OverlappingPodCidr", { podCidrs: ["10.244.0.0/17"] }],
      ["OverlappingPodCidr", { podCidrs: ["10.244.1.128/25"] }],
      ["OverlappingPodCidr", { podCidrs: ["10.99.0.0/24", "fd00:10:244:1::/64"] }],
      ["UnderlayInPodCidr", { ips: ["10.244.1.5"] }],
    ];
    for (const [reason, other] of cases) {
      const [older, younger] = [nodeOf(1, { wireguard: { key: KEY, port: 51_871 } }), nodeOf(2, other)];
      const expected = { peers: ["node1"], refused: [`node2 ${reason}`] };
      if (other["podCidrs"]?.toString() === "10.244.0.0/17") expected.refused = ["node2 CollidesWithSelf"];
      assert.deepEqual(verdicts(older, younger), expected);
      assert.deepEqual(verdicts(younger, older), expected);
      const twin = { ...younger, creationTimestamp: older.creationTimestamp };
      assert.deepEqual(verdicts(twin, older), expected);
    }
  });

  it("takes a key that a node goes over to for its own, whoever else has it or goes over to it", () => {
    const next = `${"B".repeat(42)}I=`;
    const older = nodeOf(1, { wireguard: { key: KEY, port: 51_871, slot: 0, next } });
    for (const wireguard of [
      { key: next, port: 51_871, slot: 0 },
      { key: `${"C".repeat(42)}I=`, port: 51_871, slot: 1, next },
      { key: `${"C".repeat(42)}I=`, port: 51_871, slot: 0, next: KEY },
    ]) {
      const expected = { peers: ["node1"], refused: ["node2 DuplicateWireguardKey"] };
      assert.deepEqual(verdicts(older, nodeOf(2, { wireguard })), expected);
      assert.deepEqual(verdicts(nodeOf(2, { wireguard }), older), expected);
    }
    assert.deepEqual(verdicts(nodeOf(1, { wireguard: { key: next, port: 51_873, slot: 1 } })).refused, []);
  });

  it("lets no pod CIDR cover an older node's underlay address", () => {
    const older = nodeOf(1, { ips: ["172.30.9.5"] });
    assert.deepEqual(verdicts(older, nodeOf(2, { podCidrs: ["172.30.9.4/30"] })), {
      peers: ["node1"],
      refused: ["node2 UnderlayInPodCidr"],
    });
  });

  it("refuses what is ours, however old the other node is", () => {
    for (const other of [
      { ips: [local.underlayIp] },
      { mac: local.mac },
      { podCidrs: ["10.244.0.128/25"] },
      { podCidrs: ["10.240.0.0/12"] },
      { podCidrs: ["172.30.0.0/24"], ips: ["192.168.0.1"] },
      { ips: ["10.244.0.9"] },
    ]) {
      assert.deepEqual(verdicts({ ...nodeOf(1, other), creationTimestamp: "1999-01-01T00:00:00Z" }), {
        peers: [],
        refused: ["node1 CollidesWithSelf"],
      });
    }
  });

  it("lets an isolated network have any CIDRs, those of the underlay too, but each of them once", () => {
    const isolated = { ...local, network: "blue", podCidrs: ["172.30.0.0/26"], isolated: true };
    const nodes = [["172.30.0.64/26", "172.30.0.128/26"], ["172.30.0.128/26"], ["172.30.0.192/26"]].map(
      (podCidrs, i): NodeVtep => {
        const node = nodeOf(i + 1, { podCidrs });
        return {
          ...node,
          blocks: podCidrs,
          vtepAnnotation: `{"blue":${node.vtepAnnotation?.slice('{"default":'.length, -1)}}`,
        };
      },
    );
    const { peers, refused } = selectPeers(isolated, nodes);
    assert.deepEqual(
      peers.map(({ node }) => node),
      ["node1", "node3"],
    );
    assert.deepEqual(
      refused.map(({ node, reason }) => `${node} ${reason}`),
      ["node2 OverlappingPodCidr"],
    );
  });

  it("takes on a network that routes nothing those that route nothing either", () => {
    const entry = { vni: 7, mac: peer(1).mac, ips: ["172.30.0.101"], port: 4789 };
    const node = (n: number, podCidrs: string[]): NodeVtep => ({
      name: `node${n}`,
      creationTimestamp: createdAt(n),
      vtepAnnotation: JSON.stringify({ green: { ...entry, podCidrs } }),
      blocks: ["10.0.0.0/24"],
    });
    const green: LocalNetwork = { ...local, network: "green", vni: 7, podCidrs: [], isolated: true };
    assert.deepEqual(selectPeers(green, [node(1, [])]).peers[0]?.podCidrs, []);
    assert.equal(selectPeers(green, [node(1, ["10.0.0.0/24"])]).refused[0]?.reason, "NoCommonFamily");
  });

  it("takes of a node in a pod network what it has blocks for, whatever it announces", () => {
    const blue: LocalNetwork = { ...local, network: "blue", podCidrs: ["10.50.0.0/26"], isolated: true };
    const node = (podCidrs: string[], blocks?: string[]): NodeVtep => {
      const { vtepAnnotation = "", ...rest } = nodeOf(3, { podCidrs });
      const named = `{"blue":${vtepAnnotation.slice('{"default":'.length, -1)}}`;
      return { ...rest, ...(blocks && { blocks }), vtepAnnotation: named };
    };
    const taken = (one: NodeVtep) => {
      const { peers, refused } = selectPeers(blue, [one]);
      return peers[0]?.podCidrs ?? `${refused[0]?.reason} ${refused[0]?.message}`;
    };
    const [one, two] = ["10.50.3.0/26", "10.50.3.64/26"];
    assert.deepEqual(taken(node([one, two], [two, one])), [one, two]);
    assert.deepEqual(taken(node([one, two], [two])), [two]);
    assert.match(
      String(taken(node([one]))),
      /^NoNetworkBlock .*network blue with 10.50.3.0\/26, and has no NetworkBlock/,
    );
    assert.match(String(taken(node([one], []))), /^NoNetworkBlock/);
    assert.match(String(taken(node([one], [two]))), /^NoNetworkBlock .*its NetworkBlocks there are 10.50.3.64\/26/);
    // Wider or narrower is another block's.
    assert.match(String(taken(node(["10.50.0.0/16"], [one]))), /^NoNetworkBlock/);
    const segment: LocalNetwork = { ...blue, podCidrs: [] };
    assert.match(String(selectPeers(segment, [node([])]).refused[0]?.reason), /^NoNetworkBlock/);
    assert.deepEqual(selectPeers(segment, [node([], [one])]).peers[0]?.podCidrs, []);
  });

  it("refuses CIDRs outside the cluster's where those are configured, and nodes of other families only", () => {
    const configured = { ...local, clusterCidrs: ["10.244.0.0/16", "fd00:10:244::/48"] };
    const { peers, refused } = selectPeers(configured, [nodeOf(1), nodeOf(2, { podCidrs: ["10.9.0.0/24"] })]);
    assert.deepEqual(peers, [peer(1)]);
    assert.equal(refused[0]?.reason, "ForeignPodCidr");
    const only4 = { ...local, podCidrs: ["10.244.0.0/24"] };
    assert.equal(selectPeers(only4, [nodeOf(1, { podCidrs: ["fd00:9::/64"] })]).refused[0]?.reason, "NoCommonFamily");
  });

  it("restricts only the family that cluster CIDRs are configured for", () => {
    const configured = { ...local, clusterCidrs: ["10.244.0.0/16"] };
    assert.deepEqual(selectPeers(configured, [nodeOf(1)]), { peers: [peer(1)], refused: [] });
  });

  it("lets a refused node claim nothing", () => {
    const bad = nodeOf(1, { mac: local.mac });
    assert.deepEqual(verdicts(bad, nodeOf(2, { podCidrs: peer(1).podCidrs, ips: [peer(1).underlayIp] })), {
      peers: ["node2"],
      refused: ["node1 CollidesWithSelf"],
    });
  });

  it("says who refused whom and why, for the reader", () => {
    const [refusal] = selectPeers(local, [nodeOf(1), nodeOf(2, { podCidrs: ["10.244.1.0/25"] })]).refused;
    assert.equal(refusal?.message, "its pod CIDR 10.244.1.0/25 overlaps that of the older node node1");
  });

  const anyNode = fc
    .record({
      n: fc.integer({ min: 0, max: 12 }),
      age: fc.integer({ min: 0, max: 12 }),
      other: fc.option(
        fc.oneof(
          fc.record({
            ips: fc.array(fc.constantFrom("172.30.0.100", "172.30.0.101", "172.30.0.102", "10.244.3.4", "x")),
          }),
          fc.record({ mac: fc.constantFrom("02:00:00:00:00:00", "02:00:00:00:00:01", "zz") }),
          fc.record({
            podCidrs: fc.array(
              fc.constantFrom("10.244.0.0/16", "10.244.2.0/23", "10.244.3.0/24", "172.30.0.0/25", "fd00::/32"),
            ),
          }),
          fc.record({ vni: fc.constantFrom(1, 4096, "x") }),
        ),
        { nil: undefined },
      ),
    })
    .map(({ n, age, other }) => ({ ...nodeOf(n, other), creationTimestamp: createdAt(age) }));
  const hostile = fc
    .tuple(fc.string(), fc.oneof(fc.string(), fc.json()))
    .map(([name, vtepAnnotation]) => ({ name: `x${name}`, creationTimestamp: createdAt(1), vtepAnnotation }));
  const cluster = fc.uniqueArray(fc.oneof(anyNode, hostile), { selector: ({ name }) => name, maxLength: 14 });

  it("gives peers that conflict with nobody, and one verdict for every node, whatever nodes say", () => {
    fc.assert(
      fc.property(cluster, (nodes) => {
        const { peers, refused } = selectPeers(local, nodes);
        const claims = [local, ...peers];
        assert.equal(new Set(claims.map(({ mac }) => mac)).size, claims.length);
        assert.equal(new Set(claims.map(({ underlayIp }) => underlayIp)).size, claims.length);
        const cidrs = claims.flatMap(({ podCidrs }) => podCidrs);
        for (const [i, a] of cidrs.entries()) {
          for (const b of cidrs.slice(i + 1)) assert.ok(!cidrsOverlap(a, b), `${a} ${b}`);
          for (const { underlayIp } of claims) assert.ok(!cidrsOverlap(a, `${underlayIp}/32`), `${a} ${underlayIp}`);
        }
        for (const { reason } of refused) assert.ok(REFUSAL_REASONS.includes(reason));
        const accepted = new Set(peers.map(({ node }) => node));
        for (const { message } of refused) {
          const [, other] = / of the older node (node\d+)$/.exec(message) ?? [];
          assert.ok(other === undefined || accepted.has(other), message);
        }
        const judged = [...peers, ...refused].map(({ node }) => node);
        assert.equal(new Set(judged).size, judged.length);
        assert.ok(!judged.includes(local.node));
      }),
      { numRuns: 150 },
    );
  });

  it("gives the same for any order of nodes, and a node that conflicts with nobody is always taken", () => {
    fc.assert(
      fc.property(cluster, fc.infiniteStream(fc.nat()), (nodes, dice) => {
        const good = { ...nodeOf(150, { podCidrs: ["192.168.200.0/24"], mac: "02:00:00:00:09:09" }) };
        const all = [...nodes, good];
        const shuffled = all
          .map((node) => ({ node, at: dice.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ node }) => node);
        const selection = selectPeers(local, all);
        assert.deepEqual(selectPeers(local, shuffled), selection);
        assert.ok(selection.peers.some(({ node }) => node === good.name));
      }),
      { numRuns: 100 },
    );
  });

  it("comes to the same by changes, in whatever steps Nodes come, change and go", () => {
    const step = fc.array(fc.oneof(anyNode, hostile), { maxLength: 4 });
    const going = fc.array(fc.nat({ max: 14 }), { maxLength: 3 });
    fc.assert(
      fc.property(fc.array(fc.tuple(step, going), { minLength: 1, maxLength: 12 }), (steps) => {
        const selector = new PeerSelector(local);
        const now = new Map<string, NodeVtep>();
        const told = new Map<string, Peer>();
        for (const [coming, going] of steps) {
          const changes = new Map<string, NodeVtep | undefined>(coming.map((node) => [node.name, node]));
          for (const n of going) changes.set([...now.keys()][n] ?? "nobody", undefined);
          take(now, changes);
          const before = new Map(selector.refused);
          const { peers, refusals } = selector.update(changes);
          take(told, peers);
          const whole = selectPeers(local, [...now.values()]);
          assert.deepEqual(selector.inOrder(), whole);
          assert.deepEqual(byName(told.values()), byName(whole.peers));
          assert.deepEqual(byName(selector.peers.values()), byName(whole.peers));
          if (!refusals) assert.deepEqual(new Map(selector.refused), before);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("takes a refused node as soon as what refused it has gone, and refuses it again when that comes back", () => {
    const selector = new PeerSelector(local);
    const [first, second, third] = [
      nodeOf(1),
      nodeOf(2, { mac: peer(1).mac }),
      nodeOf(3, { ips: [peer(2).underlayIp] }),
    ];
    const names = (): string[] => [...selector.peers.keys()].sort();
    selector.update([first, second, third].map((node) => [node.name, node]));
    assert.deepEqual(names(), ["node1", "node3"]);
    assert.deepEqual(
      [...selector.update([["node1", undefined]]).peers].map(([node, one]) => [node, one !== undefined]),
      [
        ["node1", false],
        ["node2", true],
        ["node3", false],
      ],
    );
    selector.update([["node1", first]]);
    assert.deepEqual(names(), ["node1", "node3"]);
  });

  it("takes five thousand nodes in its stride", () => {
    const nodes = Array.from({ length: 5_000 }, (_, i) => {
      const [hi, lo] = [i >> 8, i & 255];
      return nodeOf(1, {
        mac: `02:01:00:00:${hi.toString(16).padStart(2, "0")}:${lo.toString(16).padStart(2, "0")}`,
        ips: [`172.31.${hi}.${lo}`],
        podCidrs: [`10.${hi}.${lo}.0/24`, `fd01:0:${hi.toString(16)}:${lo.toString(16)}::/64`],
      });
    }).map((node, i) => ({ ...node, name: `big${i}` }));
    const { peers, refused } = selectPeers({ ...local, podCidrs: ["10.244.0.0/24", "fd00::/64"] }, nodes);
    assert.equal(peers.length, 5_000);
    assert.deepEqual(refused, []);
  });
});
