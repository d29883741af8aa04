import assert from "node:assert/strict";
import { podNetns, type PodOptions } from "../../../lab/pods/pods.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";
import { arp, frame, FrameSender, icmp6, neighbour } from "../support/frames.ts";
import { useLab } from "./support.ts";

/** Addresses that the network allows to all pods, as a VRRP pair has one in each family. */
const VIP = "10.80.255.1";
const VIP6 = "fd80::ff:1";
const NOBODY = "02:00:00:00:00:99";
const ALL_NODES = "ff02::1";
const ALL_NODES_MAC = "33:33:00:00:00:01";
/** Long before a neighbour entry that is in use is asked for anew. */
const LIMIT_MS = 10_000;

interface Announcement {
  ip: string;
  of(ip: string, mac: string): Buffer;
}

const GRATUITOUS: Announcement = { ip: VIP, of: (ip, src) => arp({ src, sender: { ip }, target: { ip } }) };
const UNSOLICITED: Announcement = {
  ip: VIP6,
  of: (ip, mac) => frame(mac, ALL_NODES_MAC, icmp6(ip, ALL_NODES, neighbour(136, ip, mac, 0x20))),
};
/** What hosts send when an address has come to them. */
const ANNOUNCEMENTS: Record<string, Announcement> = {
  "a gratuitous ARP request": GRATUITOUS,
  "a gratuitous ARP reply": {
    ip: VIP,
    of: (ip, src) => arp({ src, operation: "reply", sender: { ip }, target: { ip, mac: src } }),
  },
  "an unsolicited neighbour advertisement": UNSOLICITED,
};

describe("addresses that move between pods of a bridged network", () => {
  const the = useLab({ nodes: 2 });
  const wants: PodOptions = { annotations: { [NETWORKS_ANNOTATION]: "lan" } };
  /** Sends a frame of a pod's, made with its MAC. */
  const send = (pod: string, make: (mac: string) => Buffer): string => {
    using from = new FrameSender(podNetns(the().context, the().pod(pod)), "net1");
    from.send(make(from.mac));
    return from.mac;
  };
  const entry = async (pod: string, ip: string): Promise<string | undefined> =>
    /lladdr (\S+)/.exec(await the().execInPod(pod, "ip", "neigh", "show", ip, "dev", "net1"))?.[1];
  const remember = (pod: string, ip: string, mac: string): Promise<string> =>
    the().execInPod(pod, "ip", "neigh", "replace", ip, "lladdr", mac, "nud", "stale", "dev", "net1");
  /** Announces an address from a pod, and waits until pods on both nodes have heard. */
  async function announced(from: string, announcement: Announcement): Promise<void> {
    const { ip } = announcement;
    for (const pod of ["near", "far"]) await remember(pod, ip, NOBODY);
    const mac = send(from, (src) => announcement.of(ip, src));
    for (const pod of ["near", "far"])
      await eventually(async () => (await entry(pod, ip)) === mac, {
        timeoutMs: LIMIT_MS,
        message: `${pod} has not heard that ${from} has ${ip}`,
      });
  }

  before("a segment over two nodes, with two pods on each", async () => {
    const cidrs = ["10.80.0.0/16", "fd80::/64"];
    const allowedAddresses = ["10.80.255.0/28", "fd80::ff:0/120"];
    await the().addNetwork("lan", { cidrs, mode: "Bridged", allowedAddresses });
    for (const [node, pod] of [
      ["node1", "one"],
      ["node1", "near"],
      ["node2", "two"],
      ["node2", "far"],
    ] as const)
      await the().addPod(node, pod, wants);
  });

  for (const [what, announcement] of Object.entries(ANNOUNCEMENTS))
    it(`are announced to pods on all nodes by ${what}`, async () => {
      for (const pod of ["one", "two", "one"]) await announced(pod, announcement);
    });

  it("are a pod's own as well", async () => {
    const [ip] = the().ipsOf("one", "net1") as [string];
    await announced("one", { ...GRATUITOUS, ip });
  });

  it("are reached where they are, from their own node and from the other one", async () => {
    for (const [from, announcement] of [
      ["one", GRATUITOUS],
      ["two", UNSOLICITED],
    ] as const) {
      const { ip } = announcement;
      const nodad = ip === VIP6 ? ["nodad"] : [];
      await the().execInPod(from, "ip", "addr", "add", `${ip}/${ip === VIP ? 16 : 64}`, "dev", "net1", ...nodad);
      await announced(from, announcement);
      for (const pod of ["near", "far"])
        await eventually(async () => (await the().pingFrom(the().pod(pod), ip, 1_000)).rttMs !== undefined, {
          timeoutMs: LIMIT_MS,
          message: `${pod} does not reach ${ip}`,
        });
    }
  });

  it("are found taken by a pod on another node that probes for them (RFC 4862)", async () => {
    // More than one probe: on a busy machine the answer to one may be late.
    for (const change of ["accept_dad=1", "dad_transmits=5"])
      await the().execInPod("one", "sysctl", "-qw", `net.ipv6.conf.net1.${change}`);
    await the().execInPod("one", "ip", "addr", "add", `${VIP6}/64`, "dev", "net1");
    await eventually(async () => / dadfailed/.test(await the().execInPod("one", "ip", "-6", "addr", "show", "net1")), {
      timeoutMs: LIMIT_MS,
      message: `one takes ${VIP6} for its own, which two has`,
    });
  });

  it("are not another pod's", async () => {
    const [theirs] = the().ipsOf("two", "net1") as [string];
    for (const pod of ["near", "far"]) await remember(pod, theirs, NOBODY);
    send("one", (mac) => GRATUITOUS.of(theirs, mac));
    await announced("one", GRATUITOUS);
    for (const pod of ["near", "far"]) assert.equal(await entry(pod, theirs), NOBODY, pod);
  });
});
