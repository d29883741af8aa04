import assert from "node:assert/strict";
import type { ConnectionEvent } from "../../../src/dataplane/conntrack/index.ts";
import { FilterError, FlowTable, readFilter, type ServiceName, type WhoHas } from "../../../src/flows/index.ts";

const PODS: Readonly<Record<string, WhoHas>> = {
  "10.0.1.2": { pod: "shop/front", node: "node1", labels: { app: "front" } },
  "10.0.1.3": { pod: "shop/cart", node: "node1" },
  "10.0.2.2": { node: "node2" },
};
const whoHas = (ip: string): WhoHas | undefined => PODS[ip];
let services: Readonly<Record<string, ServiceName>> = {};
const base = {
  network: "default",
  node: "node1",
  whoHas,
  serviceAt: (protocol: number, ip: string, port: number) => services[`${protocol} ${ip} ${port}`],
};
const table = (options: { most?: number; mostSeries?: number; passesBy?: boolean } = {}): FlowTable =>
  new FlowTable({ ...base, ...options, passesBy: () => options.passesBy === true });

const event = (more: Partial<ConnectionEvent> & { from?: string; to?: string } = {}): ConnectionEvent => {
  const { from = "10.0.1.2", to = "10.0.1.3", ...rest } = more;
  return {
    id: 8,
    ended: false,
    protocol: 6,
    original: { source: from, destination: to, sourcePort: 40_000, destinationPort: 80 },
    reply: { source: to, destination: from, sourcePort: 80, destinationPort: 40_000 },
    ...rest,
  };
};
const all = (flows: FlowTable) => flows.read({}).flows;

