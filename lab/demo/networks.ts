/** The demo of pod networks: tenants with the same addresses, and a workload that moves with its own. */
import { duration, table } from "../../src/cli/index.ts";
import { NETWORKS_ANNOTATION } from "../../src/crd/index.ts";
import { claimTable } from "../cli/claims.ts";
import { networkTable } from "../cli/networks.ts";
import { moveUnderLoad } from "../pods/gap.ts";
import type { Lab } from "../lab.ts";
import type { PodRecord } from "../cluster/records.ts";
import { check, indented, NotShown, ofFamily, type Step } from "./step.ts";

const TENANTS = ["blue", "green"];
/** Two blocks each, one for either node, so that both tenants' pods come to have the same two addresses a family. */
const CIDRS = ["10.50.0.0/27", "fd50::/123"];
const BLOCK_SIZE = 16;
/** The interface that a pod has in a further network. */
const IFNAME = "net1";
/** An address of the tenants' CIDR that no pod has. */
const FORGED = "10.50.0.14";
/** An answer that is to come, or not to come, in milliseconds. */
const WAIT_MS = 1000;
/** What an agent says of a kernel that has no bridged networks. */
const NO_BRIDGE = /bridged networks need Linux [\d.]+/;

const addPod = (lab: Lab, node: string, name: string, network: string): Promise<PodRecord> =>
  lab.addPod(node, name, { annotations: { [NETWORKS_ANNOTATION]: network } });

const ipsOf = (lab: Lab, pod: string): string[] => lab.ipsOf(pod, IFNAME);

const podTable = (lab: Lab, pods: readonly PodRecord[]): string =>
  table(
    ["POD", "NODE", "DEFAULT NETWORK (eth0)", `ITS OWN NETWORK (${IFNAME})`],
    pods.map(({ name, node, ips }) => [name, node, ips.join(" "), ipsOf(lab, name).join(" ")]),
  );

const reaches = async (lab: Lab, from: string, ip: string): Promise<boolean> =>
  (await lab.pingFrom(lab.pod(from), ip, WAIT_MS)).rttMs !== undefined;

/** Echo requests of both families that a pod has got so far, as its kernel counts them. */
async function echoRequests(lab: Lab, pod: string): Promise<number> {
  const [v4, v6] = [
    await lab.execInPod(pod, "cat", "/proc/self/net/snmp"),
    await lab.execInPod(pod, "cat", "/proc/self/net/snmp6"),
  ];
  const [names = "", values = ""] = v4.split("\n").filter((line) => line.startsWith("Icmp:"));
  const at = names.split(" ").indexOf("InEchos");
  return Number(values.split(" ")[at]) + Number(/^Icmp6InEchos\s+(\d+)/m.exec(v6)?.[1]);
}

/** Sends one echo request, and tells which of some pods got it: their addresses alone would not say. */
async function answeredBy(lab: Lab, from: string, ip: string, candidates: readonly string[]): Promise<string> {
  const before = await Promise.all(candidates.map((pod) => echoRequests(lab, pod)));
  const answered = await reaches(lab, from, ip);
  const after = await Promise.all(candidates.map((pod) => echoRequests(lab, pod)));
  const got = candidates.filter((_, i) => after[i] !== before[i]);
  return answered ? got.join(", ") : got.length > 0 ? `nobody, but it came to ${got.join(", ")}` : "nobody";
}

const tenants: Step = {
  title: "Two tenants with the same addresses",
  why: `Two pod networks, each with a VNI of its own, and the same CIDRs in both. On every node that takes part a network has
a network namespace, in which there is nothing of another network or of the host. A pod asks for its network by annotation.`,
  async run(lab, print) {
    for (const tenant of TENANTS) await lab.addNetwork(tenant, { cidrs: CIDRS, blockSize: BLOCK_SIZE });
    await print(`${networkTable(await lab.networks())}\n`);
    const pods: PodRecord[] = [];
    for (const tenant of TENANTS)
      for (const node of [1, 2]) pods.push(await addPod(lab, `node${node}`, `${tenant}${node}`, tenant));
    await print(podTable(lab, pods));
    const [blue, green] = TENANTS.map((tenant) => [1, 2].flatMap((node) => ipsOf(lab, `${tenant}${node}`)).sort());
    check(blue?.length === 4 && blue.join() === green?.join(), "the tenants' pods have not the same addresses");
  },
};

