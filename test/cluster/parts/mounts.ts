/** What the agent's container sees of pods' network namespaces, which are mounts of the host's: those that are there, and none that has gone. */
import assert from "node:assert/strict";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, SYSTEM_NAMESPACE, type TestPod } from "../support/kube.ts";
import { manifestFor } from "./install.ts";

const AGENT = ["-n", SYSTEM_NAMESPACE, "-c", "agent"] as const;
const SHARED = "mountPropagation: HostToContainer";

export function mountsPart(context: Context): void {
  describe("of the namespaces of pods", () => {
    let node: string;
    const agent = async (): Promise<string> => {
      const all = await context.kube.agentsReady(context.nodes.length);
      return all.find((pod) => pod.spec.nodeName === node)?.metadata.name as string;
    };
    const at = async (...command: string[]): Promise<string> =>
      (await context.machine.hardware?.at(node, command)) as string;

    before(() => {
      node = (context.pods.at(-1) as TestPod).node;
    });

    /** Names of the namespaces that are mounted for whom a command shows mounts. */
    const mounted = (mountinfo: string): string[] =>
      Array.from(mountinfo.matchAll(/ \/run\/netns\/(cni-\S+) .* - nsfs /g), ([, name]) => name as string).sort();
    const onNode = async (): Promise<string[]> => mounted(await at("cat", "/proc/self/mountinfo"));
    const inContainer = async (): Promise<string[]> =>
      mounted(await context.kube.kubectl("exec", await agent(), ...AGENT, "--", "cat", "/proc/self/mountinfo"));

    it("has the agent's container those that there are, and so none outlives its pod", async function () {
      const { kube, machine } = context;
      needs(this, machine.hardware, "access to its machines");
      await kube.apply(kube.podObject("short-lived", node));
      await kube.podReady("short-lived");
      const there = await onNode();
      assert.ok(there.length > 1);
      assert.deepEqual(await inContainer(), there);
      await kube.dismissPods("short-lived");
      await eventually(
        async () => {
          const left = await onNode();
          assert.equal(left.length, there.length - 1);
          assert.deepEqual(await inContainer(), left);
          return true;
        },
        { timeoutMs: 60_000 },
      );
    });

    it("needs a shared mount for that, which the runtime says, or the value that does without", async function () {
      const { kube, machine, nodes } = context;
      needs(this, machine.hardware, "access to its machines");
      const manifest = await manifestFor(context);
      assert.ok(manifest.includes(SHARED));
      const restart = async (): Promise<void> => {
        const name = await agent();
        await kube.kubectl("delete", "pod", name, "-n", SYSTEM_NAMESPACE, "--wait=false");
        await eventually(async () => !(await names()).includes(name), { timeoutMs: 60_000 });
      };
      const agents = () => kube.list("pods", "-n", SYSTEM_NAMESPACE, `--field-selector=spec.nodeName=${node}`);
      const names = async (): Promise<string[]> => (await agents()).map(({ metadata }) => metadata.name);
      await at("mount", "--make-private", "/run");
      try {
        await restart();
        await eventually(
          async () => {
            const text = JSON.stringify((await agents()).map(({ status }) => status));
            assert.match(
              text,
              /path \\+"\/run\/netns\\+" is mounted on \\+"\/run\\+" but it is not a shared or slave mount/,
            );
            return true;
          },
          { timeoutMs: 120_000 },
        );
        await machine.kubectl(["apply", "-f", "-"], manifest.replaceAll(SHARED, "mountPropagation: None"));
        // What does not start is not replaced by itself before the others, of which it would be one too many.
        for (const name of await names())
          await kube.kubectl("delete", "pod", name, "-n", SYSTEM_NAMESPACE, "--ignore-not-found");
        await kube.agentsReady(nodes.length);
      } finally {
        await at("mount", "--make-shared", "/run");
        await machine.kubectl(["apply", "-f", "-"], manifest);
        await kube.kubectl("rollout", "status", "daemonset/skylane", "-n", SYSTEM_NAMESPACE, "--timeout=300s");
      }
      await kube.agentsReady(nodes.length);
      assert.deepEqual(await inContainer(), await onNode());
    });
  });
}
