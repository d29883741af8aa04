import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PodPort } from "../../../src/workloads/pod-ports.ts";
import { type Decision, Workloads } from "../../../src/workloads/workloads.ts";
import { BlockError, type PlacedBlock } from "../../../src/ipam/blocks/index.ts";
import { connect, createObject, getObject, type KubeClient, NODES } from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { createLogger } from "../../../src/log/index.ts";
import { endpointsName, endpointsObject, NETWORK_ENDPOINTS } from "../../../src/crd/index.ts";
import { hostIfname } from "../../../src/dataplane/pod-link/index.ts";
import { eventually } from "../../support/eventually.ts";

describe("workloads that are found one by one", function () {
  this.timeout(30_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-workloads-"));
  const log = createLogger({ level: "error", format: "text" });
  const mac = "0a:00:00:00:00:01";
  const ifname = hostIfname("c1", "net1");
  const use = { holder: "shop/db/u1", pod: "db-0" };
  const port: PodPort = { ifname, ifindex: 7, mac, ips: ["10.80.0.5"], claimed: true, claim: use };
  let server: ApiServer;
  let client: KubeClient;
  let uid = "";
  let stop: () => Promise<void> = () => Promise.resolve();

  before(async () => {
    server = await startApiServer({ host: "127.0.0.1" });
    writeFileSync(join(dir, "kubeconfig"), server.kubeconfig(), { mode: 0o600 });
    client = connect({ kubeconfig: join(dir, "kubeconfig") });
    for (const name of ["n1", "n2"]) {
      const node = await createObject(client, NODES, { apiVersion: "v1", kind: "Node", metadata: { name } });
      uid = (node as { metadata: { uid: string } }).metadata.uid;
    }
  });
  afterEach(() => stop());
  after(async () => {
    await client.close();
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  /** All addresses are one claim's. */
  const block: PlacedBlock = {
    name: "",
    uid: "",
    resourceVersion: "",
    creationTimestamp: "",
    created: "",
    network: "lan",
    cidr: "10.80.0.0/16",
    node: "",
    addresses: {},
  };

  interface Outside {
    /** Where the claim's status says that it is. */
    claim: { node: string };
    onDecision: (decision: Decision) => void;
  }

  async function start(
    network: string,
    taken: () => Promise<void>,
    { claim = { node: "n2" }, onDecision = () => undefined }: Partial<Outside> = {},
  ): Promise<Workloads> {
    const workloads = new Workloads({
      client,
      info: { name: network, cidrs: ["10.80.0.0/16"] },
      node: { name: "n1", uid: undefined },
      log,
      ports: () => new Map([[ifname, port]]),
      onDecision,
      taken: async () => {
        await taken();
        claim.node = "n1";
      },
      view: { blockWith: (ip) => ({ ...block, addresses: { [ip]: "default/vm/1" } }) },
      places: {
        start: () => undefined,
        whenSynced: () => Promise.resolve(),
        follow: () => () => undefined,
        of: () => ({ ips: port.ips, mac, ...claim }),
        doubtful: () => false,
      },
      left: () => Promise.resolve(),
      claimWithMac: () => Promise.resolve(undefined),
      event: () => undefined,
    });
    stop = () => workloads.stop();
    await workloads.start();
    return workloads;
  }
  const published = async (network: string): Promise<boolean> => {
    const object = await getObject(client, NETWORK_ENDPOINTS, endpointsName(network, "n1"));
    return (object as { spec: { endpoints: { mac: string }[] } } | undefined)?.spec.endpoints[0]?.mac === mac;
  };

  it("take their claim over by one frame, however long the API server does not answer", async () => {
    const there = [{ mac, ips: port.ips, moves: 1 }];
    await createObject(client, NETWORK_ENDPOINTS, endpointsObject("lan", { name: "n2", uid }, there));
    let asked = 0;
    const workloads = await start("lan", () =>
      ++asked < 4 ? Promise.reject(new BlockError("unavailable", "no answer")) : Promise.resolve(),
    );
    assert.equal(await published("lan"), false, "another node has it");
    workloads.seen(ifname);
    await eventually(() => published("lan"), { timeoutMs: 20_000, message: "the one frame is forgotten" });
    assert.equal(asked, 4);
  });

  it("are asked about once for each frame when the claim is another's", async () => {
    const there = [{ mac, ips: port.ips, moves: 1 }];
    await createObject(client, NETWORK_ENDPOINTS, endpointsObject("red", { name: "n2", uid }, there));
    let asked = 0;
    const refusing = (): Promise<void> => {
      asked++;
      return asked < 3 ? Promise.reject(new BlockError("refused", "it is another's")) : Promise.resolve();
    };
    const workloads = await start("red", refusing);
    for (const expected of [1, 2, 3]) {
      workloads.seen(ifname);
      await eventually(() => asked === expected, { timeoutMs: 10_000 });
    }
    await eventually(() => published("red"), { timeoutMs: 10_000 });
    assert.equal(asked, 3);
  });

  it("are let in here only once it is published that what another node had is theirs now", async () => {
    const there = [{ mac, ips: port.ips, moves: 1 }];
    await createObject(client, NETWORK_ENDPOINTS, endpointsObject("green", { name: "n2", uid }, there));
    const held: boolean[] = [];
    const claim = { node: "n2" };
    const onDecision = (decision: Decision) => held.push(decision.held.has(mac));
    const workloads = await start("green", () => Promise.resolve(), { claim, onDecision });
    // An ADD has written into the claim's status that its pod is here.
    claim.node = "n1";
    const linked = workloads.linked({ containerId: "c1", ifname: "net1", standby: false });
    assert.equal(held.at(-1), false, "the other nodes still send there what is for it");
    await linked;
    assert.ok(await published("green"));
    assert.equal(held.at(-1), true);
  });

  it("start although their endpoint cannot be published for some seconds", async () => {
    const match = { resources: ["networkendpoints"], verbs: ["create"] };
    await server.faults.set({ rules: [{ match, times: 4, action: { kind: "status", code: 503 } }] });
    const workloads = await start("blue", () => Promise.resolve());
    await workloads.linked({ containerId: "c1", ifname: "net1", standby: false });
    assert.ok(await published("blue"));
  });
});
