/** Addresses that move with their pods: to this node, to a peer, and back. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { NetlinkEvent, Operation } from "../../../src/netlink/index.ts";
import { type AddressesHere, allOf, type Desired, doubtOf } from "../../../src/dataplane/vxlan/index.ts";
import { ModelKernel } from "./model-kernel.ts";
import { desiredState, device, local, peer, plan, planOfChanges } from "./support.ts";

const IPS = ["10.50.0.1", "10.50.0.2", "fd50::1"];
const [IP = ""] = IPS;
const HOST_ENDS = [21, 22];
const PEERS = [peer(1), peer(2)];
const NODES = PEERS.map(({ node }) => node);

/** Where an address leads: to a host end here, to a peer by its node, nowhere by decision ("vacant"), or undecided. */
type Place = number | string | undefined;

const isHere = (place: Place): place is number => typeof place === "number";
const hostRouteOf = (ip: string): string => `${ip}/${ip.includes(":") ? 128 : 32}`;

function set(desired: Desired, places: ReadonlyMap<string, Place>): void {
  const having = (place: Place): string[] => [...places].flatMap(([ip, one]) => (one === place ? [ip] : []));
  const here: AddressesHere = {
    pods: new Map([...places].flatMap(([ip, place]) => (isHere(place) ? [[ip, place] as const] : []))),
    vacant: new Set(having("vacant")),
  };
  desired.change(
    PEERS.map((one) => [one.node, { ...one, hosts: having(one.node) }]),
    here,
  );
}

/** A node whose kernel follows what is decided, and the plugin that makes routes of its own there. */
class Node {
  readonly desired = desiredState(local, PEERS);
  readonly kernel = new ModelKernel(device);

  constructor() {
    for (const operation of plan(this.desired)) this.kernel.apply(operation);
    this.desired.tracker.begin();
    this.desired.tracker.settle();
  }

  route(ip: string) {
    return this.kernel.routes.filter(({ dst }) => dst === hostRouteOf(ip));
  }

  /** Carries out what follows from a decision. @param each after every operation */
  decide(places: ReadonlyMap<string, Place>, each: () => void = () => undefined): Operation[] {
    const known = new Set(this.desired.entries.keys());
    set(this.desired, places);
    const changed = this.desired.tracker.begin();
    // Of what nobody has decided before, the plugin may have made something.
    const unknown = [...places].some(([ip, place]) => place === "vacant" && !known.has(`route ${hostRouteOf(ip)}`));
    const operations = unknown ? this.look() : planOfChanges(this.desired, changed, new Set());
    this.apply(operations, each);
    this.desired.tracker.settle();
    return operations;
  }

  apply(operations: readonly Operation[], each: () => void = () => undefined): void {
    for (const operation of operations) {
      const refused = this.kernel.apply(operation);
      // What stands in the place is found then, and replaced (foreign-routes.ts).
      if (refused === "EEXIST") this.kernel.apply({ ...operation, op: "replace" } as Operation);
      else assert.ok(refused === undefined || operation.op === "del", `${refused}: ${JSON.stringify(operation)}`);
      each();
    }
  }

  /** What a look finds to do. */
  look(): Operation[] {
    const { ifindex } = device;
    const routes = this.kernel.routes.filter((one) => one.ifindex === ifindex || this.desired.decides(one.dst));
    return plan(this.desired, allOf({ ...this.kernel.dump(), routes }));
  }

  assertAt(ip: string, place: Place): void {
    const [route, second] = this.route(ip);
    assert.equal(second, undefined);
    if (isHere(place)) assert.deepEqual([route?.ifindex, route?.gateway], [place, undefined]);
    else if (place === "vacant") assert.equal(route, undefined);
    else if (place !== undefined) assert.equal(route?.ifindex, device.ifindex);
  }
}

