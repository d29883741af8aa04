/** One manifest on nodes without any CNI, and every pair of pods, hosts and services reaches each other. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Context } from "../support/context.ts";
import { needs } from "../support/context.ts";
import { eventually, type Kube, SYSTEM_NAMESPACE, TEST_NAMESPACE, type TestPod } from "../support/kube.ts";

const MANIFESTS = fileURLToPath(new URL("../../../manifests", import.meta.url));
const PORT = 7000;
const run = promisify(execFile);

/** Whether the API server can hold agents to their rights (Kubernetes 1.30 and later). */
export async function knowsPolicies(kube: Kube): Promise<boolean> {
  const groups = await kube.kubectl("api-resources", "-o", "name", "--api-group=admissionregistration.k8s.io");
  return groups.includes("validatingadmissionpolicies.");
}

/** The manifest that an operator applies to this API server, with the image of this run. */
export async function manifestFor({ kube, machine }: Context): Promise<string> {
  const file = (await knowsPolicies(kube)) ? "skylane.yaml" : "skylane-legacy.yaml";
  return readFileSync(`${MANIFESTS}/${file}`, "utf8").replaceAll('"skylane:0.1.0"', JSON.stringify(machine.image));
}

const isIpv6 = (ip: string): boolean => ip.includes(":");

/** A pod's address of the family of another address; undefined when it has none. */
const ownFor = (pod: TestPod, address: string): string | undefined =>
  pod.ips.find((ip) => isIpv6(ip) === isIpv6(address));

/** The addresses of all other pods that a pod has an address of the same family for. */
const othersOf = (pod: TestPod, pods: readonly TestPod[]): string[] =>
  pods
    .filter((other) => other !== pod)
    .flatMap(({ ips }) => ips)
    .filter((address) => ownFor(pod, address) !== undefined);

/** Lets every pod reach every other one over TCP, each seen with its own address: all pods at once. */
export async function allReach(kube: Kube, pods: readonly TestPod[], bytes?: number): Promise<void> {
  const each = pods.map(async (from) => {
    for (const { address, seenAs } of await kube.probeAll(from.name, "tcp", othersOf(from, pods), PORT, bytes))
      assert.equal(seenAs, ownFor(from, address), `${from.name} → ${address}`);
  });
  await Promise.all(each);
}

