/** Marked packets: by what they are known, what is made of what the kernel tells of them, and how far they came. */
import assert from "node:assert/strict";
import { judgeLive } from "../../../src/cli/trace/live/judge.ts";
import { dataOf, type MarkedPacket, newMark, parseMark, rulesFor } from "../../../src/cli/trace/live/mark.ts";
import { Observed } from "../../../src/cli/trace/live/observe.ts";
import { renderLive } from "../../../src/cli/trace/live/render.ts";
import { type Dropped, type Live, type LiveHalf, nothingOf } from "../../../src/cli/trace/live/types.ts";
import { ipToBytes } from "../../../src/addr/index.ts";
import type { Match, TraceEvent } from "../../../src/dataplane/nftrace/index.ts";
import { transportChecksum } from "../../../src/sys/index.ts";
import { liveHalf } from "./live-halves.ts";

const MARK = "0102030405060708ffffffff0001";
const packetOf = (family: 4 | 6, protocol: string, mark = MARK): MarkedPacket => ({
  from: family === 4 ? "10.244.1.5" : "fd00:1::5",
  to: family === 4 ? "10.244.2.5" : "fd00:2::5",
  traffic: { protocol, port: protocol === "icmp" ? undefined : 80 },
  mark: parseMark(mark),
});
const PROTOCOLS = { icmp: { 4: 1, 6: 58 }, tcp: { 4: 6, 6: 6 }, udp: { 4: 17, 6: 17 } } as const;

/** An IP packet as it is on the wire. */
function packetBytes(from: string, to: string, protocol: number, data: Buffer): Buffer {
  const v4 = !to.includes(":");
  const header = Buffer.alloc(v4 ? 20 : 40);
  header[0] = v4 ? 0x45 : 0x60;
  header[v4 ? 9 : 6] = protocol;
  header.set(ipToBytes(from), v4 ? 12 : 8);
  header.set(ipToBytes(to), v4 ? 16 : 24);
  return Buffer.concat([header, data]);
}

/** Inside VXLAN, from the outer UDP header on. */
const vxlan = (family: 4 | 6, inner: Buffer): Buffer =>
  Buffer.concat([Buffer.alloc(8 + 8 + 12), Buffer.from(family === 4 ? "0800" : "86dd", "hex"), inner]);

/** The names of the rules that a packet is marked by, as the kernel would see it. @param transport from its transport header on */
const markedBy = (packet: MarkedPacket, family: 4 | 6, protocol: number, ip: Buffer, transport: Buffer): string[] => {
  const holds = (match: Match): boolean => {
    if ("meta" in match) return match.value === (match.meta === "l4proto" ? protocol : family === 4 ? 2 : 10);
    const bytes = (match.header === "network" ? ip : transport).subarray(match.offset);
    return bytes.subarray(0, match.bytes.length).equals(match.bytes);
  };
  const names = rulesFor(packet)
    .filter(({ hook, matches }) => hook === "prerouting" && matches.every(holds))
    .map(({ name }) => name);
  return names;
};

const bare = (packet: MarkedPacket, from: string, to: string, protocol: number, data: Buffer): string[] =>
  markedBy(packet, to.includes(":") ? 6 : 4, protocol, packetBytes(from, to, protocol, data), data);

