/**
 * The programs on packets that nobody would send, without a device (BPF_PROG_TEST_RUN): whatever it is, a packet that no settled connection is known for goes on
 * by the ordinary path as it came; or, out of the tunnel, is handed to the VXLAN device just without the tunnel's header.
 */
import assert from "node:assert/strict";
import { macToBytes } from "../../../src/addr/index.ts";
import { kernelTypes, type KernelTypes, Program } from "../../../src/dataplane/bpf/index.ts";
import { readCounters } from "../../../src/dataplane/fast-path/counters.ts";
import { Entries } from "../../../src/dataplane/fast-path/entries.ts";
import { fromDevice } from "../../../src/dataplane/fast-path/programs/from-device.ts";
import { fromPod } from "../../../src/dataplane/fast-path/programs/from-pod.ts";
import { fromSegment } from "../../../src/dataplane/fast-path/programs/from-segment.ts";
import { fromWire } from "../../../src/dataplane/fast-path/programs/from-wire.ts";
import { toDevice } from "../../../src/dataplane/fast-path/programs/to-device.ts";
import { aliveEntry, deviceEntry, podEntry, prefixEntry } from "../../../src/dataplane/fast-path/programs/maps.ts";
import { CONNTRACK } from "../../../src/dataplane/fast-path/programs/settled.ts";
import type { TunnelSettings } from "../../../src/dataplane/fast-path/programs/settings.ts";
import { withNetns } from "../../../src/sys/index.ts";
import { testNamespace, type TestNamespace } from "../support/netns.ts";
import { seededRandom } from "../../support/random.ts";
import { frame } from "../support/frames.ts";
import { datagram, tcp, tunnelled } from "./support.ts";

const NEXT = -1;
const REDIRECT = 7;
/** Ethernet, IPv4, UDP and VXLAN: what is before the inner frame. */
const OUTER = 50;
const ROUNDS = 4_000;
const lifetimes = { tcp: 432_000_000, udp: 120_000 };
/** The device is loopback, so a packet is to this node where it is to its MAC, and to the peer as well. */
const MACS = {
  loopback: "00:00:00:00:00:00",
  own: "02:00:00:00:00:01",
  peer: "00:00:00:00:00:00",
  pod: "02:00:00:00:00:03",
};

