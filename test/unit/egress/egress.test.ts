import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { parse } from "yaml";
import { type EgressGatewayInfo, holdersOf, ObjectError, parseEgressGateway } from "../../../src/crd/index.ts";
import {
  announcementOf,
  answersFor,
  type EgressWanted,
  type GatewayNode,
  GatewayNumbers,
  renderEgress,
} from "../../../src/dataplane/egress/index.ts";
import { renderRuleset } from "../../../src/dataplane/nft/index.ts";
import { assign, distribute, egressStatus, planNode, ranked, select, type Taken } from "../../../src/egress/index.ts";

const object = (spec: object, name = "out", more: object = {}): object => ({
  metadata: { name, uid: `u-${name}`, resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z", ...more },
  spec: { podSelector: {}, nodeSelector: {}, egressAddresses: ["192.0.2.1"], ...spec },
});
const gateway = (spec: object, name?: string, more?: object): EgressGatewayInfo =>
  parseEgressGateway(object(spec, name, more));

describe("EgressGateway objects", () => {
  it("are read in canonical form", () => {
    const { addresses, destinations, podSelector, namespaceSelector } = gateway({
      egressAddresses: ["192.0.2.1", "2001:DB8::0:1"],
      destinationCIDRs: ["198.51.100.0/24"],
    });
    assert.deepEqual(addresses, ["192.0.2.1", "2001:db8::1"]);
    assert.deepEqual(destinations, ["198.51.100.0/24"]);
    assert.ok(podSelector && !namespaceSelector);
  });

  it("are what the documentation shows", () => {
    const text = readFileSync(fileURLToPath(new URL("../../../docs/egress.md", import.meta.url)), "utf8");
    const [, example = ""] = /```yaml\n(.*?)```/s.exec(text) ?? [];
    const shown = parse(example) as { metadata: { name: string }; spec: object };
    assert.equal(gateway(shown.spec, shown.metadata.name).addresses.length, 3);
  });

  it("are refused by the key that makes no sense", () => {
    const wrong: [object, RegExp][] = [
      [{ egressAddresses: [] }, /spec\.egressAddresses is \[\]; it must be a list of 1 to 16/],
      [{ egressAddresses: ["192.0.2.1; drop"] }, /spec\.egressAddresses\[0\]/],
      [{ egressAddresses: ["224.0.0.1"] }, /a unicast address/],
      [{ egressAddresses: ["127.0.0.1"] }, /a unicast address/],
      [{ egressAddresses: ["2001:db8::1", "2001:DB8:0::1"] }, /there once/],
      [{ egressAddresses: ["192.0.2.1/32"] }, /an IP address/],
      [{ destinationCIDRs: ["198.51.100.1/24"] }, /spec\.destinationCIDRs\[0\]/],
      [{ destinationCIDRs: Array.from({ length: 33 }, () => "198.51.100.0/24") }, /at most 32/],
      [{ podSelector: null, namespaceSelector: undefined }, /spec\.podSelector is nothing; it must be there/],
      [{ nodeSelector: undefined }, /spec\.nodeSelector/],
      [
        { nodeSelector: { matchExpressions: [{ key: "a", operator: "Near" }] } },
        /spec\.nodeSelector\.matchExpressions\[0\]/,
      ],
    ];
    for (const [spec, pattern] of wrong)
      assert.throws(
        () => gateway(spec),
        (error) => error instanceof ObjectError && pattern.test(error.message),
        JSON.stringify(spec),
      );
  });

  it("have holders by their status, of which what makes no sense is nobody", () => {
    const one = { address: "192.0.2.1", node: "n1", generation: 1 };
    const of = (...addresses: unknown[]): unknown => holdersOf({ status: { addresses } });
    assert.deepEqual(of(one), [one]);
    assert.deepEqual(of(one, { ...one, node: "n2" }), [], "two say that they have it");
    assert.deepEqual(of({ ...one, node: "../x" }, { ...one, address: "x" }, { ...one, generation: 1.5 }, null, 7), []);
    fc.assert(fc.property(fc.anything(), (status) => Array.isArray(holdersOf({ status }))));
  });
});

describe("addresses of egress gateways", () => {
  const names = fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,8}$/), { minLength: 1, maxLength: 8 });

  it("are given to all nodes alike, and the same whoever asks", () => {
    fc.assert(
      fc.property(names, names, (addresses, nodes) => {
        const given = distribute(addresses, nodes);
        assert.deepEqual(given, distribute(addresses.toReversed(), nodes.toReversed()));
        const most = Math.ceil(addresses.length / nodes.length);
        for (const [, those] of Map.groupBy(given.values(), (node) => node)) assert.ok(those.length <= most);
        assert.equal(given.size, addresses.length);
      }),
    );
  });

  it("stay with a live node, and move alone when theirs dies", () => {
    fc.assert(
      fc.property(names, names, (addresses, nodes) => {
        const all = new Set(nodes);
        const first = assign(addresses, [], { all, live: nodes, mayMove: () => false });
        const [dead, ...live] = nodes as [string, ...string[]];
        const then = assign(addresses, first, { all, live, mayMove: () => false });
        for (const [i, holder] of then.entries()) {
          const before = first[i];
          if (before?.node !== dead || live.length === 0) assert.deepEqual(holder, before);
          else assert.deepEqual([holder.generation, live.includes(holder.node)], [2, true]);
        }
        // It goes back once it may.
        const back = assign(addresses, then, { all, live: nodes, mayMove: () => true });
        assert.deepEqual(
          back.map(({ node }) => node),
          first.map(({ node }) => node),
        );
      }),
    );
  });

  it("leave a node that is no candidate any more, also where there is no other", () => {
    const held = [{ address: "a", node: "n1", generation: 3 }];
    assert.deepEqual(assign(["a"], held, { all: new Set(), live: [], mayMove: () => false }), []);
    assert.deepEqual(assign(["a"], held, { all: new Set(["n2"]), live: ["n2"], mayMove: () => false }), [
      { address: "a", node: "n2", generation: 4 },
    ]);
  });

  it("rank the same for everybody", () => {
    assert.deepEqual(ranked("pod", ["a", "b", "c"]), ranked("pod", ["c", "b", "a"]));
  });
});

