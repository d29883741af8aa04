/** What one agent does after claims that are deleted, on an API server that may fail. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClaimSweeper } from "../../../src/controller/claim-sweeper.ts";
import { blockObjects } from "../../../src/ipam/blocks/index.ts";
import { claimObjects, Claims } from "../../../src/ipam/claims/index.ts";
import { ApiError, connect, createObject, type KubeClient, NODES } from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import {
  API_VERSION,
  endpointsName,
  endpointsObject,
  IP_CLAIMS,
  ipClaimsOf,
  NETWORK_BLOCKS,
  NETWORK_ENDPOINTS,
  parseNetworkBlock,
} from "../../../src/crd/index.ts";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";

const CLAIMS = ipClaimsOf("default");
const SOON = { soonMs: 50, everyMs: 600_000, pause: { baseMs: 10, maxMs: 20 } };

describe("the agent that frees what deleted claims held", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-sweeper-"));
  let server: ApiServer;
  let client: KubeClient;
  let sweeper: ClaimSweeper | undefined;
  let told: { level: string; message: string; fields: Record<string, unknown> }[] = [];

  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
    await createObject(client, NODES, { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
  });
  afterEach(async () => {
    await sweeper?.stop();
    told = [];
    for (const path of [CLAIMS, NETWORK_BLOCKS, NETWORK_ENDPOINTS])
      for (const { metadata } of await list(path))
        await client.json({ method: "DELETE", path: `${path}/${metadata.name}` });
  });
  after(async () => {
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const list = async (path: string): Promise<{ metadata: { name: string; uid: string } }[]> =>
    ((await client.json({ path })) as { items: { metadata: { name: string; uid: string } }[] }).items;
  const held = async (): Promise<string[]> =>
    (await list(NETWORK_BLOCKS)).flatMap((one) => Object.keys(parseNetworkBlock(one).addresses)).sort();
  /** A claim with its address. */
  const claimed = async (name: string, network: string, more: object = {}): Promise<string> => {
    const metadata = { name, namespace: "default" };
    const spec = { network, ...more };
    await createObject(client, CLAIMS, { apiVersion: API_VERSION, kind: "IPClaim", metadata, spec });
    const claims = new Claims({
      network,
      cidrs: ["10.1.0.0/24"],
      blockSize: 8,
      node: "n1",
      claims: claimObjects(client),
      blocks: blockObjects(client),
      taken: async () => [],
    });
    const given = await claims.forPod({ namespace: "default", podName: "any", claimName: name });
    return given?.ips[0] ?? "";
  };
  const remove = (path: string, name: string) => client.json({ method: "DELETE", path: `${path}/${name}` });
  const unclaim = (name: string) => remove(CLAIMS, name);
  const sweeping = (options: { client?: KubeClient; timings?: typeof SOON } = {}): void => {
    const say =
      (level: string) =>
      (message: string, fields: Record<string, unknown> = {}): void =>
        void told.push({ level, message, fields });
    const log = { error: say("error"), warn: say("warn"), info: say("info"), debug: say("debug") } as never;
    sweeper = new ClaimSweeper({ client, log, timings: SOON, ...options });
    sweeper.start();
  };
  const becomes = (wanted: string[]) =>
    eventually(async () => assert.deepEqual(await held(), wanted.toSorted()) === undefined, { timeoutMs: 8_000 });
  /** The client, with each request told of before it is sent. */
  const seeing = (tell: (path: string) => void): KubeClient => ({
    server: client.server,
    json: async (request) => {
      tell(request.path);
      return client.json(request);
    },
    read: async (request, take) => {
      tell(request.path);
      return client.read(request, take);
    },
    stream: async (request) => {
      const stream = await client.stream(request);
      tell(`watch ${request.path}`);
      return stream;
    },
    close: () => client.close(),
  });

  it("frees them when a claim is deleted, in its network alone, and says so", async () => {
    const [one, two] = [await claimed("db", "blue"), await claimed("web", "blue")];
    const other = await claimed("cache", "green");
    const requests = new Set<string>();
    sweeping({ client: seeing((path) => requests.add(path)) });
    // Its first look and its watch are behind it: what comes now, it must be told.
    await eventually(() => requests.has(NETWORK_BLOCKS) && requests.has(`watch ${IP_CLAIMS}`));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await unclaim("db");
    await becomes([two, other]);
    await unclaim("cache");
    await becomes([two]);
    // It says so when it is through with the network, which is after the addresses are free.
    await eventuallyHolds(() =>
      assert.deepEqual(
        told.filter(({ level }) => level !== "debug").map(({ fields }) => fields),
        [
          { network: "blue", addresses: one },
          { network: "green", addresses: other },
        ],
      ),
    );
  });

  it("finds what was deleted while nobody looked, at its begin and at intervals", async () => {
    await claimed("db", "blue");
    await unclaim("db");
    sweeping();
    await becomes([]);
    await sweeper?.stop();
    await claimed("db", "blue");
    const kept = await claimed("web", "blue");
    // The watch says nothing of it: the deletion is older than the watch.
    await unclaim("db");
    sweeping({ timings: { ...SOON, soonMs: 600_000, everyMs: 100 } });
    await becomes([kept]);
  });

  it("leaves what a pod still has, until a look after its end", async () => {
    const ip = await claimed("db", "blue", { mac: "02:00:00:00:00:07" });
    const before = await held();
    const uid = (await list(NODES))[0]?.metadata.uid ?? "";
    const endpoint = { ips: [ip], mac: "02:00:00:00:00:07", moves: 0 };
    await createObject(client, NETWORK_ENDPOINTS, endpointsObject("blue", { name: "n1", uid }, [endpoint]));
    await unclaim("db");
    sweeping({ timings: { ...SOON, everyMs: 200 } });
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.deepEqual(await held(), before);
    await remove(NETWORK_ENDPOINTS, endpointsName("blue", "n1"));
    await becomes([]);
  });

  describe("with nodes that publish its address", () => {
    const POD = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "db-0", namespace: "default" },
      spec: { nodeName: "n1" },
    };
    const PODS = "/api/v1/namespaces/default/pods";
    let ip: string;
    let other: string;
    before(() => createObject(client, NODES, { apiVersion: "v1", kind: "Node", metadata: { name: "n3" } }));
    beforeEach(async () => {
      const { metadata } = (await createObject(client, PODS, POD)) as { metadata: { uid: string } };
      ip = await claimed("db", "blue");
      // Never used by any pod.
      other = await claimed("idle", "blue");
      const status = { node: "n1", pod: "db-0", podUID: metadata.uid };
      await client.json({
        method: "PATCH",
        path: `${CLAIMS}/db/status`,
        body: { status },
        contentType: "application/merge-patch+json",
      });
    });
    afterEach(() => remove(PODS, "db-0").catch(() => undefined));
    const publish = async (node: string, ips: string[]): Promise<void> => {
      const uid = (await list(NODES)).find(({ metadata }) => metadata.name === node)?.metadata.uid ?? "";
      const endpoints = ips.map((one, n) => ({ ips: [one], mac: `02:00:00:00:00:1${n}`, moves: 0 }));
      await createObject(client, NETWORK_ENDPOINTS, endpointsObject("blue", { name: node, uid }, endpoints));
    };
    /** A sweeper that has seen the claims. */
    const watching = async (everyMs: number): Promise<void> => {
      const requests = new Set<string>();
      sweeping({ timings: { ...SOON, everyMs }, client: seeing((path) => requests.add(path)) });
      await eventually(() => requests.has(NETWORK_BLOCKS) && requests.has(`watch ${IP_CLAIMS}`));
      await new Promise((resolve) => setTimeout(resolve, 200));
    };

    it("believes the node of the claim's last pod alone, and that as long as the pod is there", async () => {
      await publish("n3", [ip, other]);
      await publish("n1", [ip]);
      await watching(100);
      await unclaim("db");
      await unclaim("idle");
      // No pod ever had the one, whatever a node says; the other is the pod's.
      await becomes([ip]);
      await remove(PODS, "db-0");
      await becomes([]);
    });

    it("frees what only a node publishes that the claim's pod was not on", async () => {
      await publish("n3", [ip]);
      await watching(600_000);
      await unclaim("db");
      await becomes([other]);
      assert.equal(told.filter(({ level }) => level === "warn").length, 0);
    });

    it("names the node that keeps an address whose claim was deleted before it watched", async () => {
      await publish("n3", [ip]);
      await unclaim("db");
      await watching(100);
      const warned = await eventually(() => told.find(({ level }) => level === "warn"));
      assert.match(warned.message, /address .* of network blue is not freed: node n3 publishes it/);
      assert.ok(warned.message.includes(`${ip} `) && warned.message.includes("default/db"));
      await remove(NETWORK_ENDPOINTS, endpointsName("blue", "n3"));
      await becomes([other]);
      assert.equal(told.filter(({ level }) => level === "warn").length, 1);
    });
  });

  it("tries again when the API server fails, so many times and no more, and says what is left", async () => {
    await claimed("db", "blue");
    await unclaim("db");
    let attempts = 0;
    let down = true;
    const timings = { ...SOON, everyMs: 2_000 };
    const fail = (path: string): void => {
      if (path !== NETWORK_BLOCKS || !down) return;
      attempts++;
      throw new ApiError("listing blocks", 503);
    };
    sweeping({ timings, client: seeing(fail) });
    const gaveUp = await eventually(() => told.find(({ level }) => level === "error"), { timeoutMs: 8_000 });
    assert.match(gaveUp.message, /not freed after 7 attempts; .* when the next one is deleted, or within an hour/);
    assert.match(String(gaveUp.fields["error"]), /cannot see which networks have claims' blocks/);
    const after = attempts;
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(attempts, after);
    assert.equal(told.filter(({ level }) => level === "warn").length, 1, "one warning for all attempts");
    down = false;
    await becomes([]);
  });
});
