/**
 * The same packets with the fast path off and on: what arrives, to the last bit, is the same. And which of them went which way, so that "the same" is not
 * because all went the ordinary one.
 */
import assert from "node:assert/strict";
import type { FastPath } from "../../../src/dataplane/fast-path/index.ts";
import type { Outcome } from "../../../src/dataplane/fast-path/programs/outcomes.ts";
import { eventually } from "../../support/eventually.ts";
import type { TestNode } from "../overlay/cluster.ts";
import { frame, FrameSender } from "../support/frames.ts";
import {
  back,
  datagram,
  fastCluster,
  type FastCluster,
  handshake,
  type How,
  type HandPod,
  packets,
  send,
  type Talk,
  tcp,
  tunnelled,
} from "./support.ts";

interface Case {
  what: string;
  /** Sends it. */
  send: () => void;
  /** How many frames it is that come to pods. */
  come: number;
  /** What becomes of it at the first program that it meets; nothing that is counted by default. */
  outcome?: Outcome;
  /** At which node and from where that is; the first one's pods by default. */
  at?: [node: number, from: "pod" | "wire"];
}

/** The packet's header with bytes of options behind it; checksums are the caller's to keep right. */
function withOptions(packet: Buffer): Buffer {
  const out = Buffer.concat([packet.subarray(0, 20), Buffer.from([1, 1, 1, 0]), packet.subarray(20)]);
  out[0] = 0x46;
  out.writeUInt16BE(out.length, 2);
  return summed(out, 24);
}

function summed(packet: Buffer, header: number): Buffer {
  packet.writeUInt16BE(0, 10);
  let sum = 0;
  for (let at = 0; at < header; at += 2) sum += packet.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, 10);
  return packet;
}

/** ECN (RFC 3168): has met with congestion. */
const CONGESTED = 3;
/** The same packet from ends that can be told of congestion, ECT(0). */
function capable(packet: Buffer): Buffer {
  const v4 = (packet[0] as number) >> 4 === 4;
  packet[1] = v4 ? 2 : 2 << 4;
  return v4 ? summed(packet, 20) : packet;
}

/** A destination-options header (RFC 8200, section 4.6) before what is there. */
function withExtension(packet: Buffer): Buffer {
  const extension = Buffer.from([packet[6] as number, 0, 1, 4, 0, 0, 0, 0]);
  const out = Buffer.concat([packet.subarray(0, 40), extension, packet.subarray(40)]);
  out[6] = 60;
  out.writeUInt16BE(out.length - 40, 4);
  return out;
}

/** An IPv4 packet in two fragments. */
function fragments(packet: Buffer): Buffer[] {
  const [header, body] = [packet.subarray(0, 20), packet.subarray(20)];
  return [0, 32].map((from) => {
    const part = body.subarray(from, from === 0 ? 32 : undefined);
    const out = Buffer.concat([header, part]);
    out.writeUInt16BE(out.length, 2);
    out.writeUInt16BE((from === 0 ? 0x2000 : 0) | (from / 8), 6);
    return summed(out, 20);
  });
}

/** Addresses on the underlay, and the MTU that is left of its 1500 bytes. */
const UNDERLAY = {
  4: { ip: (n: number) => `172.30.0.${n}`, mtu: 1_450 },
  6: { ip: (n: number) => `fd30::${n}`, mtu: 1_430 },
} as const;

const WORDS: Readonly<Record<How, string>> = {
  tunnel: "",
  direct: ", without a tunnel",
  isolated: ", in a network with a namespace of its own",
};

