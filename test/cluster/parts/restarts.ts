/** What runs goes on when something around it stops: established connections live, new pods start again at once. */
import assert from "node:assert/strict";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, SYSTEM_NAMESPACE, type TestPod } from "../support/kube.ts";
import { PATIENCE } from "../../support/eventually.ts";

const LOSS = /\d+ packets transmitted.*loss/;

export function restartsPart(context: Context): void {
  describe("while something restarts", () => {
    before(() => context.kube.startWatchers(context.pods));
    after(() => context.kube.dismissPods(...context.pods.map(({ node }) => `watch-${node}`)));

    /** Runs an action under the watchers' open connections and prints what they saw; then a new pod must start. */
    async function under(name: string, action: () => Promise<void>, node: string): Promise<void> {
      const { kube, pods } = context;
      const [a, b] = pods as [TestPod, TestPod];
      const since = new Date();
      await action();
      const started = performance.now();
      const fresh = `fresh-${name}`;
      await kube.apply(kube.podObject(fresh, node));
      await kube.podReady(fresh);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const other = (node === a.node ? b : a).ips[0] as string;
      await eventually(() => kube.probe(fresh, "tcp", other, 7000), { timeoutMs: 20_000 });
      const { longestGapMs, connections, broken } = await kube.watched(pods, since);
      console.log(
        `        ${name}: longest gap ${longestGapMs} ms in ${connections} connections, ${broken.length} broken; a new pod ran after ${seconds} s`,
      );
      assert.deepEqual(broken, [], "connections that broke");
      await kube.dismissPods(fresh);
    }

    it("of the agent by kill -9", async function () {
      const { machine, nodes, kube } = context;
      needs(this, machine.hardware, "access to the machines");
      const node = nodes[0] as string;
      await under(
        "agent-kill",
        async () => {
          const agents = await kube.agentsReady(nodes.length);
          const agent = agents.find((pod) => pod.spec.nodeName === node);
          const [container] = agent?.status.containerStatuses ?? [];
          const id = container?.containerID.replace(/^containerd:\/\//, "") ?? "";
          await machine.hardware?.at(node, ["ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", id]);
          await eventually(
            async () => {
              const now = await kube.get("pod", agent?.metadata.name ?? "", "-n", SYSTEM_NAMESPACE);
              return (now.status.containerStatuses?.[0]?.restartCount ?? 0) > (container?.restartCount ?? 0);
            },
            { timeoutMs: 60_000 },
          );
          await kube.agentsReady(nodes.length);
        },
        node,
      );
    });

    it("of all agents by a rolling update", async () => {
      const { kube, nodes } = context;
      await under(
        "rolling-update",
        async () => {
          await kube.kubectl("rollout", "restart", "daemonset/skylane", "-n", SYSTEM_NAMESPACE);
          await kube.kubectl(
            "rollout",
            "status",
            "daemonset/skylane",
            "-n",
            SYSTEM_NAMESPACE,
            `--timeout=${180 * PATIENCE}s`,
          );
          await kube.agentsReady(nodes.length);
        },
        nodes[1] as string,
      );
    });

    for (const component of ["kubelet", "containerd"]) {
      it(`of ${component}`, async function () {
        const { machine, nodes } = context;
        needs(this, machine.hardware, "access to the machines");
        await under(
          component,
          async () => {
            await machine.hardware?.component("restart", `${component}1`);
            await context.kube.nodesReady(nodes.length);
          },
          nodes[0] as string,
        );
      });
    }

    it("of the API server, away for half a minute", async function () {
      const { machine, nodes, kube, pods } = context;
      const { hardware } = machine;
      needs(this, hardware, "access to the machines");
      const [a, b] = pods as [TestPod, TestPod];
      await under(
        "api-away",
        async () => {
          await hardware?.component("stop", "apiserver");
          // the half minute itself, counted by the pings in it; after 15 s agents' pauses between tries are at their longest
          const ping =
            (await hardware?.at(a.node, ["ping", "-c", "60", "-i", "0.5", "-W", "1", "-q", b.ips[0] as string])) ?? "";
          await hardware?.component("start", "apiserver");
          console.log(`        api-away: ${LOSS.exec(ping)?.[0]}`);
          assert.match(ping, / 0% packet loss/);
          await eventually(() => kube.list("nodes"), { timeoutMs: 60_000 });
          await kube.nodesReady(nodes.length);
        },
        nodes[2] as string,
      );
    });

    it("of the whole control plane", async function () {
      const { machine, nodes, kube } = context;
      const { hardware } = machine;
      needs(this, hardware, "access to the machines");
      await under(
        "control-plane",
        async () => {
          for (const name of ["sched", "kcm", "apiserver", "etcd"]) await hardware?.component("stop", name);
          for (const name of ["etcd", "apiserver", "kcm", "sched"]) await hardware?.component("start", name);
          await eventually(() => kube.list("nodes"), { timeoutMs: 60_000 });
          await kube.nodesReady(nodes.length);
        },
        nodes[0] as string,
      );
    });
  });
}
