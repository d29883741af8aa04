import assert from "node:assert/strict";
import fc from "fast-check";
import {
  ROUTE_PROTOCOL,
  type Address,
  type FdbEntry,
  type Neighbour,
  type Operation,
  type Route,
} from "../../../src/netlink/index.ts";
import { type ActualState, allOf, type Desired } from "../../../src/dataplane/vxlan/index.ts";
import { familyOf } from "../../../src/addr/index.ts";
import { ModelKernel } from "./model-kernel.ts";
import { anyPeers, desiredState, device, entriesOf, local, peer, plan } from "./support.ts";

const { ifindex: IFINDEX } = device;

/** The kernel after a plan from nothing. */
function kernelOf(desired: Desired): ModelKernel {
  const kernel = new ModelKernel(device);
  for (const operation of plan(desired)) assert.equal(kernel.apply(operation), undefined);
  return kernel;
}

const sorted = (state: ActualState) => ({
  addresses: state.addresses.map(({ ip, prefix }) => `${ip}/${prefix}`).sort(),
  fdb: state.fdb.map(({ mac, dst, vni, port }) => `${mac} ${dst} ${vni ?? local.vni} ${port ?? local.port}`).sort(),
  neighbours: state.neighbours.map(({ ip, mac }) => `${ip} ${mac}`).sort(),
  routes: state.routes.map(({ dst, gateway, prefSrc, protocol }) => `${dst} ${gateway} ${prefSrc} ${protocol}`).sort(),
});

const ip = fc.constantFrom("10.244.1.0", "10.244.2.0", "10.244.77.0", "fd00:10:244:1::", "fd00:10:244:4d::");
const mac = fc.constantFrom(peer(1).mac, peer(2).mac, "02:00:00:00:01:01", "02:ff:ff:ff:ff:ff", "00:00:00:00:00:00");
const anyNeighbour: fc.Arbitrary<Neighbour> = fc.record({
  ifindex: fc.constant(IFINDEX),
  ip,
  mac,
  state: fc.constantFrom(0x80, 0x02, 0x40, 0x20),
});
const anyFdb: fc.Arbitrary<FdbEntry> = fc.record({
  ifindex: fc.constant(IFINDEX),
  mac,
  dst: fc.constantFrom("172.30.0.101", "172.30.0.66"),
  state: fc.constantFrom(0x80, 0x02),
});
const anyAddress: fc.Arbitrary<Address> = fc.oneof(
  fc.record({
    ifindex: fc.constant(IFINDEX),
    ip: fc.constantFrom("10.244.0.0", "10.9.9.9"),
    prefix: fc.constantFrom(24, 32),
    permanent: fc.constantFrom(undefined, true),
  }),
  fc.record({
    ifindex: fc.constant(IFINDEX),
    ip: fc.constantFrom("fd00:10:244::", "fd99::9"),
    prefix: fc.constantFrom(64, 128),
    permanent: fc.constantFrom(undefined, true),
    dadFailed: fc.boolean(),
  }),
);
const routeWith = (protocol: fc.Arbitrary<number>, ifindex: number): fc.Arbitrary<Route> =>
  fc
    .record({
      dst: fc.constantFrom("10.244.1.0/24", "10.244.2.0/24", "10.77.0.0/16", "fd00:10:244:1::/64", "fd77::/48"),
      protocol,
      metric: fc.constantFrom(undefined, 50),
      multipath: fc.constantFrom(undefined, true),
    })
    .map(({ dst, protocol, metric, multipath }) => ({
      family: familyOf(dst),
      dst,
      protocol,
      ifindex,
      table: 254,
      metric: metric ?? (familyOf(dst) === 4 ? 0 : 1024),
      gateway: dst.slice(0, dst.indexOf("/")),
      onlink: true,
      ...(multipath !== undefined && { multipath }),
    }));
