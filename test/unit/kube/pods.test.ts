/** Pods as policies need them: what is read of them, in which form, and what is kept. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { podMessage } from "../../../lab/api/http/pod-message.ts";
import type { KubeObject } from "../../../lab/api/types.ts";
import { connect, type KubeClient, PodReflector } from "../../../src/kube/index.ts";
import { isInside, PodEntries, type PodEntry, samePod } from "../../../src/kube/pods/pod-entry.ts";
import { readPod } from "../../../src/kube/wire/pod-wire.ts";
import { WireReader } from "../../../src/kube/wire/wire.ts";
import { eventually } from "../../support/eventually.ts";
import { answer, bookmark, event, page, ScriptedApi, status, watch } from "./scripted-api.ts";

interface PodOptions {
  labels?: Record<string, string>;
  spec?: object;
  status?: object;
  uid?: string;
}

const pod = (key: string, { labels = {}, spec = {}, status: said = {}, uid = `uid-${key}` }: PodOptions = {}) => {
  const [namespace = "", name = ""] = key.split("/");
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, uid, resourceVersion: "5", creationTimestamp: "2026-01-01T00:00:00Z", labels },
    spec: { nodeName: "n1", containers: [{ name: "main", image: "i" }], ...spec },
    status: { phase: "Running", podIP: "10.1.0.5", podIPs: [{ ip: "10.1.0.5" }], ...said },
  };
};
const entriesOf = (live: PodEntry[] = []) => new PodEntries("n1", () => live.map(({ making }) => making));
const inWire = (object: object) => readPod(new WireReader(podMessage(object as unknown as KubeObject)));

/** All that an entry says. */
const shown = (entry: PodEntry) => ({
  key: entry.key,
  name: entry.name,
  namespace: entry.namespace,
  node: entry.node,
  uid: entry.uid,
  ips: entry.ips,
  labels: entry.making.labels,
  ports: entry.making.ports,
});

const word = fc.stringMatching(/^[a-z]([-a-z0-9]{0,20}[a-z0-9])?$/);
const port = fc.record({
  name: fc.option(word, { nil: undefined }),
  containerPort: fc.integer({ min: 1, max: 65_535 }),
  protocol: fc.constantFrom("TCP", "UDP", "SCTP"),
});
const container = fc.record({
  name: word,
  image: word,
  env: fc.array(fc.record({ name: word, value: fc.string() }), { maxLength: 3 }),
  ports: fc.array(port, { maxLength: 4 }),
  restartPolicy: fc.constantFrom("Always", undefined),
});
const ip = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom("", "10.1.0.5", "fd00:0::1"));
const anyPod = fc
  .record({
    name: word,
    namespace: word,
    uid: fc.uuid(),
    labels: fc.dictionary(word, fc.string({ maxLength: 20 })),
    hostNetwork: fc.constantFrom(true, false, undefined),
    nodeName: fc.constantFrom("n1", "n2", undefined),
    containers: fc.array(container, { minLength: 1, maxLength: 3 }),
    initContainers: fc.array(container, { maxLength: 2 }),
    phase: fc.constantFrom("Pending", "Running", "Succeeded", "Failed", "Unknown"),
    ips: fc.array(ip, { maxLength: 3 }),
  })
  .map(({ name, namespace, uid, labels, hostNetwork, nodeName, containers, initContainers, phase, ips }) =>
    pod(`${namespace}/${name}`, {
      uid,
      labels,
      spec: { hostNetwork, nodeName, containers, initContainers },
      status: { phase, podIP: ips[0], podIPs: ips.map((one) => ({ ip: one })) },
    }),
  );

