import assert from "node:assert/strict";
import {
  Firewall,
  NftError,
  type NetworkRules,
  pairOf,
  type PeerSource,
  type RunTool,
  toolRunner,
} from "../../../src/dataplane/nft/index.ts";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";
import { recordingLogger } from "../overlay/cluster.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { echo, frame } from "../support/frames.ts";
import { seededRandom } from "../../support/random.ts";
import { counted, send, table, vxlan } from "./support.ts";

const numbered = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `10.9.${(from + i) >> 8}.${(from + i) & 255}`);

describe("peers that come and go in the table that is in place", () => {
  let ns: TestNamespace;
  let other: TestNamespace;
  let firewall: Firewall;
  let peers: string[];
  let rules: NetworkRules;
  let applied: number;
  let repaired: number;

  before(() => {
    [ns, other] = [testNamespace("peers"), testNamespace("whole")];
  });

  beforeEach(async () => {
    peers = ["172.30.0.2", "fd00:30::2"];
    [applied, repaired] = [0, 0];
    rules = {
      network: "default",
      vni: 4096,
      port: 4789,
      get peers() {
        return peers;
      },
      podCidrs: ["10.244.1.0/24"],
      clusterCidrs: ["10.244.0.0/16"],
      masquerade: { enabled: true, exclude: [] },
    };
    firewall = new Firewall({
      netns: ns.path,
      logger: recordingLogger(),
      forwardPolicy: false,
      onApply: () => applied++,
      onRepair: () => repaired++,
    });
    firewall.set([rules]);
    await firewall.start();
  });

  afterEach(() => firewall.stop());

  /** Takes peers for the ones that are, and tells the firewall what that changes. */
  function become(now: string[]): void {
    const change = { come: now.filter((ip) => !peers.includes(ip)), gone: peers.filter((ip) => !now.includes(ip)) };
    peers = now;
    firewall.changePeers(rules, change, false);
  }

  /** The table as it is when it is put in place whole for these peers. */
  async function whole(of: string[]): Promise<string> {
    const one = new Firewall({ netns: other.path, logger: recordingLogger(), forwardPolicy: false });
    one.set([{ ...rules, peers: of }]);
    await one.start();
    await one.stop();
    return table(other);
  }

  it("are there at once, of both families, in a table that is otherwise left alone and is not taken for changed", async () => {
    const now = ["172.30.0.3", "fd00:30::2", "fd00:30::3"];
    become(now);
    assert.match(table(ns), /172\.30\.0\.3/);
    await firewall.settled();
    assert.equal(table(ns), await whole(now));
    assert.deepEqual([applied, repaired, firewall.status().ready], [1, 0, true]);
    become(["172.30.0.2", "172.30.0.3"]);
    await firewall.settled();
    assert.equal(table(ns), await whole(["172.30.0.2", "172.30.0.3"]));
    assert.deepEqual([applied, repaired], [1, 0]);
  });

  it("have their prefixes known as the cluster's at once, beside those that are", async () => {
    const clusterCidrs = ["10.250.0.0/24", "fd00:250::/64"];
    rules = { ...rules, clusterCidrs };
    firewall.set([rules]);
    await firewall.settled();
    applied = 0;
    const know = (...prefixes: string[]): void => firewall.changePeers(rules, { come: [], gone: [], prefixes }, false);
    const isKnown = (address: string): boolean => {
      const set = `direct${address.includes(":") ? 6 : 4}_4096`;
      try {
        return ns.exec("nft", "get", "element", "inet", "skylane", set, `{ ${address} }`).includes(set);
      } catch {
        return false;
      }
    };
    know("10.250.1.0/24", "10.250.255.0/24", "fd00:250:0:1::/64");
    know("10.250.7.0/24");
    for (const address of [
      "10.250.0.9",
      "10.250.1.0",
      "10.250.1.255",
      "10.250.255.255",
      "10.250.7.1",
      "fd00:250:0:1::9",
    ])
      assert.ok(isKnown(address), address);
    for (const address of ["10.250.2.0", "10.251.0.0", "10.250.6.255", "10.250.8.0", "fd00:250:0:2::"])
      assert.ok(!isKnown(address), address);
    await firewall.settled();
    assert.deepEqual([applied, repaired, firewall.status().ready], [0, 0, true], "the table was left in place");
  });

  it("have the table put in place whole, some time later, for a prefix that cannot be put in beside the others", async function () {
    this.timeout(15_000);
    let clusterCidrs = ["10.250.0.0/16"];
    rules = {
      ...rules,
      get clusterCidrs() {
        return clusterCidrs;
      },
    };
    firewall.set([rules]);
    await firewall.settled();
    applied = 0;
    clusterCidrs = ["10.250.0.0/16", "10.250.0.0/15"];
    firewall.changePeers(rules, { come: [], gone: [], prefixes: ["10.250.0.0/15"] }, false);
    assert.equal(applied, 0);
    await eventually(() => applied === 1, { timeoutMs: 10_000 });
    await firewall.settled();
    assert.match(table(ns), /10\.250\.0\.0\/15/);
  });

  it("are made up for when they come and go while the table is being put in place", async () => {
    ns.exec("nft", "add", "chain", "inet", "skylane", "theirs");
    await eventually(() => applied === 2);
    firewall.set([{ ...rules, port: 4790 }]);
    firewall.set([rules]);
    for (const n of [3, 4, 5]) {
      become(["172.30.0.2", `172.30.0.${n}`]);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await firewall.settled();
    assert.equal(table(ns), await whole(["172.30.0.2", "172.30.0.5"]));
    assert.ok(firewall.status().ready);
  });

  it("have the table put in place whole where their set has gone, or where they are many", async () => {
    ns.exec("nft", "delete", "table", "inet", "skylane");
    become(["172.30.0.7"]);
    const right = await whole(["172.30.0.7"]);
    await eventuallyHolds(() => assert.equal(table(ns), right));
    await firewall.settled();
    const before = applied;
    const many = numbered(0, 600);
    become(many);
    await firewall.settled();
    assert.equal(table(ns), await whole(many));
    assert.equal(applied, before + 1);
  });

  const source = (ip: string, ...cidrs: string[]): PeerSource => ({ node: ip, ip, cidrs });
  const pairs = (of: readonly PeerSource[]): Set<string> =>
    new Set(of.flatMap(({ ip, cidrs }) => cidrs.map((cidr) => pairOf(ip, cidr))));
  let sources: PeerSource[] = [];

  /** Has peers held to these sources, and tells what follows as they change. */
  async function hold(first: PeerSource[]): Promise<void> {
    sources = first;
    peers = sources.map(({ ip }) => ip);
    rules = { ...rules, sources: () => sources };
    Object.defineProperty(rules, "peers", { get: () => peers });
    firewall.set([rules]);
    await firewall.settled();
    applied = 0;
  }

  function sendFrom(now: PeerSource[]): void {
    const [had, has] = [pairs(sources), pairs(now)];
    const ips = now.map(({ ip }) => ip);
    const change = { come: ips.filter((ip) => !peers.includes(ip)), gone: peers.filter((ip) => !ips.includes(ip)) };
    const changed = { come: [...has.difference(had)], gone: [...had.difference(has)] };
    [sources, peers] = [now, ips];
    firewall.changePeers(rules, { ...change, sources: changed }, false);
  }

  /** Peers that have some prefix of each kind, so that no set comes or goes. */
  const anchors = [
    source("172.30.0.2", "10.244.2.0/24", "10.245.2.64/26", "fd00:2::/64", "172.30.0.2/32", "fd00:2:2::2/128"),
    source("fd30::2", "10.246.2.0/24", "10.247.2.64/26", "fd00:3::/64", "10.1.1.1/32", "fd30::2/128"),
  ];

  it("send from what they have, as when the table is put in place whole", async () => {
    await hold(anchors);
    const random = seededRandom(Number(process.env["SEED"] ?? 1));
    const pick = (n: number): number => Math.floor(random() * n);
    const some = (): PeerSource[] =>
      Array.from({ length: pick(6) }, (_, at) => {
        const ip = at % 2 === 0 ? `172.30.0.${at + 10}` : `fd30::${at + 10}`;
        const cidrs = [
          `10.99.${pick(4)}.0/24`,
          `10.98.0.${pick(4) * 64}/26`,
          `fd99:${pick(4)}::/64`,
          `10.97.0.${pick(4)}/32`,
        ];
        return source(ip, ...new Set(cidrs.slice(0, pick(5))));
      });
    for (let step = 0; step < 40; step++) sendFrom([...anchors, ...some()]);
    await firewall.settled();
    assert.deepEqual([applied, repaired, firewall.status().ready], [0, 0, true], "the table was left in place");
    assert.equal(table(ns), await whole(peers));
  });

  it("have the table put in place whole for a prefix of a length that is new", async () => {
    await hold(anchors);
    sendFrom([...anchors, source("172.30.0.9", "10.96.0.0/20")]);
    await firewall.settled();
    assert.deepEqual([applied, repaired, firewall.status().ready], [1, 0, true]);
    assert.equal(table(ns), await whole(peers));
    sendFrom([...anchors, source("172.30.0.9", "10.96.16.0/20")]);
    await firewall.settled();
    assert.equal(applied, 1);
    assert.equal(table(ns), await whole(peers));
  });

  it("are heard inside the tunnel from their own prefixes to the bit, over either family", async () => {
    const fabric = testNamespace("senders");
    ns.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", fabric.name);
    for (const [where, n] of [
      [ns, 1],
      [fabric, 66],
    ] as const) {
      where.exec("ip", "addr", "add", `172.30.0.${n}/24`, "dev", "eth0");
      where.exec("ip", "addr", "add", `fd30::${n}/64`, "dev", "eth0", "nodad");
      where.exec("ip", "link", "set", "eth0", "up");
    }
    const cidrs = [
      "10.244.6.0/24",
      "10.12.16.0/20",
      "10.13.0.64/26",
      "10.14.0.1/32",
      "fd66::/64",
      "fd67:0:0:10::/60",
      "fd68::1/128",
    ];
    // of another peer, whose sources are nobody else's
    const theirs = source("172.30.0.2", "10.244.2.0/24", "fd02::/64");
    await hold([source("172.30.0.66", ...cidrs), source("fd30::66", ...cidrs), theirs]);
    const right = [
      "10.244.6.1",
      "10.244.6.255",
      "10.12.31.9",
      "10.13.0.127",
      "10.14.0.1",
      "fd66::1:2:3:4",
      "fd67:0:0:1f::9",
      "fd68::1",
    ];
    const wrong = [
      "10.244.7.1",
      "10.244.2.1",
      "10.12.32.9",
      "10.13.0.128",
      "10.13.0.63",
      "10.14.0.2",
      "fd66:0:0:1::1",
      "fd02::1",
      "fd67:0:0:20::9",
      "fd68::2",
    ];
    const none = ["172.30.0.66", "0.0.0.0", "::", "fe80::1"];
    const said = "not an address of the peer that sends it";
    const inner = (ip: string): Buffer =>
      frame("02:00:00:00:00:66", "02:00:00:00:00:01", echo(ip, ip.includes(":") ? "fd00::1" : "10.244.1.1"));
    for (const to of ["172.30.0.1", "fd30::1"])
      for (const [ips, dropped] of [
        [right, 0],
        [[...wrong, ...none], wrong.length + none.length],
      ] as const) {
        const before = counted(ns, said);
        send(fabric, to, 4789, ...ips.map((ip) => Buffer.concat([vxlan(4096).subarray(0, 8), inner(ip)])));
        assert.equal(counted(ns, said) - before, dropped, `${ips.join(", ")} to ${to}`);
      }
    assert.equal(counted(ns, "VXLAN from no known peer"), 0);
  });

  it("are held to their outer addresses alone where nft refuses sets of bits, which is said once", async () => {
    const nft = toolRunner({ netns: ns.path });
    const logger = recordingLogger();
    const run: RunTool = (program, args, input = "") =>
      input.includes("@th,336")
        ? Promise.reject(new NftError(program, "refused", "no", "no"))
        : nft(program, args, input);
    let wholes = 0;
    await firewall.stop();
    firewall = new Firewall({ netns: ns.path, logger, forwardPolicy: false, run, onApply: () => wholes++ });
    await hold(anchors);
    await firewall.start();
    sendFrom([...anchors, source("172.30.0.9", "10.96.0.0/20")]);
    sendFrom([...anchors, source("172.30.0.8", "10.96.0.0/20")]);
    await firewall.settled();
    assert.match(table(ns), /ip saddr @peers4_4096 accept/);
    assert.match(table(ns), /172\.30\.0\.8/);
    const { ready, degraded } = firewall.status();
    assert.deepEqual([wholes, ready, degraded.length], [1, true, 1]);
    firewall.set([{ ...rules, port: 4790 }]);
    await firewall.settled();
    assert.equal(logger.lines.filter(({ message }) => message === degraded[0]).length, 1);
  });
});
