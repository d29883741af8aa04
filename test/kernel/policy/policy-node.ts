/**
 * A node with pods in namespaces, the rules of a model in its kernel, and packets sent by hand through them: which arrive is noted where
 * they arrive, by a set of the receiver's own packet filter, and nothing answers.
 */
import assert from "node:assert/strict";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ipToBytes } from "../../../src/addr/index.ts";
import { toolRunner } from "../../../src/dataplane/nft/index.ts";
import { POLICY_TABLE } from "../../../src/policy/index.ts";
import type { Packet } from "../../../src/policy/semantics/oracle.ts";
import { eventually } from "../../support/eventually.ts";
import { frame, FrameSender, ipPacket } from "../support/frames.ts";
import { testNamespace, type TestNamespace } from "../support/netns.ts";

const PROTOCOL = { TCP: 6, UDP: 17, SCTP: 132, other: 1 } as const;
const SPORT = { first: 20_000, last: 60_000 } as const;
/** Programs in namespaces use other ports than packets made by hand. */
const LOCAL_PORTS = "ipv4.ip_local_port_range=61000 65000";
const POD_GROUP = "0x534b";

const familyOf = (ip: string): 4 | 6 => (ip.includes(":") ? 6 : 4);

/** Notes which source ports arrive, and goes no further with them. */
const notes = (hook: string): string => `
  table inet test {
    set seen { type inet_service; flags dynamic; size 65535; }
    chain notes {
      type filter hook ${hook};
      meta l4proto { tcp, udp } th sport ${SPORT.first}-${SPORT.last} add @seen { th sport } drop
    }
  }`;

interface Listed {
  set?: { name: string; elem?: (number | { elem: { val: number } })[] };
  rule?: { chain: string; expr: ({ counter?: { packets: number } } & { drop?: null })[] };
}

const listed = (ns: TestNamespace, table: string): Listed[] => {
  const text = ns.exec("nft", "-j", "list", "table", "inet", table);
  return (JSON.parse(text) as { nftables: Listed[] }).nftables;
};

/** What packets were counted by rules of a table that drop them. */
const dropped = (ns: TestNamespace, table: string): number =>
  listed(ns, table).reduce((sum, { rule }) => {
    if (!rule?.expr.some((one) => "drop" in one)) return sum;
    return sum + (rule.expr.find(({ counter }) => counter)?.counter?.packets ?? 0);
  }, 0);

function checksummed(packet: Packet, header: Buffer, at: number): Buffer {
  const [source, destination] = [ipToBytes(packet.source), ipToBytes(packet.destination)];
  const pseudo = Buffer.concat([
    source,
    destination,
    Buffer.from([0, PROTOCOL[packet.protocol], 0, header.length]),
    header,
  ]);
  let sum = 0;
  for (let i = 0; i < pseudo.length; i += 2) sum += pseudo.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  header.writeUInt16BE(~sum & 0xffff || 0xffff, at);
  return header;
}

/** The first packet of a connection. @param flags of TCP; SYN by default */
function firstOf(packet: Packet, sport: number, flags = 0x02): Buffer {
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(sport, 0);
  ports.writeUInt16BE(packet.port, 2);
  const payload =
    packet.protocol === "TCP"
      ? checksummed(
          packet,
          Buffer.concat([ports, Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0])]),
          16,
        )
      : checksummed(packet, Buffer.concat([ports, Buffer.from([0, 8, 0, 0])]), 6);
  return ipPacket(packet.source, packet.destination, PROTOCOL[packet.protocol], payload);
}

/** A pod's end of a link, or what is outside of the node. */
interface End {
  ns: TestNamespace;
  sender: FrameSender;
  /** MAC of the node's end. */
  gateway: string;
}

export interface PolicyNode {
  /** Makes a pod with these addresses, which can also speak for itself. */
  pod(name: string, ips: readonly string[]): TestNamespace;
  /** Runs nft on the node. */
  nft(text: string): Promise<void>;
  /** Which of some packets arrive. */
  arriving(packets: readonly Packet[], flags?: number): Promise<boolean[]>;
  ns: TestNamespace;
}