describe("the table of flows", () => {
  beforeEach(() => {
    services = {};
  });

  it("names both ends and the Service of a connection, and has its figures when it has ended", () => {
    const flows = table();
    const original = { source: "10.0.1.2", destination: "10.96.0.9", sourcePort: 40_000, destinationPort: 443 };
    assert.ok(flows.connection(event({ original }), 1, 1_000));
    assert.equal(all(flows)[0]?.state, "open");
    flows.connection(event({ original, ended: true, packets: 9, bytes: 900, start: 500, stop: 1_500 }), 1, 2_000);
    const [flow, ...more] = all(flows);
    assert.deepEqual(more, []);
    assert.deepEqual(flow, {
      seq: 2,
      network: "default",
      state: "ended",
      verdict: "allowed",
      protocol: 6,
      source: { ip: "10.0.1.2", port: 40_000, ...PODS["10.0.1.2"] },
      destination: { ip: "10.0.1.3", port: 80, ...PODS["10.0.1.3"] },
      service: { ip: "10.96.0.9", port: 443 },
      start: 1_000,
      end: 1_500,
      packets: 9,
      bytes: 900,
      sampled: 1,
    });
  });

  it("names the Service that was asked for, also one that is heard of late, and keeps a name that it has given", () => {
    const flows = table();
    const original = { source: "10.0.1.2", destination: "10.96.0.9", sourcePort: 40_000, destinationPort: 443 };
    const asked = { ip: "10.96.0.9", port: 443 };
    flows.connection(event({ original }), 1, 0);
    assert.deepEqual(all(flows)[0]?.service, asked);
    services = { "6 10.96.0.9 443": { name: "shop/cart", portName: "https" } };
    flows.connection(event({ original, ended: true }), 1, 1);
    assert.deepEqual(all(flows)[0]?.service, { ...asked, name: "shop/cart", portName: "https" });
    flows.connection(event({ id: 9, original }), 1, 2);
    services = {};
    flows.connection(event({ id: 9, original, ended: true }), 1, 3);
    assert.equal(all(flows)[1]?.service?.name, "shop/cart");
    // Nobody has asked for another one.
    flows.connection(event({ id: 10 }), 1, 4);
    assert.equal(all(flows)[2]?.service, undefined);
    assert.equal(flows.read(readFilter(new URLSearchParams("service=shop/cart"))).flows.length, 2);
  });

  it("keeps networks apart, whose pods may have the same addresses and connections the same number", () => {
    const flows = table();
    const blue = { network: "blue", whoHas: (ip: string) => (ip === "10.0.1.3" ? { pod: "lab/db" } : undefined) };
    flows.connection(event(), 1, 0);
    flows.connection(event(), 1, 0, blue);
    flows.denied({ source: "10.0.1.9", destination: "10.0.1.3", protocol: 6, port: 1 }, "p", 0, blue);
    assert.deepEqual(
      all(flows).map(({ network, verdict, source, destination }) => [network, verdict, source.pod, destination.pod]),
      [
        ["default", "allowed", "shop/front", "shop/cart"],
        ["blue", "allowed", undefined, "lab/db"],
        ["blue", "denied", undefined, "lab/db"],
      ],
    );
    assert.equal(flows.read(readFilter(new URLSearchParams("network=blue"))).flows.length, 2);
    flows.unfollow((_, network) => network !== "blue");
    assert.deepEqual(
      all(flows).map(({ state }) => state),
      ["open", "unfollowed", "ended"],
    );
  });

  it("takes no connection of which neither end is a pod", () => {
    const flows = table();
    assert.equal(flows.connection(event({ from: "10.0.2.2", to: "192.0.2.1" }), 1, 0), false);
    assert.equal(flows.size, 0);
  });

  it("says that figures are too low where packets may pass connection tracking by", () => {
    const flows = table({ passesBy: true });
    flows.connection(event({ ended: true, bytes: 1 }), 1, 0);
    assert.equal(all(flows)[0]?.atLeast, true);
  });

  it("remembers a bounded number of flows whatever comes, and says what it forgot", () => {
    const flows = table({ most: 16 });
    for (let id = 0; id < 50_000; id++) {
      flows.connection(event({ id }), 1, id);
      if (id % 3 === 0)
        flows.denied(
          { source: `192.0.2.${id % 256}`, destination: "10.0.1.2", protocol: 17, port: id % 65_536 },
          "p",
          id,
        );
      assert.ok(flows.size <= 16);
    }
    assert.ok(flows.left > 40_000);
    const { next, missed } = flows.read({}, 1);
    assert.ok(missed > 0 && missed <= next);
    assert.equal(flows.read({}, next - 3).missed, 0);
    assert.deepEqual(
      flows.read({}, next - 3).flows.map(({ seq }) => seq),
      [next - 2, next - 1, next],
    );
  });

  it("counts by namespace what starts here, as often as a flow stands for, and what is denied here", () => {
    const flows = table();
    flows.connection(event({ ended: true, bytes: 10 }), 4, 0);
    flows.connection(event({ id: 9, from: "10.0.2.2" }), 1, 0);
    flows.denied({ source: "10.0.2.2", destination: "10.0.1.2", protocol: 6, port: 80 }, "NetworkPolicy shop/x", 0);
    assert.deepEqual(
      [...flows.counts],
      [
        { source: "shop", destination: "shop", verdict: "allowed", flows: 4, bytes: 40 },
        { source: "(node)", destination: "shop", verdict: "denied", flows: 1, bytes: 0 },
      ],
    );
  });

  it("has a bound of counted namespaces, with all others under one name", () => {
    const flows = new FlowTable({
      ...base,
      node: "n",
      passesBy: () => false,
      mostSeries: 3,
      whoHas: (ip) => ({ pod: `ns${ip}/a` }),
    });
    for (let n = 0; n < 100; n++) flows.connection(event({ id: n, from: `10.0.0.${n}` }), 1, 0);
    const counts = [...flows.counts];
    assert.equal(counts.length, 4);
    assert.equal(counts.find(({ source }) => source === "(other)")?.flows, 97);
  });

  it("adds packets that are denied alike to one flow, with who denied them", () => {
    const flows = table();
    for (let n = 0; n < 3; n++)
      flows.denied({ source: "10.0.1.2", destination: "10.0.1.3", protocol: 6, port: 81 }, "NetworkPolicy shop/x", n);
    const [flow] = all(flows);
    assert.deepEqual([flow?.packets, flow?.verdict, flow?.policy, flow?.end], [3, "denied", "NetworkPolicy shop/x", 2]);
  });

  it("says of open flows whose end will not be told that they are not followed", () => {
    const flows = table();
    flows.connection(event({ id: 8 }), 1, 0);
    flows.connection(event({ id: 9 }), 1, 0);
    flows.unfollow((id) => id % 8 === 0);
    assert.deepEqual(
      all(flows).map(({ state }) => state),
      ["open", "unfollowed"],
    );
  });

  it("filters by namespace, pod, verdict, port, protocol and time", () => {
    const flows = table();
    flows.connection(event(), 1, 1_000);
    flows.denied({ source: "10.0.2.2", destination: "10.0.1.3", protocol: 17, port: 53 }, "x", 2_000);
    const found = (query: string): number => flows.read(readFilter(new URLSearchParams(query))).flows.length;
    assert.equal(found(""), 2);
    assert.equal(found("namespace=shop"), 2);
    assert.equal(found("namespace=sho"), 0);
    assert.equal(found("pod=shop/front"), 1);
    assert.equal(found("verdict=denied"), 1);
    assert.equal(found("port=80"), 1);
    assert.equal(found("protocol=udp"), 1);
    assert.equal(found("protocol=6"), 1);
    assert.equal(found("since=1500"), 1);
    for (const bad of ["pod=front", "service=web", "verdict=no", "port=70000", "port=x", "protocol=foo", "since=-1"])
      assert.throws(() => readFilter(new URLSearchParams(bad)), FilterError, bad);
  });
});
