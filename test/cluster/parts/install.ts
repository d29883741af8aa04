/** One manifest on nodes without any CNI, and every pair of pods, hosts and services reaches each other. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, SYSTEM_NAMESPACE, TEST_NAMESPACE, type TestPod } from "../support/kube.ts";

const MANIFEST = fileURLToPath(new URL("../../../manifests/skylane.yaml", import.meta.url));
const PORT = 7000;

/** The manifest as an operator applies it, with the image of this run. */
export const manifestWith = (image: string): string =>
  readFileSync(MANIFEST, "utf8").replaceAll('"skylane:0.1.0"', JSON.stringify(image));

/** All pairs of different pods with an address pair of one family. */
export function* pairs(
  pods: readonly TestPod[],
): Generator<{ from: TestPod; to: TestPod; address: string; own: string }> {
  for (const from of pods)
    for (const to of pods)
      for (const address of to.ips) {
        const own = from.ips.find((ip) => ip.includes(":") === address.includes(":"));
        if (from !== to && own) yield { from, to, address, own };
      }
}

export function installPart(context: Context): void {
  describe("installed by one manifest", () => {
    it("makes nodes without any CNI Ready", async function () {
      const { kube, machine, nodes } = context;
      const before = await kube.list("nodes");
      assert.equal(before.length, nodes.length);
      await machine.kubectl(["apply", "-f", "-"], manifestWith(machine.image));
      await kube.nodesReady(nodes.length);
      await kube.agentsReady(nodes.length);
      await kube.prepare();
      context.pods.push(...(await kube.podsOn(nodes, "mesh")));
    });

    it("lets pods on every node reach each other over TCP, with their own addresses", async () => {
      for (const { from, to, address, own } of pairs(context.pods)) {
        const { seenAs } = await context.kube.probe(from.name, "tcp", address, PORT, 100_000);
        assert.equal(seenAs, own, `${from.name} → ${to.name} (${address})`);
      }
    });

    it("lets pods reach each other over UDP, in packets of 64 bytes and of the full MTU", async () => {
      const [first] = context.pods as [TestPod];
      const mtu = Number(await context.kube.exec(first.name, "cat", "/sys/class/net/eth0/mtu"));
      for (const { from, address, own } of pairs(context.pods)) {
        const header = address.includes(":") ? 48 : 28;
        for (const bytes of [64, mtu - header]) {
          const { seenAs, answers } = await context.kube.probe(from.name, "udp", address, PORT, bytes);
          assert.deepEqual(
            { seenAs, answers },
            { seenAs: own, answers: 3 },
            `${from.name} → ${address}, ${bytes} bytes`,
          );
        }
      }
    });

    it("carries full-MTU packets that must not be fragmented", async function () {
      const { machine } = context;
      needs(this, machine.hardware, "access to the machines");
      const [first] = context.pods as [TestPod];
      const mtu = Number(await context.kube.exec(first.name, "cat", "/sys/class/net/eth0/mtu"));
      for (const { from, address } of pairs(context.pods)) {
        const header = address.includes(":") ? 48 : 28;
        const netns = (await machine.hardware?.at(from.node, ["ip", "route", "get", from.ips[0] as string])) ?? "";
        assert.match(netns, / dev sky/, `${from.node} routes its pod by its own link`);
        // ping runs at the node inside the pod's namespace: the pod's image need not have it
        const list = (await machine.hardware?.at(from.node, ["ls", "/run/netns"])) ?? "";
        const own = await findNamespace(context, from, list.split("\n").filter(Boolean));
        const out = await machine.hardware?.at(from.node, [
          "ip",
          "netns",
          "exec",
          own,
          "ping",
          "-c",
          "2",
          "-i",
          "0.2",
          "-W",
          "2",
          "-M",
          "do",
          "-s",
          String(mtu - header),
          address,
        ]);
        assert.match(out ?? "", /2 received/, `${from.name} → ${address}`);
      }
    });

    it("lets hosts reach pods and pods reach hosts", async () => {
      const { kube, nodes } = context;
      await kube.apply(...nodes.map((node) => kube.podObject(`host-${node}`, node, { hostNetwork: true })));
      const hosts = await Promise.all(nodes.map((node) => kube.podReady(`host-${node}`)));
      for (const host of hosts) {
        for (const pod of context.pods) for (const ip of pod.ips) await kube.probe(host.name, "tcp", ip, PORT, 10_000);
        for (const pod of context.pods) for (const ip of host.ips) await kube.probe(pod.name, "tcp", ip, PORT, 10_000);
      }
      await kube.deletePods(...hosts.map(({ name }) => name));
    });

    it("serves ClusterIP and NodePort services through kube-proxy, from pods", async function () {
      const { kube, pods, nodes } = context;
      const service = (name: string, type: string, target: TestPod) => ({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name, namespace: TEST_NAMESPACE },
        spec: { type, selector: { app: "probe", serves: target.node }, ports: [{ port: PORT, protocol: "TCP" }] },
      });
      const target = pods.at(-1) as TestPod;
      await kube.kubectl("label", "pod", "-n", TEST_NAMESPACE, target.name, `serves=${target.node}`, "--overwrite");
      await kube.apply(service("inside", "ClusterIP", target), service("outside", "NodePort", target));
      const inside = await kube.get("service", "inside", "-n", TEST_NAMESPACE);
      const outside = await kube.get("service", "outside", "-n", TEST_NAMESPACE);
      const nodePort = outside.spec.ports?.[0]?.nodePort as number;
      const clusterIp = (inside.spec.clusterIPs ?? [(inside.spec as { clusterIP: string }).clusterIP])[0] as string;
      const nodeIps = (await kube.list("nodes")).map(
        (node) => node.status.addresses?.find(({ type }) => type === "InternalIP")?.address as string,
      );
      assert.equal(nodeIps.length, nodes.length);
      for (const pod of pods) {
        const { seenAs } = await eventually(() => kube.probe(pod.name, "tcp", clusterIp, PORT, 10_000), {
          timeoutMs: 30_000,
        });
        if (pod !== target) assert.equal(seenAs, pod.ips[0], `${pod.name} → ClusterIP keeps its address`);
        for (const ip of nodeIps)
          await eventually(() => kube.probe(pod.name, "tcp", ip, nodePort, 10_000), { timeoutMs: 30_000 });
      }
      await kube.kubectl("delete", "service", "-n", TEST_NAMESPACE, "inside", "outside");
    });

    it("shows in skylanectl status that every peer is programmed", async () => {
      const { kube, nodes } = context;
      for (const agent of await kube.agentsReady(nodes.length)) {
        const text = await kube.kubectl(
          "exec",
          "-n",
          SYSTEM_NAMESPACE,
          agent.metadata.name,
          "-c",
          "agent",
          "--",
          "skylanectl",
          "status",
          "-o",
          "json",
        );
        const status = JSON.parse(text) as { networks: { peers: { node: string; state: string }[]; ready: boolean }[] };
        const [network] = status.networks;
        assert.equal(network?.ready, true);
        assert.deepEqual(
          network?.peers.map(({ node, state }) => `${node} ${state}`).sort(),
          nodes.filter((node) => node !== agent.spec.nodeName).map((node) => `${node} programmed`),
        );
      }
    });

    it("gives a clean bill of health by skylanectl doctor on every node", async () => {
      const { kube, nodes } = context;
      for (const agent of await kube.agentsReady(nodes.length)) {
        const exec = ["exec", "-n", SYSTEM_NAMESPACE, agent.metadata.name, "-c", "agent", "--"];
        // its exit status is 1 when a check fails, which kubectl passes on
        const { findings } = JSON.parse(await kube.kubectl(...exec, "skylanectl", "doctor", "-o", "json")) as {
          findings: { check: string; level: string; found: string }[];
        };
        assert.deepEqual(
          findings.filter(({ level }) => level === "fail"),
          [],
        );
        assert.ok(findings.some(({ level }) => level === "ok"));
      }
    });
  });
}

/** The name of the network namespace at the node that has a pod's address. */
async function findNamespace(context: Context, pod: TestPod, names: readonly string[]): Promise<string> {
  for (const name of names) {
    const addresses = (await context.machine.hardware?.at(pod.node, ["ip", "-n", name, "-o", "addr"])) ?? "";
    if (pod.ips.every((ip) => addresses.includes(` ${ip}/`))) return name;
  }
  throw new Error(`no namespace of ${pod.node} has the address of ${pod.name}`);
}