describe("kube: pods", () => {
  it("are the same in protobuf and in JSON", () => {
    fc.assert(
      fc.property(anyPod, (object) => {
        const entries = entriesOf();
        const [wire, json] = [entries.of(inWire(object)), entries.of(JSON.parse(JSON.stringify(object)))];
        assert.deepEqual(shown(wire), shown(json));
        assert.ok(samePod(wire, json));
        assert.equal(wire.making, json.making, "what they have in common is one object");
        assert.equal(isInside(wire), isInside(json));
      }),
    );
  });

  it("say of themselves what policies ask", () => {
    const named = (name: string, containerPort: number, protocol?: string) => ({ name, containerPort, protocol });
    const object = pod("shop/web", {
      labels: { app: "web" },
      spec: {
        containers: [
          { ports: [named("http", 80), { containerPort: 81 }, named("dns", 53, "UDP"), named("odd", 1, "X")] },
        ],
        initContainers: [
          { ports: [named("setup", 90)] },
          { restartPolicy: "Always", ports: [named("side", 91, "TCP")] },
        ],
      },
      status: { podIP: "10.1.0.5", podIPs: [{ ip: "10.1.0.5" }, { ip: "FD00:0:0::5" }, { ip: "nonsense" }] },
    });
    assert.deepEqual(shown(entriesOf().of(object)), {
      key: "shop/web",
      name: "web",
      namespace: "shop",
      node: "n1",
      uid: "uid-shop/web",
      ips: ["10.1.0.5", "fd00::5"],
      labels: { app: "web" },
      ports: [
        { name: "http", protocol: "TCP", port: 80 },
        { name: "dns", protocol: "UDP", port: 53 },
        { name: "side", protocol: "TCP", port: 91 },
      ],
    });
    const elsewhere = entriesOf().of(pod("shop/web", { spec: { nodeName: "n2" }, status: { podIPs: undefined } }));
    assert.deepEqual([elsewhere.uid, elsewhere.ips], ["", ["10.1.0.5"]], "an older server has the one address only");
    for (const outside of [
      { spec: { hostNetwork: true } },
      { status: { phase: "Succeeded" } },
      { status: { phase: "Failed" } },
    ])
      assert.ok(!isInside(entriesOf().of(pod("shop/web", outside))), JSON.stringify(outside));
    assert.throws(() => entriesOf().of({ metadata: { name: "web", namespace: "shop" } }), TypeError);
  });

  it("are different where policies could tell", () => {
    const entries = entriesOf();
    const web = entries.of(pod("shop/web", { labels: { app: "web" } }));
    const ports = [{ name: "http", containerPort: 80 }];
    for (const [what, options, same] of [
      ["nothing", { labels: { app: "web" } }, true],
      ["its labels", { labels: { app: "api" } }, false],
      ["its uid", { labels: { app: "web" }, uid: "other" }, false],
      ["its node", { labels: { app: "web" }, spec: { nodeName: "n2" } }, false],
      ["its addresses", { labels: { app: "web" }, status: { podIPs: [{ ip: "10.1.0.6" }] } }, false],
      ["its ports", { labels: { app: "web" }, spec: { containers: [{ ports }] } }, false],
      ["its conditions", { labels: { app: "web" }, status: { conditions: [{ type: "Ready", status: "True" }] } }, true],
    ] as const)
      assert.equal(samePod(web, entries.of(pod("shop/web", options as PodOptions))), same, what);
  });

  it("of which no pod is left are not remembered", () => {
    const live: PodEntry[] = [];
    const entries = entriesOf(live);
    for (let i = 0; i < 10; i++) live.push(entries.of(pod(`shop/stays-${i}`, { labels: { i: `${i}` } })));
    for (let i = 0; i < 20_000; i++) entries.of(pod("shop/changes", { labels: { hash: `${i}` } }));
    assert.ok(entries.makings < 5_000, `${entries.makings} of them`);
    const again = entries.of(pod("shop/other", { labels: { i: "3" } }));
    assert.equal(again.making, live[3]?.making);
  });

  describe("of a scripted server", () => {
    let api: ScriptedApi;
    let client: KubeClient;
    let reflector: PodReflector;
    beforeEach(async () => {
      api = await new ScriptedApi().listen();
      client = connect({ kubeconfig: api.kubeconfig() });
      const random = () => 0;
      reflector = new PodReflector(client, "n1", { timings: { baseMs: 2, capMs: 8, stableMs: 0, random } });
    });
    afterEach(async () => {
      await reflector.stop();
      await client.close();
      await api.close();
    });

    /** What kube-apiserver 1.20 answers. */
    const unknownField = answer(
      {
        ...status(400, "BadRequest"),
        message:
          'Unable to find "/v1, Resource=pods" that match label selector "", field selector "spec.hostNetwork=false": field label not supported: spec.hostNetwork',
      },
      400,
    );

    it("are asked for without spec.hostNetwork where the server cannot select by it, and come without such pods", async () => {
      const pods = [pod("shop/web"), pod("shop/host", { spec: { hostNetwork: true } })];
      api.script.push(unknownField, answer(status(400, "BadRequest"), 400), page(pods, "7"));
      api.script.push(
        watch(
          event("ADDED", pod("shop/late", { spec: { hostNetwork: true } })),
          bookmark("8"),
          event("ADDED", pod("shop/new")),
        ),
      );
      reflector.start();
      await eventually(() => reflector.objects.has("shop/new"));
      assert.deepEqual([...reflector.objects.keys()], ["shop/web", "shop/new"]);
      const running = "status.phase!=Succeeded,status.phase!=Failed";
      assert.deepEqual(
        api.seen.map(({ query }) => query.get("fieldSelector")),
        [`${running},spec.hostNetwork=false`, running, running, running],
      );
      assert.equal(reflector.state.errors, 0);
      api.stream.write(event("MODIFIED", pod("shop/new", { status: { phase: "Failed" } })));
      await eventually(() => !reflector.objects.has("shop/new"));
    });
  });
});
