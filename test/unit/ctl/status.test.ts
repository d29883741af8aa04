import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { age, type AgentStatus, agentStatus, askAgent, duration, properties, table } from "../../../src/cli/index.ts";
import { renderStatus } from "../../../src/cli/status.ts";
import { agentStatus as healthy, networkStatus } from "./agent-status.ts";

const NOW = Date.UTC(2026, 0, 1);
const status: AgentStatus = {
  ...healthy,
  networks: [
    {
      ...networkStatus,
      peers: [
        ...networkStatus.peers,
        {
          node: "node3",
          mac: "02:00:00:00:00:03",
          underlayIp: "172.30.0.13",
          podCidrs: [],
          state: "error",
          error: "ENOBUFS",
        },
      ],
      losses: [{ node: "twin", message: "VTEP address 172.30.0.11 of the older node twin" }],
      outside: [{ pod: "shop/a", ip: "10.244.9.7", why: "outside of the node's pod CIDR 10.244.1.0/24" }],
      refused: [{ node: "evil\u001b[2J", reason: "BadAnnotation", message: "not JSON\nat all" }],
      entries: { fdb: { expected: 2, present: 1 }, route: { expected: 4, present: 4 } },
      repairs: { total: 3, byKind: { route: 2, fdb: 1, address: 0 } },
    },
  ],
  api: { state: "synced", lastSync: new Date(NOW - 65_000).toISOString() },
  ready: { ready: false, checks: [{ name: "entries", ok: false, message: "1 FDB entry is missing" }] },
  uptimeSeconds: 3700,
};

