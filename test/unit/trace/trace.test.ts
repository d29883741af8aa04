/** The steps of a packet's way, what is made of faults in them, and how two nodes' halves become one trace. */
import assert from "node:assert/strict";
import { join, parseHalf, type Trace } from "../../../src/cli/trace/join.ts";
import { judge } from "../../../src/cli/trace/judge.ts";
import type { KnownNetwork, Knowledge } from "../../../src/cli/trace/plan/knowledge.ts";
import { planHalf } from "../../../src/cli/trace/plan/plan.ts";
import type { Step } from "../../../src/cli/trace/plan/step.ts";
import type { Found } from "../../../src/cli/trace/read/found.ts";
import { renderTrace } from "../../../src/cli/trace/render.ts";
import type { Half } from "../../../src/cli/trace/types.ts";
import { OVERLAY_LINK_GROUP } from "../../../src/netlink/index.ts";
import { healthy, knowledge, MACS, peerOf } from "./knowledge.ts";

/** A fault by the name of the hop: what is found of it instead. */
type Faults = Readonly<Record<string, (step: Step) => Found>>;

function halfOf(known: Knowledge, faults: Faults = {}): Half {
  const { steps, ...half } = planHalf(known);
  const looked = steps.map((step) => ({ step, found: (faults[step.hop] ?? healthy)(step) }));
  return { ...half, hops: judge(half.node, looked) };
}

const traceWith = (
  family: 4 | 6,
  faults: { 1?: Faults; 2?: Faults },
  more: { 1?: Partial<Knowledge>; 2?: Partial<Knowledge> } = {},
): Trace => join(halfOf(knowledge(1, family, more[1]), faults[1]), halfOf(knowledge(2, family, more[2]), faults[2]));

const first = ({ wrong }: Trace): string | undefined => wrong && `${wrong.node} ${wrong.hop}`;

const hopsOf = (known: Knowledge): string[] => planHalf(known).steps.map(({ hop }) => hop);

