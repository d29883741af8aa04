/** What keeps the fast path right, or makes it let go: changes by hand, pods that come and go, connections that others have a hand in. */
import assert from "node:assert/strict";
import { closeSync, readdirSync, readFileSync } from "node:fs";
import type { FastPath } from "../../../src/dataplane/fast-path/index.ts";
import { bpf, pointTo, SysError } from "../../../src/sys/index.ts";
import { eventually } from "../../support/eventually.ts";
import type { OverlayReconciler } from "../../../src/dataplane/vxlan/index.ts";
import type { TestNode } from "../overlay/cluster.ts";
import { FrameSender } from "../support/frames.ts";
import {
  back,
  come,
  datagram,
  fastCluster,
  type FastCluster,
  FrameReceiver,
  handshake,
  type HandPod,
  packets,
  send,
  type Talk,
  tcp,
} from "./support.ts";

/** Commands of bpf(2). */
const [DELETE, UPDATE, INFO, LINK_BY_ID, LINK_DETACH] = [3, 2, 15, 30, 34];

/** Everything of a kind that this process has, as descriptors and numbers: what others have in the kernel is not touched. */
function* own(kind: "map" | "link"): Generator<{ id: number; fd: number }> {
  for (const fd of readdirSync("/proc/self/fdinfo")) {
    let said: string;
    try {
      said = readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
    } catch (error) {
      // The one by which the directory was read.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      throw error;
    }
    const [, id] = new RegExp(`^${kind}_id:\\s*(\\d+)$`, "m").exec(said) ?? [];
    if (id !== undefined) yield { id: Number(id), fd: Number(fd) };
  }
}

/** Another descriptor of a link. */
function held(id: number): number {
  const ask = Buffer.alloc(16);
  ask.writeUInt32LE(id, 0);
  return bpf(LINK_BY_ID, ask, "opening a link");
}

function infoOf(fd: number): Buffer {
  const info = Buffer.alloc(80);
  const ask = Buffer.alloc(16);
  ask.writeUInt32LE(fd, 0);
  ask.writeUInt32LE(info.length, 4);
  pointTo(ask, 8, info);
  bpf(INFO, ask, "asking");
  return info;
}

function change(command: number, fd: number, key: Buffer, value?: Buffer): void {
  const ask = Buffer.alloc(32);
  ask.writeUInt32LE(fd, 0);
  pointTo(ask, 8, key);
  if (value) pointTo(ask, 16, value);
  bpf(command, ask, "changing a map");
}

