import assert from "node:assert/strict";
import { linkLocalOf } from "../../../src/addr/index.ts";
import { podNetns, type PodOptions } from "../../../lab/pods/pods.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";
import { arp, BROADCAST, echo, frame, FrameSender, icmp6, neighbour, tagged } from "../support/frames.ts";
import { useLab } from "../lab/support.ts";
import { attack } from "./support.ts";

const ALL_NODES = "ff02::1";
const ALL_NODES_MAC = "33:33:00:00:00:01";

describe("what a hostile pod sends into a bridged network in others' names", () => {
  const the = useLab({ nodes: 2 });
  const wants: PodOptions = { annotations: { [NETWORKS_ANNOTATION]: "lan" } };
  const ipsOf = (pod: string): [string, string] => {
    const ips = the().ipsOf(pod, "net1");
    return [ips.find((ip) => !ip.includes(":")) as string, ips.find((ip) => ip.includes(":")) as string];
  };
  const macOf = async (pod: string): Promise<string> =>
    /([0-9a-f]{2}:){5}[0-9a-f]{2}/.exec(await the().execInPod(pod, "ip", "-br", "link", "show", "net1"))?.[0] as string;
  const sender = (): FrameSender => new FrameSender(podNetns(the().context, the().pod("mallory")), "net1");

  /** How many frames the network's rules have dropped on a node. */
  const dropped = async (): Promise<number> => {
    const text = await the().exec(
      "node1",
      "ip",
      "netns",
      "exec",
      "sky-lan",
      "nft",
      "list",
      "table",
      "bridge",
      "skylane",
    );
    return [...text.matchAll(/counter packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  };
  /** Sends frames one by one, of which each must be dropped. */
  async function eachDropped(frames: readonly Buffer[]): Promise<void> {
    using from = sender();
    for (const [i, one] of frames.entries()) {
      const before = await dropped();
      from.send(one);
      assert.ok((await dropped()) > before, `frame ${i} was let in`);
    }
  }
  const reach = async (): Promise<void> => {
    for (const [from, to] of [
      ["alice", "bob"],
      ["bob", "alice"],
      ["mallory", "alice"],
      ["mallory", "bob"],
    ] as const)
      for (const ip of ipsOf(to))
        assert.ok((await the().pingFrom(the().pod(from), ip, 3_000)).rttMs !== undefined, `${from} to ${ip}`);
  };

  before("a segment over two nodes", async () => {
    const spec = {
      cidrs: ["10.80.0.0/16", "fd80::/64"],
      mode: "Bridged",
      allowedAddresses: ["10.80.255.0/28"],
    } as const;
    await the().addNetwork("lan", spec);
    for (const [node, pod] of [
      ["node1", "mallory"],
      ["node1", "alice"],
      ["node2", "bob"],
    ] as const)
      await the().addPod(node, pod, wants);
    await reach();
  });

  attack("pod", "answers ARP and ND in another's name", async () => {
    const [mallory, alice] = [await macOf("mallory"), await macOf("alice")];
    const [[own4, own6], [a4, a6], [b4, b6]] = [ipsOf("mallory"), ipsOf("alice"), ipsOf("bob")];
    await eachDropped([
      arp({ src: mallory, dst: alice, operation: "reply", sender: { ip: b4 }, target: { mac: alice, ip: a4 } }),
      arp({ src: mallory, sender: { ip: b4 }, target: { ip: b4 } }),
      arp({ src: mallory, sender: { ip: b4 }, target: { ip: a4 } }),
      arp({ src: mallory, sender: { ip: own4, mac: "02:00:00:00:66:66" }, target: { ip: a4 } }),
      frame(mallory, alice, icmp6(own6, a6, neighbour(136, b6, mallory, 0x60))),
      frame(mallory, ALL_NODES_MAC, icmp6(own6, ALL_NODES, neighbour(136, b6, mallory, 0x20))),
      frame(mallory, alice, icmp6(b6, a6, neighbour(135, a6, mallory))),
      frame(
        mallory,
        ALL_NODES_MAC,
        icmp6(linkLocalOf(mallory), ALL_NODES, Buffer.from([134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0])),
      ),
      tagged(arp({ src: mallory, sender: { ip: b4 }, target: { ip: a4 } }), 0),
      tagged(arp({ src: mallory, sender: { ip: b4 }, target: { ip: a4 } }), 7),
    ]);
    await reach();
    return "dropped at its port; nobody believed a word of it";
  });

  attack("pod", "sends from another's addresses", async () => {
    const [mallory, alice] = [await macOf("mallory"), await macOf("alice")];
    const [[a4, a6], [b4, b6]] = [ipsOf("alice"), ipsOf("bob")];
    await eachDropped([
      frame(mallory, alice, echo(b4, a4)),
      frame(mallory, BROADCAST, echo("192.0.2.1", "10.80.255.255")),
      frame(mallory, alice, echo(b6, a6)),
      frame(mallory, alice, echo(linkLocalOf(alice), a6)),
    ]);
    return "dropped at its port";
  });

  it("what the network allows besides may be sent by its pods", async () => {
    const before = await dropped();
    await the().execInPod("mallory", "ip", "addr", "add", "10.80.255.1/16", "dev", "net1");
    const [ip] = ipsOf("alice");
    assert.match(
      await the().execInPod("mallory", "ping", "-n", "-c1", "-W3", "-I", "10.80.255.1", ip),
      / 0% packet loss/,
    );
    assert.equal(await dropped(), before);
  });

  describe("by what its claim and its network allow, from the moment on that they do", () => {
    const CLAIM = "/apis/skylane.dev/v1alpha1/namespaces/default/ipclaims/vip";
    const NETWORK = "/apis/skylane.dev/v1alpha1/podnetworks/lan";
    const allow = (path: string, allowedAddresses: string[]): Promise<unknown> =>
      the().api.call("PATCH", path, { spec: { allowedAddresses } }, "application/merge-patch+json");
    /** Whether a frame of a pod on node1 is let in. */
    async function passes(pod: string, ip: string): Promise<boolean> {
      const [mac, alice] = [await macOf(pod), await macOf("alice")];
      const [a4, a6] = ipsOf("alice");
      using from = new FrameSender(podNetns(the().context, the().pod(pod)), "net1");
      const v6 = ip.includes(":");
      const all = v6
        ? [echo(ip, a6), icmp6(ip, ALL_NODES, neighbour(136, ip, mac, 0x20))].map((packet) => frame(mac, alice, packet))
        : [frame(mac, alice, echo(ip, a4)), arp({ src: mac, sender: { ip }, target: { ip } })];
      const before = await dropped();
      for (const one of all) from.send(one);
      const count = (await dropped()) - before;
      assert.ok(count === 0 || count === all.length, `${count} of ${all.length} dropped`);
      return count === 0;
    }
    const becomes = (wanted: boolean, pod: string, ip: string): Promise<unknown> =>
      eventually(async () => (await passes(pod, ip)) === wanted, {
        timeoutMs: 30_000,
        message: `${pod} ${wanted ? "may not" : "may"} send from ${ip}`,
      });
    before(async () => {
      const spec = { network: "lan", podName: "vrrp" };
      await the().api.call("POST", CLAIM.replace(/\/vip$/, ""), { metadata: { name: "vip" }, spec });
      await the().addPod("node1", "vrrp", wants);
    });

    it("in both families, and no longer than that", async () => {
      for (const ip of ["10.80.1.77", "fd80::1:77"]) assert.equal(await passes("vrrp", ip), false, ip);
      await allow(CLAIM, ["10.80.1.77/32", "fd80::1:77/128"]);
      for (const ip of ["10.80.1.77", "fd80::1:77"]) {
        await becomes(true, "vrrp", ip);
        assert.equal(await passes("mallory", ip), false, `mallory sends from ${ip}`);
      }
      await allow(CLAIM, ["10.80.1.78/32"]);
      await becomes(true, "vrrp", "10.80.1.78");
      for (const ip of ["10.80.1.77", "fd80::1:77"]) assert.equal(await passes("vrrp", ip), false, ip);
    });

    it("of the network, for all its pods", async () => {
      await allow(NETWORK, ["10.80.255.0/28", "10.80.254.0/28"]);
      await becomes(true, "mallory", "10.80.254.1");
      assert.equal(await passes("vrrp", "10.80.254.1"), true);
      await allow(NETWORK, ["10.80.255.0/28"]);
      await becomes(false, "mallory", "10.80.254.1");
    });

    attack("pod", "has a claim that allows it other pods' addresses", async () => {
      const [[a4, a6], [b4, b6]] = [ipsOf("alice"), ipsOf("bob")];
      const wide = ["10.80.0.0/16", "fd80::/64"];
      await allow(CLAIM, [`${a4}/32`, `${a6}/128`, `${b4}/32`, `${b6}/128`, ...wide, "10.80.1.79/32"]);
      await becomes(true, "vrrp", "10.80.1.79");
      for (const ip of [a4, a6, b4, b6]) assert.equal(await passes("vrrp", ip), false, ip);
      await reach();
      return "dropped: a claim gives nothing that a pod has";
    });
  });

  attack("pod", "floods a bridged network with ARP", async () => {
    const mallory = await macOf("mallory");
    using from = sender();
    const [own] = ipsOf("mallory");
    const flooding = Promise.all([
      from.flood(3_000, (n) =>
        arp({ src: mallory, sender: { ip: own }, target: { ip: `10.80.${n >> 8}.${n & 0xff}` } }),
      ),
      from.flood(3_000, (n) =>
        arp({ src: mallory, sender: { ip: `10.80.${n >> 8}.${n & 0xff}` }, target: { ip: own } }),
      ),
    ]);
    await reach();
    await flooding;
    await reach();
    return "bounded at its port; the others reach each other";
  });
});
