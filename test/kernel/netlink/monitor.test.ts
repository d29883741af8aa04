/** Notifications of every kind, and what becomes of them when nobody reads. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Monitor, type MonitorOptions, type NetlinkEvent, type Operation, Rtnl } from "../../../src/netlink/index.ts";
import { KernelSocket, withNetns } from "../../../src/sys/index.ts";
import { eventually as bounded } from "../../support/eventually.ts";
import { testNamespace } from "../support/netns.ts";
import { makeVxlan } from "./support.ts";

const ALL = ["link", "address", "route", "neighbour"] as const;

const eventually: typeof bounded = (look) => bounded(look, { timeoutMs: 15_000 });
const open: Monitor[] = [];

/** A monitor that remembers what it was told. */
function recorder(netns: string, options: Partial<MonitorOptions> = {}) {
  const events: NetlinkEvent[] = [];
  const resyncs: string[] = [];
  const monitor = Monitor.open({
    netns,
    kinds: ALL,
    onEvents: (some) => void events.push(...some),
    onResync: (reason) => void resyncs.push(reason),
    ...options,
  });
  open.push(monitor);
  return { events, resyncs, monitor };
}

describe("Monitor", function () {
  // Not a promise of speed: the kernel's own work on addresses can be late on a busy machine.
  this.timeout(20_000);
  const ns = testNamespace("monitor");
  let rtnl: Rtnl;
  let ifindex: number;
  const neighbour = (i: number): Operation => ({
    op: "replace",
    kind: "neighbour",
    neighbour: { ifindex, ip: `10.1.${i >> 8}.${i & 255}`, mac: "02:00:00:00:00:09" },
  });

  before(() => {
    rtnl = Rtnl.open({ netns: ns.path });
    ifindex = makeVxlan(rtnl);
  });
  afterEach(async () => {
    for (const monitor of open.splice(0)) await monitor.close();
  });
  after(() => rtnl.close());

  it("tells of every kind of object, new and deleted, in order", async () => {
    const { events, resyncs, monitor } = recorder(ns.path);
    const objects: { [kind: string]: [Operation, Operation] } = {
      address: both("address", { address: { ifindex, ip: "10.9.9.9", prefix: 32 } }),
      address6: both("address", { address: { ifindex, ip: "fd09::9", prefix: 128, nodad: true } }),
      route: both("route", { route: { family: 4, dst: "10.2.0.0/16", gateway: "10.2.0.0", ifindex, onlink: true } }),
      route6: both("route", { route: { family: 6, dst: "fd02::/64", gateway: "fd02::", ifindex, onlink: true } }),
      neighbour: both("neighbour", { neighbour: { ifindex, ip: "10.3.0.1", mac: "02:00:00:00:00:01" } }),
      neighbour6: both("neighbour", { neighbour: { ifindex, ip: "fd03::1", mac: "02:00:00:00:00:01" } }),
      fdb: both("fdb", { fdb: { ifindex, mac: "02:00:00:00:00:01", dst: "172.30.0.2" } }),
    };
    const happened = (event: "new" | "del", match: (each: NetlinkEvent) => boolean) =>
      events.findIndex((each) => each.event === event && match(each));
    assert.deepEqual(rtnl.executeAll(Object.values(objects).map(([add]) => add)), []);
    rtnl.execute({ op: "add", kind: "link", link: { kind: "bridge", name: "br9" } });
    // The kernel announces an IPv6 address a little later than it makes it.
    await eventually(() => happened("new", (each) => each.kind === "address" && each.address.ip === "fd09::9") >= 0);
    assert.deepEqual(rtnl.executeAll(Object.values(objects).map(([, del]) => del)), []);
    const { index } = rtnl.link("br9") as { index: number };
    rtnl.execute({ op: "del", kind: "link", link: { index } });
    await eventually(() => happened("del", (each) => each.kind === "link" && each.link.name === "br9") >= 0);
    const matches: ((each: NetlinkEvent) => boolean)[] = [
      (each) => each.kind === "address" && each.address.ip === "10.9.9.9",
      (each) => each.kind === "address" && each.address.ip === "fd09::9",
      (each) => each.kind === "route" && each.route.dst === "10.2.0.0/16" && each.route.protocol === 83,
      (each) => each.kind === "route" && each.route.dst === "fd02::/64" && each.route.onlink === true,
      (each) => each.kind === "neighbour" && each.neighbour.ip === "10.3.0.1",
      (each) => each.kind === "neighbour" && each.neighbour.ip === "fd03::1",
      (each) => each.kind === "fdb" && each.fdb.dst === "172.30.0.2",
      (each) => each.kind === "link" && each.link.name === "br9" && each.link.kind === "bridge",
    ];
    for (const [i, match] of matches.entries()) {
      const born = happened("new", match);
      const died = happened("del", match);
      assert.ok(born >= 0 && died > born, `event ${i}: new at ${born}, deleted at ${died}`);
    }
    assert.deepEqual(resyncs, []);
    await monitor.close();
  });

  it("tells only of the kinds that were asked for", async () => {
    const { events, monitor } = recorder(ns.path, { kinds: ["link"] });
    rtnl.execute(neighbour(1));
    rtnl.execute({ op: "set", kind: "link", link: { index: ifindex, mtu: 1399 } });
    const [event] = await eventually(() => events.length > 0 && events);
    assert.equal(event?.kind, "link");
    await monitor.close();
    assert.ok(events.every((each) => each.kind === "link"));
  });

  it("does not tell of neighbours and routes to prefixes that a conversation makes on its device, and of all else", async () => {
    const { events, monitor } = recorder(ns.path);
    const own = Rtnl.open({ netns: ns.path });
    rtnl.execute({
      op: "add",
      kind: "link",
      link: { kind: "vxlan", name: "sky.2", vni: 2, port: 4790, local: "172.30.0.1" },
    });
    const other = rtnl.link("sky.2")?.index as number;
    rtnl.execute({ op: "set", kind: "link", link: { index: other, up: true } });
    const end = monitor.passOver(own, ifindex);
    const macOf = (who: Rtnl): string => (who === own ? "02:00:00:00:00:0a" : "02:00:00:00:00:0b");
    const made = (who: Rtnl, n: number, on = ifindex): Operation[] => [
      { op: "replace", kind: "neighbour", neighbour: { ifindex: on, ip: `10.41.${n}.0`, mac: macOf(who) } },
      { op: "replace", kind: "neighbour", neighbour: { ifindex: on, ip: `fd41:${n}::`, mac: macOf(who) } },
      ...[`10.41.${n}.0/24`, `10.42.${n}.1/32`].map(
        (dst): Operation => ({
          op: "replace",
          kind: "route",
          route: { family: 4, dst, gateway: `10.41.${n}.0`, ifindex: on, onlink: true },
        }),
      ),
      ...[`fd41:${n}::/64`, `fd42:${n}::1/128`].map(
        (dst): Operation => ({
          op: "replace",
          kind: "route",
          route: { family: 6, dst, gateway: `fd41:${n}::`, ifindex: on, onlink: true },
        }),
      ),
    ];
    /** What is told of, in short, when the last of it has come. */
    const told = async (who: Rtnl, operations: Operation[], last: string): Promise<string[]> => {
      events.length = 0;
      assert.deepEqual(who.executeAll(operations), []);
      rtnl.execute({ op: "replace", kind: "address", address: { ifindex, ip: last, prefix: 32 } });
      const isLast = (each: NetlinkEvent): boolean => each.kind === "address" && each.address.ip === last;
      await eventually(() => events.some(isLast));
      return events.flatMap((each) => {
        if (each.kind === "neighbour") return `${each.event} ${each.neighbour.ip}`;
        return each.kind === "route" && /^(10|fd)4[12]/.test(each.route.dst.replace(".", ""))
          ? `${each.event} ${each.route.dst}`
          : [];
      });
    };
    const all = (n: number, event = "new"): string[] =>
      [`10.41.${n}.0`, `10.41.${n}.0/24`, `10.42.${n}.1/32`, `fd41:${n}::`, `fd41:${n}::/64`, `fd42:${n}::1/128`].map(
        (what) => `${event} ${what}`,
      );
    assert.deepEqual((await told(own, made(own, 1), "10.9.0.1")).sort(), ["new 10.42.1.1/32", "new fd42:1::1/128"]);
    assert.deepEqual((await told(rtnl, made(rtnl, 6), "10.9.0.2")).sort(), all(6), "somebody else's");
    assert.deepEqual((await told(own, made(own, 2, other), "10.9.0.3")).sort(), all(2), "on another device");
    const gone = made(own, 1).map((operation) => ({ ...operation, op: "del" }) as Operation);
    assert.deepEqual((await told(own, gone, "10.9.0.4")).sort(), all(1, "del"), "that go");
    own.close();
    const next = Rtnl.open({ netns: ns.path });
    assert.deepEqual((await told(next, made(next, 3), "10.9.0.5")).sort(), all(3), "of a conversation after it");
    const ended = monitor.passOver(next, ifindex);
    assert.deepEqual((await told(next, made(next, 4), "10.9.0.6")).sort(), ["new 10.42.4.1/32", "new fd42:4::1/128"]);
    ended();
    end();
    assert.deepEqual((await told(next, made(next, 5), "10.9.0.7")).sort(), all(5), "when nobody asks for it any more");
    next.close();
    await monitor.close();
  });

  it("does not take a port that leaves its bridge for a deleted device", async () => {
    const { events, monitor } = recorder(ns.path, { kinds: ["link"] });
    rtnl.execute({ op: "add", kind: "link", link: { kind: "bridge", name: "br8" } });
    const bridge = rtnl.link("br8")?.index as number;
    rtnl.execute({ op: "add", kind: "link", link: { kind: "veth", name: "p0", peer: { name: "p1" } } });
    const port = rtnl.link("p0")?.index as number;
    rtnl.execute({ op: "set", kind: "link", link: { index: port, master: bridge } });
    rtnl.execute({ op: "set", kind: "link", link: { index: port, master: 0 } });
    rtnl.execute({ op: "set", kind: "link", link: { index: port, mtu: 1234 } });
    await eventually(() => events.some((each) => each.kind === "link" && each.link.mtu === 1234));
    assert.ok(events.every((each) => each.kind === "bridgePort" || each.event === "new"));
    assert.ok(
      events.some((each) => each.kind === "bridgePort" && each.event === "del"),
      "the port has left",
    );
    rtnl.execute({ op: "del", kind: "link", link: { index: bridge } });
    rtnl.execute({ op: "del", kind: "link", link: { index: port } });
    await monitor.close();
  });

  it("closes at once while nothing happens, more than once, and tells nothing afterwards", async () => {
    const { events, monitor } = recorder(ns.path);
    const started = performance.now();
    await Promise.all([monitor.close(), monitor.close()]);
    assert.ok(performance.now() - started < 900, "closing waited for the reader to look up by itself");
    rtnl.execute(neighbour(2));
    await monitor.close();
    assert.deepEqual(events, []);
  });

  it("can be closed out of its own handler", async () => {
    let closed: Promise<void> | undefined;
    const { monitor } = recorder(ns.path, { onEvents: () => void (closed = monitor.close()) });
    rtnl.execute(neighbour(3));
    await eventually(() => closed !== undefined);
    await closed;
  });

  it("survives thousands of changes that nobody reads: it lives, calls for a resync, and hears what comes later", async () => {
    const { events, resyncs, monitor } = recorder(ns.path, { receiveBufferBytes: 1 });
    // Synchronous: the event loop does not run until all of it has happened.
    for (let round = 0; round < 5; round++) {
      assert.deepEqual(rtnl.executeAll(Array.from({ length: 2_000 }, (_, i) => neighbour(i))), []);
      assert.deepEqual(
        rtnl.executeAll(Array.from({ length: 2_000 }, (_, i) => ({ ...neighbour(i), op: "del" }) as Operation)),
        [],
      );
    }
    await eventually(() => resyncs.length > 0);
    assert.match(resyncs[0] as string, /ENOBUFS/);
    // What happens after the call for a resync is told again, one by one, or called for once more: that little room is soon full.
    let heard = 0;
    for (let i = 1; i <= 20; i++) {
      const [seen, called] = [events.length, resyncs.length];
      rtnl.execute({ op: "replace", kind: "address", address: { ifindex, ip: `10.7.0.${i}`, prefix: 32 } });
      const told = () =>
        events.slice(seen).some((each) => each.kind === "address" && each.address.ip === `10.7.0.${i}`);
      await eventually(() => told() || resyncs.length > called);
      if (told()) heard++;
    }
    assert.ok(heard > 10, `of 20 changes ${heard} were told of one by one`);
    await monitor.close();
  });

  it("hears what changes right after the call for a resync", async () => {
    const ip = () => `10.8.8.${resyncs.length}`;
    const { events, resyncs } = recorder(ns.path, {
      kinds: ["neighbour"],
      receiveBufferBytes: 1,
      onResync: (reason) => {
        resyncs.push(reason);
        // Whoever looked at the kernel before this line has not seen it, so it must be announced.
        rtnl.execute({ op: "add", kind: "neighbour", neighbour: { ifindex, ip: ip(), mac: "02:00:00:00:00:01" } });
      },
    });
    rtnl.executeAll(Array.from({ length: 500 }, (_, i) => neighbour(2_000 + i)));
    await eventually(() => events.some((each) => each.kind === "neighbour" && each.neighbour.ip === ip()));
  });

  it("misses nothing between the call for a resync and the next event, under steady pressure", async () => {
    // A picture of the neighbours kept by events, and taken anew at each resync, must end equal to the kernel's own.
    const key = (n: { ip: string }) => n.ip;
    let picture = new Set<string>();
    const retake = () => {
      picture = new Set(rtnl.neighbours({ ifindex, family: 4 }).map(key));
    };
    let resyncs = 0;
    const monitor = Monitor.open({
      netns: ns.path,
      kinds: ["neighbour"],
      receiveBufferBytes: 1,
      onResync: () => {
        resyncs++;
        retake();
      },
      onEvents: (events) => {
        for (const each of events) {
          if (each.kind !== "neighbour" || each.neighbour.ifindex !== ifindex) continue;
          if (each.event === "new") picture.add(each.neighbour.ip);
          else picture.delete(each.neighbour.ip);
        }
      },
    });
    retake();
    for (let round = 0; round < 40; round++) {
      const from = (round * 37) % 500;
      const operations = Array.from({ length: 300 }, (_, i) => neighbour(from + i));
      rtnl.executeAll(round % 2 ? operations.map((each) => ({ ...each, op: "del" }) as Operation) : operations);
      await new Promise(setImmediate);
    }
    await eventually(() => {
      const kernel = new Set(rtnl.neighbours({ ifindex, family: 4 }).map(key));
      return kernel.size === picture.size && kernel.isSubsetOf(picture);
    });
    assert.ok(resyncs > 0, "nothing was overrun");
    await monitor.close();
  });

  it("calls for a resync when it is sent what nobody can read, and goes on", async () => {
    const { events, resyncs, monitor } = recorder(ns.path);
    using forger = withNetns(ns.path, () => KernelSocket.open(0));
    const garbage = Buffer.from("0123456789abcdef0123456789abcdef");
    const ports = withNetns(ns.path, () => readFileSync("/proc/thread-self/net/netlink", "utf8"))
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter((words) => words[1] === "0" && Number.parseInt(words[3] as string, 16) !== 0)
      .map((words) => Number(words[2]));
    assert.equal(ports.length, 1);
    forger.send(garbage, garbage.length, ports[0]);
    await eventually(() => resyncs.length > 0);
    assert.match(resyncs[0] as string, /cannot be read/);
    rtnl.execute({ op: "replace", kind: "address", address: { ifindex, ip: "10.7.2.1", prefix: 32 } });
    await eventually(() => events.some((each) => each.kind === "address" && each.address.ip === "10.7.2.1"));
    await monitor.close();
  });

  it("passes over what the kernel keeps in the local table", async () => {
    const { events, monitor } = recorder(ns.path, { kinds: ["address", "route"] });
    rtnl.execute({ op: "replace", kind: "address", address: { ifindex, ip: "10.7.3.1", prefix: 24 } });
    // announced after the local routes
    await eventually(() => events.some((each) => each.kind === "route" && each.route.dst === "10.7.3.0/24"));
    assert.deepEqual(
      events.flatMap((each) => (each.kind === "route" && each.route.table === 255 ? [each.route.dst] : [])),
      [],
    );
    await monitor.close();
  });

  it("throws a handler's exception where everybody sees it, and goes on", async () => {
    const events: NetlinkEvent[] = [];
    const { monitor } = recorder(ns.path, {
      onEvents: (some) => {
        events.push(...some);
        if (events.length === some.length) throw new Error("handler failed");
      },
    });
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    try {
      const thrown = once(process, "uncaughtException") as Promise<[Error]>;
      rtnl.execute({ op: "replace", kind: "address", address: { ifindex, ip: "10.7.1.0", prefix: 32 } });
      const [error] = await thrown;
      assert.equal(error.message, "handler failed");
      const seen = events.length;
      rtnl.execute({ op: "replace", kind: "address", address: { ifindex, ip: "10.7.1.1", prefix: 32 } });
      await eventually(() => events.length > seen);
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const listener of listeners) process.on("uncaughtException", listener);
      await monitor.close();
    }
  });
});

/** The addition and the deletion of one object. */
function both(kind: string, object: object): [Operation, Operation] {
  return [{ op: "add", kind, ...object } as Operation, { op: "del", kind, ...object } as Operation];
}
