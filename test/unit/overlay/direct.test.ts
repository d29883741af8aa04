import assert from "node:assert/strict";
import type { Link, NetlinkEvent, Route } from "../../../src/netlink/index.ts";
import { type Actual, doubtOf } from "../../../src/dataplane/vxlan/index.ts";
import { formatVtepAnnotation, type Peer, parseVtepAnnotation, selectPeers } from "../../../src/peers/index.ts";
import { applied, desiredState, device, entriesOf, local, nodeOf, ownDevice, peer, plan } from "./support.ts";

const { ifindex: IFINDEX } = device;
const UNDERLAY = 2;
const [v4, v6] = ["172.30.0.101", "fd30::101"].map((gateway) => ({ gateway, ifindex: UNDERLAY }));
const direct: Peer = { ...peer(1), direct: [v4, v6].filter((hop) => hop !== undefined) };
const routesOf = (peers: Peer[]) => [...entriesOf(desiredState(local, peers), "route").values()];
/** The kernel as it is after these peers' plan. */
const kernel = (peers: Peer[]): Actual[] => applied(desiredState(local, peers).entries);

describe("a direct peer", () => {
  it("has routes through its underlay addresses on the underlay's interface, and all else as through the tunnel", () => {
    assert.deepEqual(routesOf([direct]), [
      { kind: "route", dst: "10.244.1.0/24", ...v4, prefSrc: "10.244.0.0" },
      // By which the kernel lets the prefix be put back.
      { kind: "route", dst: "fd00:10:244:1::/128", prefSrc: "fd00:10:244::" },
      { kind: "route", dst: "fd00:10:244:1::/64", ...v6, prefSrc: "fd00:10:244::" },
    ]);
    const [there, tunnelled] = [desiredState(local, [direct]), desiredState(local, [peer(1)])];
    for (const kind of ["fdb", "neighbour"] as const)
      assert.deepEqual(entriesOf(there, kind), entriesOf(tunnelled, kind));
  });

  it("goes through the tunnel in a family of which it has no hop", () => {
    const half = { ...direct, direct: direct.direct?.slice(0, 1) ?? [] };
    assert.deepEqual(
      routesOf([half]).map(({ gateway, ifindex }) => [gateway, ifindex]),
      [
        ["172.30.0.101", UNDERLAY],
        ["fd00:10:244:1::", undefined],
      ],
    );
  });

  it("is switched by one replacement a family, there and back, and nothing but the VTEP's own route besides", () => {
    for (const [from, to, host] of [
      [[peer(1)], [direct], "add"],
      [[direct], [peer(1)], "del"],
    ] as const) {
      const operations = plan(desiredState(local, [...to]), kernel([...from]));
      assert.deepEqual(
        operations.map((one) => (one.kind === "route" ? `${one.op} ${one.route.dst}` : one.kind)).sort(),
        [`${host} fd00:10:244:1::/128`, "replace 10.244.1.0/24", "replace fd00:10:244:1::/64"],
      );
      assert.deepEqual(plan(desiredState(local, [...to]), kernel([...to])), []);
    }
  });

  it("asks the kernel to check its gateway, which no tunnel's is", () => {
    const route = (peers: Peer[]): Route | undefined => {
      const operation = plan(desiredState(local, peers), kernel([])).find(({ kind }) => kind === "route");
      return operation?.kind === "route" ? operation.route : undefined;
    };
    assert.equal(route([direct])?.onlink, undefined);
    assert.equal(route([peer(1)])?.onlink, true);
  });

  it("leaves no route behind when it goes", () => {
    const operations = plan(desiredState(local, []), kernel([direct]));
    const gone = operations.flatMap((one) =>
      one.kind === "route" ? [[one.op, one.route.dst, one.route.ifindex]] : [],
    );
    assert.deepEqual(gone, [
      ["del", "10.244.1.0/24", UNDERLAY],
      ["del", "fd00:10:244:1::/128", IFINDEX],
      ["del", "fd00:10:244:1::/64", UNDERLAY],
    ]);
  });

  it("is doubted when its route goes, is another, or its interface is touched; not by the echo of our own work", () => {
    const state = desiredState(local, [direct]);
    const [route] = kernel([direct]).flatMap((one) => (one.kind === "route" ? [one.route] : [])) as [Route];
    const event = (event: "new" | "del", other: Partial<Route> = {}): NetlinkEvent => ({
      event,
      kind: "route",
      route: { ...route, ...other },
    });
    assert.equal(doubtOf(state, device, event("new")), undefined);
    assert.ok(doubtOf(state, device, event("del")));
    assert.ok(doubtOf(state, device, event("new", { gateway: "172.30.0.66" })));
    assert.ok(doubtOf(state, device, event("new", { ifindex: IFINDEX })));
    assert.ok(doubtOf(state, device, event("new", { dst: "10.244.9.0/24" })));
    // A pod's own route has our protocol, and no gateway; another's is not ours.
    const { gateway: _, ...pod } = { ...route, dst: "10.244.0.5/32", ifindex: 12 };
    assert.equal(doubtOf(state, device, { event: "new", kind: "route", route: pod }), undefined);
    assert.equal(doubtOf(state, device, event("new", { dst: "10.244.9.0/24", protocol: 4 })), undefined);
    const link = (index: number): Link => ({ ...ownDevice, index, name: `eth${index}`, kind: "veth", up: false });
    const { vxlan: __, ...eth } = link(UNDERLAY);
    assert.ok(doubtOf(state, device, { event: "new", kind: "link", link: eth }));
    assert.equal(doubtOf(state, device, { event: "new", kind: "link", link: { ...eth, index: 3 } }), undefined);
  });

  it("is one that says so, on a node that does so itself", () => {
    const auto = { ...local, directRouting: "auto" as const };
    const node = nodeOf(1, { direct: true, ips: ["172.30.0.101", "fd30::101"] });
    assert.deepEqual(selectPeers(auto, [node]).peers[0]?.receivesAt, ["172.30.0.101", "fd30::101"]);
    assert.equal(selectPeers(local, [node]).peers[0]?.receivesAt, undefined);
    assert.equal(selectPeers(auto, [nodeOf(1)]).peers[0]?.receivesAt, undefined);
    assert.equal(selectPeers(auto, [nodeOf(1, { direct: "yes" })]).refused[0]?.reason, "BadAnnotation");
    const text = node.vtepAnnotation as string;
    assert.equal(parseVtepAnnotation(formatVtepAnnotation(parseVtepAnnotation(text))).get("default")?.direct, true);
  });
});