const own: Step = {
  title: "Each reaches its own",
  why: `The same destinations, from a pod of either tenant. Who answered is told by the counters of echo requests in the
pods' kernels, as the addresses do not say it.`,
  async run(lab, print) {
    const candidates = lab.pods().map(({ name }) => name);
    const rows: string[][] = [];
    for (const tenant of TENANTS) {
      for (const ip of ipsOf(lab, `${tenant}2`)) {
        const who = await answeredBy(lab, `${tenant}1`, ip, candidates);
        rows.push([`${tenant}1`, ip, who]);
        check(who === `${tenant}2`, `the echo request of ${tenant}1 to ${ip} was answered by ${who}`);
      }
    }
    await print(table(["FROM", "TO", "ANSWERED BY"], rows));
  },
};

const isolation: Step = {
  title: "And nothing else",
  why: `A pod of green alone, whose address no pod of blue has. Neither blue's pods nor a node, nor the default network is to be
reached through it, nor it by blue.`,
  async run(lab, print) {
    const alone = await addPod(lab, "node1", "alone", "green");
    const rows: string[][] = [];
    const ask = async (from: string, ip: string, what: string, expected: boolean): Promise<void> => {
      const answered = await reaches(lab, from, ip);
      rows.push([from, ip, what, answered ? "answered" : "no answer"]);
      check(answered === expected, `${from} ${answered ? "reaches" : "does not reach"} ${ip} (${what})`);
    };
    for (const ip of ipsOf(lab, "alone")) {
      await ask("green2", ip, "alone, of its own tenant", true);
      await ask("blue2", ip, "alone, of the other tenant", false);
    }
    // Out of the network's interface, whatever the pod's routes say.
    const out = async (ip: string, what: string): Promise<void> => {
      await lab.execInPod("alone", "ip", "route", "replace", ip, "dev", IFNAME);
      await ask("alone", ip, `${what}, through ${IFNAME}`, false);
      await lab.execInPod("alone", "ip", "route", "del", ip, "dev", IFNAME);
    };
    await out((await lab.status(lab.node("node1"))).networks[0]?.underlayIp as string, "its node");
    await out(ofFamily(lab.pod("blue2").ips, 4) as string, "blue2 in the default network");
    await print(table(["FROM", "TO", "WHICH IS", "CAME OF IT"], rows));
    await lab.deletePod(alone.name);
  },
};

const forged: Step = {
  title: "A forged source gets nowhere",
  why: `A pod gives itself an address of the network that is not its own and sends from it. The node drops it where it comes
in: the way back to that address does not lead to this pod.`,
  async run(lab, print) {
    const target = ofFamily(ipsOf(lab, "blue2"), 4) as string;
    const dropped = async (): Promise<number> => {
      const rules = await lab.exec(
        "node1",
        "ip",
        "netns",
        "exec",
        "sky-blue",
        "nft",
        "list",
        "table",
        "inet",
        "skylane",
      );
      // ICMPv6 of pods has a chain of its own, with the same rule in it.
      const counters = [...rules.matchAll(/fib saddr \. iif oif missing counter packets (\d+)/g)];
      return counters.reduce((sum, [, packets]) => sum + Number(packets), 0);
    };
    check(await reaches(lab, "blue1", target), `blue1 does not reach ${target}`);
    const before = await dropped();
    await lab.execInPod("blue1", "ip", "addr", "add", `${FORGED}/32`, "dev", IFNAME);
    const ping = ["ping", "-n", "-c1", "-W1", "-I", FORGED, target] as const;
    const answered = await lab.execInPod("blue1", ...ping).then(
      () => true,
      () => false,
    );
    await lab.execInPod("blue1", "ip", "addr", "del", `${FORGED}/32`, "dev", IFNAME);
    const count = (await dropped()) - before;
    await print(
      `blue1$ ${ping.join(" ")}\n${indented(`${answered ? "answered" : "no answer"}; packets dropped on node1: ${count}`)}`,
    );
    check(!answered, `blue2 answered to ${FORGED}`);
    check(count > 0, "node1 dropped nothing");
  },
};

