/** What became of marked packets, of what both nodes have seen: the way that they should have taken, and how far they came. Pure. */
import type { Trace } from "../join.ts";
import type { Traffic } from "../types.ts";
import type { Dropped, Hook, Kind, Live, LiveHalf, LiveHop, Seen } from "./types.ts";

/** A place on the way, and by what it is known that a packet was there. */
interface Stage extends Pick<LiveHop, "node" | "hop" | "place"> {
  side: "source" | "destination";
  kind: Kind;
  outer: boolean;
  hook: Hook;
  /** What is between the place before and this one, and what to do where packets end there. */
  before: string;
  cure: string;
}

const POD_SENDS = {
  before: "the pod's kernel does not send it, or its link or traffic control at the host end ends it",
  cure: "See the hops pod.* of the trace, and the host end's traffic control (tc filter show dev … ingress).",
};
const FORWARDING = {
  before:
    "the kernel does not forward it, or has no route for it, or another packet filter than nftables (iptables-legacy) drops it",
  cure: "See routes and forwarding in the trace, and iptables-legacy-save on that node.",
};
const LEAVING = {
  before: "a packet filter drops it behind its route",
  cure: "See the rules at POSTROUTING of that node.",
};
const ENCAPSULATION = {
  before:
    "the tunnel's device does not send it (no neighbour or FDB entry, or no route of the underlay), or the fast path does, past these places",
  cure: "See neighbour, fdb and underlay in the trace. With fastPath on, what is inside VXLAN is not seen: then it may also have been lost on the underlay, or before the tunnel's device of the other node.",
};
const DECAPSULATION = {
  before:
    "the tunnel's device of that node does not take it: it is down, or has another VNI, port or MAC than the sender thinks",
  cure: "See agreement and destination.device in the trace.",
};
const INPUT = {
  before:
    "that node's kernel does not take it for its own, or another packet filter than nftables (iptables-legacy) drops it",
  cure: "See the underlay address of that node, rp_filter, and iptables-legacy-save there.",
};

const underlayLoses = (from: string, to: string, what: string) => ({
  before: `the network between ${from} and ${to} loses ${what}`,
  cure: `Let ${what} pass from ${from} to ${to} in firewalls, security groups and switches between them; see skylanectl probes on both. Programs of traffic control or XDP at ${to}'s own card see packets earlier than this trace does.`,
});

/** The way of one kind of packets from a node to another. */
function stagesOf(kind: "request" | "answer", { way, from, to }: Ends): Stage[] {
  const back = kind === "answer";
  const [sender, receiver] = back ? [to, from] : [from, to];
  const sides = back ? (["destination", "source"] as const) : (["source", "destination"] as const);
  const at = (
    end: 0 | 1,
    hop: string,
    outer: boolean,
    hook: Hook,
    place: string,
    gap: Pick<Stage, "before" | "cure">,
  ) => ({
    node: (end === 0 ? sender : receiver).node,
    hop: `${back ? "answer." : ""}${sides[end]}.${hop}`,
    side: sides[end],
    kind,
    outer,
    hook,
    place,
    ...gap,
  });
  const silent = {
    before: "the pod does not answer: nobody listens there and its own packet filter drops it, or it has no way back",
    cure: "See what listens in that pod (ss -ltnu), its own packet filter and its default route.",
  };
  const comes = at(0, "host-end", false, "prerouting", `comes out of ${sender.pod}`, back ? silent : POD_SENDS);
  const goes = at(1, "host-end", false, "postrouting", `goes into ${receiver.pod}`, LEAVING);
  if (way === "here") return [comes, at(1, "forward", false, "forward", "is forwarded", FORWARDING), goes];
  const direct = way === "direct";
  const leaves = [
    at(0, "forward", false, "forward", "is forwarded", FORWARDING),
    at(
      0,
      "device",
      false,
      "postrouting",
      direct ? "leaves for the underlay" : "goes into the tunnel's device",
      LEAVING,
    ),
  ];
  const arrives = at(
    1,
    "device",
    false,
    "prerouting",
    direct ? "comes from the underlay" : "comes out of the tunnel's device",
    direct ? underlayLoses(sender.node, receiver.node, "packets with addresses of pods") : DECAPSULATION,
  );
  const tunnel: Stage[] = direct
    ? []
    : [
        at(0, "tunnel", true, "output", "is sent inside VXLAN", ENCAPSULATION),
        at(0, "underlay", true, "postrouting", "leaves the node inside VXLAN", LEAVING),
        at(
          1,
          "underlay",
          true,
          "prerouting",
          "arrives at the node inside VXLAN",
          underlayLoses(sender.node, receiver.node, "VXLAN"),
        ),
        at(1, "tunnel", true, "input", "is let in inside VXLAN", INPUT),
      ];
  return [comes, ...leaves, ...tunnel, arrives, at(1, "forward", false, "forward", "is forwarded", FORWARDING), goes];
}

/** Where the two ends are. */
interface Ends {
  way: Trace["way"];
  from: { node: string; pod: string };
  to: { node: string; pod: string };
}

const endOf = ({ node = "the other node", pod, ip }: Trace["from"]) => ({
  node,
  pod: pod === undefined ? ip : `pod ${pod}`,
});

/** What each node has seen; one of both ends is both. Absent: nobody watched there. */
type Halves = { source: LiveHalf; destination: LiveHalf | undefined };

const isAt = (stage: Stage, { kind, outer, hook }: Pick<Seen, "kind" | "outer" | "hook">): boolean =>
  stage.kind === kind && stage.outer === outer && stage.hook === hook;

/**
 * @param source what the sender's node has seen; of pods of one node, all there is
 * @param failed why the other node could not watch
 */