for (const family of [4, 6] as const)
  for (const protocol of ["icmp", "tcp", "udp"] as const)
    describe(`a marked packet of ${protocol}, IPv${family}`, () => {
      const packet = packetOf(family, protocol);
      const { from, to } = packet;
      const number = PROTOCOLS[protocol][family];
      const data = dataOf(packet);
      const answer = Buffer.from(data);
      if (protocol === "icmp") answer[0] = family === 4 ? 0 : 129;
      else {
        answer.writeUInt16BE(80, 0);
        answer.writeUInt16BE(packet.mark.port, 2);
        // 0xffffffff and one more is zero.
        if (protocol === "tcp") answer.writeUInt32BE(0, 8);
      }
      const unreachable = Buffer.concat([
        Buffer.from(family === 4 ? "0303" : "0104", "hex"),
        Buffer.alloc(6),
        packetBytes(from, to, number, data),
      ]);
      const icmp = PROTOCOLS.icmp[family];

      it("has a checksum that its receiver finds right", () => {
        const pseudo =
          family === 4 && protocol === "icmp"
            ? { from: "0.0.0.0", to: "0.0.0.0", protocol: -data.length >>> 0 }
            : { from, to, protocol: number };
        if (protocol === "icmp" && family === 4) {
          let sum = 0;
          for (let at = 0; at < data.length; at += 2) sum += data.readUInt16BE(at);
          assert.equal((sum & 0xffff) + (sum >>> 16), 0xffff);
        } else assert.equal(transportChecksum({ ...pseudo, data }), 0);
      });

      it("is known bare and in the tunnel, as are its answer and errors about it", () => {
        const other = family === 4 ? "192.0.2.1" : "2001:db8::1";
        assert.deepEqual(bare(packet, from, to, number, data), ["request"]);
        assert.deepEqual(bare(packet, other, to, number, data), ["request"], "with another source");
        assert.deepEqual(bare(packet, to, from, number, answer), ["answer"]);
        assert.deepEqual(bare(packet, other, from, icmp, unreachable), ["error"]);
        for (const [name, inner] of [
          ["request_tunnel", packetBytes(from, to, number, data)],
          ["answer_tunnel", packetBytes(to, from, number, answer)],
          ["error_tunnel", packetBytes(other, from, icmp, unreachable)],
        ] as const)
          for (const underlay of [4, 6] as const)
            assert.deepEqual(markedBy(packet, underlay, 17, Buffer.alloc(40), vxlan(family, inner)), [name]);
      });

      it("is not taken for any other", () => {
        const strange = packetOf(family, protocol, newMark());
        assert.deepEqual(bare(strange, from, to, number, data), []);
        assert.deepEqual(bare(strange, to, from, number, answer), []);
        assert.deepEqual(bare(strange, to, from, icmp, unreachable), []);
        const elsewhere = family === 4 ? "10.244.2.6" : "fd00:2::6";
        assert.deepEqual(bare(packet, from, elsewhere, number, data), []);
        assert.deepEqual(bare(packet, elsewhere, from, number, answer), []);
        if (protocol !== "tcp") return;
        const later = Buffer.from(data);
        later[13] = 0x10;
        assert.deepEqual(bare(packet, from, to, number, later), [], "what follows the first segment");
      });
    });

describe("the mark of a live trace", () => {
  it("is another one each time, with a port that nobody chooses by hand", () => {
    const marks = Array.from({ length: 50 }, newMark);
    assert.equal(new Set(marks).size, 50);
    for (const mark of marks) {
      const { port } = parseMark(mark);
      assert.ok(port >= 32_768 && port <= 60_999);
    }
    for (const bad of ["", "xyz", MARK.slice(2), `${MARK}00`, MARK.replace("f", "F")])
      assert.throws(() => parseMark(bad), /--mark must be 28 hexadecimal digits/);
  });
});