const bridged: Step = {
  title: "One subnet on all nodes",
  why: `A bridged network, for workloads that move. Each node publishes the MACs and addresses of its pods, from which the
others make their entries: nothing is learned, and no ARP question crosses the underlay. An IPClaim holds the address of vm.`,
  async run(lab, print) {
    await lab.addNetwork("lan", { cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged" });
    await lab.addClaim("vm", { network: "lan", podName: "vm" });
    const pods = [
      await addPod(lab, "node1", "witness", "lan").catch((error: unknown) => {
        const why = error instanceof Error ? NO_BRIDGE.exec(error.message)?.[0] : undefined;
        throw why === undefined ? error : new NotShown(why);
      }),
      await addPod(lab, "node2", "vm", "lan"),
      await addPod(lab, "node3", "other", "lan"),
    ];
    await print(`${podTable(lab, pods)}\n${claimTable(await lab.claims())}\n`);
    for (const from of ["witness", "other"]) {
      for (const ip of ipsOf(lab, "vm")) check(await reaches(lab, from, ip), `${from} does not reach vm (${ip})`);
    }
    await print(await wayTo(lab, "node1"));
  },
};

/** Where a node sends the frames for vm. */
async function wayTo(lab: Lab, node: string): Promise<string> {
  const { mac = "" } = await lab.claim("vm");
  const fdb = (await lab.exec(node, "bridge", "-n", "sky-lan", "fdb", "show")).split("\n");
  const found = fdb.filter((line) => line.startsWith(mac));
  check(found.length > 0, `${node} has no entry for ${mac}`);
  return `${node}$ bridge -n sky-lan fdb show | grep ${mac}\n${indented(found.join("\n"))}`;
}

const move: Step = {
  title: "A workload moves",
  why: `From node2 to node3, with its addresses, its MAC and its sockets, as a virtual machine that migrates. Meanwhile witness, on
node1, sends it an echo request every 10 ms, and 30 MiB in three seconds over a connection made before.`,
  async run(lab, print) {
    if (!lab.pods().some(({ name }) => name === "vm"))
      throw new NotShown("no bridged network, no workload that moves in it");
    const before = await lab.claim("vm");
    const from = lab.pod("witness");
    const ip = ofFamily(before.ips, 4) as string;
    const { gap, transfer, ms } = await moveUnderLoad(lab, { pod: "vm", to: "node3", from, ip });
    const { sent, received, same } = transfer;
    const MIB = 1 << 20;
    await print(`${claimTable([await lab.claim("vm")])}\n${await wayTo(lab, "node1")}\n`);
    await print(
      table(
        ["", ""],
        [
          ["the move took", duration(ms)],
          ["echo requests", `${gap.answered} of ${gap.sent} answered`],
          ["longest gap", duration(gap.longestMs)],
          ["the connection", `the same one throughout; held up for ${duration(received.pauseMs)}`],
          [
            "bytes",
            `${sent.bytes / MIB} MiB sent, ${received.bytes / MIB} MiB received, SHA-256 ${same ? "same" : "DIFFERENT"}`,
          ],
        ],
      ).replace(/^.*\n/, ""),
    );
    const after = await lab.claim("vm");
    check(same, "what arrived is not what was sent");
    check(after.node === "node3" && after.pod === "vm", "the claim is not on node3");
    check(after.ips.join() === before.ips.join() && after.mac === before.mac, "vm has another address now");
  },
};

/** In the order of the demo; the lab is up before the first. */
export const NETWORKS: readonly Step[] = [tenants, own, isolation, forged, bridged, move];