for (const [family, under, how, attachBy] of [
  [4, 4, "tunnel"],
  [6, 4, "tunnel"],
  [4, 6, "tunnel"],
  [6, 6, "tunnel"],
  [4, 4, "direct"],
  [6, 4, "direct"],
  [4, 6, "direct"],
  [4, 4, "isolated"],
  [6, 6, "isolated"],
  [4, 4, "tunnel", "clsact"],
  [6, 4, "tunnel", "clsact"],
  [4, 6, "tunnel", "clsact"],
  [4, 4, "direct", "clsact"],
  [4, 4, "isolated", "clsact"],
] as const)
  describe(`the same IPv${family} packets over IPv${under} with the fast path off and on${WORDS[how]}${attachBy ? `, by ${attachBy}` : ""}`, () => {
    const direct = how === "direct";
    const { ip: underlayIp } = UNDERLAY[under];
    const mtu = direct ? 1_500 : UNDERLAY[under].mtu;
    let cluster: FastCluster;
    let pods: HandPod[];
    let stranger: FrameSender;
    const [one, two, three] = [0, 1, 2].map((n) => () => pods[n] as HandPod) as [
      () => HandPod,
      () => HandPod,
      () => HandPod,
    ];
    const ip = (pod: HandPod): string => pod.ips[family === 4 ? 0 : 1] as string;
    const talk = (from: HandPod, to: HandPod, sport: number): Talk => ({
      source: ip(from),
      destination: ip(to),
      sport,
      dport: 80,
    });
    const header = family === 4 ? 20 : 40;
    const data = (which: Talk, bytes: number, hops = 64): Buffer =>
      tcp(which, ["ACK"], 1_001, 5_001, Buffer.alloc(bytes, "x"), hops);

    before(async () => {
      cluster = await fastCluster(under, how, attachBy);
      pods = [cluster.pod(1, 2), cluster.pod(2, 2), cluster.pod(1, 3)];
      // What the fast path needs, and what by itself makes a difference.
      for (const { ns } of cluster.cluster.nodes)
        ns.exec("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1");
      // As large as nobody makes them, so that larger packets than the underlay takes come to a node.
      for (const { ns, node, hostIfname } of pods) {
        const larger = direct ? "1600" : "1500";
        node.ns.exec("ip", "link", "set", hostIfname, "mtu", larger);
        ns.exec("ip", "link", "set", "eth0", "mtu", larger);
      }
      const machine = cluster.cluster.machine("stranger", 9);
      stranger = new FrameSender(machine.path, "eth0");
    });

    after(() => stranger[Symbol.dispose]());

    const ownMac = (): string =>
      ((cluster.cluster.nodes[0] as TestNode).ns.json("ip", "-j", "link", "show", "eth0")[0] as { address: string })
        .address;
    /** A packet from somebody on the underlay, without a tunnel, for the first node to forward. */
    const fromSegment = (packet: Buffer): void => stranger.send(frame(stranger.mac, ownMac(), packet));
    /** A frame out of the tunnel from somebody, with a packet inside for the first pod. */
    const fromTunnel = (n: number, vni: number, packet: Buffer, tos = 0): void => {
      const [here, there] = cluster.cluster.nodes as [TestNode, TestNode];
      stranger.send(
        tunnelled({
          from: { mac: stranger.mac, ip: underlayIp(n) },
          to: { mac: ownMac(), ip: underlayIp(1) },
          vni,
          tos,
          inner: { source: there.local.mac, destination: here.local.mac, packet },
        }),
      );
    };

    /** What met with congestion, by the program; or as the device hands it over, which does what RFC 6040 says itself. */
    const congested = (afterDevice?: Outcome): Pick<Case, "outcome" | "at"> => {
      const outcome = how === "isolated" ? afterDevice : "congestion";
      return outcome === undefined ? {} : { outcome, at: [0, "wire"] };
    };

    const outOfTunnel = (answer: () => Buffer, near: Talk): Case[] => [
      {
        what: "out of the tunnel, from its peer's address",
        send: () => fromTunnel(2, 4_096, answer()),
        come: 1,
        outcome: "delivered",
        at: [0, "wire"],
      },
      {
        what: "out of the tunnel, of another network",
        send: () => fromTunnel(2, 4_097, answer()),
        come: 0,
      },
      {
        what: "out of the tunnel, having met with congestion on the way",
        send: () => fromTunnel(2, 4_096, capable(answer()), CONGESTED),
        come: 1,
        ...congested("delivered"),
      },
      {
        what: "out of the tunnel, having met with congestion that the pods could not be told of",
        send: () => fromTunnel(2, 4_096, answer(), CONGESTED),
        come: 0,
        ...congested(),
      },
      {
        what: "out of the tunnel, from a stranger",
        send: () => fromTunnel(9, 4_096, answer()),
        // The agent's rules are not here.
        come: 1,
        // Where the device takes the header off, its rules are those of the other namespace.
        outcome: how === "isolated" ? "delivered" : "source",
        at: [0, "wire"],
      },
      {
        what: "out of the tunnel, as a pod of the node itself",
        send: () => fromTunnel(2, 4_096, data(back(near), 5)),
        come: 1,
        outcome: "source",
        at: [0, "wire"],
      },
    ];

    const withoutTunnel = (answer: (hops?: number) => Buffer, near: Talk): Case[] => [
      {
        what: "from its peer's segment",
        send: () => fromSegment(answer()),
        come: 1,
        outcome: "delivered",
        at: [0, "wire"],
      },
      {
        what: "from its peer's segment, at the end of its hops",
        send: () => fromSegment(answer(1)),
        come: 0,
        outcome: "shape",
        at: [0, "wire"],
      },
      {
        what: "from its peer's segment, the beginning of a connection",
        send: () => fromSegment(tcp({ ...talk(two(), one(), 4_070), dport: 81 }, ["SYN"], 1, 0)),
        come: 1,
        outcome: "flags",
        at: [0, "wire"],
      },
      {
        what: "from its peer's segment, to nobody",
        send: () => fromSegment(data({ ...talk(two(), one(), 4_071), destination: ip(one()).replace(/2$/, "77") }, 3)),
        come: 0,
        outcome: "destination",
        at: [0, "wire"],
      },
      // The agent's rules are not here.
      { what: "from the segment, as a pod of the node itself", send: () => fromSegment(data(back(near), 5)), come: 1 },
      {
        what: "out of a tunnel that is not used",
        send: () => fromTunnel(2, 4_096, answer()),
        come: 1,
        outcome: "source",
        at: [0, "wire"],
      },
    ];

    function cases(): Case[] {
      const away = talk(one(), two(), 4_001);
      const near = talk(one(), three(), 4_002);
      const theirs = talk(three(), two(), 4_003);
      const fresh = talk(one(), two(), 4_099);
      const nobody = { ...away, destination: ip(two()).replace(/2$/, "77") };
      const answer = (hops = 64): Buffer => tcp(back(away), ["ACK"], 5_001, 1_001, Buffer.from("answer"), hops);
      const full = mtu - header - 20;
      return [
        { what: "data", send: () => send(one(), data(away, 10)), come: 1, outcome: "sent" },
        { what: "an acknowledgement alone", send: () => send(one(), data(away, 0)), come: 1, outcome: "sent" },
        { what: "the largest", send: () => send(one(), data(away, full)), come: 1, outcome: "sent" },
        {
          what: "one byte more than the way takes",
          send: () => send(one(), data(away, full + 1)),
          come: family === 4 ? 2 : 0,
          outcome: "mtu",
        },
        { what: "an answer", send: () => send(two(), answer()), come: 1, outcome: "sent", at: [1, "pod"] },
        { what: "the last hops", send: () => send(one(), data(away, 10, 3)), come: 1, outcome: "sent" },
        { what: "hops for one node", send: () => send(one(), data(away, 10, 2)), come: 0, outcome: "sent" },
        { what: "no more hops", send: () => send(one(), data(away, 10, 1)), come: 0, outcome: "shape" },
        { what: "to the same node", send: () => send(one(), data(near, 10)), come: 1, outcome: "delivered" },
        {
          what: "to the same node, the largest",
          send: () => send(one(), data(near, 1_480 - header)),
          come: 1,
          outcome: "delivered",
        },
        {
          what: "the beginning of another connection",
          send: () => send(one(), tcp(fresh, ["SYN"], 1, 0)),
          come: 1,
          outcome: "flags",
        },
        {
          what: "data of a connection that nobody answered",
          send: () => send(one(), data(fresh, 3)),
          come: 0,
          outcome: "unsettled",
        },
        {
          what: "a datagram",
          send: () => send(one(), datagram(talk(one(), two(), 4_050))),
          come: 1,
          outcome: "unknown",
        },
        {
          what: "an answer of a DNS server",
          send: () => send(two(), datagram({ ...talk(two(), one(), 53), dport: 4_051 })),
          come: 1,
          outcome: "names",
          at: [1, "pod"],
        },
        { what: "to a pod that is not there", send: () => send(one(), data(nobody, 3)), come: 0, outcome: "unknown" },
        {
          what: "a second beginning",
          send: () => send(one(), tcp(away, ["SYN"], 9_000, 0)),
          come: 1,
          outcome: "flags",
        },
        {
          what: "of another pod's connection",
          send: () => send(one(), data(theirs, 8)),
          // IPv6 has no reverse-path filter but the rules of the agent, which are not here.
          come: family === 4 ? 0 : 1,
          outcome: "source",
        },
        ...(family === 4
          ? [
              {
                what: "options",
                send: () => send(one(), withOptions(data(away, 10))),
                come: 1,
                outcome: "shape" as const,
              },
              {
                what: "fragments",
                send: () => send(one(), ...fragments(data(away, 64))),
                come: 2,
                outcome: "shape" as const,
              },
            ]
          : [
              {
                what: "an extension header",
                send: () => send(one(), withExtension(data(away, 10))),
                come: 1,
                outcome: "protocol" as const,
              },
            ]),
        {
          what: "able to be told of congestion",
          send: () => send(one(), capable(data(away, 10))),
          come: 1,
          outcome: "sent",
        },
        ...(direct ? withoutTunnel(answer, near) : outOfTunnel(answer, near)),
        {
          what: "the end of a connection",
          send: () => send(one(), tcp(away, ["FIN", "ACK"], 1_011, 5_001)),
          come: 1,
          outcome: "flags",
        },
        { what: "data after it", send: () => send(two(), answer()), come: 1, outcome: "unsettled", at: [1, "pod"] },
      ];
    }

    const outcomes = (paths: FastPath[], { at: [node, from] = [0, "pod"], outcome }: Case): number =>
      outcome === undefined ? 0 : packets(paths[node] as FastPath, from, outcome);

    /** Sends them all, each when the one before has come; what came, by case. */
    async function run(paths: FastPath[]): Promise<Map<string, string[]>> {
      await cluster.forget();
      await handshake(one(), two(), talk(one(), two(), 4_001));
      await handshake(one(), three(), talk(one(), three(), 4_002));
      await handshake(three(), two(), talk(three(), two(), 4_003));
      const came = new Map<string, string[]>();
      for (const one of cases()) {
        const before = paths.length > 0 ? outcomes(paths, one) : 0;
        one.send();
        const frames: string[] = [];
        await eventually(
          () => {
            for (const [n, pod] of pods.entries())
              for (const frame of pod.receiver.take()) {
                const protocol = frame[14 + (family === 4 ? 9 : 6)];
                // What routers say of a packet is said to its sender.
                if (protocol !== 1) frames.push(`${n} ${frame.toString("hex")}`);
              }
            const met = paths.length === 0 || one.outcome === undefined || outcomes(paths, one) > before;
            return met && frames.length >= one.come;
          },
          {
            timeoutMs: 5_000,
            intervalMs: 2,
            message: `${one.what} (${JSON.stringify(paths.map((path) => path.status().packets))})`,
          },
        );
        came.set(one.what, frames.sort());
      }
      return came;
    }

    it("all arrive the same, each by its way", async () => {
      const slow = await run([]);
      const paths = await cluster.on();
      for (const path of paths) assert.equal(path.status().on, true, path.status().message);
      const fast = await run(paths);
      for (const { what, come } of cases()) assert.equal(slow.get(what)?.length, come, what);
      for (const [what, frames] of slow) assert.deepEqual(fast.get(what), frames, what);
      const there = paths[1] as FastPath;
      assert.ok(packets(there, "wire", "delivered") >= 4, "the other node has the packets that were sent so");
      if (under === 4 && how === "tunnel")
        assert.ok(
          packets(paths[0] as FastPath, "device", "tunnelled") >= 3,
          "those on the ordinary path had the program's header",
        );
    });
  });
