/** An agent that has not heard yet which pod networks are defined starts no pod without what it may have asked for. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { FaultSettings } from "../../../lab/api/faults.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";
import { BIN } from "../cni/node.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { type Outcome, Runtime } from "../support/runtime.ts";
import { Fabric, type TestNode } from "./harness.ts";

const NETWORKS = "/apis/skylane.dev/v1alpha1/podnetworks";
const STATIC = "d41d8cd98f00b204e9800998ecf8427e";
/** The API server answers, but not about the networks. */
const SILENT: FaultSettings["rules"] = [
  { match: { resources: ["podnetworks"], verbs: ["list", "watch"] }, action: { kind: "stall" } },
];

describe("an agent that has not heard which pod networks are defined", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  let node: TestNode;
  let pod: TestNamespace;
  let runtime: Runtime;
  before(async () => {
    fabric = await Fabric.started();
    node = fabric.node(1);
    await node.register();
    node.start();
    await node.ready();
    pod = testNamespace("pod");
    runtime = new Runtime(node.ns, [BIN]);
    await fabric.api("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
    const spec = { nodeName: node.name, containers: [{ name: "main", image: "none" }] };
    for (const [name, annotations] of [
      ["plain", {}],
      ["wants-blue", { [NETWORKS_ANNOTATION]: "blue" }],
    ] as const)
      await fabric.api("POST", "/api/v1/namespaces/shop/pods", { metadata: { name, annotations }, spec });
  });
  after(async () => {
    await fabric.stop();
    pod?.delete();
  });

  const call = (verb: string, name: string, uid?: string): Promise<Outcome> => {
    const config = {
      cniVersion: "1.1.0",
      name: "skylane",
      type: "skylane",
      runDir: join(node.dir, "run"),
      dataDir: join(node.dir, "data"),
    };
    const args = `K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${name}${uid === undefined ? "" : `;K8S_POD_UID=${uid}`}`;
    const request = verb === "STATUS" ? {} : { containerId: "c1", netns: pod.path, args };
    return runtime.exec("skylane", verb, config, request);
  };
  async function isServed(name: string, uid?: string): Promise<void> {
    const added = await call("ADD", name, uid);
    assert.equal(added.exitCode, 0, added.stdout);
    assert.equal((await call("DEL", name, uid)).exitCode, 0);
  }
  async function isRefused(verb: string, name: string, code: number, message: RegExp): Promise<void> {
    const { exitCode, json } = await call(verb, name);
    assert.equal(exitCode, 1);
    assert.deepEqual([json["code"], message.test(String(json["msg"]))], [code, true], JSON.stringify(json));
    assert.equal(pod.json("ip", "-j", "link").length, 1);
  }
  const needsAgent = (): boolean =>
    (JSON.parse(readFileSync(node.published, "utf8")) as { needsAgent?: boolean }).needsAgent === true;
  /** What an agent writes down for the one that starts next. */
  const remembered = (): string => {
    const path = join(node.dir, "data/cache/pod-networks");
    return existsSync(path) ? readFileSync(path, "utf8").trim() : "nothing";
  };
  async function restart(settings: FaultSettings): Promise<void> {
    await node.stop("SIGKILL");
    await fabric.faults(settings);
    node.start();
    // Its sockets are there, so that the plugin does not serve by itself.
    await eventually(() => node.get("/healthz").catch(() => undefined), { timeoutMs: 60_000 });
  }
  const answers = (): Promise<void> => fabric.faults({ away: false, rules: [] });

  it("serves pods where there were none, with the API server away or silent about them", async () => {
    await eventually(() => remembered() === "none", { timeoutMs: 60_000 });
    for (const settings of [{ away: true }, { rules: SILENT }] satisfies FaultSettings[]) {
      await restart(settings);
      await isServed("plain");
      assert.equal(needsAgent(), false);
      await answers();
      await node.ready();
    }
  });

  it("lets pods come again later where there were some, but for static ones; STATUS says so", async () => {
    const spec = { vni: 6100, cidrs: ["10.50.0.0/24"], namespaceSelector: { matchLabels: { tenant: "blue" } } };
    const object = { apiVersion: "skylane.dev/v1alpha1", kind: "PodNetwork", metadata: { name: "blue" }, spec };
    await fabric.api("POST", NETWORKS, object);
    await eventually(() => needsAgent() && remembered() === "some", { timeoutMs: 60_000 });
    await isServed("plain");
    for (const settings of [{ away: true }, { rules: SILENT }] satisfies FaultSettings[]) {
      await restart(settings);
      await isRefused("ADD", "plain", 11, /not known yet which pod networks are defined/);
      await isRefused("STATUS", "", 50, /not known yet which pod networks are defined/);
      await isServed("static", STATIC);
      assert.equal(needsAgent(), true);
      await answers();
      await node.ready();
      await eventually(async () => (await call("STATUS", "")).exitCode === 0, { timeoutMs: 60_000 });
      await isServed("plain");
    }
  });

  it("asks for what a pod wants once it has heard, while the pod waits", async () => {
    await restart({ rules: SILENT });
    const first = call("ADD", "wants-blue");
    await answers();
    // A runtime comes again with "try again later", for as long as the API server takes.
    const codes = [(await first).json["code"]];
    await eventually(
      async () => codes.at(-1) !== 11 || (codes.push((await call("ADD", "wants-blue")).json["code"]), false),
      { timeoutMs: 60_000, message: `ended with ${codes.join()}` },
    );
    await isRefused("ADD", "wants-blue", 105, /namespace shop may not attach to network "blue"/);
  });
});
