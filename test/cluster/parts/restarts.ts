/** What runs goes on when something around it stops: established connections live, new pods start again at once. */
import assert from "node:assert/strict";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, SYSTEM_NAMESPACE, type TestPod } from "../support/kube.ts";

export function restartsPart(context: Context): void {
  describe("while something restarts", () => {
    /** Runs an action under open connections between all nodes, prints the longest gaps; then a new pod must start. */
    async function under(name: string, action: () => Promise<void>, node: string): Promise<void> {
      const { kube, pods } = context;
      const [a, b, c] = pods as [TestPod, TestPod, TestPod];
      const streams = await Promise.all(
        [a.ips.map((ip) => [b, ip] as const), b.ips.map((ip) => [c, ip] as const), c.ips.map((ip) => [a, ip] as const)]
          .flat()
          .map(([from, ip]) => kube.stream(from.name, ip)),
      );
      const started = performance.now();
      await action();
      const fresh = `fresh-${name}`;
      await kube.apply(kube.podObject(fresh, node));
      const pod = await kube.podReady(fresh);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      await eventually(() => kube.probe(fresh, "tcp", (node === a.node ? b : a).ips[0] as string, 7000), {
        timeoutMs: 20_000,
      });
      const results = await Promise.all(streams.map((stream) => stream.end()));
      const gaps = results.map(({ longestGapMs }) => longestGapMs);
      const lost = results.reduce((sum, { sent, echoes }) => sum + Math.max(0, sent - echoes - 1), 0);
      console.log(
        `        ${name}: longest gap ${Math.max(...gaps)} ms in ${results.length} connections, ${lost} lines unanswered; a new pod ran after ${seconds} s`,
      );
      assert.equal(pod.node, node);
      await kube.deletePods(fresh);
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
          await kube.kubectl("rollout", "status", "daemonset/skylane", "-n", SYSTEM_NAMESPACE, "--timeout=180s");
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

    it("of the API server, away for a minute", async function () {
      const { machine, nodes, kube } = context;
      needs(this, machine.hardware, "access to the machines");
      // exec sessions go through the API server, so the pods themselves are asked afterwards
      const [a, b] = context.pods as [TestPod, TestPod];
      const count = () =>
        machine.hardware?.at(a.node, ["ping", "-c", "100", "-i", "0.5", "-W", "1", "-q", b.ips[0] as string]);
      await machine.hardware?.component("stop", "apiserver");
      const ping = (await count()) ?? "";
      await machine.hardware?.component("start", "apiserver");
      console.log(`        api-away: ${/\d+ packets transmitted.*loss/.exec(ping)?.[0]}`);
      assert.match(ping, / 0% packet loss/);
      await eventually(() => kube.list("nodes"), { timeoutMs: 60_000 });
      await kube.nodesReady(nodes.length);
      await under("after-api-away", () => Promise.resolve(), nodes[2] as string);
    });

    it("of the whole control plane", async function () {
      const { machine, nodes, kube } = context;
      needs(this, machine.hardware, "access to the machines");
      const [a, b] = context.pods as [TestPod, TestPod];
      const ping = machine.hardware?.at(a.node, [
        "ping",
        "-c",
        "100",
        "-i",
        "0.2",
        "-W",
        "1",
        "-q",
        b.ips[0] as string,
      ]);
      for (const name of ["sched", "kcm", "apiserver", "etcd"]) await machine.hardware?.component("stop", name);
      for (const name of ["etcd", "apiserver", "kcm", "sched"]) await machine.hardware?.component("start", name);
      await eventually(() => kube.list("nodes"), { timeoutMs: 60_000 });
      const text = (await ping) ?? "";
      console.log(`        control-plane: ${/\d+ packets transmitted.*loss/.exec(text)?.[0]}`);
      assert.match(text, / 0% packet loss/);
      await kube.nodesReady(nodes.length);
      await under("after-control-plane", () => Promise.resolve(), nodes[0] as string);
    });
  });
}