for (const attachBy of [undefined, "clsact"] as const)
  describe(`the fast path${attachBy ? ` by ${attachBy}` : ""}`, () => {
    let cluster: FastCluster;
    let pods: HandPod[];
    let paths: FastPath[];
    const [one, two] = [() => pods[0] as HandPod, () => pods[1] as HandPod];
    const [here, there] = [() => paths[0] as FastPath, () => paths[1] as FastPath];
    let port = 5_000;
    const talk = (): Talk => ({
      source: one().ips[0] as string,
      destination: two().ips[0] as string,
      sport: ++port,
      dport: 80,
    });
    const data = (which: Talk): Buffer => tcp(which, ["ACK"], 1_001, 5_001, Buffer.from("data"));
    const ifindexOf = (pod: HandPod): number =>
      (pod.node.ns.json("ip", "-j", "link", "show", pod.hostIfname)[0] as { ifindex: number }).ifindex;

    /** Sends until a packet takes the fast path to the other node. */
    const fastAgain = async (which: Talk): Promise<void> => {
      const before = packets(here(), "pod", "sent");
      await eventually(() => {
        send(one(), data(which));
        if (packets(here(), "pod", "sent") > before) return true;
        // Why it does not is what the status says, and the counters.
        throw new Error(JSON.stringify(here().status()));
      });
      await eventually(() => two().receiver.take().length > 0);
    };

    before(async () => {
      cluster = await fastCluster(4, "tunnel", attachBy);
      pods = [cluster.pod(1, 2), cluster.pod(2, 2)];
      paths = await cluster.on();
      for (const path of paths) assert.equal(path.status().on, true, path.status().message);
    });

    beforeEach(() => {
      cluster.repairs.length = 0;
      for (const pod of pods) pod.receiver.take();
    });

    it("has its program back where somebody detaches it", async () => {
      const which = talk();
      await handshake(one(), two(), which);
      await fastAgain(which);
      const ifindex = ifindexOf(one());
      const { node, hostIfname } = one();
      if (attachBy) node.ns.exec("tc", "filter", "del", "dev", hostIfname, "ingress");
      for (const { fd } of own("link")) {
        if (infoOf(fd).readUInt32LE(16) !== ifindex) continue;
        const detach = Buffer.alloc(16);
        detach.writeUInt32LE(fd, 0);
        bpf(LINK_DETACH, detach, "detaching");
      }
      await eventually(() => cluster.repairs.includes("fast-path-program"));
      await fastAgain(which);
      if (!attachBy) return;
      cluster.repairs.length = 0;
      node.ns.exec("tc", "qdisc", "del", "dev", "eth0", "clsact");
      await eventually(() => cluster.repairs.includes("fast-path-program"));
      await fastAgain(which);
      const delivered = packets(here(), "wire", "delivered");
      await eventually(() => {
        send(two(), tcp(back(which), ["ACK"], 5_001, 1_005, Buffer.from("answer")));
        return packets(here(), "wire", "delivered") > delivered;
      });
      await eventually(() => one().receiver.take().length > 0);
    });

    it("leaves what comes from the wire to the ordinary path where somebody else filters it", async () => {
      const which = talk();
      await handshake(one(), two(), which);
      await fastAgain(which);
      const { ns } = one().node;
      // Somebody who lists the kernel's links may hold them as well.
      const holding = Array.from(own("link"), ({ id }) => held(id));
      const all = ["protocol", "ip", "u32", "match", "u32", "0", "0", "flowid", "1:1"];
      if (!attachBy) ns.exec("tc", "qdisc", "add", "dev", "eth0", "clsact");
      ns.exec("tc", "filter", "add", "dev", "eth0", "ingress", "pref", "9", ...all);
      const left = (): boolean =>
        here()
          .status()
          .ordinary.some(({ why }) => why.includes("eth0 has traffic control"));
      await eventually(left);
      assert.match(ns.exec("tc", "filter", "show", "dev", "eth0", "ingress"), /pref 9 u32/);
      assert.doesNotMatch(ns.exec("tc", "filter", "show", "dev", "eth0", "ingress"), /sky_/);
      ns.exec("tc", "filter", "del", "dev", "eth0", "ingress", "pref", "9");
      if (!attachBy) ns.exec("tc", "qdisc", "del", "dev", "eth0", "clsact");
      await eventually(() => here().status().on && !left());
      await fastAgain(which);
      for (const fd of holding) closeSync(fd);
      await fastAgain(which);
    });

    it("has its maps put right where somebody changes them", async () => {
      const which = talk();
      await handshake(one(), two(), which);
      for (const { fd } of own("map")) {
        const name = infoOf(fd).toString("latin1", 24, 40).replace(/\0.*/, "");
        const strange = Buffer.alloc(16, 7);
        // Both nodes have one, and each its own pods.
        if (name === "sky_pods4") {
          change(UPDATE, fd, Buffer.from([10, 244, 1, 99]), strange);
          change(UPDATE, fd, Buffer.from([10, 244, 1, 2]), strange);
        } else if (name === "sky_peers4")
          try {
            change(DELETE, fd, Buffer.from([24, 0, 0, 0, 10, 244, 2, 0]));
          } catch (error) {
            if (!(error instanceof SysError) || error.code !== "ENOENT") throw error;
          }
      }
      await eventually(() => cluster.repairs.includes("fast-path-entry"));
      await fastAgain(which);
    });

    it("goes on, and counts on, with maps that have room for a thousand peers more", async () => {
      const which = talk();
      await handshake(one(), two(), which);
      await fastAgain(which);
      const before = packets(here(), "pod", "sent");
      const [peer] = cluster.cluster.nodes.slice(1).map((node) => node.peer);
      assert.ok(peer);
      const more = Array.from({ length: 1_000 }, (_, n) => ({
        ...peer,
        node: `far${n}`,
        podCidrs: [`10.${245 + (n >> 8)}.${n & 255}.0/24`],
      }));
      here().changePeers(more.map((one) => [one.node, one] as const));
      await eventually(() => here().status().prefixes >= more.length);
      send(one(), data(which));
      await eventually(() => two().receiver.take().length > 0);
      await eventually(() => packets(here(), "pod", "sent") === before + 1);
      here().changePeers(more.map((one) => [one.node, undefined] as const));
      await here().settled();
      await fastAgain(which);
    });

    it("leaves a connection to the ordinary path once its entry is taken away", async () => {
      const which = talk();
      await handshake(one(), two(), which);
      await fastAgain(which);
      await cluster.forget();
      const [sent, unknown] = [packets(here(), "pod", "sent"), packets(here(), "pod", "unknown")];
      send(one(), data(which));
      assert.equal(packets(here(), "pod", "unknown"), unknown + 1);
      assert.equal(packets(here(), "pod", "sent"), sent);
    });

    it("never takes a translated connection, whichever way its packets go", async () => {
      one().node.ns.exec(
        "nft",
        "table ip service {\nchain to { type nat hook prerouting priority -100; ip daddr 10.96.0.1 tcp dport 80 dnat to 10.244.2.2:80; }\n}",
      );
      const which = { ...talk(), destination: "10.96.0.1" };
      const real = { ...which, destination: two().ips[0] as string };
      const sent = [packets(here(), "pod", "sent"), packets(here(), "wire", "delivered")];
      send(one(), tcp(which, ["SYN"], 1_000, 0));
      await come(two(), 1);
      send(two(), tcp(back(real), ["SYN", "ACK"], 5_000, 1_001));
      await come(one(), 1);
      send(one(), tcp(which, ["ACK"], 1_001, 5_001));
      await come(two(), 1);
      for (let n = 0; n < 5; n++) {
        send(one(), data(which));
        await come(two(), 1);
        send(two(), tcp(back(real), ["ACK"], 5_001, 1_005, Buffer.from("answer")));
        const [answer] = await come(one(), 1);
        assert.equal(answer?.subarray(26, 30).join("."), "10.96.0.1");
      }
      assert.deepEqual([packets(here(), "pod", "sent"), packets(here(), "wire", "delivered")], sent);
      one().node.ns.exec("nft", "delete", "table", "ip", "service");
    });

    it("takes datagrams once they have gone both ways for some time", async () => {
      const which = talk();
      const before = packets(here(), "pod", "sent");
      await eventually(() => {
        send(one(), datagram(which));
        send(two(), datagram(back(which)));
        return packets(here(), "pod", "sent") > before;
      });
    });

    it("leaves pods alone whose host end has a queueing discipline", async () => {
      const which = talk();
      await handshake(one(), two(), which);
      await fastAgain(which);
      const { hostIfname, node } = two();
      node.ns.exec("tc", "qdisc", "add", "dev", hostIfname, "root", "pfifo");
      await eventually(() =>
        there()
          .status()
          .ordinary.some(({ what, why }) => what === hostIfname && /pfifo/.test(why)),
      );
      const delivered = packets(there(), "wire", "delivered");
      two().receiver.take();
      send(one(), data(which));
      await come(two(), 1);
      assert.equal(packets(there(), "wire", "delivered"), delivered);
      node.ns.exec("tc", "qdisc", "del", "dev", hostIfname, "root");
      await eventually(() => there().status().ordinary.length === 0);
    });

    it("leaves a pod to the limit of what it sends, in both directions", async () => {
      const which = talk();
      await handshake(one(), two(), which);
      await fastAgain(which);
      const { hostIfname: end, node } = two();
      const ifb = "limited";
      const tc = (...args: string[]) => node.ns.exec("tc", ...args);
      node.ns.exec("ip", "link", "add", ifb, "up", "type", "ifb");
      tc("qdisc", "add", "dev", ifb, "root", "tbf", "rate", "100mbit", "burst", "100kb", "latency", "50ms");
      if (!attachBy) tc("qdisc", "add", "dev", end, "ingress");
      const all = ["u32", "match", "u32", "0", "0", "action", "mirred", "egress", "redirect", "dev", ifb];
      tc("filter", "add", "dev", end, "ingress", "pref", "9", "protocol", "all", ...all);
      await eventually(() =>
        there()
          .status()
          .ordinary.some(({ what }) => what === end),
      );
      const sent = (): number => Number(/Sent \d+ bytes (\d+) pkt/.exec(tc("-s", "qdisc", "show", "dev", ifb))?.[1]);
      const [delivered, waited] = [packets(there(), "wire", "delivered"), sent()];
      two().receiver.take();
      one().receiver.take();
      send(one(), data(which));
      await come(two(), 1);
      send(two(), data(back(which)));
      await come(one(), 1);
      assert.equal(packets(there(), "wire", "delivered"), delivered);
      assert.ok(sent() > waited, "what the pod sends has gone by the queue");
      node.ns.exec("ip", "link", "del", ifb);
      if (attachBy) tc("filter", "del", "dev", end, "ingress", "pref", "9");
      else tc("qdisc", "del", "dev", end, "ingress");
      await eventually(() => there().status().ordinary.length === 0);
    });

    it("leads to an address that moves with its pod where that is, and never to another pod while nobody looks after it", async () => {
      const claim = "10.250.0.9";
      const [node1, node2] = cluster.cluster.nodes as [TestNode, TestNode];
      const [overlay] = cluster.overlays as [OverlayReconciler];
      /** Has a node lead to the claim's address over a pod's link. */
      const leadTo = ({ node, hostIfname, mac }: HandPod): void => {
        node.ns.exec("ip", "neigh", "replace", claim, "lladdr", mac, "dev", hostIfname, "nud", "permanent");
        node.ns.exec("ip", "route", "replace", `${claim}/32`, "dev", hostIfname, "proto", "83");
      };
      const [leaver, comer] = [cluster.pod(2, 7), cluster.pod(1, 7)];
      leadTo(leaver);
      const having = { ...node2.peer, claims: true, hosts: [claim] };
      for (const one of [overlay, here()]) one.changePeers([["node2", having]]);
      await Promise.all([overlay.settled(), here().settled()]);
      const which = { ...talk(), destination: claim };
      const sendAll = (): void => send(one(), data(which));
      await handshake(one(), leaver, which);
      const before = [packets(here(), "pod", "sent"), packets(there(), "wire", "delivered")] as const;
      await eventually(() => {
        sendAll();
        return packets(here(), "pod", "sent") > before[0] && packets(there(), "wire", "delivered") > before[1];
      });
      for (const pod of [two(), leaver, comer]) pod.receiver.take();
      // It moves, in the middle of its connection. From here to the end of the block nothing else of this process runs, as with agents that hang.
      const gone = packets(there(), "wire", "gone");
      leaver.node.ns.exec("ip", "link", "del", leaver.hostIfname);
      overlay.changePeers([["node2", node2.peer]]);
      leadTo(comer);
      sendAll();
      assert.equal(packets(there(), "wire", "gone"), gone + 1, "the kernel took the pod's device out of the map");
      for (const pod of [two(), comer]) assert.deepEqual(pod.receiver.take(), []);
      // The path still takes it for the other node's, but the kernel leads to the pod that is here.
      await eventually(() => {
        const delivered = packets(here(), "pod", "delivered");
        sendAll();
        return packets(here(), "pod", "delivered") > delivered;
      });
      const [came] = await come(comer, 1);
      assert.equal(came?.subarray(30, 34).join("."), claim);
      assert.deepEqual(two().receiver.take(), []);
      here().changePeers([["node2", node2.peer]]);
      node1.ns.exec("ip", "route", "del", `${claim}/32`);
    });

    it("is no way to a pod that is gone, nor its program one for who has the address next, while nobody looks after it", async () => {
      const which = talk();
      await handshake(one(), two(), which);
      await fastAgain(which);
      const gone = packets(there(), "wire", "gone");
      const { node, hostIfname } = two();
      // From here to the end of the block nothing else of this process runs, as with an agent that hangs.
      node.ns.exec("ip", "link", "del", hostIfname);
      const next = node.pod(2);
      next.ns.exec(
        "nft",
        "table inet deaf {\nchain deaf { type filter hook prerouting priority -300; meta l4proto { tcp, udp } drop; }\n}",
      );
      const sender = new FrameSender(next.ns.path, "eth0");
      const receiver = new FrameReceiver(next.ns.path, "eth0");
      for (const ip of next.ips)
        node.ns.exec("ip", "neigh", "replace", ip, "lladdr", sender.mac, "dev", next.hostIfname, "nud", "permanent");
      send(one(), data(which));
      const successor: HandPod = { ...two(), ns: next.ns, mac: sender.mac, sender, receiver };
      try {
        await come(successor, 1);
        assert.equal(packets(there(), "wire", "gone"), gone + 1);
        // Once it is looked after, the new one is on the fast path.
        const delivered = packets(there(), "wire", "delivered");
        await eventually(() => {
          send(one(), data(which));
          return packets(there(), "wire", "delivered") > delivered;
        });
        await eventually(() => successor.receiver.take().length > 0);
      } finally {
        sender[Symbol.dispose]();
        receiver[Symbol.dispose]();
      }
    });

    it("sets its kernel parameter again, and is off where somebody holds it", async () => {
      const { ns } = one().node;
      const parameter = "net.netfilter.nf_conntrack_tcp_be_liberal";
      const value = (): string => ns.exec("sysctl", "-n", parameter).trim();
      for (let times = 1; times <= 2; times++) {
        ns.exec("sysctl", "-qw", `${parameter}=0`);
        await eventually(() => value() === "1");
        assert.equal(cluster.repairs.filter((kind) => kind === "fast-path-sysctl").length, times);
      }
      ns.exec("sysctl", "-qw", `${parameter}=0`);
      await eventually(() => !here().status().on);
      assert.match(here().status().message, /nf_conntrack_tcp_be_liberal to 0 again and again/);
      assert.equal(here().status().pods, 0);
      assert.equal(value(), "0");
    });
  });
