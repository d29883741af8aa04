/** Services as flows need them: what is read of them, in which form, and how many are kept. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { serviceMessage } from "../../../lab/api/http/service-message.ts";
import type { KubeObject } from "../../../lab/api/types.ts";
import { connect, type KubeClient, ServiceReflector } from "../../../src/kube/index.ts";
import { serviceEntry } from "../../../src/kube/services/services.ts";
import { readService } from "../../../src/kube/wire/service-wire.ts";
import { WireReader } from "../../../src/kube/wire/wire.ts";
import { bookmark, event, ScriptedApi, watch } from "./scripted-api.ts";
import { eventually } from "../../support/eventually.ts";

const service = (key: string, spec: object = {}, status: object = {}) => {
  const [namespace = "", name = ""] = key.split("/");
  const metadata = { name, namespace, uid: `uid-${key}`, resourceVersion: "5" };
  return { apiVersion: "v1", kind: "Service", metadata, spec: { clusterIP: "10.96.0.9", ...spec }, status };
};

const word = fc.stringMatching(/^[a-z]([-a-z0-9]{0,20}[a-z0-9])?$/);
const ip = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom("", "None", "FD00::1"));
const port = fc.record({
  name: fc.option(word, { nil: undefined }),
  protocol: fc.constantFrom("TCP", "UDP", "SCTP", undefined, "odd"),
  port: fc.integer({ min: 1, max: 65_535 }),
  targetPort: fc.constantFrom(80, "http", undefined),
  nodePort: fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }),
});

describe("kube: Services", () => {
  it("are the same in protobuf and in JSON", () => {
    const any = fc.record({
      key: fc.tuple(word, word).map((both) => both.join("/")),
      clusterIP: ip,
      clusterIPs: fc.array(ip, { maxLength: 2 }),
      externalIPs: fc.array(ip, { maxLength: 3 }),
      ingress: fc.array(fc.record({ ip }), { maxLength: 2 }),
      ports: fc.array(port, { maxLength: 4 }),
    });
    fc.assert(
      fc.property(any, ({ key, ingress, ...spec }) => {
        const object = service(key, spec, { loadBalancer: { ingress } });
        const wire = readService(new WireReader(serviceMessage(object as unknown as KubeObject)));
        assert.deepEqual(serviceEntry(wire), serviceEntry(JSON.parse(JSON.stringify(object))));
      }),
    );
  });

  it("say under which addresses and ports they are reached", () => {
    const entry = serviceEntry(
      service(
        "shop/web",
        {
          clusterIPs: ["10.96.0.9", "FD00:0:0::9"],
          externalIPs: ["192.0.2.7", "nonsense"],
          ports: [
            { name: "http", port: 80, nodePort: 30_080 },
            { protocol: "UDP", port: 53 },
          ],
        },
        { loadBalancer: { ingress: [{ ip: "192.0.2.8" }, { hostname: "a.example" }] } },
      ),
    );
    assert.deepEqual(entry.ips, ["10.96.0.9", "fd00::9", "192.0.2.7", "192.0.2.8"]);
    assert.deepEqual(entry.ports, [
      { name: "http", protocol: 6, port: 80, nodePort: 30_080 },
      { name: "", protocol: 17, port: 53, nodePort: 0 },
    ]);
    assert.throws(() => serviceEntry({ metadata: { name: "x" } }), TypeError);
  });

  describe("as they are followed", () => {
    let api: ScriptedApi;
    let client: KubeClient;
    let reflector: ServiceReflector;
    beforeEach(async () => {
      api = await new ScriptedApi().listen();
      client = connect({ kubeconfig: api.kubeconfig() });
      reflector = new ServiceReflector(client, { most: 3 });
    });
    afterEach(async () => {
      await reflector.stop();
      await client.close();
      await api.close();
    });

    it("leave out headless ones, and as many as there is no room for", async () => {
      const added = (key: string, spec?: object): string => event("ADDED", service(key, spec));
      api.script.push(
        watch(
          added("a/1") + added("a/headless", { clusterIP: "None" }) + added("a/2") + added("a/3") + added("a/4"),
          bookmark("9", true),
          added("a/5") +
            event("DELETED", service("a/1")) +
            added("a/6") +
            event("MODIFIED", service("a/2", { clusterIP: "None" })) +
            event("MODIFIED", service("a/3", { clusterIP: "10.96.0.3" })),
        ),
      );
      reflector.start();
      await eventually(() => reflector.objects.get("a/3")?.ips[0] === "10.96.0.3");
      assert.deepEqual([...reflector.objects.keys()].sort(), ["a/3", "a/6"]);
    });
  });
});
