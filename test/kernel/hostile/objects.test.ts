import assert from "node:assert/strict";
import type { PodOptions } from "../../../lab/pods/pods.ts";
import { endpointsName, NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventuallyHolds } from "../../support/eventually.ts";
import { useLab } from "../lab/support.ts";
import { attack, type HostileNode, hostileNode } from "./support.ts";

const API = "/apis/skylane.dev/v1alpha1";
const MERGE = "application/merge-patch+json";
const PATIENT = { timeoutMs: 60_000 };
const NETWORKS = ["lan", "blue"] as const;
const OTHERS = ["node1", "node2"];
/** All that an attack of this file may add to a node's log, in bytes, and to one line of it. */
const MOST_LOG = 256 * 1024;
const MOST_LINE = 4_096;

/** Of so many cases one is followed by a look at everything. */
const LOOK = 4;

/** A number as it stands in JSON, where it is none that JavaScript has. */
const raw = (text: string): unknown => (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(text);
const HUGE = "x".repeat(1024 * 1024);
const many = <T>(count: number, one: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => one(n));
const byte = (n: number): string => (n & 255).toString(16).padStart(2, "0");

/** What is written as a list of endpoints, beside the honest ones. */
const ADDRESSES: unknown[] = [
  "10.80.255.255",
  "10.80.0.0",
  "255.255.255.255",
  "224.0.0.1",
  "127.0.0.1",
  "0.0.0.0",
  "169.254.1.1",
  "172.30.0.1",
  "172.30.0.11",
  "10.244.1.0",
  "10.96.0.1",
  "fe80::1",
  "fe80::1%eth0",
  "::1",
  "::",
  "ff02::1",
  "::ffff:10.80.0.5",
  "010.080.000.005",
  "10.80.0.5/32",
  "10.80.0.5/26",
  "0x0a500005",
  "175112197",
  "",
  " 10.80.0.5",
  "10.80.0.5\n",
  HUGE,
  7,
  null,
  {},
  [],
];
const MACS: unknown[] = [
  "00:00:00:00:00:00",
  "ff:ff:ff:ff:ff:ff",
  "01:00:5e:00:00:01",
  "33:33:00:00:00:01",
  "01:80:c2:00:00:00",
  "ee:ee:ee:ee:ee:ee",
  "00:00:5e:00:01:01",
  "02:00:00:00:00",
  "02-00-00-00-66-01-07",
  HUGE,
  "",
  7,
  null,
  ["02:00:00:00:66:01"],
];
const NUMBERS: unknown[] = [
  -1,
  0.5,
  2 ** 53,
  raw("1e400"),
  raw("-1e400"),
  "7",
  "NaN",
  "1e400",
  HUGE,
  null,
  true,
  [1],
  {},
];
const LISTS: unknown[] = [
  null,
  "x",
  7,
  {},
  [null],
  [[]],
  [7],
  [{ mac: "02:00:00:00:66:02" }],
  [{ ips: "10.80.0.5", mac: "02:00:00:00:66:02" }],
  [{ ips: many(100_000, () => "10.80.0.5"), mac: "02:00:00:00:66:02" }],
  [{ ips: ["10.80.0.5", "10.80.0.6"], mac: "02:00:00:00:66:02" }],
  many(100_000, () => null),
  many(5_000, (n) => ({ ips: [], mac: `02:66:00:00:${byte(n >> 8)}:${byte(n)}` })),
  many(5_000, (n) => ({ ips: [], mac: `02:66:00:00:${byte(n >> 8)}:${byte(n)}`, moves: 2 ** 53 })),
];

interface Endpoint {
  mac: string;
  ips: string[];
}

describe("values at their bounds in the objects that a hostile node writes", function () {
  this.timeout(300_000);
  const the = useLab({ nodes: 3 });
  let mallory: HostileNode;
  const honest = new Map<string, unknown[]>();
  let uid = "";
  const wants = (network: string): PodOptions => ({
    annotations: { [NETWORKS_ANNOTATION]: JSON.stringify([{ name: network }]) },
  });
  const endpointsPath = (network: string): string => `${API}/networkendpoints/${endpointsName(network, "node3")}`;
  const macOf = (pod: string): string => {
    const { interfaces = [] } = the().pod(pod).result as { interfaces?: { name: string; mac: string }[] };
    return interfaces.find(({ name }) => name === "net1")?.mac ?? "";
  };
  /** An address of node3's own block that no pod has. */
  const spare = (network: string): string =>
    (the().ipsOf(`${network}-three`, "net1")[0] ?? "").replace(/\d+$/, (last) => String((Number(last) & ~63) + 60));

  const reaches = async (from: string, to: string): Promise<void> => {
    for (const ip of the().ipsOf(to, "net1")) {
      const { rttMs, error } = await the().pingFrom(the().pod(from), ip, 10_000);
      assert.ok(rttMs !== undefined, `${from} → ${to} (${ip}): ${error}`);
    }
  };
  /** For a claim's pod that has just come: the other nodes hear a moment after ADD where its addresses are. */
  const comesToReach = (from: string, to: string): Promise<void> => eventuallyHolds(() => reaches(from, to), PATIENT);
  const unharmed = async (): Promise<void> => {
    for (const network of NETWORKS) await reaches(`${network}-far`, `${network}-db`);
    for (const node of OTHERS) {
      const { ready } = await the().status(the().node(node), 10_000);
      assert.ok(ready.ready, `${node}: ${JSON.stringify(ready)}`);
    }
  };
  let sentinels = 0;
  /** What the API server took before this has come to both other nodes when it resolves. */
  const takenIn = async (): Promise<void> => {
    sentinels++;
    const mac = `02:00:00:00:${byte(0x70 + (sentinels >> 8))}:${byte(sentinels)}`;
    const endpoints = [...(honest.get("lan") ?? []), { mac, ips: [spare("lan")], moves: 0 }];
    await the().api.call("PATCH", endpointsPath("lan"), { spec: { network: "lan", node: "node3", endpoints } }, MERGE);
    for (const node of OTHERS)
      await eventuallyHolds(async () => {
        assert.match(await the().exec(node, "bridge", "-n", "sky-lan", "fdb", "show"), new RegExp(mac));
      }, PATIENT);
  };
  const logOf = (node: string): Promise<string> => the().exec(node, "cat", "/var/log/skylane-agent.log");

  /** Tries writes one after the other; each leaves the others as they were, and what they log of all is bounded. */
  async function each(cases: [what: string, write: () => Promise<unknown>][], told: RegExp): Promise<string> {
    const before = new Map<string, number>();
    for (const node of OTHERS) before.set(node, (await logOf(node)).length);
    let refused = 0;
    for (const [n, [what, write]] of cases.entries()) {
      try {
        await write().catch(() => refused++);
        // Whoever was harmed before is found with the next look, and the case named then is the last one at which it can have been.
        if (n % LOOK !== 0 && n < cases.length - 1) continue;
        await takenIn();
        await unharmed();
      } catch (cause) {
        throw new Error(`after ${what.slice(0, 100)}`, { cause });
      }
    }
    // They go on to publish their own, and to hear of each other's.
    for (const network of NETWORKS) {
      await the().addPod("node1", `${network}-late`, wants(network));
      await reaches(`${network}-far`, `${network}-late`);
      await the().deletePod(`${network}-late`);
    }
    for (const node of OTHERS) {
      const log = (await logOf(node)).slice(before.get(node));
      assert.ok(log.length < MOST_LOG, `${node} logged ${log.length} bytes`);
      const longest = Math.max(...log.split("\n").map((line) => line.length));
      assert.ok(longest < MOST_LINE, `${node} logged a line of ${longest} characters`);
    }
    await eventuallyHolds(async () => {
      for (const node of OTHERS) assert.match((await logOf(node)).slice(before.get(node)), told);
    }, PATIENT);
    return `${cases.length} of them, ${refused} refused by the API server, all others by name or passed over; nobody else lost anything`;
  }

  before("pods with claims on two nodes, and one on the third, which is taken over", async () => {
    await the().addNetwork("lan", { cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged" });
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/16", "fd50::/64"] });
    for (const network of NETWORKS) {
      for (const name of ["db", "idle"])
        await the().addClaim(`${network}-${name}`, { network, podName: `${network}-${name}` });
      if (network === "blue") await the().addClaim("blue-three", { network, podName: "blue-three" });
      await the().addPod("node3", `${network}-three`, wants(network));
      await the().addPod("node1", `${network}-db`, wants(network));
      await the().addPod("node2", `${network}-far`, wants(network));
      await the().addPod("node2", `${network}-idle`, wants(network));
      await the().deletePod(`${network}-idle`);
    }
    await unharmed();
    mallory = await hostileNode(the(), "node3");
    for (const network of NETWORKS) {
      const { spec } = await the().api.call<{ spec: { endpoints?: unknown[] } }>("GET", endpointsPath(network));
      honest.set(network, spec.endpoints ?? []);
    }
    uid = (await the().api.call<{ metadata: { uid: string } }>("GET", "/api/v1/nodes/node3")).metadata.uid;
  });
  // A server that has the custom resources by name alone: all that is written comes to the agents.
  beforeEach(() => the().setFaults({ schemas: false }));

  for (const network of NETWORKS)
    attack("node", `publishes endpoints of odd shapes and values in ${network}`, () => {
      const own = { ips: [spare(network)], mac: "02:00:00:00:66:01", moves: 0 };
      const victim: Endpoint = { ips: the().ipsOf(`${network}-db`, "net1"), mac: macOf(`${network}-db`) };
      const lists = [
        // Alone in the one network, beside an address that is right in the other.
        ...ADDRESSES.map((one) => [{ ...own, ips: network === "lan" ? [one] : [spare(network), one] }]),
        ...MACS.map((mac) => [{ ...own, mac }]),
        ...NUMBERS.map((moves) => [{ ...victim, moves }]),
        ...(network === "lan" ? LISTS : []),
      ].map((list): unknown => (Array.isArray(list) ? [...(honest.get(network) ?? []), ...(list as unknown[])] : list));
      const write = (spec: unknown) => () => the().api.call("PATCH", endpointsPath(network), { spec }, MERGE);
      const cases = lists.map((endpoints): [string, () => Promise<unknown>] => [
        JSON.stringify(endpoints).slice(-100),
        write({ network, node: "node3", endpoints }),
      ]);
      for (const spec of [null, 7, "x", [], { network: "blue" }, { network: HUGE }, { node: "node1" }, { node: null }])
        cases.push([`spec ${JSON.stringify(spec)?.slice(0, 80)}`, write(spec)]);
      return each(cases, new RegExp(`NetworkEndpoints ${network}\\.node3: spec`));
    });

  attack("node", "makes blocks of odd prefixes, names, owners and ages", async () => {
    const { items } = await the().api.call<{ items: { spec: { network: string; cidr: string; node?: string } }[] }>(
      "GET",
      `${API}/networkblocks`,
    );
    const isVictims = ({ spec }: (typeof items)[number]): boolean =>
      spec.network === "blue" && spec.node === "node1" && spec.cidr.includes(".");
    const [base = ""] = items.find(isVictims)?.spec.cidr.split("/") ?? [];
    const specs: Record<string, unknown>[] = [
      "0.0.0.0/0",
      "::/0",
      "10.50.0.0/16",
      "10.50.0.1/32",
      "fd50::/64",
      "fe80::/64",
      "10.99.0.0/26",
      "172.30.0.0/24",
      "10.96.0.0/12",
      "127.0.0.0/8",
      "224.0.0.0/26",
      "10.50.64.0/33",
      "10.50.64.1/26",
      "::ffff:10.50.64.0/122",
      "010.050.064.000/26",
      "10.50.64.0",
      "10.50.64.0/-1",
      "10.50.64.0/1e1",
      "",
      HUGE,
      7,
      null,
      {},
      ["10.50.64.0/26"],
      `${base}/27`,
      `${base}/25`,
      `${base}/32`,
      `${base}/30`,
    ].map((cidr) => ({ cidr }));
    for (const node of ["node2", "nobody", "", "../node1", "node1,node2", HUGE, 7, null, []])
      specs.push({ cidr: `10.50.${100 + specs.length}.0/26`, node });
    for (const addresses of [null, 7, ["x"], { "10.50.66.5": "a/b/c" }, { x: HUGE }])
      specs.push({ cidr: `10.50.${100 + specs.length}.0/26`, addresses });
    for (const network of ["lan", "default", "", HUGE, 7, null]) specs.push({ cidr: `${base}/28`, network });
    const made: string[] = [];
    const cases = specs.map((one, n): [string, () => Promise<unknown>] => {
      const spec: Record<string, unknown> = { network: "blue", node: "node3", ...one };
      const { cidr } = one;
      const text = typeof cidr === "string" && cidr.length < 50 ? cidr.replace(/[.:/]/g, "-") : `odd-${n}`;
      const name = `blue.${text.replace(/^-+|-+$/g, "") || `odd-${n}`}`;
      const owner = { apiVersion: "v1", kind: "Node", name: "node3", uid };
      const metadata = {
        name,
        labels: { "skylane.dev/network": "blue", "skylane.dev/node": "node3", "skylane.dev/block-size": "8" },
        // No place in the order of creation that there is.
        annotations: { "skylane.dev/created-version": ["0", "-1", "", "abc", "1e400", "0x1"][n % 6] },
        ownerReferences: [owner],
      };
      const body = { apiVersion: "skylane.dev/v1alpha1", kind: "NetworkBlock", metadata, spec };
      return [
        `block ${JSON.stringify(spec).slice(0, 100)}`,
        async () => {
          await the().api.call("POST", `${API}/networkblocks`, body);
          made.push(name);
        },
      ];
    });
    try {
      return await each(cases, /NetworkBlock blue\..*: spec\.|NetworkBlock blue\./);
    } finally {
      for (const name of made)
        await the()
          .api.call("DELETE", `${API}/networkblocks/${name}`)
          .catch(() => undefined);
    }
  });

  attack("node", "writes entries that make no sense into the blocks of claims", async () => {
    const { items } = await the().api.call<{
      items: { metadata: { name: string }; spec: { network: string; node?: string } }[];
    }>("GET", `${API}/networkblocks`);
    const blocks = items.filter(({ spec }) => (spec.node ?? "") === "").map(({ metadata }) => metadata.name);
    assert.ok(blocks.length > 2);
    const entries: Record<string, unknown>[] = [
      { garbage: "a/b/c" },
      { "10.50.300.1": "a/b/c", "": "a/b/c", [HUGE.slice(0, 100_000)]: "a/b/c" },
      { "10.50.0.5/32": 7, "192.0.2.1": "a/b/c", "fe80::1%eth0": "a/b/c" },
      { __proto__x: null, constructor: "a/b/c", toString: ["a/b/c"] },
      Object.fromEntries(many(20_000, (n) => [`no address ${n}`, "a/b/c"])),
    ];
    const cases = entries.flatMap((addresses, n) =>
      blocks.map((name): [string, () => Promise<unknown>] => [
        `entries ${n} of ${name}`,
        () => the().api.call("PATCH", `${API}/networkblocks/${name}`, { spec: { addresses } }, MERGE),
      ]),
    );
    const came = await each(cases, /^/);
    // Claims that have addresses there get them still, and so do new ones.
    for (const network of NETWORKS) {
      await the().addPod("node2", `${network}-idle`, wants(network));
      await comesToReach(`${network}-db`, `${network}-idle`);
      await the().deletePod(`${network}-idle`);
      await the().addClaim(`${network}-new`, { network, podName: `${network}-new` });
      await the().addPod("node1", `${network}-new`, wants(network));
      await comesToReach(`${network}-far`, `${network}-new`);
      await the().deletePod(`${network}-new`);
    }
    return `${came}; claims keep their addresses`;
  });

  attack("node", "writes odd values into the status of claims", async () => {
    const statuses: Record<string, unknown>[] = [
      ...[...ADDRESSES, HUGE].map((one) => ({ node: one, pod: one, podUID: one })),
      ...[null, 7, "x", {}, [null], [7]].map((conditions) => ({ conditions })),
      { conditions: many(5_000, () => ({ type: "Ready", status: "False", message: "x".repeat(100) })) },
      { conditions: [{ type: "Ready", status: 7, reason: [], message: HUGE, lastTransitionTime: "never" }] },
      { node: "node1\nnode2", pod: "../x", podUID: "%00" },
      { node: { toString: 7 }, pod: ["lan-db"], podUID: true },
    ];
    const cases = statuses.flatMap((status, n) =>
      [["lan-db", "blue-db", "lan-idle", "blue-idle"][n % 4] ?? ""].map((claim): [string, () => Promise<unknown>] => [
        `status ${n} of ${claim}: ${JSON.stringify(status)}`,
        () => the().api.call("PATCH", `${API}/namespaces/default/ipclaims/${claim}/status`, { status }, MERGE),
      ]),
    );
    return each(cases, /^/);
  });

  it("is believed again once it says what is so", async () => {
    for (const network of NETWORKS) {
      const spec = { network, node: "node3", endpoints: honest.get(network) };
      await the().api.call("PATCH", endpointsPath(network), { spec }, MERGE);
    }
    await the().setFaults({ schemas: true });
    await mallory.repent();
    for (const network of NETWORKS) await eventuallyHolds(() => reaches(`${network}-far`, `${network}-three`), PATIENT);
  });
});