export function judgeLive(
  trace: Pick<Trace, "way" | "from" | "to">,
  { protocol }: Traffic,
  source: LiveHalf,
  other?: LiveHalf,
  failed?: string,
): Live {
  const ends: Ends = { way: trace.way, from: endOf(trace.from), to: endOf(trace.to) };
  const halves: Halves = { source, destination: source.role === "both" ? source : other };
  const stages = (["request", "answer"] as const).flatMap((kind) => stagesOf(kind, ends));
  const counted = stages.map((stage) => hopOf(stage, halves[stage.side]));
  const furthest = counted.findLastIndex(({ packets = 0 }) => packets > 0);
  const hops = counted.map((hop, n) => (hop.packets === 0 && n < furthest ? { ...hop, note: UNSEEN } : hop));
  const sent = source.sent?.packets ?? 0;
  const refusal = source.seen.find(({ kind, says }) => kind === "error" && says !== undefined);
  const refusedThere = refusal?.source === trace.to.ip;
  const arrived = furthest >= hops.length / 2 - 1 || refusedThere;
  const answered = furthest === hops.length - 1 || refusedThere;
  const missing = [failed, source.missing, other?.missing].filter((one) => one !== undefined).join("; ");
  const found = { hops, stages, furthest, halves };
  const told =
    sent === 0
      ? unsent(source)
      : answered
        ? {
            is: refusedThere
              ? `It arrived: ${trace.to.ip} answers ${refusal.says}.`
              : "It arrived, and its answer came back.",
          }
        : (dropped(found) ?? (refusal ? refusedBy(refusal) : lost(found)));
  // What UDP carries need not be answered.
  const silent = arrived && !answered && protocol === "udp" && furthest === hops.length / 2 - 1;
  return {
    ok: answered || silent,
    arrived,
    answered,
    sent,
    hops,
    ...(furthest >= 0 && { last: hops[furthest] }),
    ...(!answered && sent > 0 && { next: hops[furthest + 1] }),
    passed: [source, ...(other ? [other] : [])].flatMap(({ node, passed }) =>
      passed.map((chain) => `${node} ${chain}`),
    ),
    ...(silent ? { is: "It arrived; nothing was answered, as services over UDP need not." } : told),
    ...(missing !== "" && { missing }),
  };
}

const UNSEEN = "passed unseen: it came further";

function hopOf(stage: Stage, half: LiveHalf | undefined): LiveHop {
  const { node, hop, place } = stage;
  if (!half) return { node, hop, place };
  const seen = half.seen.filter((one) => isAt(stage, one));
  const source = seen.find((one) => one.source !== undefined)?.source;
  const devices = [...new Set(seen.map(devicesOf))].filter((one) => one !== "").join("; ");
  return {
    node,
    hop,
    place: devices === "" ? place : `${place} (${devices})`,
    packets: seen.reduce((sum, { packets }) => sum + packets, 0),
    ...(source !== undefined && { note: `its source is ${source}` }),
  };
}

const devicesOf = ({ in: incoming, out }: Seen): string =>
  [incoming === undefined ? [] : [`from ${incoming}`], out === undefined ? [] : [`to ${out}`]].flat().join(" ");

interface Found {
  stages: readonly Stage[];
  hops: readonly LiveHop[];
  /** Of the hop where something was seen last; -1: nowhere. */
  furthest: number;
  halves: Halves;
}

type Told = Pick<Live, "is" | "cure">;

const unsent = ({ sent }: LiveHalf): Told =>
  sent
    ? {
        is: `The pod's kernel does not send it: ${sent.error ?? "it says nothing"}.`,
        cure: "See the hops pod.* of the trace.",
      }
    : { is: "Nothing was sent: what becomes of it could not be seen." };

/** What the packet filter of a node has ended at the last place where packets were seen, or behind it. */
function dropped({ stages, furthest, halves }: Found): Told | undefined {
  const all = stages.flatMap((stage, n) => {
    const half = halves[stage.side];
    return (half?.dropped ?? []).filter((one) => isAt(stage, one)).map((one) => ({ n, node: stage.node, ...one }));
  });
  const one = all.findLast(({ n }) => n >= furthest);
  return one && droppedBy(one.node, one);
}

const droppedBy = (node: string, { kind, table, chain, rule }: Dropped): Told => ({
  is: `The packet filter of ${node} drops ${kind === "answer" ? "its answer" : "it"} in chain ${chain} of table ${table}${rule === undefined ? "" : `, by: ${rule}`}.`,
  cure: table.startsWith("inet skylane")
    ? "That rule is Skylane's: see policies in the trace, and skylanectl policy explain."
    : "That rule is none of Skylane's: see who has made it.",
});

const refusedBy = ({ source = "Somebody", says = "an ICMP error" }: Seen): Told => ({
  is: `${source} refuses it: ${says}.`,
  cure: "See routes and packet filter of whoever has that address.",
});

function lost({ stages, hops, furthest }: Found): Told {
  const [last, next] = [hops[furthest], stages[furthest + 1] as Stage];
  const what =
    next.kind === "answer" && last?.hop !== undefined && last.hop.startsWith("answer.") ? "Its answer" : "It";
  const was = last ? `${what} was seen last on ${last.node}, where it ${last.place}` : "It was seen nowhere";
  const expected = `is expected next on ${next.node}, where ${next.kind === "answer" && what === "It" ? "the answer" : "it"} ${next.place}`;
  if (hops[furthest + 1]?.packets === undefined)
    return {
      is: `${was}, and ${expected}; nobody watched there.`,
      cure: "Trace with kubectl skylane trace, which watches on both nodes.",
    };
  return { is: `${was}, and ${expected}: ${next.before}.`, cure: next.cure };
}
