/** The tunnel's header as the program makes it, beside the VXLAN device's for the very same packet. */
import assert from "node:assert/strict";
import { eventually } from "../../support/eventually.ts";
import { come, fastCluster, FrameReceiver, handshake, send, type Talk, tcp } from "./support.ts";

const VXLAN_PORT = 4_789;
/** Places in the frame, of IPv4, UDP and what follows. */
const AT = { tos: 15, id: 18, fragment: 20, hops: 22, sum: 24, udp: 34, udpSum: 40, vxlan: 42 } as const;

const sumOf = (header: Buffer): number => {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
};

describe("the tunnel's header", () => {
  for (const family of [4, 6] as const)
    it(`is the device's but for identification and UDP checksum, around IPv${family}`, async () => {
      const cluster = await fastCluster();
      const [one, two] = [cluster.pod(1, 2), cluster.pod(2, 2)];
      using wire = new FrameReceiver(cluster.cluster.nodes[1]?.ns.path as string, "eth0");
      const [source, destination] = [one, two].map(({ ips }) => ips[family === 4 ? 0 : 1]) as [string, string];
      const talk: Talk = { source, destination, sport: 4_001, dport: 80 };
      await handshake(one, two, talk);
      const outer = async (): Promise<Buffer> => {
        wire.take();
        send(one, tcp(talk, ["ACK"], 1_001, 5_001, Buffer.from("the very same")));
        await come(two, 1);
        const tunnelled = (frame: Buffer): boolean =>
          frame.readUInt16BE(12) === 0x0800 && frame[23] === 17 && frame.readUInt16BE(AT.udp + 2) === VXLAN_PORT;
        return await eventually(() => wire.take().find(tunnelled));
      };
      const device = await outer();
      const [path] = await cluster.on();
      const program = await outer();
      assert.ok(path?.status().packets.some((counted) => counted.outcome === "sent"));
      assert.equal(sumOf(program.subarray(14, 34)), 0xffff, "a right checksum");
      assert.equal(program.readUInt16BE(AT.udpSum), 0);
      const same = (frame: Buffer): Record<string, string> => {
        const part = (from: number, to: number): string => frame.subarray(from, to).toString("hex");
        return {
          ethernet: part(0, 14),
          beginning: part(14, AT.id),
          fragment: part(AT.fragment, AT.hops),
          hops: part(AT.hops, AT.sum),
          addresses: part(26, AT.udp),
          udp: part(AT.udp, AT.udpSum),
          vxlan: part(AT.vxlan, AT.vxlan + 8),
          inner: part(AT.vxlan + 8, frame.length),
        };
      };
      assert.deepEqual(same(program), same(device));
    });
});
