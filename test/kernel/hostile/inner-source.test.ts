import assert from "node:assert/strict";
import { initOf } from "../../../lab/cluster/context.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";
import { useLab } from "../lab/support.ts";
import { arp, echo, frame, FrameSender } from "../support/frames.ts";
import { attack } from "./support.ts";

const NETWORK_OBJECTS = "/apis/skylane.dev/v1alpha1/podnetworks";
const RULE = "not an address of the peer that sends it";

for (const addressing of ["dual-stack", "ipv6-underlay"] as const)
  describe(`who a node sends as through the tunnel (${addressing})`, () => {
    const the = useLab({ nodes: 3, addressing });
    const wants = { annotations: { [NETWORKS_ANNOTATION]: "blue" } };
    const NETWORKS = [
      { network: "default", device: "sky.4096", ifname: "eth0", pod: "plain", netns: undefined },
      { network: "blue", device: "sky.5000", ifname: "net1", pod: "blue", netns: "sky-blue" },
    ] as const;
    type Network = (typeof NETWORKS)[number];
    const [, blue] = NETWORKS;

    const dropped = async (): Promise<number> => {
      const text = await the().exec("node1", "nft", "list", "table", "inet", "skylane");
      const counters = text.matchAll(/packets (\d+) bytes \d+ drop comment "([^"]*)"/g);
      return Array.from(counters, ([, packets, said]) => (said === RULE ? Number(packets) : 0)).reduce((a, b) => a + b);
    };
    const macOf = async (node: string, { netns, device }: Network): Promise<string> => {
      const inside = netns ? ["-n", netns] : [];
      const [link] = JSON.parse(await the().exec(node, "ip", ...inside, "-j", "link", "show", "dev", device)) as {
        address: string;
      }[];
      return link?.address ?? "";
    };
    /** A node's end of the tunnel, in the hands of whoever has the node. */
    const tunnelOf = (node: string, { netns, device }: Network): FrameSender => {
      const root = `/proc/${initOf(the().node(node))}`;
      return new FrameSender(netns ? `${root}/root/run/netns/${netns}` : `${root}/ns/net`, device);
    };
    /** Sends a frame to node1 until it is counted that exactly one was dropped, or more than a moment it was not. */
    async function isDropped(from: FrameSender, made: Buffer, what: string): Promise<void> {
      await eventually(
        async () => {
          const before = await dropped();
          from.send(made);
          // counters begin anew when somebody joins
          return (await dropped()) === before + 1;
        },
        { timeoutMs: 60_000, message: `${what} is not dropped` },
      );
    }
    /** What is sent as itself arrives. */
    async function reaches(from: string, to: string, { ifname }: Pick<Network, "ifname">): Promise<void> {
      for (const ip of the().ipsOf(to, ifname))
        await eventually(async () => (await the().pingFrom(the().pod(from), ip, 2_000)).rttMs !== undefined, {
          timeoutMs: 20_000,
          message: `${from} does not reach ${ip}`,
        });
    }

    before("a routed network beside the default one, and pods of both on all nodes", async () => {
      await the().addNetwork("blue", { cidrs: ["10.50.0.0/16", "fd50::/64"] });
      for (const n of [1, 2, 3]) {
        await the().addPod(`node${n}`, `plain${n}`);
        await the().addPod(`node${n}`, `blue${n}`, wants);
      }
      for (const network of NETWORKS)
        for (const n of [2, 3]) await reaches(`${network.pod}${n}`, `${network.pod}1`, network);
    });

    for (const network of NETWORKS) {
      const { pod, ifname } = network;
      attack(
        "node",
        `sends to a pod in the tunnel of network ${network.network} as a pod of another node`,
        async () => {
          const mac = await macOf("node1", network);
          using from = tunnelOf("node3", network);
          const [theirs, ours] = [the().ipsOf(`${pod}2`, ifname), the().ipsOf(`${pod}1`, ifname)];
          for (const source of theirs)
            for (const to of ours.filter((ip) => ip.includes(":") === source.includes(":")))
              await isDropped(from, frame(from.mac, mac, echo(source, to)), `${source} to ${to}`);
          await reaches(`${pod}3`, `${pod}1`, network);
          return `${theirs.length} dropped and counted; its own pods are heard`;
        },
      );

      attack(
        "node",
        `sends in the tunnel of network ${network.network} as somebody else, and what is no IP packet`,
        async () => {
          const mac = await macOf("node1", network);
          using from = tunnelOf("node3", network);
          const ours = the().ipsOf(`${pod}1`, ifname);
          const others = ["fe80::1", "2001:db8::1", "fd30::12", "192.0.2.1", "172.30.0.12"];
          for (const source of [...ours, ...others])
            for (const to of ours.filter((ip) => ip.includes(":") === source.includes(":")))
              await isDropped(from, frame(from.mac, mac, echo(source, to)), `${source} to ${to}`);
          const asked = arp({ src: from.mac, dst: mac, sender: { ip: "10.244.3.0" }, target: { ip: "10.244.1.0" } });
          await isDropped(from, asked, "ARP");
          await reaches(`${pod}3`, `${pod}1`, network);
          return "dropped and counted";
        },
      );
    }

    attack("node", "sends in the tunnel as a claim's pod that is on another node, or was on it", async () => {
      await the().addClaim("db", { network: "blue", podName: "db" });
      await the().addPod("node2", "db", wants);
      const { ips } = await the().claim("db");
      const mac = await macOf("node1", blue);
      await reaches("db", "blue1", blue);
      const asTheClaim = async (node: string): Promise<void> => {
        using from = tunnelOf(node, blue);
        for (const source of ips)
          for (const to of the()
            .ipsOf("blue1", "net1")
            .filter((ip) => ip.includes(":") === source.includes(":")))
            await isDropped(from, frame(from.mac, mac, echo(source, to)), `${node}: ${source} to ${to}`);
      };
      await asTheClaim("node3");
      await the().movePod("db", "node3");
      await reaches("db", "blue1", blue);
      await asTheClaim("node2");
      await reaches("db", "blue1", blue);
      await the().deletePod("db");
      await asTheClaim("node3");
      return "dropped and counted; where the claim is, it is heard";
    });

    it("pods of a bridged network are heard, whose addresses may move with a frame: there each node holds its own", async () => {
      await the().addNetwork("lan", { cidrs: ["10.80.0.0/16", "fd80::/64"], mode: "Bridged" });
      const { vni } = (await the().api.call<{ spec: { vni: number } }>("GET", `${NETWORK_OBJECTS}/lan`)).spec;
      for (const n of [1, 2])
        await the().addPod(`node${n}`, `lan${n}`, { annotations: { [NETWORKS_ANNOTATION]: "lan" } });
      await reaches("lan2", "lan1", blue);
      const chain = await the().exec("node1", "nft", "list", "chain", "inet", "skylane", `vxlan_${vni}`);
      assert.match(chain, new RegExp(`@peers${addressing === "dual-stack" ? 4 : 6}_${vni} accept`));
    });

    it("a node's own programs are heard by pods elsewhere, with the overlay's address and with the node's own", async () => {
      const ips = the().ipsOf("plain1", "eth0");
      for (const ip of ips) {
        await the().exec("node3", "ping", "-n", "-c1", "-W5", ip);
        const own = { "dual-stack": "172.30.0.13", "ipv6-underlay": "fd30::13" }[addressing];
        if (ip.includes(":") === own.includes(":"))
          await eventuallyHolds(
            async () => void (await the().exec("node3", "ping", "-n", "-c1", "-W2", "-I", own, ip)),
          );
      }
    });
  });
