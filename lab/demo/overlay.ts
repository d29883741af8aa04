/** The demo of the overlay. Each step shows one thing that a newcomer wants to see of it, and says in a line or two why it matters. */
import { duration, table } from "../../src/cli/index.ts";
import { capture, NoTcpdump } from "../pods/capture.ts";
import { pingMatrix, pingSummary } from "../cli/pods.ts";
import { driftTable } from "../cli/faults.ts";
import type { DriftKind } from "../pods/drift.ts";
import { SWITCH } from "../cluster/fabric.ts";
import type { Lab } from "../lab.ts";
import type { PodRecord } from "../cluster/records.ts";
import { check, indented, ofFamily, type Step } from "./step.ts";

const TRANSFER_BYTES = 32 << 20;
/** An agent that was never told of a node must know it within this time; generous, for a loaded machine. */
const JOIN_MS = 60_000;

const device = (lab: Lab): string => `sky.${lab.context.record.vni}`;

const podOn = (lab: Lab, node: string): PodRecord => {
  const found = lab.pods().find((pod) => pod.node === node);
  if (!found) throw new Error(`no pod on ${node}`);
  return found;
};

const nodes: Step = {
  title: "Three nodes",
  why: `Each node is a machine of its own as far as the kernel is concerned: network, mounts, processes, host name. On
each runs a real agent. It publishes its VTEP (tunnel end point) on its Node object and reads the others' there;
nothing else tells the nodes about each other.`,
  async run(lab, print) {
    const rows = await Promise.all(
      lab.nodes().map(async (node) => {
        const status = await lab.status(node);
        const [network] = status.networks;
        check(status.ready.ready && network !== undefined, `${node.name} is not ready`);
        const { underlayIp, mac, podCidrs, peers } = network;
        return [node.name, underlayIp, mac, podCidrs.join(" "), peers.map((peer) => peer.node).join(" ")];
      }),
    );
    await print(table(["NODE", "UNDERLAY", "VTEP MAC", "POD CIDRS", "PEERS"], rows));
  },
};

const pods: Step = {
  title: "Two pods on each",
  why: `Made as a container runtime makes them: a network namespace, then the CNI plugin with the configuration that the
agent wrote to /etc/cni/net.d. Both families at once.`,
  async run(lab, print) {
    const start = performance.now();
    const made = (
      await Promise.all(lab.nodes().map(async ({ name }) => [await lab.addPod(name), await lab.addPod(name)]))
    ).flat();
    const ms = (performance.now() - start) / made.length;
    await print(
      table(
        ["POD", "NODE", "ADDRESSES"],
        made.map((pod) => [pod.name, pod.node, pod.ips.join(" ")]),
      ),
    );
    await print(`${made.length} pods, ${duration(ms)} each\n`);
  },
};

const entries: Step = {
  title: "What the agent put into node1's kernel",
  why: `For every other node: a route to its pods, a neighbour entry that answers ARP and ND beforehand, and a forwarding
(FDB) entry that says to which node the frame goes. So nothing is ever flooded, and no multicast is needed.`,
  async run(lab, print) {
    const name = device(lab);
    const peers = lab.nodes().length - 1;
    const commands: { argv: [string, ...string[]]; least: number }[] = [
      { argv: ["ip", "-d", "link", "show", name], least: 1 },
      { argv: ["ip", "route", "show", "proto", "83", "dev", name], least: peers },
      { argv: ["ip", "-6", "route", "show", "proto", "83", "dev", name], least: peers },
      { argv: ["ip", "-4", "neigh", "show", "dev", name, "nud", "permanent"], least: peers },
      { argv: ["ip", "-6", "neigh", "show", "dev", name, "nud", "permanent"], least: peers },
      { argv: ["bridge", "fdb", "show", "dev", name], least: peers },
    ];
    for (const { argv, least } of commands) {
      const shown = await lab.exec("node1", ...argv);
      await print(`$ ${argv.join(" ")}\n${indented(shown)}`);
      const count = shown.trim() === "" ? 0 : shown.trim().split("\n").length;
      check(count >= least, `"${argv.join(" ")}" shows ${count} entries, not ${least}`);
    }
  },
};