const place = ({ dst, metric }: Route): string => `${dst} ${metric}`;
/** What may be on the device before: leftovers, mistakes, other people's things. */
const anyMess = fc.record({
  addresses: fc.uniqueArray(anyAddress, { selector: (a) => (familyOf(a.ip) === 6 ? a.ip : `${a.ip}/${a.prefix}`) }),
  fdb: fc.uniqueArray(anyFdb, { selector: ({ mac }) => mac }),
  neighbours: fc.uniqueArray(anyNeighbour, { selector: ({ ip }) => ip }),
  routes: fc.uniqueArray(routeWith(fc.constantFrom(ROUTE_PROTOCOL, 3, 4, 186), IFINDEX), { selector: place }),
});

/** Whether a mess holds something of its own in an entry's place. */
function merge(kernel: ModelKernel, mess: ActualState): ActualState {
  const { addresses, fdb, neighbours, routes } = kernel.dump();
  const key = (a: Address) => (familyOf(a.ip) === 6 ? a.ip : `${a.ip}/${a.prefix}`);
  return {
    addresses: [...mess.addresses, ...addresses.filter((a) => !mess.addresses.some((b) => key(a) === key(b)))],
    fdb: [...mess.fdb, ...fdb.filter((a) => !mess.fdb.some((b) => a.mac === b.mac))],
    neighbours: [...mess.neighbours, ...neighbours.filter((a) => !mess.neighbours.some((b) => a.ip === b.ip))],
    routes: [...mess.routes, ...routes.filter((a) => !mess.routes.some((b) => place(a) === place(b)))],
  };
}

/** A packet must never find a route whose neighbour or FDB entry is not there yet, or no longer. */
function assertSafe(operation: Operation, kernel: ModelKernel, desired: Desired): void {
  if (operation.kind === "route" && operation.op !== "del") {
    const { gateway = "" } = operation.route;
    const neighbour = kernel.neighbours.find((entry) => entry.ip === gateway);
    assert.equal(
      neighbour?.mac,
      entriesOf(desired, "neighbour").get(gateway)?.mac,
      `neighbour before route ${operation.route.dst}`,
    );
    assert.ok(
      kernel.fdb.some((entry) => entry.mac === neighbour?.mac),
      `FDB entry before route ${operation.route.dst}`,
    );
  }
  if (operation.kind === "neighbour" && operation.op === "del") {
    const used = kernel.routes.some((r) => r.gateway === operation.neighbour.ip && r.protocol === ROUTE_PROTOCOL);
    assert.ok(!used, `route before neighbour ${operation.neighbour.ip}`);
  }
  if (operation.kind === "fdb" && operation.op === "del") {
    const used = kernel.neighbours.some((n) => n.mac === operation.fdb.mac && n.state === 0x80);
    assert.ok(!used, `neighbour before FDB entry ${operation.fdb.mac}`);
  }
}

