/** What somebody with an agent's token can do at the API server, and cannot: by RBAC on any server, by the policies where it knows them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Context } from "../support/context.ts";
import { SYSTEM_NAMESPACE, type TestPod } from "../support/kube.ts";
import { skip } from "../../support/skip.ts";
import { knowsPolicies } from "./install.ts";

const TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token";

export function rightsPart(context: Context): void {
  describe("with the token of one node's agent and nothing else", () => {
    let dir: string;
    let own: string;
    let other: string;
    let policies: boolean;

    before(async () => {
      const { kube, nodes } = context;
      dir = mkdtempSync(join(tmpdir(), "skylane-rights-"));
      policies = await knowsPolicies(kube);
      own = (context.pods[0] as TestPod).node;
      other = nodes.find((node) => node !== own) as string;
      const agents = await kube.list("pods", "-n", SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=skylane");
      const agent = agents.find((pod) => pod.spec.nodeName === own)?.metadata.name as string;
      const token = await kube.kubectl("exec", "-n", SYSTEM_NAMESPACE, agent, "-c", "agent", "--", "cat", TOKEN);
      // The administrator's kubeconfig may hold a certificate, which wins over a token beside it: none of it but the server.
      const admin = JSON.parse(
        await kube.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"),
      ) as {
        clusters: [{ cluster: object }];
      };
      const config = {
        apiVersion: "v1",
        kind: "Config",
        clusters: [{ name: "c", cluster: admin.clusters[0].cluster }],
        users: [{ name: "agent", user: { token: token.trim() } }],
        contexts: [{ name: "c", context: { cluster: "c", user: "agent" } }],
        "current-context": "c",
      };
      writeFileSync(join(dir, "kubeconfig"), JSON.stringify(config), { mode: 0o600 });
    });
    after(() => {
      if (dir) rmSync(dir, { recursive: true, force: true });
    });

    const asAgent = (args: readonly string[], input?: object): Promise<string> =>
      context.machine.kubectl(["--kubeconfig", join(dir, "kubeconfig"), ...args], input && JSON.stringify(input));
    const patch = (node: string, metadata: object): Promise<string> =>
      asAgent(["patch", "node", node, "--type=merge", "-p", JSON.stringify({ metadata })]);
    const create = (object: object): Promise<string> => asAgent(["create", "-f", "-"], object);
    const onlyWithPolicies = (test: Mocha.Context): void => {
      if (!policies) skip(test, "this API server has no ValidatingAdmissionPolicy");
    };
    const object = (kind: string, name: string, spec: object, metadata: object = {}) => ({
      apiVersion: "skylane.dev/v1alpha1",
      kind,
      metadata: { name, ...metadata },
      spec,
    });

    it("is no administrator, and makes no lease where others have theirs", async () => {
      for (const question of [
        ["create", "deployments", "-A"],
        ["delete", "nodes"],
        ["get", "secrets", "-n", SYSTEM_NAMESPACE],
        ["create", "leases.coordination.k8s.io", "-n", "kube-system"],
        ["update", "podnetworks.skylane.dev"],
      ])
        await assert.rejects(asAgent(["auth", "can-i", ...question]), /no/, question.join(" "));
      assert.match(await asAgent(["auth", "can-i", "patch", "nodes"]), /yes/);
      const leases = ["leases.coordination.k8s.io", "-n", "kube-node-lease"];
      assert.match(await asAgent(["auth", "can-i", "get", ...leases]), /yes/);
      for (const verb of ["list", "create", "update", "patch", "delete"])
        await assert.rejects(asAgent(["auth", "can-i", verb, ...leases]), /no/, verb);
    });

    it("annotates its own Node under skylane.dev/", async () => {
      await patch(own, { annotations: { "skylane.dev/test": "1" } });
      await patch(own, { annotations: { "skylane.dev/test": null } });
    });

    it("changes no other Node, and of its own nothing else", async function () {
      onlyWithPolicies(this);
      await assert.rejects(patch(other, { annotations: { "skylane.dev/vtep": "{}" } }), /may not change Node/);
      await assert.rejects(patch(own, { annotations: { "example.com/x": "1" } }), /under skylane\.dev/);
      await assert.rejects(patch(own, { labels: { x: "1" } }), /only change annotations/);
    });

    it("has blocks and endpoints of its own node only", async function () {
      onlyWithPolicies(this);
      const block = (node: string, cidr: string) =>
        object(
          "NetworkBlock",
          `rights.${cidr.replaceAll(/[./]/g, "-")}`,
          { network: "rights", cidr, node },
          {
            labels: { "skylane.dev/network": "rights", "skylane.dev/node": node, "skylane.dev/block-size": "64" },
            // a uid of no Node: the collector takes it away, if nobody else does
            ownerReferences: [
              { apiVersion: "v1", kind: "Node", name: node, uid: "00000000-0000-0000-0000-000000000000" },
            ],
          },
        );
      await assert.rejects(create(block(other, "10.59.0.0/26")), /may not write NetworkBlock/);
      await create(block(own, "10.59.0.64/26"));
      await asAgent(["delete", "networkblock", "rights.10-59-0-64-26", "--wait=false", "--ignore-not-found"]);
      await context.machine.kubectl(["create", "-f", "-"], JSON.stringify(block(other, "10.59.0.128/26")));
      await assert.rejects(
        asAgent(["delete", "networkblock", "rights.10-59-0-128-26"]),
        /may not write NetworkBlock|NotFound/,
      );
      await context.kube.kubectl("delete", "networkblock", "rights.10-59-0-128-26", "--ignore-not-found");
      const endpoints = object("NetworkEndpoints", `rights.${other}`, { network: "rights", node: other });
      await assert.rejects(create(endpoints), /may not write NetworkEndpoints/);
      const squatting = object("NetworkEndpoints", `rights.${other}`, { network: "rights", node: own });
      await assert.rejects(create(squatting), /name NETWORK\.NODE/);
    });

    it("defines no network", async function () {
      onlyWithPolicies(this);
      const network = object("PodNetwork", "rights", { vni: 5999, cidrs: ["10.59.0.0/16"], namespaceSelector: {} });
      await assert.rejects(create(network), /may not write PodNetwork|no PodNetwork but/);
    });
  });
}