for (const family of [4, 6] as const)
  describe(`a trace through the tunnel, IPv${family}`, () => {
    it("goes from the pod's link to the other pod's address", () => {
      assert.deepEqual(hopsOf(knowledge(1, family)), [
        "pod.link",
        "pod.address",
        "pod.route",
        "pod.neighbour",
        "source.host-end",
        "policy.egress",
        "source.forwarding",
        "source.conntrack",
        "peer",
        "source.device",
        "route",
        "neighbour",
        "fdb",
        "underlay",
        "tunnel",
      ]);
      assert.deepEqual(hopsOf(knowledge(2, family)), [
        "firewall",
        "destination.device",
        "destination.forwarding",
        "destination.pod",
        "destination.route",
        "policy.ingress",
        "destination.host-end",
        "destination.neighbour",
        "destination.link",
        "destination.address",
      ]);
    });

    it("plans the entries that the overlay has for the peer", () => {
      const { steps } = planHalf(knowledge(1, family));
      const step = <K extends Step["kind"]>(hop: string): Extract<Step, { kind: K }> =>
        steps.find((one) => one.hop === hop) as Extract<Step, { kind: K }>;
      const vtep = family === 4 ? "10.244.2.0" : "fd00:2::";
      assert.equal(step<"route">("route").gateway, vtep);
      assert.deepEqual([step<"neighbour">("neighbour").ip, step<"neighbour">("neighbour").mac], [vtep, MACS.node2]);
      assert.deepEqual([step<"fdb">("fdb").mac, step<"fdb">("fdb").dst], [MACS.node2, ["172.30.0.12"]]);
      assert.equal(step<"route">("pod.route").gateway, family === 4 ? "169.254.1.1" : "fe80::1");
    });

    it("finds nothing wrong where all is as it should be", () => {
      const trace = traceWith(family, {});
      assert.ok(trace.ok && trace.whole && trace.missing === undefined);
      assert.deepEqual(
        trace.hops.filter(({ state }) => state !== "ok"),
        [],
      );
      assert.match(renderTrace(trace), /Nothing is wrong on this way\./);
    });

    const cases: [title: string, on: 1 | 2, hop: string, found: (step: Step) => Found][] = [
      ["a pod's link is gone", 1, "pod.link", () => ({})],
      ["a pod's link is down", 1, "pod.link", () => ({ link: { up: false, lowerUp: false } })],
      ["a pod has lost its address", 1, "pod.address", () => ({ ips: ["192.0.2.1"] })],
      ["a pod has no default route", 1, "pod.route", () => ({ refused: "ENETUNREACH" })],
      ["a pod's route leads to another interface", 1, "pod.route", () => ({ route: { ifindex: 9 }, device: "net1" })],
      ["a pod has another MAC for its gateway", 1, "pod.neighbour", () => ({ entry: { mac: MACS.pod, state: 0x80 } })],
      ["a host end has no carrier", 1, "source.host-end", () => ({ link: { up: true, lowerUp: false } })],
      ["policies deny it", 1, "policy.egress", () => ({ verdict: { allowed: false, why: "x", rules: "the same" } })],
      [
        "policies are not in force",
        2,
        "policy.ingress",
        () => ({ verdict: { allowed: true, why: "x", rules: "not in force" } }),
      ],
      [
        "the rules say something else",
        2,
        "policy.ingress",
        () => ({ verdict: { allowed: true, why: "x", rules: "something else" } }),
      ],
      ["a node does not forward", 1, "source.forwarding", () => ({ on: false, dropping: [] })],
      [
        "somebody drops what is forwarded",
        2,
        "destination.forwarding",
        () => ({ on: true, dropping: ["the policy of FORWARD"] }),
      ],
      ["somebody masquerades it", 1, "source.conntrack", () => ({ connections: ["x"], translated: "y" })],
      [
        "the tunnel's device has another VNI",
        1,
        "source.device",
        () => ({
          link: {
            up: true,
            lowerUp: true,
            mac: MACS.node1,
            vxlan: { vni: 1, port: 4789, local: "172.30.0.11", learning: false },
          },
        }),
      ],
      ["there is no route", 1, "route", () => ({ refused: "ENETUNREACH" })],
      [
        "the route goes by another gateway",
        1,
        "route",
        () => ({ route: { gateway: "10.244.3.0", ifindex: 7 }, device: "sky.759" }),
      ],
      ["there is no neighbour entry", 1, "neighbour", () => ({})],
      ["a neighbour entry has another MAC", 1, "neighbour", () => ({ entry: { mac: MACS.pod, state: 0x80 } })],
      ["there is no FDB entry", 1, "fdb", () => ({})],
      ["an FDB entry leads elsewhere", 1, "fdb", () => ({ entry: { dst: "172.30.0.99" } })],
      ["there is no way to the other node", 1, "underlay", () => ({ refused: "EHOSTUNREACH" })],
      [
        "the other node is off",
        1,
        "underlay",
        () => ({
          route: { ifindex: 2 },
          device: { name: "eth0", up: true, lowerUp: true, loopback: false, group: 0 },
          neighbour: { state: 0x20 },
          answers: "no",
        }),
      ],
      [
        "the other node has an address of this one",
        1,
        "underlay",
        () => ({
          route: { ifindex: 1 },
          device: { name: "lo", up: true, lowerUp: true, loopback: true, group: 0 },
          answers: "echo",
        }),
      ],
      [
        "the tunnel is led into itself",
        1,
        "underlay",
        () => ({
          route: { ifindex: 7 },
          device: { name: "sky.759", up: true, lowerUp: true, loopback: false, group: OVERLAY_LINK_GROUP },
          answers: "no",
        }),
      ],
      [
        "the underlay's cable is out",
        1,
        "underlay",
        () => ({
          route: { ifindex: 2 },
          device: { name: "eth0", up: true, lowerUp: false, loopback: false, group: 0 },
          answers: "no",
        }),
      ],
      ["the packet filter does not let the node in", 2, "firewall", () => ({ known: false })],
      ["the receiving device is gone", 2, "destination.device", () => ({})],
      ["the pod has no host route", 2, "destination.route", () => ({ refused: "ENETUNREACH" })],
      [
        "a pod's host end has another MAC for it",
        2,
        "destination.neighbour",
        () => ({ entry: { mac: MACS.node1, state: 0x80 } }),
      ],
      ["the pod's address is gone", 2, "destination.address", () => ({ ips: [] })],
    ];
    for (const [title, on, hop, found] of cases)
      it(`names the hop where ${title}`, () => {
        // What depends on all of it is wrong as well, and not the cause.
        const silent: Faults = { tunnel: () => ({ answered: false }) };
        const trace = traceWith(family, {
          1: { ...silent, ...(on === 1 && { [hop]: found }) },
          2: on === 2 ? { [hop]: found } : {},
        });
        assert.equal(first(trace), `node${on} ${hop}`);
        assert.ok(trace.wrong?.means && trace.wrong.cure);
        assert.match(renderTrace(trace), new RegExp(`first that is wrong is ${hop} on node${on}`));
      });

    it("names the tunnel where everything else is right", () => {
      assert.equal(first(traceWith(family, { 1: { tunnel: () => ({ answered: false }) } })), "node1 tunnel");
    });

    it("names the way to the other node where nothing of it answers, and the tunnel where that alone does not", () => {
      const far = {
        route: { gateway: "172.30.0.1", ifindex: 2 },
        device: { name: "eth0", up: true, lowerUp: true, loopback: false, group: 0 },
        neighbour: { mac: MACS.pod, state: 0x02 },
        answers: "no",
      } as const;
      const silent: Faults = { tunnel: () => ({ answered: false }) };
      const trace = traceWith(family, { 1: { ...silent, underlay: () => far } });
      assert.equal(first(trace), "node1 underlay");
      assert.match(trace.wrong?.means ?? "", /off or cut off/);
      // It is no cause where something else is wrong, and no fault where the tunnel answers.
      assert.equal(first(traceWith(family, { 1: { ...silent, underlay: () => far, fdb: () => ({}) } })), "node1 fdb");
      assert.ok(traceWith(family, { 1: { underlay: () => far } }).ok);
    });

    it("names a tunnel that loses full packets, unless routes take less", () => {
      const narrow = () => ({ answered: true, full: { bytes: 1450, passes: false } });
      const trace = traceWith(family, { 1: { tunnel: narrow } });
      assert.equal(first(trace), "node1 tunnel");
      assert.match(trace.wrong?.is ?? "", /packets of 1450 bytes are lost/);
      const told = { ...peerOf(2), pathMtu: { [family]: 1344 } };
      const fits = traceWith(family, { 1: { tunnel: narrow } }, { 1: { other: told } });
      assert.ok(fits.ok);
      assert.match(JSON.stringify(fits.hops), /told to send 1344 at most/);
      assert.ok(
        traceWith(family, { 1: { tunnel: () => ({ answered: true, full: { bytes: 1450, passes: true } }) } }).ok,
      );
      const gone = { 1: { tunnel: narrow }, 2: { "destination.address": () => ({ ips: [] }) } };
      assert.equal(first(traceWith(family, gone)), "node1 tunnel", "it comes first on the way");
    });

    it("names the pod that is not there, and goes no further", () => {
      const { to } = knowledge(2, family);
      const trace = traceWith(family, {}, { 2: { to: { ip: to.ip } } });
      assert.equal(first(trace), "node2 destination.pod");
    });

    it("names a peer that is not known, with why it is refused", () => {
      const none = { other: undefined, refused: [{ node: "node2", message: "its MAC is another node's" }] };
      const trace = traceWith(family, {}, { 1: none });
      assert.equal(first(trace), "node1 peer");
      assert.match(trace.wrong?.is ?? "", /its MAC is another node's/);
      assert.equal(first(traceWith(family, {}, { 2: { other: undefined } })), "node2 peer");
    });

    it("names a node that takes the other for another one", () => {
      const stale = { ...peerOf(2), underlayIp: "172.30.0.77" };
      const trace = traceWith(family, {}, { 1: { other: stale } });
      assert.equal(first(trace), "node1 agreement");
      assert.match(trace.wrong?.is ?? "", /172\.30\.0\.77, which says 172\.30\.0\.12/);
    });

    it("takes what cannot be seen for unknown, not for wrong", () => {
      const trace = traceWith(family, {
        2: { "destination.address": () => ({ unseen: "the namespace cannot be entered" }) },
      });
      assert.ok(trace.ok);
      assert.match(renderTrace(trace), /as far as could be told \(1 unknown\)/);
    });
  });

describe("a trace that takes another way", () => {
  it("stays on the node between two pods of it", () => {
    const known = knowledge(1, 4);
    const to = knowledge(2, 4).to;
    const here = { ...known, to: { ...to, ip: "10.244.1.9" }, other: undefined };
    assert.equal(planHalf(here).way, "here");
    assert.deepEqual(
      hopsOf(here).filter((hop) => /fdb|underlay|peer|tunnel|device|firewall/.test(hop)),
      [],
    );
    const trace = join(halfOf(here));
    assert.ok(trace.ok && trace.whole);
  });

  it("goes by the underlay's gateway where nodes route directly, and by the tunnel in the other family", () => {
    const other = { ...peerOf(2), direct: [{ gateway: "172.30.0.12", ifindex: 4 }] };
    const { way, steps } = planHalf(knowledge(1, 4, { other }));
    assert.equal(way, "direct");
    const route = steps.find(({ hop }) => hop === "route");
    assert.ok(route?.kind === "route");
    assert.deepEqual([route.gateway, route.device], ["172.30.0.12", { index: 4 }]);
    assert.ok(!steps.some(({ hop }) => hop === "fdb" || hop === "neighbour"));
    assert.equal(
      judge("node1", [{ step: route, found: { route: { gateway: "172.30.0.12", ifindex: 5 } } }])[0]?.state,
      "wrong",
    );
    assert.equal(planHalf(knowledge(1, 6, { other })).way, "tunnel");
  });

  const lan = (number: 1 | 2): { network: KnownNetwork } => {
    const { network } = knowledge(number, 4);
    return {
      network: { ...network, name: "lan", mode: "Bridged", hostNetns: "/run/netns/lan", bridge: "skybr", podCidrs: [] },
    };
  };

  it("goes over the bridges of a bridged network", () => {
    const source = knowledge(1, 4, { ...lan(1), toMac: MACS.pod });
    const destination = knowledge(2, 4, lan(2));
    assert.deepEqual(hopsOf(source).slice(-5), ["bridge.neighbour", "bridge.fdb", "source.device", "fdb", "underlay"]);
    assert.ok(join(halfOf(source), halfOf(destination)).ok);
    const elsewhere = { "bridge.fdb": () => ({ device: "skyx" }) };
    assert.equal(first(join(halfOf(source, elsewhere), halfOf(destination))), "node1 bridge.fdb");
    const port = { "destination.host-end": () => ({ link: { up: true, lowerUp: true } }) };
    assert.equal(first(join(halfOf(source), halfOf(destination, port))), "node2 destination.host-end");
    const nobody = { ...source, toMac: undefined, other: undefined };
    assert.equal(first(join(halfOf(nobody), halfOf(destination))), "node1 bridge.neighbour");
    const stranger = { ...source, other: undefined };
    assert.equal(
      first(join(halfOf(stranger, { fdb: () => ({ entry: { dst: "192.0.2.9" } }) }), halfOf(destination))),
      "node1 fdb",
    );
    const mine = { ...source, toMac: "02:00:00:00:00:bb" };
    assert.equal(first(join(halfOf(mine), halfOf(destination))), "node1 agreement");
  });
});

describe("what another node says of its half", () => {
  const own = halfOf(knowledge(1, 4));
  const other = halfOf(knowledge(2, 4));

  it("is read as it was told", () => {
    assert.deepEqual(parseHalf(JSON.stringify({ ok: true, half: other })), JSON.parse(JSON.stringify(other)));
  });

  it("is refused where it is none", () => {
    const bad: unknown[] = [
      "",
      "{",
      null,
      [],
      {},
      { ...other, version: 2 },
      { ...other, role: "king" },
      { ...other, hops: "all" },
      { ...other, hops: [{ ...other.hops[0], state: "fine" }] },
      { ...other, hops: [{ ...other.hops[0], is: "x".repeat(5000) }] },
      { ...other, hops: Array.from({ length: 65 }, () => other.hops[0]) },
      { ...other, from: { ip: "nowhere" } },
      { ...other, self: { node: 7 } },
    ];
    for (const one of bad)
      assert.throws(() => parseHalf(typeof one === "string" ? one : JSON.stringify(one)), { name: "CommandError" });
  });

  it("counts only about this packet, and about itself", () => {
    const lies: Half[] = [
      own,
      { ...other, from: { ip: "10.244.1.99" } },
      { ...other, network: "blue" },
      { ...other, hops: other.hops.map((hop) => ({ ...hop, node: "node1" })) },
    ];
    for (const lie of lies) {
      const trace = join(own, lie);
      assert.equal(trace.whole, false);
      assert.equal(first(trace), "node2 other-node");
      assert.equal(trace.hops.length, own.hops.length + 1);
    }
  });

  it("is missed where it does not come, after what is wrong here", () => {
    assert.equal(first(join(own, undefined, "no route to host")), "node2 other-node");
    const broken = halfOf(knowledge(1, 4), { fdb: () => ({}) });
    assert.equal(first(join(broken, undefined, "no route to host")), "node1 fdb");
    const alone = join(own);
    assert.ok(alone.ok && !alone.whole);
    assert.match(renderTrace(alone), /the other half, on node2: skylanectl trace/);
  });

  it("cannot move the reader's cursor", () => {
    const hops = other.hops.map((hop) => ({ ...hop, is: "\u001b[2Jx", state: "wrong" as const, means: "\u001b[1m" }));
    // oxlint-disable-next-line no-control-regex
    assert.doesNotMatch(renderTrace(join(own, { ...other, hops })), /\u001b/);
  });
});