const TAKEN: Taken = { nodeOf: () => undefined, apiServer: [], pods: ["10.244.0.0/16"], services: ["10.96.0.0/12"] };
const pod = (name: string, ips: string[], labels = {}, node = "n1") => ({
  key: `ns/${name}`,
  namespace: "ns",
  labels,
  node,
  ips,
});

describe("selection of pods for egress gateways", () => {
  it("gives a pod to the oldest gateway that has an address of its family", () => {
    const young = gateway({ egressAddresses: ["192.0.2.9", "2001:db8::9"] }, "young", {
      creationTimestamp: "2026-02-01T00:00:00Z",
    });
    const old = gateway({ egressAddresses: ["192.0.2.1"] }, "old");
    const [first, second] = select([young, old], [pod("a", ["10.244.1.5", "fd00::5"])], new Map(), TAKEN);
    assert.deepEqual(first?.pods, [{ key: "ns/a", node: "n1", ip: "10.244.1.5", address: "192.0.2.1" }]);
    assert.deepEqual(second?.pods, [{ key: "ns/a", node: "n1", ip: "fd00::5", address: "2001:db8::9" }]);
  });

  it("asks pods and their namespaces, and what is absent restricts nothing", () => {
    const both = gateway({
      podSelector: { matchLabels: { app: "a" } },
      namespaceSelector: { matchLabels: { team: "x" } },
    });
    const chosen = (labels: object, namespace: Record<string, string>, of = both): number =>
      select([of], [pod("p", ["10.244.1.5"], labels)], new Map([["ns", namespace]]), TAKEN)[0]?.pods.length ?? -1;
    assert.deepEqual(
      [chosen({ app: "a" }, { team: "x" }), chosen({ app: "a" }, {}), chosen({}, { team: "x" })],
      [1, 0, 0],
    );
    const byNamespace = gateway({ podSelector: undefined, namespaceSelector: { matchLabels: { team: "x" } } });
    assert.deepEqual([chosen({}, { team: "x" }, byNamespace), chosen({}, {}, byNamespace)], [1, 0]);
  });

  it("refuses addresses that others have, by name, and drops rather than leave behind another", () => {
    const taken: Taken = {
      ...TAKEN,
      nodeOf: (ip) => (ip === "192.0.2.7" ? "n7" : undefined),
      apiServer: ["192.0.2.8"],
    };
    const addresses = ["192.0.2.7", "192.0.2.8", "10.244.9.9", "10.96.0.1"];
    const [one] = select([gateway({ egressAddresses: addresses })], [pod("a", ["10.244.1.5"])], new Map(), taken);
    assert.deepEqual(
      [...(one?.refused ?? [])],
      [
        ["192.0.2.7", "it is an address of node n7"],
        ["192.0.2.8", "it is the API server's"],
        ["10.244.9.9", "it is a pod's (10.244.0.0/16)"],
        ["10.96.0.1", "it is a Service's (10.96.0.0/12)"],
      ],
    );
    assert.deepEqual([one?.usable, one?.pods[0]?.address], [[], undefined]);
    const [, younger] = select([gateway({}), gateway({}, "zz")], [], new Map(), TAKEN);
    assert.deepEqual([...(younger?.refused.values() ?? [])], ["EgressGateway out has it, which is older"]);
  });
});

