/** The live map of a real cluster, from an operator's machine: what it shows, and that the API server says what of it somebody may see. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { kubectlCluster } from "../../../src/cli/kubectl/ui.ts";
import { showMap } from "../../../src/cli/ui/ui.ts";
import { MapReader } from "../../support/map-reader.ts";
import type { Context } from "../support/context.ts";
import { eventually, SYSTEM_NAMESPACE, TEST_NAMESPACE } from "../support/kube.ts";
import { Operator } from "../support/operator.ts";

/** Somebody who may see nodes and pods, and ask no agent. */
const LOOKER = "somebody-who-looks";
const SOON = { timeoutMs: 120_000 };

export function liveMapPart(context: Context): void {
  describe("on the live map", () => {
    let operator: Operator;
    before(() => {
      operator = new Operator(context.machine);
    });
    after(async () => {
      operator[Symbol.dispose]();
      await context.kube.kubectl("delete", "clusterrolebinding,clusterrole", LOOKER, "--ignore-not-found");
    });

    /** Shows the map with some options of kubectl, as long as somebody reads it. */
    async function reading(options: readonly string[], work: (reader: MapReader) => Promise<void>): Promise<void> {
      const program = join(operator.dir, "kubectl");
      const map = await showMap(
        await kubectlCluster({ program, options: [`--namespace=${SYSTEM_NAMESPACE}`, ...options] }),
      );
      try {
        await using reader = await MapReader.open(map.url);
        await work(reader);
      } finally {
        await map.close();
      }
    }

    it("shows nodes with what their agents say, and a pod that comes and goes", () =>
      reading([], async ({ mirror }) => {
        const { kube, nodes } = context;
        await eventually(() => Promise.resolve(nodes.every((name) => mirror.nodes.get(name)?.state === "ready")), SOON);
        for (const name of nodes) {
          const [vtep] = mirror.nodes.get(name)?.vteps ?? [];
          assert.deepEqual(
            [vtep?.network, vtep?.peers, vtep?.programmed],
            ["default", nodes.length - 1, nodes.length - 1],
          );
        }
        assert.deepEqual(mirror.troubles, []);
        const key = `${TEST_NAMESPACE}/mapped`;
        await kube.apply(kube.podObject("mapped", nodes[0] as string));
        const { ips } = await kube.podReady("mapped");
        await eventually(() => Promise.resolve(mirror.pods.get(key)?.ips.length === ips.length), SOON);
        assert.deepEqual([mirror.pods.get(key)?.node, mirror.pods.get(key)?.ips], [nodes[0], ips]);
        await kube.dismissPods("mapped");
        await eventually(() => Promise.resolve(mirror.pods.get(key)?.gone !== undefined), SOON);
      }));

    it("shows nothing to whom the API server lets see nothing, and says so", () =>
      reading([`--as=${LOOKER}`], async ({ mirror }) => {
        await eventually(() => Promise.resolve(mirror.troubles.length > 0), SOON);
        for (const what of ["nodes", "pods"])
          await eventually(
            () => Promise.resolve(mirror.troubles.some((one) => one.what === what && one.why.includes("forbidden"))),
            SOON,
          );
        assert.deepEqual([mirror.nodes.size, mirror.pods.size], [0, 0]);
      }));

    it("shows objects to who may see them, and of agents nothing to who may not ask them", async () => {
      const { kube, nodes } = context;
      const subject = { kind: "User", name: LOOKER, apiGroup: "rbac.authorization.k8s.io" };
      await kube.apply(
        {
          apiVersion: "rbac.authorization.k8s.io/v1",
          kind: "ClusterRole",
          metadata: { name: LOOKER },
          rules: [{ apiGroups: [""], resources: ["nodes", "pods"], verbs: ["get", "list", "watch"] }],
        },
        {
          apiVersion: "rbac.authorization.k8s.io/v1",
          kind: "ClusterRoleBinding",
          metadata: { name: LOOKER },
          roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: LOOKER },
          subjects: [subject],
        },
      );
      await reading([`--as=${LOOKER}`], async ({ mirror }) => {
        await eventually(() => Promise.resolve(nodes.every((name) => mirror.nodes.has(name))), SOON);
        for (const name of nodes) {
          await eventually(() => Promise.resolve(/forbidden/i.test(mirror.nodes.get(name)?.why ?? "")), SOON);
          const { vteps, probes, flows } = mirror.nodes.get(name) ?? {};
          assert.deepEqual([vteps, probes, flows], [[], undefined, undefined]);
        }
      });
    });
  });
}