describe("an address that moves with its pod", () => {
  it("has one route, which is replaced in place when it comes, goes to a peer, and comes back", () => {
    const node = new Node();
    for (const [place, op] of [
      ["node-1", "add"],
      [21, "replace"],
      ["node-2", "replace"],
      [22, "replace"],
      ["vacant", "del"],
      [21, "replace"],
    ] as [Place, string][]) {
      const at = typeof place === "string" && place.startsWith("node-") ? NODES[Number(place.slice(5)) - 1] : place;
      const operations = node.decide(new Map([[IP, at]]));
      assert.deepEqual(
        operations.map((one) => `${one.op} ${one.kind}`),
        [`${op} route`],
        String(place),
      );
      node.assertAt(IP, at);
    }
  });

  it("needs nothing when it has gone and come back before anything was done", () => {
    const node = new Node();
    node.decide(new Map([[IP, 21]]));
    set(node.desired, new Map([[IP, NODES[0]]]));
    assert.deepEqual(node.decide(new Map([[IP, 21]])), []);
    node.assertAt(IP, 21);
  });

  it("has the route that its plugin has made, and that is taken for ours", () => {
    const node = new Node();
    const prefSrc = node.kernel.addresses.find(({ ip }) => !ip.includes(":"))?.ip as string;
    node.kernel.routes.push({ family: 4, dst: `${IP}/32`, ifindex: 21, prefSrc, protocol: 83, scope: 253 });
    set(node.desired, new Map([[IP, 21]]));
    assert.deepEqual(node.look(), []);
    // While that makes it, nobody decides, and nobody takes it away.
    const before = new Node();
    before.kernel.routes.push({ family: 4, dst: `${IP}/32`, ifindex: 21, protocol: 83, scope: 253 });
    assert.deepEqual(before.look(), []);
  });

  it("is nobody's news as an echo, is a doubt when it leads elsewhere, and has nothing where nothing shall be", () => {
    const desired = desiredState(local, PEERS);
    const [, other = ""] = IPS;
    const places = new Map<string, Place>([
      [IP, 21],
      [other, "vacant"],
    ]);
    set(desired, places);
    const [route] = plan(desired).flatMap((one) =>
      one.kind === "route" && one.route.dst === `${IP}/32` ? [one.route] : [],
    );
    assert.ok(route);
    const says = (event: NetlinkEvent) => doubtOf(desired, device, event);
    assert.equal(says({ event: "new", kind: "route", route }), undefined);
    assert.ok(says({ event: "del", kind: "route", route }));
    assert.ok(says({ event: "new", kind: "route", route: { ...route, ifindex: 22 } }));
    const vacant = { ...route, dst: hostRouteOf(other) };
    assert.ok(says({ event: "new", kind: "route", route: vacant }));
    assert.equal(says({ event: "del", kind: "route", route: vacant }), undefined);
    assert.equal(says({ event: "new", kind: "route", route: { ...vacant, protocol: 4 } }), undefined);
  });

  it("leads where it was decided last after any moves, never nowhere in between, and is repaired whatever somebody did", () => {
    const place = fc.constantFrom<Place>(...HOST_ENDS, ...NODES, "vacant", undefined);
    const decision = fc.array(place, { minLength: IPS.length, maxLength: IPS.length });
    /** What somebody does by hand before a decision: deletes a route, or leads it to a host end. */
    const misdeed = fc.option(fc.record({ ip: fc.constantFrom(...IPS), to: fc.option(fc.constantFrom(...HOST_ENDS)) }));
    fc.assert(
      fc.property(fc.array(fc.record({ decision, misdeed }), { maxLength: 12 }), (steps) => {
        const node = new Node();
        let now = new Map<string, Place>();
        for (const { decision: all, misdeed: done } of steps) {
          const next = new Map(IPS.map((ip, n) => [ip, all[n]]));
          const led = (ip: string, places: ReadonlyMap<string, Place>): boolean =>
            places.get(ip) !== undefined && places.get(ip) !== "vacant";
          const kept = IPS.filter((ip) => led(ip, now) && led(ip, next));
          node.decide(next, () => {
            for (const ip of kept) assert.equal(node.route(ip).length, 1, `${ip} leads nowhere`);
          });
          now = next;
          for (const [ip, one] of now) node.assertAt(ip, one);
          if (done && now.get(done.ip) !== undefined) {
            node.kernel.routes = node.kernel.routes.filter(({ dst }) => dst !== hostRouteOf(done.ip));
            const family = done.ip.includes(":") ? 6 : 4;
            const at = { dst: hostRouteOf(done.ip), family, protocol: 83 } as const;
            if (done.to !== null) node.kernel.routes.push({ ...at, ifindex: done.to });
            node.apply(node.look());
          }
          for (const [ip, one] of now) node.assertAt(ip, one);
          assert.deepEqual(node.look(), []);
        }
      }),
      { numRuns: 200 },
    );
  });
});