describe("the plan", () => {
  it("from nothing puts one FDB entry a peer, and a neighbour and a route a pod CIDR", () => {
    const desired = desiredState(local, [peer(1), peer(2)]);
    const operations = plan(desired);
    assert.deepEqual(
      operations.map(({ op, kind }) => `${op} ${kind}`),
      [
        ...Array<string>(2).fill("replace address"),
        ...Array<string>(2).fill("replace fdb"),
        ...Array<string>(4).fill("replace neighbour"),
        ...Array<string>(4).fill("add route"),
      ],
    );
    assert.deepEqual(operations.at(-4), {
      op: "add",
      kind: "route",
      route: {
        family: 4,
        dst: "10.244.1.0/24",
        gateway: "10.244.1.0",
        prefSrc: "10.244.0.0",
        ifindex: IFINDEX,
        onlink: true,
        protocol: 83,
        scope: 73,
      },
    });
  });

  it("spreads IPv4 routes over the scopes that are free to use, each prefix always to the same", () => {
    const many = Array.from({ length: 200 }, (_, at) => peer(at + 1));
    const scopesOf = (): (number | undefined)[] =>
      plan(desiredState(local, many)).flatMap((operation) =>
        operation.kind === "route" && operation.route.family === 4 ? [operation.route.scope] : [],
      );
    const scopes = scopesOf();
    assert.deepEqual(scopes, scopesOf());
    assert.ok(scopes.every((scope = -1) => scope >= 0 && scope < 200));
    assert.ok(new Set(scopes).size > 100);
  });

  it("is empty where everything is right, so a restart does nothing", () => {
    fc.assert(
      fc.property(anyPeers, (peers) => {
        const desired = desiredState(local, peers);
        assert.deepEqual(plan(desired, allOf(kernelOf(desired).dump())), []);
      }),
    );
  });

  it("makes the kernel right from any state, in one go, without an error, in an order that loses no packet", () => {
    fc.assert(
      fc.property(anyPeers, anyPeers, anyMess, (before, now, mess) => {
        const kernel = new ModelKernel(device, merge(kernelOf(desiredState(local, before)), mess));
        const desired = desiredState(local, now);
        for (const operation of plan(desired, allOf(kernel.dump()))) {
          assertSafe(operation, kernel, desired);
          const error = kernel.apply(operation);
          // An address that goes takes its routes along.
          if (!(operation.op === "del" && operation.kind === "route" && error === "ESRCH")) {
            assert.equal(error, undefined, JSON.stringify(operation));
          }
        }
        assert.deepEqual(plan(desired, allOf(kernel.dump())), []);
        const wanted = sorted(kernelOf(desired).dump());
        const actual = sorted(kernel.dump());
        assert.deepEqual(actual.addresses, wanted.addresses);
        assert.deepEqual(actual.fdb, wanted.fdb);
        for (const entry of wanted.neighbours) assert.ok(actual.neighbours.includes(entry));
        for (const route of wanted.routes) assert.ok(actual.routes.includes(route));
      }),
      { numRuns: 300 },
    );
  });

  it("never touches what is not ours: other protocols' routes in other places, kernel-made neighbours", () => {
    fc.assert(
      fc.property(anyPeers, anyMess, (peers, mess) => {
        const desired = desiredState(local, peers);
        const before = merge(kernelOf(desired), mess);
        const kernel = new ModelKernel(device, before);
        for (const operation of plan(desired, allOf(kernel.dump()))) kernel.apply(operation);
        const after = kernel.dump();
        for (const route of before.routes) {
          const inOurPlace = desired.entries.has(`route ${route.dst}`) && (route.metric === 0 || route.metric === 1024);
          if (route.protocol !== ROUTE_PROTOCOL && !inOurPlace) assert.ok(after.routes.includes(route), route.dst);
        }
        for (const entry of before.neighbours) {
          if (entry.state !== 0x80 && !desired.entries.has(`neighbour ${entry.ip}`))
            assert.ok(after.neighbours.includes(entry));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("replaces in place what changes, so that there is no moment without it", () => {
    const before = kernelOf(desiredState(local, [peer(1)])).dump();
    const moved = { ...peer(1), underlayIp: "172.30.9.9" };
    assert.deepEqual(
      plan(desiredState(local, [moved]), allOf(before)).map(({ op, kind }) => `${op} ${kind}`),
      ["replace fdb"],
    );
    const taken = { ...peer(2), podCidrs: peer(1).podCidrs };
    assert.deepEqual(
      plan(desiredState(local, [taken]), allOf(before)).map(({ op, kind }) => `${op} ${kind}`),
      ["replace fdb", "replace neighbour", "replace neighbour", "del fdb"],
    );
  });

  it("adds a route only where no route is, so that somebody else's on another device does not go unnoticed", () => {
    const desired = desiredState(local, [peer(1)]);
    const kernel = kernelOf(desired);
    const theirs: Route = { family: 4, dst: "10.244.1.0/24", ifindex: 2, protocol: 4, table: 254, metric: 0 };
    kernel.routes = [theirs];
    const operation = plan(desired, allOf(kernel.dump())).find(({ kind }) => kind === "route");
    assert.equal(operation?.op, "add");
    assert.equal(operation && kernel.apply(operation), "EEXIST");
  });

  it("programs only the families in which this node has pods", () => {
    const only4 = { ...local, podCidrs: ["10.244.0.0/24"] };
    const { entries } = desiredState(only4, [peer(1)]);
    assert.deepEqual(
      [...entries.keys()],
      ["address 10.244.0.0", `fdb ${peer(1).mac}`, "neighbour 10.244.1.0", "route 10.244.1.0/24"],
    );
  });
});
