/** A Node that says something wrong or evil harms itself alone. */
import assert from "node:assert/strict";
import type { Context } from "../support/context.ts";
import { eventually, SYSTEM_NAMESPACE } from "../support/kube.ts";
import { allReach } from "./install.ts";

const EVIL = "evil-node";

export function hostilePart(context: Context): void {
  describe("with a hostile or broken annotation on one Node", () => {
    const annotations = (victim: string): Record<string, string> => ({
      "no JSON": "{",
      "a shell's food": "$(reboot); `reboot`",
      "a huge one": `{"default":{"vni":4096,"mac":"02:00:00:00:00:09","ips":["${"1".repeat(100_000)}"]}}`,
      "another node's address": `{"default":{"vni":4096,"mac":"02:00:00:00:00:09","ips":["${victim}"],"podCidrs":["10.244.200.0/24"],"port":4789}}`,
      "everybody's pods": `{"default":{"vni":4096,"mac":"02:00:00:00:00:09","ips":["172.30.0.99"],"podCidrs":["10.244.0.0/16"],"port":4789}}`,
      "the default route": `{"default":{"vni":4096,"mac":"02:00:00:00:00:09","ips":["172.30.0.99"],"podCidrs":["0.0.0.0/0"],"port":4789}}`,
    });

    it("goes on between all others, and names the refused one", async () => {
      const { kube, nodes } = context;
      const victim = (await kube.get("node", nodes[0] as string)).status.addresses?.[0]?.address as string;
      await kube.apply({ apiVersion: "v1", kind: "Node", metadata: { name: EVIL } });
      try {
        for (const [what, value] of Object.entries(annotations(victim))) {
          const body = JSON.stringify({ metadata: { annotations: { "skylane.dev/vtep": value } } });
          await kube.kubectl("patch", "node", EVIL, "--type=merge", "-p", body);
          await eventually(
            async () => {
              const agents = await kube.list("pods", "-n", SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=skylane");
              const agent = agents.find((pod) => pod.spec.nodeName === nodes[1])?.metadata.name as string;
              const text = await kube.kubectl(
                "exec",
                "-n",
                SYSTEM_NAMESPACE,
                agent,
                "-c",
                "agent",
                "--",
                "skylanectl",
                "status",
                "-o",
                "json",
              );
              const { networks } = JSON.parse(text) as { networks: { refused: { node: string; reason: string }[] }[] };
              const refused = networks[0]?.refused.find(({ node }) => node === EVIL);
              if (!refused) throw new Error(`${what}: ${EVIL} is not refused`);
              return refused;
            },
            { timeoutMs: 30_000 },
          );
          await allReach(kube, context.pods);
        }
        const events = await kube.kubectl("get", "events", "-n", "default", "-o", "json");
        assert.match(events, new RegExp(EVIL), "an Event names the refused Node");
      } finally {
        await kube.kubectl("delete", "node", EVIL);
      }
    });
  });
}