for (const [underlayIp, outlives] of [
  ["172.30.0.1", false],
  ["fd30::1", false],
  ["172.30.0.1", true],
] as const)
  describe(`the fast path's programs over ${underlayIp}, on any packet${outlives ? ", where they outlive the agent" : ""}`, () => {
    const four = underlayIp.includes(".");
    let ns: TestNamespace;
    let types: KernelTypes;
    let entries: Entries;
    let programs: Partial<Record<"pod" | "wire" | "tunnel" | "segment" | "device", Program>>;

    before(async () => {
      ns = testNamespace("fuzz");
      types = await kernelTypes(CONNTRACK, ["nf_conntrack"]);
      entries = new Entries({ pods: 10, peers: 10 }, ns.path);
      const tunnel: TunnelSettings = {
        vni: 4_096,
        port: 4_789,
        mac: MACS.own,
        underlayIp,
        mtu: 1_450,
        device: 1,
        inbound: "underlay",
        uplink: 1,
        encapsulate: four,
        direct: true,
        outlives,
        hops: 64,
        lengths: { 4: [24, 16], 6: [64] },
        ports: [32_768, 60_999],
      };
      const offsets = {
        status: types.offset("nf_conn.status"),
        tcpState: types.offset("nf_conn.proto") + types.offset("ip_ct_tcp.state"),
      };
      programs = {
        pod: Program.load("fuzz_pod", fromPod(tunnel, lifetimes, offsets), entries.maps, types),
        wire: Program.load("fuzz_wire", fromWire(tunnel, lifetimes, offsets), entries.maps, types),
        tunnel: Program.load("fuzz_tunnel", fromDevice(tunnel, lifetimes, offsets), entries.maps, types),
        segment: Program.load("fuzz_segment", fromSegment(tunnel, lifetimes, offsets), entries.maps, types),
        ...(four && { device: Program.load("fuzz_device", toDevice(tunnel), entries.maps, types) }),
      };
      entries.maps.alive.set({ ...aliveEntry(), value: Buffer.alloc(8, 0x7f) });
      // Loopback is the device of both, so that packets come as far as the question whether their connection is known.
      entries.set(
        ["pods4", "pods6", "peers4", "peers6", "devices"],
        [
          deviceEntry(1),
          ...["10.244.1.2", "fd00:10:244:1::2"].map((ip) => podEntry({ ip, ifindex: 1, mac: MACS.pod, mtu: 1_450 })),
          ...["10.244.2.0/24", "fd00:10:244:2::/64"].map((prefix) =>
            prefixEntry({ prefix, underlayIp: four ? "172.30.0.2" : "fd30::2", mac: MACS.peer }),
          ),
          prefixEntry({ prefix: "10.244.3.0/24", underlayIp: "172.30.0.3", mac: MACS.peer, direct: true }),
          prefixEntry({ prefix: "fd00:10:244:3::/64", underlayIp: "fd30::3", mac: MACS.peer, direct: true }),
        ],
      );
    });

    after(() => {
      for (const program of Object.values(programs)) program[Symbol.dispose]();
      entries[Symbol.dispose]();
      types[Symbol.dispose]();
    });

    const talks = [
      { source: "10.244.1.2", destination: "10.244.2.2", sport: 4_000, dport: 80 },
      { source: "10.244.2.2", destination: "10.244.1.2", sport: 80, dport: 4_000 },
      { source: "fd00:10:244:1::2", destination: "fd00:10:244:2::2", sport: 4_000, dport: 80 },
      { source: "fd00:10:244:2::2", destination: "fd00:10:244:1::2", sport: 80, dport: 4_000 },
      { source: "10.244.1.2", destination: "10.244.3.2", sport: 4_000, dport: 80 },
      { source: "10.244.3.2", destination: "10.244.1.2", sport: 80, dport: 4_000 },
      { source: "fd00:10:244:1::2", destination: "fd00:10:244:3::2", sport: 4_000, dport: 80 },
      { source: "fd00:10:244:3::2", destination: "fd00:10:244:1::2", sport: 80, dport: 4_000 },
    ];
    const inside = talks.flatMap((talk) => [tcp(talk, ["ACK"], 1, 1, Buffer.alloc(40)), datagram(talk)]);
    const outside = inside.map((packet) =>
      tunnelled({
        from: { mac: MACS.peer, ip: "172.30.0.2" },
        to: { mac: MACS.loopback, ip: "172.30.0.1" },
        vni: 4_096,
        inner: { source: MACS.peer, destination: MACS.own, packet },
      }),
    );
    const whole = [...inside.map((packet) => frame(MACS.pod, MACS.loopback, packet)), ...outside];

    /** What the VXLAN device is given of a packet out of the tunnel. */
    const withoutTunnel = (packet: Buffer): Buffer =>
      Buffer.concat([macToBytes(MACS.own), macToBytes(MACS.peer), packet.subarray(OUTER + 12)]);

    it("never drop, never change, never send", () => {
      let takenOff = 0;
      const random = seededRandom(20_261_129);
      const number = (below: number): number => Math.floor(random() * below);
      withNetns(ns.path, () => {
        for (let round = 0; round < ROUNDS; round++) {
          const packet = Buffer.from(whole[number(whole.length)] as Buffer);
          // Some bytes are others, mostly in the headers, and the end may be missing; the kernel itself wants an IP header whole.
          for (let changes = number(4); changes > 0; changes--)
            packet[12 + number(Math.min(packet.length - 12, 110))] = number(256);
          const cut = number(4) === 0 ? packet.subarray(0, Math.max(54, number(packet.length))) : packet;
          for (const program of Object.values(programs)) {
            const { result, packet: after } = program.run(cut, 1);
            if (result === REDIRECT && program === programs.wire) {
              takenOff++;
              assert.equal(after.toString("hex"), withoutTunnel(cut).toString("hex"), cut.toString("hex"));
              continue;
            }
            assert.equal(result, NEXT, `${program.name}: ${cut.toString("hex")}`);
            assert.ok(after.equals(cut), `${program.name} changed ${cut.toString("hex")}`);
          }
        }
      });
      // They have come as far as the last question, and been refused by every one before it.
      const met = readCounters(entries.maps.counters).map(({ from, outcome }) => `${from} ${outcome}`);
      assert.equal(takenOff > 0, four);
      if (four) assert.ok(met.includes("device route"), met.join());
      for (const outcome of ["frame", "shape", "protocol", "flags", "source", "destination", "unknown"])
        for (const from of four ? ["pod", "wire"] : ["pod"])
          assert.ok(met.includes(`${from} ${outcome}`), `${from} ${outcome}: ${met.join()}`);
    });
  });