describe("what the kernel tells of marked packets", () => {
  const ip = packetBytes("10.244.1.5", "10.244.2.5", 1, Buffer.alloc(0));
  const observed = (): Observed =>
    new Observed("own", 4, { from: "10.244.1.5", to: "10.244.2.5" }, (index) => `dev${index}`);
  const own = (id: number, chain: string, more: Partial<TraceEvent> = {}): TraceEvent => ({
    id,
    family: "inet",
    table: "own",
    chain,
    verdict: "on",
    network: ip,
    ...more,
  });
  const marked = (id: number, chain = "request", more: Partial<TraceEvent> = {}): TraceEvent =>
    own(id, chain, { rule: 3, in: 7, ...more });
  const filter = (id: number, verdict: TraceEvent["verdict"], rule?: number): TraceEvent => ({
    id,
    family: "ip",
    table: "filter",
    chain: "FORWARD",
    verdict,
    ...(rule !== undefined && { rule }),
  });

  it("is counted by place, with the devices", () => {
    const all = observed();
    for (const id of [1, 2]) {
      all.take(marked(id));
      all.take(own(id, "mark_prerouting"));
      all.take(own(id, "forward", { in: 7, out: 8 }));
      const { network: _, ...policy } = own(id, "forward", { verdict: "accept" });
      all.take(policy);
    }
    all.take(own(3, "request_tunnel", { rule: 3, out: 9 }));
    assert.deepEqual(all.seen, [
      { kind: "request", outer: false, hook: "prerouting", packets: 2, in: "dev7" },
      { kind: "request", outer: false, hook: "forward", packets: 2, in: "dev7", out: "dev8" },
      { kind: "request", outer: true, hook: "output", packets: 1, out: "dev9" },
    ]);
  });

  it("is of marked packets alone: what somebody else traces is nobody's business", () => {
    const all = observed();
    all.take(filter(5, "drop", 2));
    all.take(own(5, "forward"));
    all.take({ ...marked(5), table: "another" });
    assert.deepEqual([all.seen, all.dropped, all.passed], [[], [], []]);
  });

  it("names what lets packets pass and what drops them, and where that was", () => {
    const all = observed();
    all.take(marked(1));
    all.take(filter(1, "accept", 1));
    all.take({ ...filter(1, "accept"), chain: "INPUT" });
    all.take({ ...filter(1, "queue", 4), chain: "OUTPUT" });
    all.take(filter(1, "on", 1));
    all.take(filter(1, "drop", 2));
    assert.deepEqual(all.passed, ["ip filter FORWARD", "ip filter INPUT", "ip filter OUTPUT (queue)"]);
    const [drop] = all.dropped;
    assert.deepEqual(
      [drop?.kind, drop?.hook, drop?.table, drop?.chain, drop?.handle, drop?.packets],
      ["request", "prerouting", "ip filter", "FORWARD", 2, 1],
    );
  });

  it("shows another source, and who sends an error and which", () => {
    const all = observed();
    const other = packetBytes("192.0.2.9", "10.244.2.5", 1, Buffer.alloc(0));
    all.take(marked(1, "request", { network: other }));
    all.take(marked(2, "error", { network: other, transport: Buffer.from([3, 13]) }));
    all.take(marked(3, "error", { network: other, transport: Buffer.from([3, 77]) }));
    assert.deepEqual(
      all.seen.map(({ source, says }) => [source, says]),
      [
        ["192.0.2.9", undefined],
        ["192.0.2.9", "administratively prohibited"],
        ["192.0.2.9", "ICMP type 3 code 77"],
      ],
    );
  });

  it("is bounded, whatever the two pods repeat", () => {
    const all = observed();
    for (let id = 0; id < 5_000; id++) {
      all.take(marked(id, "request", { in: id }));
      all.take({ ...filter(id, "accept"), chain: `c${id}` });
      all.take(filter(id, "drop", id));
    }
    assert.deepEqual([all.seen.length, all.dropped.length, all.passed.length], [64, 64, 64]);
  });
});

