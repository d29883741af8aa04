/** Gateways of pod networks: which transits a node has and says, which of other nodes it believes, and what its namespace's table is made of. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parseEgressGateway, ObjectError } from "../../../src/crd/index.ts";
import { renderNetworkEgress } from "../../../src/dataplane/egress/index.ts";
import { EGRESS_ANNOTATION, readTransits, select, Transits, writeTransits } from "../../../src/egress/index.ts";
import { TransitWord } from "../../../src/egress/transit-word.ts";
import type { KubeClient } from "../../../src/kube/index.ts";
import { eventually } from "../../support/eventually.ts";
import { keptLog } from "../network/harness.ts";
import { EgressNetworks } from "../../../src/egress/networks.ts";
import type { EgressPod } from "../../../src/egress/selection.ts";
import { Ipam } from "../../../src/ipam/local/index.ts";

const CIDRS = ["10.244.1.0/24", "fd00:10:244:1::/64"];
const EGRESS = ["192.0.2.1", "2001:db8::1"] as const;
const gatewayOf = (spec: object, name = "out") =>
  parseEgressGateway({
    metadata: { name, uid: `u-${name}`, resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { podSelector: { matchLabels: { app: "a" } }, nodeSelector: {}, egressAddresses: [...EGRESS], ...spec },
  });
const pod = (name: string, node: string, ips: string[], network?: string): EgressPod => ({
  key: `ns/${name}`,
  namespace: "ns",
  labels: { app: "a" },
  node,
  ips,
  ...(network !== undefined && { network }),
});
const TAKEN = { nodeOf: () => undefined, apiServer: [], pods: [], services: [] };

describe("egress gateways of pod networks", () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "skylane-transits-"))));
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const transitsHere = (): Transits => new Transits({ ipam: new Ipam({ dir }), inUse: () => false });

  it("name a network beside the default one", () => {
    assert.equal(gatewayOf({ network: "blue" }).network, "blue");
    assert.equal(gatewayOf({}).network, undefined);
    for (const network of ["default", "", "Blue", "a b", 7, {}])
      assert.throws(() => gatewayOf({ network }), ObjectError, JSON.stringify(network));
  });

  it("select pods by their addresses there, and those of the default network not", () => {
    const pods = [
      pod("a", "n1", ["10.244.1.5"]),
      pod("a", "n1", ["10.50.0.2"], "blue"),
      pod("b", "n1", ["10.50.0.2"], "green"),
    ];
    const [blue, plain] = select(
      [gatewayOf({ network: "blue" }), gatewayOf({ egressAddresses: ["192.0.2.9"] }, "z")],
      pods,
      new Map(),
      TAKEN,
    );
    assert.deepEqual(
      blue?.pods.map(({ ip, address }) => [ip, address]),
      [["10.50.0.2", EGRESS[0]]],
    );
    assert.deepEqual(
      plain?.pods.map(({ ip }) => ip),
      ["10.244.1.5"],
    );
  });

  it("have transits that nobody else is given, and that the next agent finds again", () => {
    const first = transitsHere();
    const via = EGRESS.map((address) => first.take(address, CIDRS));
    assert.deepEqual(via, ["10.244.1.2", "fd00:10:244:1::2"]);
    const [given] = new Ipam({ dir }).reserve({ containerId: "c1", ifname: "eth0" }, { podCidrs: CIDRS });
    assert.notEqual(given, via[0]);
    assert.deepEqual(
      [...transitsHere().all],
      [
        [EGRESS[0], via[0]],
        [EGRESS[1], via[1]],
      ],
    );
    // Another prefix of the node's.
    assert.equal(transitsHere().take(EGRESS[0], ["10.244.7.0/24"]), "10.244.7.2");
    const last = transitsHere();
    for (const address of EGRESS) last.free(address);
    assert.deepEqual(
      new Ipam({ dir }).list().map(({ owner }) => owner.containerId),
      ["c1", "c1"],
    );
    assert.equal(last.take(EGRESS[1], ["10.244.7.0/24"]), undefined);
    assert.match(last.faults.get(EGRESS[1]) ?? "", /no IPv6 addresses/);
  });

  it("say nothing that does not come back, and read nothing that makes no sense", () => {
    const said = [
      { address: "192.0.2.1", via: "10.244.1.2", pods: 3 },
      { address: "2001:db8::1", via: "fd00::2", pods: 0 },
    ];
    assert.deepEqual(readTransits(writeTransits(said)), said);
    assert.equal(writeTransits([]), undefined);
    const crossed = JSON.stringify([
      { address: "192.0.2.1", via: "fd00::2", pods: 1 },
      null,
      7,
      { address: "x", via: "y" },
    ]);
    assert.deepEqual(readTransits(crossed), []);
    fc.assert(fc.property(fc.anything(), (value) => Array.isArray(readTransits(JSON.stringify(value) ?? "{"))));
    fc.assert(fc.property(fc.string(), (text) => Array.isArray(readTransits(text))));
  });

  /** What a node makes of it all. */
  const networksHere = (transits = transitsHere()) => {
    const said: (string | undefined)[] = [];
    const word = {
      heard: () => undefined,
      stop: async () => undefined,
      say: (all: Parameters<typeof writeTransits>[0]) => void said.push(writeTransits(all)),
    };
    const networks = new EgressNetworks({
      nodeName: "n1",
      transits,
      word,
      onChange: () => undefined,
      onRepair: () => undefined,
    });
    return { networks, said, transits };
  };
  const granted = (node: string): string[] => [`10.244.${node.slice(1)}.0/24`];
  const none = { said: new Map(), granted, pods: [], namespaces: new Map() };
  const blue = gatewayOf({ network: "blue" });

  it("know pods here by their links, those of networks that a gateway names, and of whom the API server has told", async () => {
    const { networks } = networksHere();
    let asked = 0;
    const join = (name: string) =>
      networks.join({
        name,
        path: `/run/netns/sky-${name}`,
        netns: -1,
        cidrs: ["10.50.0.0/24", "fd50::/64"],
        log: keptLog(),
        here: () => {
          asked++;
          const links = { a: ["10.50.0.2", "fd50::2", "fe80::1"], b: ["10.50.0.3"] };
          return new Map(Object.entries(links).map(([one, ips]) => [one, { namespace: "ns", name: one, ips }]));
        },
        uplink: { setTransits: () => undefined, inOrder: true },
      });
    const joined = join("blue");
    join("green");
    const known = (key: string) => (key === "ns/a" ? pod("a", "n1", []) : undefined);
    assert.deepEqual(
      [...networks.pods([blue, gatewayOf({}, "z")], known)],
      [pod("a", "n1", ["10.50.0.2", "fd50::2"], "blue")],
    );
    assert.equal(asked, 1);
    assert.equal(networks.at("/run/netns/sky-blue")?.name, "blue");
    await joined.leave();
    assert.equal(networks.at("/run/netns/sky-blue"), undefined);
    assert.deepEqual([...networks.pods([blue], known)], []);
  });

  it("lead out a transit in place of this node's pods, and say so", () => {
    const { networks, said } = networksHere();
    const selected = select(
      [blue],
      [pod("a", "n1", ["10.50.0.2"], "blue"), pod("b", "n1", ["10.50.0.3"], "blue")],
      new Map(),
      TAKEN,
    );
    const [wired] = networks.wired(selected, CIDRS, none);
    assert.deepEqual(wired?.pods, [{ key: "blue@n1", node: "n1", ip: "10.244.1.2", address: EGRESS[0] }]);
    assert.deepEqual(readTransits(said.at(-1)), [{ address: EGRESS[0], via: "10.244.1.2", pods: 2 }]);
    assert.equal(networks.count(EGRESS[0]), 2);
    // The last pod has gone: the transit stays with the network. The gateway has gone: it goes.
    assert.equal(networks.wired(select([blue], [], new Map(), TAKEN), CIDRS, none)[0]?.pods.length, 1);
    networks.wired([], CIDRS, none);
    assert.equal(said.at(-1), undefined);
    assert.deepEqual(new Ipam({ dir }).list(), []);
  });

  it("believe of another node what is its own, of a gateway's addresses, where it has a pod that this one selects", () => {
    const { networks } = networksHere();
    const say = (address: string, via: string) => ({ address, via, pods: 1 });
    const said = new Map([
      ["n2", [say(EGRESS[0], "10.244.2.9"), say("192.0.2.77", "10.244.2.10")]],
      ["n3", [say(EGRESS[0], "10.244.2.9")]],
      ["n4", [say(EGRESS[0], "10.244.4.9")]],
    ]);
    const pods = [
      pod("a", "n2", ["10.244.2.5"]),
      pod("b", "n3", ["10.244.3.5"]),
      { ...pod("c", "n4", []), labels: {} },
    ];
    const [wired] = networks.wired(select([blue], [], new Map(), TAKEN), CIDRS, { ...none, said, pods });
    assert.deepEqual(wired?.pods, [{ key: "blue@n2", node: "n2", ip: "10.244.2.9", address: EGRESS[0] }]);
  });

  it("are told to the API server once, and again where the Node says something else", async () => {
    const written: unknown[] = [];
    const client = { json: async ({ body }: { body: unknown }) => void written.push(body) } as unknown as KubeClient;
    const word = new TransitWord({ client, nodeName: "n1", log: keptLog() });
    const told = (count: number): Promise<unknown> => eventually(() => written.length === count);
    const transit = { address: EGRESS[0], via: "10.244.1.2", pods: 1 };
    word.say([transit]);
    await told(1);
    word.say([transit]);
    word.heard(undefined);
    word.say([transit]);
    await told(2);
    word.say([]);
    await told(3);
    await word.stop();
    const text = writeTransits([transit]);
    assert.deepEqual(
      written,
      [text, text, null].map((one) => ({ metadata: { annotations: { [EGRESS_ANNOTATION]: one } } })),
    );
  });

  it("drop what has no transit, and give each way its own", () => {
    const text = renderNetworkEgress({
      ways: [
        { family: 4, pods: ["10.50.0.2"], transit: "10.244.1.2", to: ["203.0.113.0/24"] },
        { family: 6, pods: ["fd50::2"] },
      ],
      inside: ["10.244.0.0/16"],
    });
    assert.match(text, /chain way_0 \{\n {4}ip daddr != @to_0 return\n {4}snat ip to 10\.244\.1\.2\n/);
    assert.match(text, /chain way_1 \{\n {4}counter drop comment "no way to the gateway"/);
    assert.match(text, /10\.50\.0\.2 : goto way_0/);
    assert.throws(
      () => renderNetworkEgress({ ways: [{ family: 4, pods: ["10.0.0.1; drop"] }], inside: [] }),
      RangeError,
    );
  });
});