const ping: Step = {
  title: "Every pod reaches every other one",
  why: "Round-trip times, in both families. Pods of one node reach each other without the overlay.",
  async run(lab, print) {
    const echoes = await lab.ping();
    await print(`${pingMatrix(echoes)}\n${pingSummary(echoes)}`);
    check(echoes.length > 0 && echoes.every(({ rttMs }) => rttMs !== undefined), "not every echo request was answered");
  },
};

const wire: Step = {
  title: "The same, on the wire",
  why: "One echo request from node1's pod to node2's as the switch between the nodes sees it: a packet in a packet.",
  async run(lab, print) {
    const [from, to] = [podOn(lab, "node1"), podOn(lab, "node2")];
    const ip = ofFamily(to.ips, 4) as string;
    const { vni, port } = lab.context.record;
    let wire: Awaited<ReturnType<typeof capture>>;
    try {
      wire = await capture(lab, SWITCH, ["udp", "dst", "port", String(port)], ["-e", "-T", "vxlan", "-c", "1"]);
    } catch (error) {
      if (!(error instanceof NoTcpdump)) throw error;
      await print("tcpdump is not installed; skipped\n");
      return;
    }
    await lab.pingFrom(from, ip);
    await wire.lines(1);
    const [packet = ""] = await wire.stop();
    await print(
      packet
        .split("\n")
        .map((line) => indented(line.trim()))
        .join(""),
    );
    check(packet.includes(`vni ${vni}`), `the packet is not VXLAN with VNI ${vni}`);
  },
};

const transfer: Step = {
  title: "Real bytes over TCP",
  why: "From a pod on node1 to one on node3, counted and hashed on both sides.",
  async run(lab, print) {
    const [from, to] = [podOn(lab, "node1"), podOn(lab, "node3")];
    const rows = [];
    for (const ip of to.ips) {
      const { sent, received, same, rate } = await lab.transfer(from, to, ip, TRANSFER_BYTES);
      rows.push([
        `${from.name} → ${ip}`,
        `${sent.bytes / (1 << 20)} MiB`,
        `${rate.toFixed(0)} MB/s`,
        received.sha256.slice(0, 16),
        same ? "same" : "DIFFERENT",
      ]);
      check(same, `what arrived at ${ip} is not what was sent`);
    }
    await print(table(["TRANSFER", "SENT", "RATE", "SHA-256 RECEIVED", "SENT"], rows));
  },
};

const join: Step = {
  title: "A node joins while the others run",
  why: "It boots, its Node object appears, and every agent programs it the moment it publishes its VTEP. No restart, no list of nodes.",
  async run(lab, print) {
    let registered = 0;
    const node = await lab.addNode({ onRegistered: () => void (registered = performance.now()), dontWait: true });
    const pod = await lab.addPod(node.name);
    const from = podOn(lab, "node1");
    for (const ip of pod.ips) {
      const end = performance.now() + JOIN_MS;
      let echo = await lab.pingFrom(from, ip, 100);
      while (echo.rttMs === undefined && performance.now() < end) echo = await lab.pingFrom(from, ip, 100);
      check(echo.rttMs !== undefined, `${from.name} does not reach ${pod.name} (${ip}) on ${node.name}`);
    }
    await print(
      `${node.name} booted, its agent started, ${pod.name} made and reached from ${from.name} (${pod.ips.join(", ")}):\n` +
        `${duration(performance.now() - registered)} after its Node object appeared\n`,
    );
  },
};

const repair: Step = {
  title: "Entries deleted by hand come back",
  why: `On node2, as by "ip route del", "bridge fdb del", "ip link del": the kernel tells the agent, and the agent puts it
right. Nothing waits for a timer.`,
  async run(lab, print) {
    const kinds: DriftKind[] = ["route", "neighbour", "fdb", "address", "device"];
    const drifts = [];
    for (const kind of kinds) drifts.push(await lab.drift("node2", { kind }));
    await print(driftTable(drifts));
    check(
      drifts.every(({ repairedMs }) => repairedMs !== undefined),
      "an entry did not come back",
    );
    const echoes = await lab.ping();
    await print(`and again: ${pingSummary(echoes)}`);
    check(
      echoes.every(({ rttMs }) => rttMs !== undefined),
      "not every echo request was answered after the repairs",
    );
  },
};

/** In the order of the demo; the lab is up before the first. */
export const OVERLAY: readonly Step[] = [nodes, pods, entries, ping, wire, transfer, join, repair];
