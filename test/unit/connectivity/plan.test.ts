/** Which ways a connectivity test tries: every node in both directions, with a number of them that grows with the nodes and not with their square. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { namespaceObject, testObjects } from "../../../src/cli/connectivity/objects.ts";
import { type Check, planChecks, planPolicyChecks, sample } from "../../../src/cli/connectivity/plan.ts";
import { nodes, services } from "./nodes.ts";

const count = (all: readonly string[]): Map<string, number> =>
  all.reduce((counts, one) => counts.set(one, (counts.get(one) ?? 0) + 1), new Map<string, number>());

describe("connectivity plan", () => {
  it("tries every node as often from as to it, in each family, by TCP and datagrams of each size", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 1, max: 6 }), (n, k) => {
        const checks = planChecks(nodes(n), k, services);
        const each = Math.min(k, n - 1);
        for (const kind of ["pod-pod-tcp", "pod-pod-udp", "pod-pod-full", "pod-pod-over"] as const)
          for (const family of [4, 6]) {
            const own = checks.filter((check) => check.kind === kind && check.family === family);
            assert.equal(own.length, n * each);
            assert.ok(own.every(({ from, to }) => from.node !== to.node));
            assert.equal(new Set(own.map(({ from, to }) => `${from.node}>${to.node}`)).size, own.length);
            for (const counts of [count(own.map(({ from }) => from.node)), count(own.map(({ to }) => String(to.node)))])
              assert.deepEqual(new Set(counts.values()), new Set([each]));
          }
      }),
    );
  });

  it("tries nodes, Services and names from everywhere", () => {
    const checks = planChecks(nodes(3), 2, services);
    const of = (kind: Check["kind"]): string[] =>
      checks
        .filter((check) => check.kind === kind)
        .map(({ from, to, family }) => `${from.node}>${to.node ?? to.is}/${family}`);
    assert.equal(of("pod-pod-here").length, 6);
    assert.deepEqual(
      of("node-pod").filter((one) => one.startsWith("node1>") && one.endsWith("/4")),
      ["node1>node1/4", "node1>node2/4", "node1>node3/4"],
    );
    assert.equal(of("pod-node-here").length, 6);
    assert.equal(of("pod-node").length, 12);
    for (const kind of ["pod-service", "node-service"] as const) assert.equal(of(kind).length, 6);
    assert.deepEqual(
      of("api"),
      ["node1", "node2", "node3"].map((node) => `${node}>the API server's Service/4`),
    );
    assert.equal(of("dns").length, 3);
    assert.ok(checks.filter(({ asker }) => asker.where === "agent").every(({ kind }) => kind.startsWith("node-")));
  });

  it("knows each datagram by a key of its own", () => {
    const keys = planChecks(nodes(12), 3, services).flatMap(({ question }) =>
      question.kind === "udp" ? [question.key] : [],
    );
    assert.equal(new Set(keys).size, keys.length);
  });

  it("tries only families that both ends have", () => {
    const [one, two] = nodes(2);
    assert.ok(one && two);
    const single = { ...two, ips: ["172.30.0.2"], peer: { name: "peer-2", ips: ["10.244.2.2"] } };
    const checks = planChecks([one, single], 1, services);
    assert.deepEqual(
      new Set(checks.filter(({ kind }) => kind.startsWith("pod-pod-t")).map(({ family }) => family)),
      new Set([4]),
    );
  });

  it("has one that may and one that may not for the policy, on every node, also where there is one alone", () => {
    for (const n of [1, 4]) {
      const checks = planPolicyChecks(nodes(n));
      for (const kind of ["policy-allow", "policy-deny"] as const)
        assert.equal(new Set(checks.filter((check) => check.kind === kind).map(({ to }) => to.node)).size, n);
      for (const { kind, asker, question } of checks) {
        assert.ok(asker.pod.startsWith(kind === "policy-allow" ? "peer-" : "other-"));
        assert.equal(question.kind, kind === "policy-allow" ? "http" : "closed");
      }
    }
  });

  it("spreads a sample over all", () => {
    assert.deepEqual(sample([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 3), [0, 3, 6]);
    assert.deepEqual(sample([1, 2], 3), [1, 2]);
  });

  it("makes pods that the strictest standard takes, in a namespace that is held to it", () => {
    const labels = { "app.kubernetes.io/managed-by": "skylane-connectivity-test" };
    const whole = { ...labels, "pod-security.kubernetes.io/enforce": "restricted" };
    assert.deepEqual(namespaceObject("ns"), {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "ns", labels: whole },
    });
    const { items } = testObjects("ns", nodes(2), "abcdef0123456789") as { items: Record<string, never>[] };
    const pods = items.filter(({ kind }) => kind === "Pod") as unknown as {
      metadata: { name: string; labels: object; namespace: string };
      spec: { nodeName: string; securityContext: object; containers: { image: string; securityContext: object }[] };
    }[];
    assert.deepEqual(
      pods.map(({ metadata, spec }) => [metadata.name, spec.nodeName]),
      [
        ["peer-1", "node1"],
        ["other-1", "node1"],
        ["peer-2", "node2"],
        ["other-2", "node2"],
      ],
    );
    for (const { metadata, spec } of pods) {
      assert.equal(metadata.namespace, "ns");
      assert.deepEqual(metadata.labels, { ...metadata.labels, ...labels });
      // https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
      assert.deepEqual(spec.securityContext, {
        runAsNonRoot: true,
        runAsUser: 65_534,
        runAsGroup: 65_534,
        seccompProfile: { type: "RuntimeDefault" },
      });
      assert.deepEqual(
        spec.containers.map(({ image, securityContext }) => [image, securityContext]),
        [
          [
            "skylane:test",
            { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
          ],
        ],
      );
    }
  });
});