export function installPart(context: Context): void {
  describe("installed by one manifest", () => {
    it("makes nodes without any CNI Ready", async function () {
      const { kube, machine, nodes } = context;
      const before = await kube.list("nodes");
      assert.equal(before.length, nodes.length);
      await machine.kubectl(["apply", "-f", "-"], await manifestFor(context));
      await kube.nodesReady(nodes.length);
      await kube.agentsReady(nodes.length);
      await kube.prepare();
      context.pods.push(...(await kube.podsOn(nodes, "mesh")));
    });

    it("runs on nodes that are machines of their own, with pods that the API server reaches", async function () {
      const { machine, nodes, pods } = context;
      needs(this, machine.hardware, "access to its machines");
      for (const node of nodes) {
        assert.equal((await machine.hardware?.at(node, ["hostname"]))?.trim(), node);
        assert.match((await machine.hardware?.at(node, ["ip", "-6", "route", "show", "default"])) ?? "", /via fd30::1/);
      }
      // From the namespace in which the API server is, and kubectl runs: the pod says whom it sees.
      const [command = "", ...where] = machine.kubectlCommand.slice(0, machine.kubectlCommand.indexOf("kubectl"));
      const ask = ["bash", "-c", 'exec 3<>"/dev/tcp/$0/$1" && head -n1 <&3'];
      for (const { ips } of pods)
        for (const ip of ips) {
          const { stdout } = await run(command, [...where, ...ask, ip, String(PORT)], { timeout: 20_000 });
          assert.equal(stdout.trim(), isIpv6(ip) ? "fd30::10" : "172.30.0.10");
        }
    });

    it("lets pods on every node reach each other over TCP, with their own addresses", async () => {
      assert.ok(context.pods.length > 1);
      await allReach(context.kube, context.pods, 100_000);
    });

    it("lets pods reach each other over UDP, in packets of 64 bytes and of the full MTU", async () => {
      const { kube, pods } = context;
      const mtu = await mtuOf(context);
      const each = pods.map(async (from) => {
        for (const ipv6 of [false, true]) {
          const addresses = othersOf(from, pods).filter((address) => isIpv6(address) === ipv6);
          for (const bytes of addresses.length > 0 ? [64, mtu - headersOf(ipv6)] : [])
            for (const { address, seenAs, answers } of await kube.probeAll(from.name, "udp", addresses, PORT, bytes))
              assert.deepEqual(
                { seenAs, answers },
                { seenAs: ownFor(from, address), answers: 3 },
                `${from.name} → ${address}, ${bytes} bytes`,
              );
        }
      });
      await Promise.all(each);
    });

    it("carries full-MTU packets that must not be fragmented", async function () {
      const { machine, pods } = context;
      const { hardware } = machine;
      needs(this, hardware, "access to the machines");
      const mtu = await mtuOf(context);
      const each = pods.map(async (from) => {
        const route = (await hardware?.at(from.node, ["ip", "route", "get", from.ips[0] as string])) ?? "";
        assert.match(route, / dev sky/, `${from.node} routes its pod by its own link`);
        // ping runs at the node inside the pod's namespace: the pod's image need not have it
        const inside = ["ip", "netns", "exec", await findNamespace(context, from)];
        for (const address of othersOf(from, pods)) {
          const size = String(mtu - headersOf(isIpv6(address)));
          const ping = ["ping", "-c", "2", "-i", "0.2", "-W", "2", "-M", "do", "-s", size, address];
          const out = (await hardware?.at(from.node, [...inside, ...ping])) ?? "";
          assert.match(out, /2 received/, `${from.name} → ${address}`);
        }
      });
      await Promise.all(each);
    });

    it("lets hosts reach pods and pods reach hosts", async () => {
      const { kube, nodes } = context;
      await kube.apply(...nodes.map((node) => kube.podObject(`host-${node}`, node, { hostNetwork: true })));
      const hosts = await Promise.all(nodes.map((node) => kube.podReady(`host-${node}`)));
      const probe = (from: readonly TestPod[], to: readonly TestPod[]) => {
        const addresses = to.flatMap(({ ips }) => ips);
        return Promise.all(from.map(({ name }) => kube.probeAll(name, "tcp", addresses, PORT, 10_000)));
      };
      await probe(hosts, context.pods);
      await probe(context.pods, hosts);
      await kube.dismissPods(...hosts.map(({ name }) => name));
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
      const each = pods.map(async (pod) => {
        const { seenAs } = await eventually(() => kube.probe(pod.name, "tcp", clusterIp, PORT, 10_000), {
          timeoutMs: 30_000,
        });
        if (pod !== target) assert.equal(seenAs, pod.ips[0], `${pod.name} → ClusterIP keeps its address`);
        await eventually(() => kube.probeAll(pod.name, "tcp", nodeIps, nodePort, 10_000), { timeoutMs: 30_000 });
      });
      await Promise.all(each);
      await kube.kubectl("delete", "service", "-n", TEST_NAMESPACE, "inside", "outside");
    });

    it("shows in skylanectl status that every peer is programmed", async () => {
      const { kube, nodes } = context;
      const each = (await kube.agentsReady(nodes.length)).map(async (agent) => {
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
      });
      await Promise.all(each);
    });

    it("gives a clean bill of health by skylanectl doctor on every node", async () => {
      const { kube, nodes } = context;
      const each = (await kube.agentsReady(nodes.length)).map(async (agent) => {
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
      });
      await Promise.all(each);
    });
  });
}

/** Bytes of the IP and UDP (or ICMP) headers. */
const headersOf = (ipv6: boolean): number => (ipv6 ? 48 : 28);

/** The MTU of pods' interfaces. */
async function mtuOf({ kube, pods }: Context): Promise<number> {
  const [first] = pods as [TestPod];
  return Number(await kube.exec(first.name, "cat", "/sys/class/net/eth0/mtu"));
}

/** The name of the network namespace at the node that has a pod's address. */
export async function findNamespace({ machine }: Context, pod: TestPod): Promise<string> {
  const look = `for name in $(ls /run/netns); do echo "$name" $(ip -n "$name" -o addr); done`;
  const lines = ((await machine.hardware?.at(pod.node, ["sh", "-c", look])) ?? "").split("\n");
  const found = lines.find((addresses) => pod.ips.every((ip) => addresses.includes(` ${ip}/`)));
  if (found === undefined) throw new Error(`no namespace of ${pod.node} has the address of ${pod.name}`);
  return found.split(" ", 1)[0] as string;
}
