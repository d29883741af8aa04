import assert from "node:assert/strict";
import { directFamilies, type SegmentInput, segmentsOf, withHops } from "../../../src/host/segments.ts";
import type { Route, Rule } from "../../../src/netlink/index.ts";
import type { Peer } from "../../../src/peers/index.ts";

const UNDERLAY = 2;
const connected = (dst: string, more: Partial<Route> = {}): Route => ({
  family: dst.includes(":") ? 6 : 4,
  dst,
  ifindex: UNDERLAY,
  table: 254,
  protocol: 2,
  type: 1,
  ...more,
});
const usual: Rule[] = [255, 254, 253].map((table, i) => ({ family: 4, priority: i, table }));

function segments(more: Partial<SegmentInput> = {}, ips = ["172.30.0.11", "fd30::11"]) {
  return segmentsOf(ips, {
    addresses: [
      { ifindex: UNDERLAY, ip: "172.30.0.11", prefix: 24 },
      { ifindex: UNDERLAY, ip: "fd30::11", prefix: 64 },
      { ifindex: 3, ip: "10.9.0.4", prefix: 16 },
    ],
    routes: () => [
      connected("default", { gateway: "172.30.0.1" }),
      connected("172.30.0.0/24"),
      connected("fd30::/64", { metric: 256 }),
      connected("10.9.0.0/16", { ifindex: 3 }),
      connected("172.31.0.0/24", { gateway: "172.30.0.1" }),
    ],
    rules: () => usual,
    routeTo: () => assert.fail("the kernel was asked for one address"),
    ...more,
  });
}
const with_ = (...routes: Route[]): Partial<SegmentInput> => ({
  routes: () => [connected("172.30.0.0/24"), connected("fd30::/64"), ...routes],
});

describe("the segments of the underlay", () => {
  it("hold what is reached without a gateway over the interface of our own underlay address", () => {
    const { hopTo, interfaces } = segments();
    assert.deepEqual(hopTo("172.30.0.12"), { gateway: "172.30.0.12", ifindex: UNDERLAY });
    assert.deepEqual(hopTo("fd30::12"), { gateway: "fd30::12", ifindex: UNDERLAY });
    assert.deepEqual(interfaces, [UNDERLAY]);
  });

  it("hold nothing behind a router, by the default route, over another interface, or here itself", () => {
    const { hopTo } = segments();
    for (const ip of ["172.31.0.5", "192.0.2.1", "10.9.0.5", "172.30.0.11", "fd31::1"])
      assert.equal(hopTo(ip), undefined, ip);
  });

  it("are told by the longest prefix and then by the lowest metric, as the kernel does", () => {
    const behind = { gateway: "172.30.0.1" };
    const one = segments(with_(connected("172.30.0.12/32", behind))).hopTo;
    assert.equal(one("172.30.0.12"), undefined);
    assert.ok(one("172.30.0.13"));
    assert.equal(segments(with_(connected("172.30.0.0/25", behind))).hopTo("172.30.0.12"), undefined);
    assert.ok(segments(with_(connected("172.30.0.0/16", behind))).hopTo("172.30.0.12"));
    assert.ok(segments(with_(connected("172.30.0.0/24", { ...behind, metric: 100 }))).hopTo("172.30.0.12"));
    const worse = {
      routes: () => [connected("172.30.0.0/24", { metric: 100 }), connected("172.30.0.0/24", { ...behind, metric: 5 })],
    };
    assert.equal(segments(worse).hopTo("172.30.0.12"), undefined);
    assert.equal(segments(with_(connected("172.30.0.12/32", { type: 6 }))).hopTo("172.30.0.12"), undefined);
    assert.equal(segments(with_(connected("fd30::12/128", { multipath: true }))).hopTo("fd30::12"), undefined);
  });

  it("are asked of the kernel where policy rules could choose another table", () => {
    const asked: string[] = [];
    const { hopTo } = segments({
      rules: () => [...usual, { family: 4, priority: 100, table: 77 }],
      routeTo: (ip) => {
        asked.push(ip);
        return { ifindex: UNDERLAY, ...(ip.endsWith("13") && { gateway: "172.30.0.1" }) };
      },
    });
    assert.ok(hopTo("172.30.0.12"));
    assert.equal(hopTo("172.30.0.13"), undefined);
    assert.equal(hopTo("192.0.2.1"), undefined);
    assert.deepEqual(asked, ["172.30.0.12", "172.30.0.13"]);
  });

  it("have the same key in whatever order routes come and whatever routes of ours there are, and another for others", () => {
    const { key } = segments(with_());
    const ours = connected("10.244.2.0/24", { gateway: "172.30.0.12", protocol: 83 });
    assert.equal(segments({ routes: () => [ours, connected("fd30::/64"), connected("172.30.0.0/24")] }).key, key);
    assert.notEqual(segments(with_(connected("172.30.0.12/32"))).key, key);
    assert.notEqual(segments(with_(), ["172.30.0.11"]).key, key);
  });

  it("are found for five thousand peers in a fraction of a second", () => {
    const { hopTo } = segments();
    const start = process.cpuUsage();
    for (let n = 0; n < 5_000; n++) hopTo(`172.30.${n >> 8}.${n & 255}`);
    // Of the processor, in microseconds: others may be at work as well.
    const { user, system } = process.cpuUsage(start);
    assert.ok(user + system < 1_000_000);
  });
});

describe("a peer's direct hops", () => {
  const peer: Peer = {
    node: "n2",
    mac: "02:00:00:00:00:02",
    underlayIp: "172.30.0.12",
    podCidrs: ["10.244.2.0/24", "fd00:10:244:2::/64"],
  };
  const dual = { ...peer, receivesAt: ["172.30.0.12", "fd30::12"] };

  it("are of the families in which it takes packets and that may leave unencapsulated", () => {
    const v4 = { gateway: "172.30.0.12", ifindex: UNDERLAY };
    const v6 = { gateway: "fd30::12", ifindex: UNDERLAY };
    assert.deepEqual(withHops(dual, segments(), [4, 6]).direct, [v4, v6]);
    assert.deepEqual(withHops(dual, segments(), [6]).direct, [v6]);
    assert.deepEqual(withHops({ ...dual, receivesAt: ["172.30.0.12"] }, segments(), [4, 6]).direct, [v4]);
  });

  it("are none where it takes none, or is on no segment of ours: it is left as it is", () => {
    assert.equal(withHops(peer, segments(), [4, 6]), peer);
    const away = { ...dual, receivesAt: ["172.31.0.12"] };
    assert.equal(withHops(away, segments(), [4, 6]), away);
    assert.equal(withHops(dual, undefined, [4, 6]), dual);
    assert.equal(withHops(dual, segments(), []), dual);
  });

  it("need the cluster's pod CIDRs of the family, unless nothing is masqueraded", () => {
    const on = { enabled: true, exclude: [] };
    assert.deepEqual(directFamilies({ clusterCidrs: [], masquerade: on }), []);
    assert.deepEqual(directFamilies({ clusterCidrs: ["fd00::/48"], masquerade: on }), [6]);
    assert.deepEqual(directFamilies({ clusterCidrs: [], masquerade: { ...on, enabled: false } }), [4, 6]);
  });
});
