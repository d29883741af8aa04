/** The status of pod networks and the object `default`, as one of several agents keeps them in an API server. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Inputs, NodeFacts } from "../../../src/nodes/inputs.ts";
import { overlapsWithCluster } from "../../../src/network-definitions/network-overlaps.ts";
import { NameFaults } from "../../../src/controller/name-faults.ts";
import { NetworkStatuses, ownNamespace } from "../../../src/controller/network-statuses.ts";
import type { AgentConfig } from "../../../src/config/index.ts";
import { connect, type KubeClient, NODES } from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import {
  blockObject,
  endpointsObject,
  NETWORK_BLOCKS,
  NETWORK_ENDPOINTS,
  type Obstacle,
  POD_NETWORKS,
} from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";

const COUNT_MS = 500;
const CLUSTER = { pods: ["10.244.0.0/16"], services: ["10.96.0.0/12"], segments: ["172.30.0.0/24"], nodes: [] };
const overlapOf = (message: string | undefined): Obstacle | undefined =>
  message === undefined ? undefined : { reason: "Overlap", message };

interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
  lastTransitionTime: string;
}
interface Network {
  metadata: { name: string; uid: string; resourceVersion: string; labels?: Record<string, string> };
  spec: Record<string, unknown>;
  status?: { nodes?: number; endpoints?: number; conditions?: Condition[] };
}

describe("the status of pod networks", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-status-"));
  const log = { error() {}, warn() {}, info() {}, debug() {} } as never;
  let server: ApiServer;
  let client: KubeClient;
  const running: NetworkStatuses[] = [];
  /** Why nodes cannot keep domain names, whenever somebody looked at policies. */
  const causes: [string, string][][] = [];

  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.stop()));
    for (const { metadata } of await list())
      await client.json({ method: "DELETE", path: `${POD_NETWORKS}/${metadata.name}` });
  });
  after(async () => {
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const list = async (): Promise<Network[]> =>
    ((await client.json({ path: POD_NETWORKS })) as { items: Network[] }).items;
  const get = async (name: string): Promise<Network> =>
    (await client.json({ path: `${POD_NETWORKS}/${name}` })) as Network;
  const define = (name: string, spec: object): Promise<unknown> =>
    client.json({
      method: "POST",
      path: POD_NETWORKS,
      body: { apiVersion: "skylane.dev/v1alpha1", kind: "PodNetwork", metadata: { name }, spec },
    });
  const conditions = async (name: string): Promise<Record<string, string>> => {
    const { status } = await get(name);
    return Object.fromEntries((status?.conditions ?? []).map((one) => [one.type, `${one.status} ${one.reason}`]));
  };
  const says = (name: string, wanted: Record<string, string>): Promise<true> =>
    eventually(
      async () => {
        assert.deepEqual(await conditions(name), wanted);
        return true as const;
      },
      { timeoutMs: 8_000, message: `${name} does not say ${JSON.stringify(wanted)}` },
    );
  const inputs = (nodes: readonly NodeFacts[]): Inputs => ({
    own: { name: "n1", uid: "u1", podCidrs: [], internalIps: [] },
    nodes,
  });
  const instance = (name: string, ...networks: string[]): NodeFacts => ({
    name,
    uid: `u-${name}`,
    creationTimestamp: "2024-01-01T00:00:00Z",
    vtepAnnotation: JSON.stringify(Object.fromEntries(networks.map((one) => [one, {}]))),
  });

  function agent(nodeName: string, more: Partial<AgentConfig> = {}, nodes: readonly NodeFacts[] = []) {
    const config = {
      nodeName,
      network: "default",
      vni: 4096,
      clusterCidrs: ["10.244.0.0/16", "fd00:10:244::/48"],
      mtu: "auto",
      masquerade: { enabled: true, exclude: [] },
      directRouting: "off",
      ...more,
    } as unknown as AgentConfig;
    const statuses = new NetworkStatuses({
      client,
      config,
      log,
      defined: () => ({ known: true, count: 1 }),
      clusterPolicies: {
        anyOfCluster: false,
        unstated: (now) => {
          causes.push([...now]);
          return [];
        },
      },
      unserved: (network) =>
        network.masquerade
          ? { reason: "Unserved", message: "it is masqueraded" }
          : overlapOf(overlapsWithCluster([network], CLUSTER).get(network.name)),
      timings: { leaseSeconds: 2, renewMs: 300, leastMs: 100, countMs: COUNT_MS, sweep: { soonMs: 50 } },
    });
    statuses.update(inputs(nodes), true, new Map());
    statuses.vniKnown(4096);
    statuses.start();
    running.push(statuses);
    return statuses;
  }

  it("says which networks are served, and of two with one VNI which one has it", async () => {
    await define("blue", { vni: 5000, cidrs: ["10.50.0.0/16"] });
    agent("n1");
    await says("blue", { Ready: "True Served", Conflict: "False NoConflict" });
    await define("twin", { vni: 5000, cidrs: ["10.51.0.0/16"] });
    await define("mine", { vni: 4096, cidrs: ["10.52.0.0/16"] });
    await define("way-out", { vni: 5001, cidrs: ["10.53.0.0/16"], masquerade: true });
    await says("twin", { Ready: "False VniTaken", Conflict: "True VniTaken" });
    const twin = (await get("twin")).status?.conditions?.[0];
    assert.match(twin?.message ?? "", /VNI 5000, which network blue has/);
    await says("mine", { Ready: "False VniTaken", Conflict: "True VniTaken" });
    await says("way-out", { Ready: "False Unserved", Conflict: "False NoConflict" });
    await client.json({ method: "DELETE", path: `${POD_NETWORKS}/blue` });
    await says("twin", { Ready: "True Served", Conflict: "False NoConflict" });
    const later = (await get("twin")).status?.conditions?.[0];
    assert.ok((later?.lastTransitionTime ?? "") >= (twin?.lastTransitionTime ?? "?"));
  });

  it("says which make no sense, and which have the cluster's own addresses, and no more once they are right", async () => {
    await define("wrong", { vni: 5000, cidrs: ["10.50.0.1/16"] });
    await define("services", { vni: 5001, cidrs: ["10.100.0.0/16"] });
    await define("nodes", { vni: 5002, cidrs: ["172.30.0.0/24"] });
    await define("pods", { vni: 5003, cidrs: ["10.244.9.0/24"] });
    agent("n1");
    await says("wrong", { Ready: "False Invalid", Conflict: "False NoConflict" });
    for (const name of ["services", "nodes", "pods"])
      await says(name, { Ready: "False Overlap", Conflict: "False NoConflict" });
    const message = async (name: string): Promise<string> => (await get(name)).status?.conditions?.[0]?.message ?? "";
    assert.match(await message("wrong"), /PodNetwork wrong: spec\.cidrs\[0\].*10\.50\.0\.1\/16/);
    assert.match(await message("services"), /overlaps with the addresses of Services, 10\.96\.0\.0\/12/);
    assert.match(await message("nodes"), /overlaps with the nodes' own network/);
    assert.match(await message("pods"), /overlaps with the addresses of the default network's pods/);
    await client.json({ method: "DELETE", path: `${POD_NETWORKS}/wrong` });
    await define("wrong", { vni: 5000, cidrs: ["10.50.0.0/16"] });
    await says("wrong", { Ready: "True Served", Conflict: "False NoConflict" });
  });

  it("counts nodes that take part, with few writes while hundreds join", async () => {
    await define("blue", { vni: 5000, cidrs: ["10.50.0.0/16"] });
    const statuses = agent("n1", {}, [instance("n1", "default", "blue"), instance("n2", "default")]);
    await eventually(async () => (await get("blue")).status?.nodes === 1, { timeoutMs: 8_000 });
    assert.equal((await get("blue")).status?.endpoints, undefined);
    let writes = 0;
    const start = performance.now();
    let last = (await get("blue")).metadata.resourceVersion;
    const nodes: NodeFacts[] = [];
    const joining = (async () => {
      for (let n = 0; n < 300; n++) {
        const node = instance(`m${n}`, "default", "blue");
        nodes.push(node);
        statuses.update(inputs(nodes), true, new Map([[node.name, node]]));
        if (n % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    await eventually(
      async () => {
        const { metadata, status } = await get("blue");
        if (metadata.resourceVersion !== last) writes++;
        last = metadata.resourceVersion;
        return status?.nodes === 301;
      },
      { timeoutMs: 10_000, intervalMs: 10 },
    );
    await joining;
    // One each half a second of them, and one for what was under way at the beginning and at the end.
    const most = 2 + (performance.now() - start) / COUNT_MS;
    assert.ok(writes <= most, `${writes} writes, at most ${most.toFixed(1)}`);
    statuses.update(inputs([]), true, new Map(nodes.map(({ name }) => [name, undefined])));
    await eventually(async () => (await get("blue")).status?.nodes === 1, { timeoutMs: 8_000 });
  });

  it("counts the endpoints of bridged networks", async () => {
    const made = (await client.json({
      method: "POST",
      path: NODES,
      body: { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } },
    })) as { metadata: { uid: string } };
    await define("wire", { vni: 5000, cidrs: ["10.50.0.0/16"], mode: "Bridged" });
    agent("n1");
    await eventually(async () => (await get("wire")).status?.endpoints === 0, { timeoutMs: 8_000 });
    const endpoint = (n: number) => ({ ips: [`10.50.0.${n}`], mac: `02:00:00:00:00:0${n}`, moves: 0 });
    const body = endpointsObject("wire", { name: "n1", uid: made.metadata.uid }, [endpoint(2), endpoint(3)]);
    await client.json({ method: "POST", path: NETWORK_ENDPOINTS, body });
    await eventually(async () => (await get("wire")).status?.endpoints === 2, { timeoutMs: 8_000 });
  });

  it("is written by one agent, and by another once that one has stopped", async () => {
    await define("blue", { vni: 5000, cidrs: ["10.50.0.0/16"] });
    const first = agent("n1");
    await says("blue", { Ready: "True Served", Conflict: "False NoConflict" });
    const { resourceVersion } = (await get("blue")).metadata;
    agent("n2");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.equal((await get("blue")).metadata.resourceVersion, resourceVersion, "nothing is written twice");
    await first.stop();
    await define("red", { vni: 5001, cidrs: ["10.51.0.0/16"] });
    await says("red", { Ready: "True Served", Conflict: "False NoConflict" });
  });

  it("hears which nodes cannot keep domain names, of themselves alone and as long as they are there", async () => {
    const fault = (node: NodeFacts, policyFaults: string): NodeFacts => ({ ...node, policyFaults });
    const bad = fault(instance("n2", "default"), '{"domainNames":"busy"}');
    const odd = fault(instance("n3", "default"), '{"domainNames":"a\\nb","n1":"busy"}');
    await define("blue", { vni: 5000, cidrs: ["10.50.0.0/16"] });
    const nodes = new Map([instance("n1", "default"), bad, odd].map((node) => [node.name, node]));
    const statuses = agent("n1", {}, [...nodes.values()]);
    const heard = (wanted: [string, string][]): Promise<unknown> =>
      eventually(() => isDeepStrictEqual(causes.at(-1), wanted), { message: `not heard: ${JSON.stringify(wanted)}` });
    const change = (name: string, node: NodeFacts | undefined): void => {
      if (node) nodes.set(name, node);
      else nodes.delete(name);
      statuses.update(inputs([...nodes.values()]), true, new Map([[name, node]]));
    };
    await heard([["n2", "busy"]]);
    change("n3", fault(odd, '{"domainNames":"full"}'));
    await heard([
      ["n2", "busy"],
      ["n3", "full"],
    ]);
    change("n2", undefined);
    await heard([["n3", "full"]]);
    change("n3", instance("n3", "default"));
    await heard([]);
  });

  it("is not looked at anew for nodes that say nothing else of domain names", () => {
    const bad = { ...instance("n2", "default"), policyFaults: '{"domainNames":"busy"}' };
    const faults = new NameFaults([bad]);
    assert.equal(faults.update(new Map([["n4", instance("n4", "default")]])), false);
    assert.equal(faults.update(new Map([["n2", { ...bad, vtepAnnotation: "{}" }]])), false);
    assert.equal(faults.update(new Map([["n2", undefined]])), true);
    assert.deepEqual([...faults.causes], []);
  });

  it("comes from who also frees what deleted claims held", async () => {
    await define("claimed", { vni: 5000, cidrs: ["10.50.0.0/16"], mode: "Bridged" });
    const body = blockObject({ network: "claimed" }, "10.50.0.0/29", { "10.50.0.2": "shop/gone/uid" });
    await client.json({ method: "POST", path: NETWORK_BLOCKS, body });
    const left = async (): Promise<number> =>
      ((await client.json({ path: NETWORK_BLOCKS })) as { items: unknown[] }).items.length;
    assert.equal(await left(), 1);
    agent("n1");
    await eventually(async () => (await left()) === 0, { timeoutMs: 8_000 });
  });

  it("shows the default network, and puts back what others change of it", async () => {
    agent("n1", {}, [instance("n1", "default"), instance("n2", "default")]);
    const shown = async (): Promise<Network> => {
      const network = await get("default");
      assert.equal(network.spec["vni"], 4096);
      assert.deepEqual(network.spec["cidrs"], ["10.244.0.0/16", "fd00:10:244::/48"]);
      assert.equal(network.metadata.labels?.["app.kubernetes.io/managed-by"], "skylane");
      assert.equal(network.status?.nodes, 2);
      return network;
    };
    const first = await eventually(shown, { timeoutMs: 8_000 });
    assert.equal((await conditions("default"))["Ready"], "True Served");
    const path = `${POD_NETWORKS}/default`;
    const contentType = "application/merge-patch+json";
    await client.json({ method: "PATCH", path, contentType, body: { metadata: { labels: null } } });
    assert.equal((await eventually(shown, { timeoutMs: 8_000 })).metadata.uid, first.metadata.uid);
    await client.json({ method: "DELETE", path });
    const second = await eventually(shown, { timeoutMs: 8_000 });
    assert.notEqual(second.metadata.uid, first.metadata.uid);
    await client.json({ method: "DELETE", path });
    // Another one may be there already: then it is that one that is seen.
    await define("default", { vni: 9, cidrs: ["192.0.2.0/24"] }).catch(() => undefined);
    await eventually(shown, { timeoutMs: 8_000 });
  });

  it("shows no default network where nobody knows its CIDRs", async () => {
    await define("blue", { vni: 5000, cidrs: ["10.50.0.0/16"] });
    agent("n1", { clusterCidrs: [] });
    await says("blue", { Ready: "True Served", Conflict: "False NoConflict" });
    assert.deepEqual(
      (await list()).map(({ metadata }) => metadata.name),
      ["blue"],
    );
  });
});

describe("the namespace of the agents' lease", () => {
  it("is that of the agent's own pod, and the manifest's where nobody says a name", () => {
    assert.equal(ownNamespace({ POD_NAMESPACE: "network-team" }), "network-team");
    for (const POD_NAMESPACE of [undefined, "", "a/b", "..", "A", "a".repeat(64)])
      assert.equal(ownNamespace({ POD_NAMESPACE }), "skylane-system");
  });
});