/** @param own the node's addresses */
export function policyNode(own: readonly string[]): PolicyNode {
  const ns = testNamespace("policynode");
  const outside = testNamespace("policyout");
  const ends = new Map<string, End>();
  let sport: number = SPORT.first;
  for (const setting of [
    "ipv4.ip_forward=1",
    "ipv4.conf.all.rp_filter=0",
    "ipv4.conf.default.rp_filter=0",
    "ipv6.conf.all.forwarding=1",
    LOCAL_PORTS,
  ])
    ns.exec("sysctl", "-qw", `net.${setting}`);

  function link(to: TestNamespace, device: string, group: string | undefined): End {
    const ip = (...args: string[]): string => ns.exec("ip", ...args);
    ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", to.name);
    if (group) ip("link", "set", device, "group", group);
    to.exec("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0");
    ns.exec("sysctl", "-qw", `net.ipv4.conf.${device}.rp_filter=0`);
    ip("link", "set", device, "up");
    to.exec("ip", "link", "set", "eth0", "up");
    const [shown] = ns.json("ip", "-j", "link", "show", device) as [{ address: string }];
    return { ns: to, sender: new FrameSender(to.path, "eth0"), gateway: shown.address };
  }

  const everybody = link(outside, "uplink", undefined);
  const lead = (device: string, ip: string, prefix: string, mac: string): void => {
    ns.exec("ip", "neigh", "replace", ip, "lladdr", mac, "dev", device, "nud", "permanent");
    ns.exec(
      "ip",
      `-${familyOf(ip)}`,
      "route",
      "replace",
      prefix,
      "dev",
      device,
      ...(prefix === "default" ? ["via", ip, "onlink"] : []),
    );
  };
  for (const ip of own)
    ns.exec(
      "ip",
      "addr",
      "add",
      ip.includes(":") ? `${ip}/128` : `${ip}/32`,
      "dev",
      "uplink",
      ...(ip.includes(":") ? ["nodad"] : []),
    );
  lead("uplink", "172.30.9.9", "default", everybody.sender.mac);
  lead("uplink", "fd30:9::9", "default", everybody.sender.mac);
  outside.exec("nft", notes("prerouting priority -300"));
  ns.exec("nft", notes("input priority 100"));
  ns.exec(
    "nft",
    `table inet count {
       chain came { type filter hook prerouting priority -300; meta l4proto { tcp, udp } th sport ${SPORT.first}-${SPORT.last} counter; }
       chain marked { type filter hook postrouting priority 301; meta l4proto { tcp, udp } th sport ${SPORT.first}-${SPORT.last} meta priority != 0:0 counter; }
       chain left { type filter hook postrouting priority 300; meta l4proto { tcp, udp } th sport ${SPORT.first}-${SPORT.last} counter; }
     }`,
  );

  // A link that has just been made drops what is sent before the kernel has noticed that it is up.
  let up: Promise<unknown> = Promise.resolve();
  const awaitLink = (to: TestNamespace): void => {
    const state = (): unknown => (to.json("ip", "-j", "link", "show", "eth0")[0] as { operstate: string }).operstate;
    up = up.then(() => eventually(() => state() === "UP", { timeoutMs: 20_000, message: `link of ${to.name}` }));
  };
  awaitLink(outside);

  const counted = (): { came: number; left: number; marked: number } => {
    const rules = listed(ns, "count");
    const of = (chain: string): number =>
      rules.find(({ rule }) => rule?.chain === chain)?.rule?.expr.find(({ counter }) => counter)?.counter?.packets ?? 0;
    return { came: of("came"), left: of("left"), marked: of("marked") };
  };
  const run = toolRunner({ netns: ns.path });

  after(() => {
    for (const { sender } of new Set([...ends.values(), everybody])) sender[Symbol.dispose]();
  });

  return {
    ns,
    pod(name, ips) {
      const pod = testNamespace(`policy${name}`);
      const device = `pod${ends.size}`;
      const end = link(pod, device, POD_GROUP);
      pod.exec("nft", notes("prerouting priority -300"));
      pod.exec("sysctl", "-qw", `net.${LOCAL_PORTS}`);
      awaitLink(pod);
      for (const ip of ips) {
        lead(device, ip, ip, end.sender.mac);
        ends.set(ip, end);
        const gateway = ip.includes(":") ? "fe80::1" : "169.254.1.1";
        const bits = ip.includes(":") ? ["128", "nodad"] : ["32"];
        pod.exec("ip", "addr", "add", `${ip}/${bits[0]}`, "dev", "eth0", ...bits.slice(1));
        pod.exec("ip", "neigh", "replace", gateway, "lladdr", end.gateway, "dev", "eth0", "nud", "permanent");
        pod.exec("ip", `-${familyOf(ip)}`, "route", "add", "default", "via", gateway, "dev", "eth0", "onlink");
      }
      return pod;
    },
    nft: async (text) => {
      if (text !== "") await run("nft", ["-f", "-"], text);
    },
    async arriving(packets, flags) {
      await up;
      const receivers = [ns, ...new Set([...ends.values(), everybody].map((end) => end.ns))];
      for (const one of receivers) one.exec("nft", "flush set inet test seen");
      ns.exec("nft", "reset counters table inet count");
      const before = dropped(ns, POLICY_TABLE);
      const start = counted();
      const ports = packets.map((packet, i) => {
        const end = ends.get(packet.source) ?? everybody;
        if (++sport > SPORT.last) sport = SPORT.first;
        end.sender.send(frame(end.sender.mac, end.gateway, firstOf(packet, sport, flags)));
        return { port: sport, i };
      });
      let seen = new Set<number>();
      let last = "";
      await eventually(
        async () => {
          await nextTurn();
          const now = counted();
          if (now.came - start.came < packets.length) return false;
          const parts = receivers.map((one) => {
            const set = listed(one, "test").find((entry) => entry.set?.name === "seen")?.set;
            return (set?.elem ?? []).map((entry) => (typeof entry === "number" ? entry : entry.elem.val));
          });
          seen = new Set(parts.flat());
          last = JSON.stringify({
            sent: packets.length,
            ...now,
            start,
            seen: seen.size,
            dropped: dropped(ns, POLICY_TABLE) - before,
          });
          // Whatever came has gone on by now, is at the node itself, or was dropped.
          const atNode = (parts[0] as number[]).length;
          return (
            now.left - start.left + atNode + dropped(ns, POLICY_TABLE) - before === packets.length &&
            seen.size === now.left - start.left + atNode
          );
        },
        { timeoutMs: 60_000, intervalMs: 10 },
      ).catch((error: unknown) => {
        throw new Error(last, { cause: error });
      });
      assert.equal(counted().marked, 0, "packets that keep the class of an address as their priority");
      return ports.map(({ port }) => seen.has(port));
    },
  };
}
