/** Dozens of pods come and go: no address is lost or given twice, no device stays, nothing hangs. */
import assert from "node:assert/strict";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, isReady, SYSTEM_NAMESPACE, TEST_NAMESPACE } from "../support/kube.ts";

const PODS = 40;
/** The second takes what the first has given back. */
const ROUNDS = 2;
const PATIENCE = { timeoutMs: 8 * 60_000, intervalMs: 1_500 };

/** What an agent has served, by whom on its node. */
interface Served {
  /** How often kubelet has started it again. */
  starts: number;
  ADD: Record<"agent" | "plugin", number>;
  DEL: Record<"agent" | "plugin", number>;
}

export function scalePart(context: Context): void {
  describe(`a Deployment of ${PODS} pods`, () => {
    const scale = (count: number) =>
      context.kube.kubectl("scale", "deployment/many", "-n", TEST_NAMESPACE, `--replicas=${count}`);
    const many = () => context.kube.list("pods", "-n", TEST_NAMESPACE, "-l", "app=many");
    /** What agents had served before: other tests make pods too, and end agents meanwhile. */
    let before: Map<string, Served>;

    /** What each agent has served since its start. */
    async function served(): Promise<Map<string, Served>> {
      const agents = await context.kube.list("pods", "-n", SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=skylane");
      const all = agents.map(async ({ metadata: { name }, status }): Promise<[string, Served]> => {
        // the node's own address alone serves them by default
        const ask =
          'fetch("http://127.0.0.1:9473/metrics").then(async (answer) => process.stdout.write(await answer.text()))';
        const exec = ["exec", name, "-n", SYSTEM_NAMESPACE, "-c", "agent", "--"];
        const metrics = await context.kube.kubectl(...exec, "/opt/skylane/lib/skylane/node", "-e", ask);
        const count = (verb: string, by: string): number => {
          const line = `^skylane_cni_duration_seconds_count\\{verb="${verb}",result="ok",by="${by}"\\} (\\d+)$`;
          return Number(new RegExp(line, "m").exec(metrics)?.[1] ?? 0);
        };
        const of = (verb: string) => ({ agent: count(verb, "agent"), plugin: count(verb, "plugin") });
        const starts = status.containerStatuses?.find((one) => one.name === "agent")?.restartCount ?? 0;
        return [name, { starts, ADD: of("ADD"), DEL: of("DEL") }];
      });
      return new Map(await Promise.all(all));
    }

    it(`scales up and down ${ROUNDS} times without an address lost or given twice`, async () => {
      const { kube } = context;
      before = await served();
      await kube.apply({
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "many", namespace: TEST_NAMESPACE },
        spec: {
          replicas: 0,
          selector: { matchLabels: { app: "many" } },
          template: {
            metadata: { labels: { app: "many" } },
            spec: {
              terminationGracePeriodSeconds: 1,
              containers: [{ name: "pause", image: "registry.k8s.io/pause:3.10", imagePullPolicy: "IfNotPresent" }],
            },
          },
        },
      });
      for (let round = 0; round < ROUNDS; round++) {
        await scale(PODS);
        const pods = await eventually(async () => {
          const all = await many();
          const ready = all.filter(isReady);
          if (ready.length !== PODS) throw new Error(`round ${round + 1}: ${ready.length} of ${PODS} pods are ready`);
          return ready;
        }, PATIENCE);
        const ips = pods.flatMap((pod) => (pod.status.podIPs ?? []).map(({ ip }) => ip));
        assert.equal(new Set(ips).size, ips.length, "every pod has addresses of its own");
        await scale(0);
        await eventually(async () => {
          const left = await many();
          if (left.length > 0) throw new Error(`round ${round + 1}: ${left.length} pods are still there`);
          return true;
        }, PATIENCE);
      }
      await kube.kubectl("delete", "deployment", "many", "-n", TEST_NAMESPACE);
    });

    it("has the agent of each node serve what kubelet asks for, without a process of Node for each pod", async () => {
      for (const [name, now] of await served())
        for (const verb of ["ADD", "DEL"] as const) {
          const then = before.get(name);
          // While kubelet started one again, as on a machine that is too busy to answer its probes, there was nobody but the plugin.
          if (then?.starts !== now.starts) {
            console.log(`      ${name} was started again by kubelet`);
            continue;
          }
          const of = (by: "agent" | "plugin"): number => now[verb][by] - then[verb][by];
          console.log(`      ${name}: ${of("agent")} ${verb} by the agent, ${of("plugin")} by the plugin`);
          assert.ok(of("agent") >= PODS / 10, `${name} served ${of("agent")} ${verb}`);
          assert.ok(of("plugin") <= PODS / 4, `${of("plugin")} ${verb} on the node of ${name} took a process`);
        }
    });

    it("leaves no device and no reservation behind", async function () {
      const { machine, nodes, pods } = context;
      needs(this, machine.hardware, "access to the machines");
      for (const node of nodes) {
        const own = pods.filter((pod) => pod.node === node);
        await eventually(
          async () => {
            const links =
              ((await machine.hardware?.at(node, ["ip", "-o", "link", "show", "type", "veth"])) ?? "").match(
                /: sky[0-9a-f]{11}@/g,
              ) ?? [];
            const running = (await context.kube.list("pods", "-A", "--field-selector", `spec.nodeName=${node}`)).filter(
              (pod) => !(pod.spec as { hostNetwork?: boolean }).hostNetwork,
            );
            assert.equal(links.length, running.length, `${node}: a veth pair for each pod`);
            const reserved = (
              (await machine.hardware?.at(node, [
                "find",
                "/var/lib/cni/skylane/ipam/default/taken",
                "-maxdepth",
                "1",
                "-type",
                "l",
              ])) ?? ""
            )
              .split("\n")
              .filter((path) => /\/[0-9a-f.:]+$/.test(path));
            const addresses = running.reduce((sum, pod) => sum + (pod.status.podIPs?.length ?? 0), 0);
            assert.equal(reserved.length, addresses, `${node}: a reservation for each address`);
            return true;
          },
          { timeoutMs: 60_000 },
        );
        assert.ok(own.length > 0);
      }
    });
  });
}
