import assert from "node:assert/strict";
import { podNetns, type PodOptions } from "../../../lab/pods/pods.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { HOST_MAC } from "../../../src/dataplane/pod-link/index.ts";
import { arp, echo, frame, FrameSender, icmp6, neighbour, routerSolicitation } from "../support/frames.ts";
import { eventually } from "../../support/eventually.ts";
import { lost, useLab } from "../lab/support.ts";
import { attack } from "./support.ts";

/** Frames of each attack: three times the room that a node's table of neighbours has as a rule. */
const MANY = 3_000;
/** What a node may know of neighbours that are not permanent: its own on the underlay, and what a pod may have it look for. */
const BOUND = 400;

describe("what a hostile pod sends for and from many addresses", () => {
  const the = useLab({ nodes: 2 });
  const wants = (networks: string): PodOptions => ({ annotations: { [NETWORKS_ANNOTATION]: networks } });
  const sender = (pod: string, device: string): FrameSender =>
    new FrameSender(podNetns(the().context, the().pod(pod)), device);
  const n4 = (n: number): string => `${(n >> 8) & 0xff}.${n & 0xff}`;

  /** Entries of a node that take room in the kernel's table, of all its namespaces. */
  const learned = async (): Promise<string[]> => {
    const spaces = (await the().exec("node1", "ip", "netns", "list"))
      .split("\n")
      .flatMap((line) => line.split(" ")[0] || []);
    const shown = [await the().exec("node1", "ip", "neigh", "show", "nud", "all")];
    for (const space of spaces.filter((name) => name.startsWith("sky-")))
      shown.push(await the().exec("node1", "ip", "-n", space, "neigh", "show", "nud", "all"));
    return shown
      .join("\n")
      .split("\n")
      .filter((line) => line !== "" && !/PERMANENT|extern_learn|NOARP/.test(line));
  };

  /** Sends all attacks of a routed pod at once, and pings meanwhile. Returns what came of it. */
  async function flood(pod: string, device: string, underlay: boolean): Promise<string> {
    const [ip4, ip6] = the().ipsOf(pod, device) as [string, string];
    using from = sender(pod, device);
    const { mac } = from;
    const gateway = { ip: "169.254.1.1" };
    const attacks: ((n: number) => Buffer)[] = [
      (n) => arp({ src: mac, sender: { ip: `10.99.${n4(n)}` }, target: gateway }),
      (n) => arp({ src: mac, sender: { ip: ip4 }, target: { ip: `10.99.${n4(n)}` } }),
      (n) => arp({ src: mac, operation: "reply", sender: { ip: `10.98.${n4(n)}` }, target: gateway }),
      (n) => frame(mac, HOST_MAC, icmp6(`fe80::bad:${n.toString(16)}`, "fe80::1", neighbour(135, "fe80::1", mac))),
      (n) => frame(mac, HOST_MAC, icmp6(ip6, "fe80::1", neighbour(135, `fd99::${n.toString(16)}`, mac))),
      (n) => frame(mac, HOST_MAC, icmp6(`fe80::beef:${n.toString(16)}`, "ff02::2", routerSolicitation(mac))),
      (n) =>
        frame(mac, HOST_MAC, icmp6(`fe80::cafe:${n.toString(16)}`, "fe80::1", neighbour(136, "fe80::1", mac, 0x20))),
    ];
    // Addresses next to the node that nobody has: the node would look for each.
    if (underlay) attacks.push((n) => frame(mac, HOST_MAC, echo(ip6, `fd30::bad:${n.toString(16)}`)));
    const flooding = Promise.all(attacks.map((one) => from.flood(MANY, one)));
    const during = await lost(the());
    await flooding;
    const entries = await learned();
    assert.ok(
      entries.length < BOUND,
      `${entries.length} neighbours were learned, such as ${entries.slice(0, 5).join("; ")}`,
    );
    assert.deepEqual(during, []);
    assert.deepEqual(await lost(the()), []);
    return `no packet of the others was lost, and the node learned ${entries.length} neighbours`;
  }

  before("pods in the default network and in one with a namespace of its own", async () => {
    await the().addNetwork("blue", { cidrs: ["10.81.0.0/16", "fd81::/64"] });
    for (const [node, name] of [
      ["node1", "mallory"],
      ["node1", "alice"],
      ["node2", "bob"],
    ] as const)
      await the().addPod(node, name, wants("blue"));
    assert.deepEqual(await lost(the()), []);
  });

  attack("pod", "floods its node with ARP, ND and RS, and with packets to addresses that nobody has", () =>
    flood("mallory", "eth0", true),
  );

  attack("pod", "floods a pod network with ARP, ND and RS", () => flood("mallory", "net1", false));

  it("the host end of each pod has permanent neighbours for the pod's own addresses, and has them back", async () => {
    const ips = the().ipsOf("alice", "eth0");
    const permanent = async (): Promise<boolean> => {
      const shown = await the().exec("node1", "ip", "neigh", "show", "nud", "permanent");
      return ips.every((ip) => shown.split("\n").some((line) => line.startsWith(`${ip} dev sky`)));
    };
    await eventually(permanent, { timeoutMs: 30_000, message: "alice's neighbours are not permanent" });
    const [ip] = ips as [string];
    const { 2: device } = (await the().exec("node1", "ip", "neigh", "show", "nud", "permanent", ip)).split(" ");
    await the().exec("node1", "ip", "neigh", "del", ip, "dev", device as string);
    await eventually(permanent, { timeoutMs: 20_000, message: "a deleted neighbour is not back" });
  });
});