const N2: GatewayNode = { node: "n2", underlayIp: "172.30.0.12", vteps: { 4: "10.244.2.0" } };
const plan = (node: string, holder: string | undefined, letGo = false): EgressWanted => {
  const selected = select(
    [gateway({})],
    [pod("a", ["10.244.1.5"]), pod("b", ["10.244.2.5"], {}, "n2")],
    new Map(),
    TAKEN,
  );
  const holders = holder === undefined ? [] : [{ address: "192.0.2.1", node: holder, generation: 1 }];
  return planNode(selected, new Map([["out", holders]]), {
    node,
    gatewayNode: (name) => (name === "n2" ? N2 : undefined),
    mayHold: (_gateway, name) => name !== "rogue",
    letGo: () => letGo,
    inside: ["10.244.0.0/16", "172.30.0.11/32"],
    device: "sky.759",
    uplink: 3,
  });
};

describe("the plan of egress gateways on a node", () => {
  it("leads own pods to the node that has their address, and takes those of all where that is this one", () => {
    const there = plan("n1", "n2");
    assert.deepEqual(
      there.ways.map(({ pods, by }) => [pods, by]),
      [[["10.244.1.5"], N2]],
    );
    assert.deepEqual([there.addresses, there.through.size], [[], 0]);
    const here = plan("n2", "n2");
    assert.deepEqual(
      here.ways.map(({ pods, by }) => [pods, by]),
      [[["10.244.2.5"], "here"]],
    );
    assert.deepEqual([here.addresses, [...here.through.keys()]], [["192.0.2.1"], ["10.244.1.5", "10.244.2.5"]]);
  });

  it("has nobody do what is not a candidate, is no peer, has let go or is not said", () => {
    for (const wanted of [plan("n1", "rogue"), plan("n1", "n9"), plan("n1", undefined), plan("n2", "n2", true)]) {
      assert.equal(wanted.ways[0]?.by, undefined);
      assert.deepEqual([wanted.addresses, wanted.through.size], [[], 0]);
      assert.match(renderEgress(wanted, new Map()), /counter drop comment "nobody has the egress address"/);
    }
  });

  it("lets answers in from the gateway's own address, for its own pods, behind all that peers may send", () => {
    const wanted = plan("n1", "n2");
    assert.deepEqual(answersFor(wanted), [{ pod: "10.244.1.5", gateway: "172.30.0.12" }]);
    const network = {
      network: "default",
      vni: 759,
      port: 4789,
      peers: ["172.30.0.12"],
      sources: () => [{ node: "n2", ip: "172.30.0.12", cidrs: ["10.244.2.0/24"] }],
      podCidrs: ["10.244.1.0/24"],
      clusterCidrs: [],
      masquerade: { enabled: true, exclude: [] },
    };
    const [without, text] = [
      renderRuleset([network]),
      renderRuleset([network], undefined, false, () => answersFor(wanted)),
    ];
    assert.doesNotMatch(without, /answers|0x3f00/);
    assert.match(
      text,
      /set answers4_over4_759 \{\n    typeof ip saddr \. @th,368,32\n    elements = \{ 172\.30\.0\.12 \. 0x0af40105 \}/,
    );
    const [source, answer, drop] = [
      "@source4_24_over4_759 accept",
      "@answers4_over4_759 meta mark set",
      "not an address of the peer",
    ].map((part) => text.indexOf(part));
    assert.ok((source as number) < (answer as number) && (answer as number) < (drop as number));
  });

  it("numbers gateways' nodes for as long as they are any, and no more than marks can tell apart", () => {
    const numbers = new GatewayNumbers();
    assert.deepEqual(
      [...numbers.of(["b", "a"])],
      [
        ["a", 1],
        ["b", 2],
      ],
    );
    assert.deepEqual(
      [...numbers.of(["b", "c"])],
      [
        ["b", 2],
        ["c", 1],
      ],
    );
    assert.equal(numbers.of(Array.from({ length: 100 }, (_, i) => `n${i}`)).size, 61);
  });

  it("gives nft nothing that is no address", () => {
    const wanted = plan("n2", "n2");
    const hostile = "x } ; flush ruleset";
    assert.throws(() => renderEgress({ ...wanted, through: new Map([[hostile, "192.0.2.1"]]) }, new Map()), RangeError);
    assert.throws(() => renderEgress({ ...wanted, addresses: [hostile] }, new Map()), RangeError);
    assert.throws(() => renderEgress({ ...wanted, inside: [hostile] }, new Map()), RangeError);
    const [way] = wanted.ways;
    assert.ok(way);
    assert.throws(() => renderEgress({ ...wanted, ways: [{ ...way, pods: [hostile] }] }, new Map()), RangeError);
    assert.throws(() => renderEgress({ ...wanted, ways: [{ ...way, to: [hostile] }] }, new Map()), RangeError);
  });
});

describe("the status of egress gateways", () => {
  const facts = {
    holders: [{ address: "192.0.2.1", node: "n1", generation: 1 }],
    pods: 2,
    refused: new Map<string, string>(),
    unheld: [],
  };
  const NOW = "2026-01-02T00:00:00Z";
  const ready = (more: object): unknown => {
    const status = egressStatus({ status: {}, generation: 4 }, { ...facts, ...more }, NOW);
    assert.ok(status);
    return (status["conditions"] as unknown[])[0];
  };

  it("says who has what, and nothing again that it says already, in whatever order", () => {
    const status = egressStatus({ status: {}, generation: 4 }, facts, NOW);
    assert.ok(status);
    assert.equal(egressStatus({ status, generation: 4 }, facts, "2026-01-03T00:00:00Z"), undefined);
    const [address] = status["addresses"] as Record<string, unknown>[];
    const turned = { ...status, addresses: [Object.fromEntries(Object.entries(address ?? {}).toReversed())] };
    assert.equal(egressStatus({ status: turned, generation: 4 }, facts, NOW), undefined);
    assert.ok(egressStatus({ status, generation: 5 }, facts, NOW));
  });

  it("says why not", () => {
    for (const [more, reason, message] of [
      [{ fault: "spec.x is wrong" }, "Invalid", /spec\.x is wrong/],
      [
        { refused: new Map([["192.0.2.1", "it is a pod's"]]) },
        "AddressRefused",
        /192\.0\.2\.1 cannot be used: it is a pod's/,
      ],
      [{ unheld: ["192.0.2.1"] }, "NoNode", /no live node .* has 192\.0\.2\.1/],
    ] as const) {
      const said = ready(more) as { status: string; reason: string; message: string };
      assert.deepEqual([said.status, said.reason], ["False", reason]);
      assert.match(said.message, message);
    }
  });
});

describe("announcements of egress addresses", () => {
  it("are an ARP announcement and an unsolicited neighbour advertisement", () => {
    const mac = "02:00:00:00:00:01";
    assert.equal(
      announcementOf("192.0.2.1", mac).toString("hex"),
      "ffffffffffff" +
        "020000000001" +
        "0806" +
        "0001080006040001" +
        "020000000001" +
        "c0000201" +
        "000000000000" +
        "c0000201",
    );
    const nd = announcementOf("fd30::100", mac);
    const ip = "fd300000000000000000000000000100";
    const checksum = nd.toString("hex", 56, 58);
    assert.equal(
      nd.toString("hex"),
      `33330000000102000000000186dd6000000000203aff${ip}ff020000000000000000000000000001` +
        `8800${checksum}a0000000${ip}0201020000000001`,
    );
    // RFC 4443, section 2.3: with its checksum the sum over pseudo header and message is all ones.
    const pseudo = Buffer.concat([nd.subarray(22, 54), Buffer.from("000000200000003a", "hex"), nd.subarray(54)]);
    let sum = 0;
    for (let at = 0; at < pseudo.length; at += 2) sum += pseudo.readUInt16BE(at);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    assert.equal(sum, 0xffff);
  });
});