describe("the status for people", () => {
  it("answers what an operator asks first", () => {
    const text = renderStatus(status, NOW);
    for (const line of [
      /^Node: +node1$/m,
      /^Agent: +0\.1\.0, up 1h1m$/m,
      /^Ready: +no$/m,
      /^API server: +synced$/m,
      /^entries +1 FDB entry is missing$/m,
      /^VXLAN: +VNI 4096, UDP port 4789, from 172\.30\.0\.11$/m,
      /^fdb +2 +1$/m,
      /^node2 +programmed +172\.30\.0\.12/m,
      /^node3 +error .* ENOBUFS$/m,
      /^twin +VTEP address 172\.30\.0\.11 of the older node twin$/m,
      /^shop\/a +10\.244\.9\.7 +outside of the node's pod CIDR 10\.244\.1\.0\/24$/m,
      /^Repairs: +3 \(route 2, fdb 1\)$/m,
    ])
      assert.match(text, line);
  });

  it("says how the fast path stands where it is configured", () => {
    assert.doesNotMatch(renderStatus(status, NOW), /fast path/i);
    const fastPath = {
      on: true,
      message: "the tunnel's header is made by the program",
      pods: 2,
      prefixes: 4,
      ordinary: [{ what: "node n9", why: "it has another VNI" }],
      packets: [{ from: "pod" as const, path: "slow" as const, outcome: "flags" as const, packets: 12 }],
    };
    const text = renderStatus({ ...status, fastPath }, NOW);
    assert.match(text, /^Fast path: +on, 2 links of pods, 4 prefixes of peers \(the tunnel's header/m);
    assert.match(text, /^pod +slow +flags +12$/m);
    assert.match(text, /^node n9 +it has another VNI$/m);
    const [network] = status.networks as [AgentStatus["networks"][0]];
    const blue = { ...network, network: "blue", fastPath };
    const there = renderStatus({ ...status, networks: [network, blue] }, NOW, "blue");
    assert.match(there, /^Fast path: +on, 2 links of pods/m);
    assert.match(there, /^pod +slow +flags +12$/m);
    assert.match(
      renderStatus({ ...status, fastPath: { ...fastPath, on: false, message: "no" } }, NOW),
      /^Fast path: +off: no$/m,
    );
  });

  it("says what the probes have found where they are on", () => {
    assert.doesNotMatch(renderStatus(status, NOW), /probes|between nodes/i);
    const probes = {
      on: true,
      message: "every peer within 1 seconds",
      roundSeconds: 1,
      peers: { all: 2, measured: 2, faulty: 1 },
    };
    const fine = renderStatus({ ...status, probes: { ...probes, verdicts: [] } }, NOW);
    assert.match(fine, /^Probes: +2 of 2 peers measured, none at fault \(every peer within/m);
    const [fault, scope] = ["tunnel", "pair"] as const;
    const verdict = {
      fault,
      scope,
      nodes: ["a"],
      others: ["b"],
      found: "no VXLAN passes",
      meaning: "",
      cure: "open it",
      since: "",
    };
    const text = renderStatus({ ...status, probes: { ...probes, verdicts: [verdict] } }, NOW);
    assert.match(text, /^Probes: +2 of 2 peers measured, 1 at fault/m);
    assert.match(text, /^no VXLAN passes +open it$/m);
  });

  it("says of every node whether what goes there is encrypted", () => {
    const encryption = {
      mode: "wireguard" as const,
      ready: true,
      message: "1 of 2 nodes",
      device: "skylane-wg",
      publicKey: "KEY=",
      keySeconds: 90_000,
      keyDays: 0,
      port: 51_871,
      repairs: 0,
      peers: [
        { node: "node2", state: "encrypted" as const, handshakeSeconds: 61 },
        { node: "node3", state: "plaintext" as const, why: "it publishes no key" },
      ],
    };
    assert.doesNotMatch(renderStatus(status, NOW), /encrypt/i);
    const text = renderStatus({ ...status, encryption }, NOW);
    assert.match(text, /^Encryption: +wireguard, 1 of 2 nodes \(UDP port 51871, public key KEY=\)$/m);
    assert.match(text, /^node2 +encrypted +1m\S* ago/m);
    assert.match(text, /^node3 +plaintext +- +it publishes no key$/m);
    assert.match(text, /^Its key: +1d\S* old, changed by command alone$/m);
    assert.doesNotMatch(text, /NEWEST KEYS/);
    const rotation = {
      publicKey: "NEXT=",
      seconds: 400,
      keySeconds: 400,
      standsStill: true,
      awaited: [{ node: "node2", why: "silent" }],
    };
    const [first, second] = encryption.peers as [(typeof encryption.peers)[0], (typeof encryption.peers)[1]];
    const peers = [{ ...first, device: "skylane-wg", rotation: "waits" as const }, second];
    const changing = renderStatus({ ...status, encryption: { ...encryption, keyDays: 90, peers, rotation } }, NOW);
    assert.match(
      changing,
      /^Its key: .*changed after 90 days; goes over to NEXT= since 6m\S*: stands still, 1 node left$/m,
    );
    assert.match(changing, /^node2 +encrypted +1m\S* ago +skylane-wg +waits +-$/m);
    assert.match(changing, /^node2 +silent$/m);
    const off = { ...encryption, ready: false, message: "this kernel has no WireGuard" };
    assert.match(
      renderStatus({ ...status, encryption: off }, NOW),
      /^Encryption: +wireguard, not in force: this kernel/m,
    );
  });

  it("says how flows are recorded, where they are", () => {
    assert.doesNotMatch(renderStatus(status, NOW), /flows/i);
    const flows = { on: true, flows: 7, sampled: 4, leftOut: { sampled: 20, dropped: 3, table: 1 } };
    assert.match(
      renderStatus({ ...status, flows }, NOW),
      /^Flows: +7 remembered, one in 4 connections read, about 24 events left out$/m,
    );
    const off = { ...flows, on: false, error: "the kernel follows no connections" };
    assert.match(renderStatus({ ...status, flows: off }, NOW), /^Flows: +not recorded: the kernel follows/m);
  });

  it("lists host ports, and says where they are not in place", () => {
    const ports = [
      { port: "8080/tcp", to: ["10.244.1.5:80", "[fd00::5]:80"], pod: "shop/web-0", container: "c1" },
      { port: "192.0.2.1:53/udp", to: ["10.244.1.6:53"], container: "c2" },
    ];
    const text = renderStatus({ ...status, hostPorts: { inPlace: true, ports } }, NOW);
    assert.match(text, /^Host ports: +2$/m);
    assert.match(text, /^8080\/tcp +10\.244\.1\.5:80 \[fd00::5\]:80 +shop\/web-0$/m);
    assert.match(text, /^192\.0\.2\.1:53\/udp +10\.244\.1\.6:53 +c2$/m);
    const broken = { inPlace: false, error: "nft is not installed", ports };
    assert.match(renderStatus({ ...status, hostPorts: broken }, NOW), /^Host ports: +2, not in place: nft is not/m);
    assert.match(renderStatus({ ...status, hostPorts: { inPlace: true, ports: [] } }, NOW), /^Host ports: +none$/m);
  });

  it("lists bandwidth limits, and pods whose annotations are none", () => {
    const limit = { container: "c1", interface: "eth0", network: "default", ingress: "10M" };
    const limits = [
      { ...limit, pod: "shop/web-0" },
      { ...limit, egress: "2M", error: "no IFB" },
    ];
    const faults = [{ pod: "shop/db", why: "annotation x is no rate" }];
    const text = renderStatus({ ...status, bandwidth: { limits, faults } }, NOW);
    assert.match(text, /^Bandwidth limits: +2, 1 not in force, 1 invalid$/m);
    assert.match(text, /^shop\/web-0 +eth0 +10M +- +-$/m);
    assert.match(text, /^c1 +eth0 +10M +2M +no IFB$/m);
    assert.match(text, /^shop\/db .* annotation x is no rate$/m);
    assert.match(renderStatus({ ...status, bandwidth: { limits: [] } }, NOW), /^Bandwidth limits: +none$/m);
  });

  it("lets nothing from outside move the cursor or begin a line", () => {
    const text = renderStatus(status);
    assert.ok(!text.includes("\u001b"));
    assert.match(text, /^evil\\x1b\[2J +BadAnnotation +not JSON\\x0aat all$/m);
  });

  it("has a line for each further network, and shows one of them whole when asked for it", () => {
    const blue = { ...networkStatus, network: "blue", vni: 5000, device: "sky.5000" };
    const wire = { ...blue, network: "wire", vni: 5001, mode: "Bridged", ready: false, error: "no device" } as const;
    const all = { ...status, networks: [...status.networks, blue, wire] };
    const text = renderStatus(all, NOW);
    assert.match(text, /^blue +5000 +Routed +1\/1 +yes +-$/m);
    assert.match(text, /^wire +5001 +Bridged +1\/1 +no +no device$/m);
    assert.match(text, /^NETWORK default: ready$/m);
    assert.doesNotMatch(text, /^NETWORK blue/m);
    const whole = renderStatus(all, NOW, "blue");
    assert.match(whole, /^NETWORK blue: ready$/m);
    assert.match(whole, /^node2 +programmed/m);
    assert.doesNotMatch(whole, /^wire|^NETWORK default/m);
    assert.throws(() => renderStatus(all, NOW, "red"), /this node has no part in a pod network "red"/);
  });

  it("has something to say of a node without a network", () => {
    const away = { state: "away" as const, lastSync: new Date(NOW - 65_000).toISOString() };
    assert.match(renderStatus({ ...status, api: away }, NOW), /^API server: +away, last in step 1m5s ago$/m);
    const text = renderStatus({ ...status, networks: [], api: { state: "connecting", lastSync: null } });
    assert.match(text, /^API server: +connecting$/m);
  });
});

describe("tables", () => {
  it("align columns, numbers to the right, with nothing at the ends of lines", () => {
    assert.equal(
      table(
        ["A", "LONG", "N"],
        [
          ["x", "y", 5],
          ["xxx", undefined, 10],
        ],
      ),
      "A    LONG   N\nx    y      5\nxxx  -     10\n",
    );
    assert.equal(table(["A"], []), "A\n");
    assert.equal(
      properties([
        ["a", 1],
        ["long", "x"],
      ]),
      "a:     1\nlong:  x\n",
    );
  });

  it("say times as people do", () => {
    assert.deepEqual([0, 59, 61, 3700, 90_000, -5].map(age), ["0s", "59s", "1m1s", "1h1m", "1d1h", "0s"]);
    assert.deepEqual([0.081, 1.23, 24.6, 3400].map(duration), ["0.08 ms", "1.2 ms", "25 ms", "3.4 s"]);
  });
});

describe("asking the agent", () => {
  let dir = "";
  let server: Server | undefined;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-ctl-"));
  });
  afterEach(async () => {
    server?.closeAllConnections();
    await new Promise<void>((resolve) => (server?.listening ? server.close(() => resolve()) : resolve()));
    rmSync(dir, { recursive: true, force: true });
  });
  const serve = async (answer: (path: string) => [number, string] | undefined): Promise<string> => {
    const path = join(dir, "s");
    server = createServer((request, response) => {
      const found = answer(request.url ?? "");
      if (found) response.writeHead(found[0]).end(found[1]);
    });
    await new Promise<void>((resolve) => server?.listen(path, () => resolve()));
    return path;
  };

  it("returns its status", async () => {
    const path = await serve((url) => (url === "/status" ? [200, JSON.stringify(status)] : [404, "no"]));
    assert.deepEqual(await agentStatus(path), status);
    await assert.rejects(askAgent("/else", path), /answered 404 to \/else: no/);
  });

  it("says that no agent listens, that it is silent, that it talks nonsense", async () => {
    await assert.rejects(agentStatus(join(dir, "none")), /no agent listens on .*none; is skylane-agent running/);
    const path = await serve((url) => (url === "/silent" ? undefined : [200, "<html>"]));
    await assert.rejects(
      askAgent("/silent", path, 50),
      /does not answer on .*: no answer within 50 ms|does not answer/,
    );
    await assert.rejects(agentStatus(path), /not JSON \(6 bytes\)/);
  });

  it("shows who has which egress address, and which pods leave how", () => {
    const pod = { pod: "shop/web", ip: "10.244.1.5", address: "192.0.2.1", node: "n2" };
    const egress = {
      gateways: [
        {
          gateway: "out",
          addresses: [
            { address: "192.0.2.1", node: "n2", pods: 3 },
            { address: "192.0.2.2", pods: 0 },
          ],
          pods: [pod],
        },
        {
          gateway: "tenant",
          network: "blue",
          noWayOut: "PodNetwork blue leads nowhere",
          addresses: [{ address: "192.0.2.3", node: "n2", pods: 1 }],
          pods: [],
        },
        { gateway: "odd", why: "spec.nodeSelector is nothing", addresses: [], pods: [] },
      ],
      addresses: ["192.0.2.9"],
      faults: [{ entry: "rule 4 8401", why: "not in place yet" }],
    };
    const text = renderStatus({ ...status, egress }, NOW);
    assert.match(
      text,
      /Egress gateways: +3; this node has 192\.0\.2\.9; not in place: rule 4 8401 \(not in place yet\)/,
    );
    assert.match(text, /out +- +192\.0\.2\.1 +n2 +3/);
    assert.match(text, /out +- +192\.0\.2\.2 +nobody +0/);
    assert.match(text, /tenant +blue +192\.0\.2\.3 +n2 +1 +PodNetwork blue leads nowhere/);
    assert.match(text, /odd .*spec\.nodeSelector is nothing/);
    assert.match(text, /shop\/web +10\.244\.1\.5 +out +192\.0\.2\.1 +n2/);
    assert.doesNotMatch(renderStatus(status, NOW), /egress/i);
  });
});