describe("how far a marked packet came", () => {
  const ENDS = {
    way: "tunnel",
    from: { ip: "10.244.1.5", pod: "default/a", node: "node1" },
    to: { ip: "10.244.2.5", pod: "default/c", node: "node2" },
  } as const;
  const ICMP = { protocol: "icmp" };
  const judged = (
    source: LiveHalf,
    destination?: LiveHalf,
    traffic: { protocol: string; port?: number } = ICMP,
  ): Live => judgeLive(ENDS, traffic, source, destination);
  const drop = (more: Partial<Dropped>): Dropped => ({
    kind: "request",
    outer: false,
    hook: "prerouting",
    table: "inet mine",
    chain: "c",
    packets: 1,
    ...more,
  });

  it("is all the way and back where it was answered", () => {
    const live = judged(liveHalf("source"), liveHalf("destination"));
    assert.deepEqual([live.ok, live.arrived, live.answered, live.next], [true, true, true, undefined]);
    assert.deepEqual(
      live.hops.map(({ node, hop }) => `${node} ${hop}`),
      [
        ...["host-end", "forward", "device", "tunnel", "underlay"].map((hop) => `node1 source.${hop}`),
        ...["underlay", "tunnel", "device", "forward", "host-end"].map((hop) => `node2 destination.${hop}`),
        ...["host-end", "forward", "device", "tunnel", "underlay"].map((hop) => `node2 answer.destination.${hop}`),
        ...["underlay", "tunnel", "device", "forward", "host-end"].map((hop) => `node1 answer.source.${hop}`),
      ],
    );
    assert.ok(live.hops.every(({ packets }) => packets === 1));
  });

  it("names the place of the last sight, the next one, and what is between", () => {
    for (const [there, back, last, next, why] of [
      [
        0,
        0,
        undefined,
        "source.host-end",
        /seen nowhere[^]*node1, where it comes out of pod default\/a: the pod's kernel/,
      ],
      [1, 0, "source.host-end", "source.forward", /does not forward it/],
      [3, 0, "source.device", "source.tunnel", /tunnel's device does not send it/],
      [5, 0, "source.underlay", "destination.underlay", /network between node1 and node2 loses VXLAN/],
      [5, 1, "destination.underlay", "destination.tunnel", /does not take it for its own/],
      [5, 2, "destination.tunnel", "destination.device", /device of that node does not take it/],
      [5, 5, "destination.host-end", "answer.destination.host-end", /the pod does not answer/],
      [
        5,
        10,
        "answer.destination.underlay",
        "answer.source.underlay",
        /Its answer was seen last on node2[^]*between node2 and node1 loses VXLAN/,
      ],
      [8, 10, "answer.source.device", "answer.source.forward", /does not forward it/],
    ] as const) {
      const live = judged(liveHalf("source", there), liveHalf("destination", back));
      assert.deepEqual([live.last?.hop, live.next?.hop, live.ok], [last, next, false]);
      assert.match(live.is, why);
      assert.ok(live.cure);
      assert.equal(live.arrived, back >= 5);
    }
  });

  it("names the chain and the rule that drop it, on either node, and whose it is", () => {
    const there = judged(
      liveHalf("source", 5),
      liveHalf("destination", 3, { dropped: [drop({ table: "inet skylane", chain: "policy", rule: "counter drop" })] }),
    );
    assert.match(there.is, /filter of node2 drops it in chain policy of table inet skylane, by: counter drop\./);
    assert.match(there.cure ?? "", /Skylane's/);
    const here = judged(liveHalf("source", 1, { dropped: [drop({ chain: "FORWARD", rule: "policy drop" })] }));
    assert.match(here.is, /filter of node1 drops it in chain FORWARD of table inet mine, by: policy drop\./);
    assert.match(here.cure ?? "", /none of Skylane's/);
    const back = judged(
      liveHalf("source", 6, { dropped: [drop({ kind: "answer", outer: true })] }),
      liveHalf("destination"),
    );
    assert.match(back.is, /filter of node1 drops its answer in chain c/);
  });

  it("does not blame a drop for a packet that came further", () => {
    const live = judged(liveHalf("source", 5, { dropped: [drop({})] }), liveHalf("destination", 0));
    assert.match(live.is, /loses VXLAN/);
  });

  it("takes an error from the receiver for an answer, and one from another for a refusal", () => {
    const error = (source: string): LiveHalf["seen"] => [
      ...liveHalf("source", 5).seen,
      { kind: "error", outer: false, hook: "prerouting", packets: 1, source, says: "port unreachable" },
    ];
    const udp = { protocol: "udp", port: 9 };
    const closed = judged(liveHalf("source", 5, { seen: error("10.244.2.5") }), liveHalf("destination", 5), udp);
    assert.deepEqual([closed.ok, closed.arrived, closed.answered], [true, true, true]);
    assert.match(closed.is, /10\.244\.2\.5 answers port unreachable/);
    const refused = judged(liveHalf("source", 5, { seen: error("192.0.2.1") }), liveHalf("destination", 0));
    assert.deepEqual([refused.ok, refused.arrived], [false, false]);
    assert.match(refused.is, /192\.0\.2\.1 refuses it: port unreachable/);
  });

  it("wants no answer of what UDP carries", () => {
    const live = judged(liveHalf("source", 5), liveHalf("destination", 5), { protocol: "udp", port: 53 });
    assert.deepEqual([live.ok, live.arrived, live.answered], [true, true, false]);
    assert.equal(judged(liveHalf("source", 5), liveHalf("destination", 5), { protocol: "tcp", port: 53 }).ok, false);
    assert.equal(judged(liveHalf("source", 5), liveHalf("destination", 6), { protocol: "udp", port: 53 }).ok, false);
  });

  it("says what was passed unseen, and shows another source", () => {
    const halves = [liveHalf("source"), liveHalf("destination")] as const;
    for (const half of halves) half.seen = half.seen.filter(({ outer }) => !outer);
    (halves[1].seen[0] as LiveHalf["seen"][number]).source = "192.0.2.1";
    const live = judged(...halves);
    assert.ok(live.ok);
    const text = renderLive(live);
    assert.match(text, /source\.tunnel +0 +is sent inside VXLAN; passed unseen/);
    assert.match(text, /destination\.device +1 +comes out of the tunnel's device; its source is 192\.0\.2\.1/);
  });

  it("says where nobody watched, and what the pod's kernel did not send", () => {
    const alone = judgeLive(ENDS, ICMP, liveHalf("source", 5), undefined, "node2 does not watch: no rights");
    assert.match(alone.is, /expected next on node2[^]*nobody watched there/);
    assert.match(renderLive(alone), /destination\.underlay +\? [^]*node2 does not watch: no rights/);
    const unsent = judged(
      liveHalf("source", 0, { sent: { packets: 0, error: "sending a packet to 10.244.2.5: ENETUNREACH" } }),
      liveHalf("destination", 0),
    );
    assert.deepEqual([unsent.ok, unsent.next], [false, undefined]);
    assert.match(unsent.is, /kernel does not send it: sending a packet to 10\.244\.2\.5: ENETUNREACH/);
    const blind = judged(nothingOf("node1", "source", "no such thing"), liveHalf("destination", 0));
    assert.match(renderLive(blind), /Nothing was sent[^]*node1 does not send: no such thing/);
  });

  it("shortens where there is no tunnel, or one node", () => {
    const hopsFor = (way: "here" | "direct", role: "both" | "source"): string[] =>
      judgeLive({ ...ENDS, way }, ICMP, { ...liveHalf("source", 0), role }).hops.map(({ hop }) => hop);
    assert.deepEqual(hopsFor("here", "both").slice(0, 3), [
      "source.host-end",
      "destination.forward",
      "destination.host-end",
    ]);
    assert.equal(hopsFor("here", "both").length, 6);
    assert.deepEqual(hopsFor("direct", "source").slice(0, 6), [
      "source.host-end",
      "source.forward",
      "source.device",
      "destination.device",
      "destination.forward",
      "destination.host-end",
    ]);
  });

  it("prints nothing that moves the cursor", () => {
    const text = renderLive(
      judged(
        liveHalf("source", 5),
        liveHalf("destination", 3, { passed: ["\u001b[2J"], dropped: [drop({ rule: "\u001b[2J" })] }),
      ),
    );
    assert.ok(!text.includes("\u001b"));
  });
});
