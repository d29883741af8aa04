import assert from "node:assert/strict";
import { TunnelPeers } from "../../../src/dataplane/fast-path/tunnel-peers.ts";
import type { Peer } from "../../../src/peers/index.ts";

const peer = (n: number, podCidrs: string[], more: Partial<Peer> = {}): Peer => ({
  node: `node${n}`,
  mac: `02:00:00:00:00:0${n}`,
  underlayIp: `172.30.0.${n}`,
  podCidrs,
  ...more,
});
/** The prefixes of entries, as the maps have them. */
const prefixes = (peers: TunnelPeers): string[] =>
  peers.now.entries.map(({ key }) => `${key.subarray(4).join(".")}/${key.readUInt32LE(0)}`);

describe("peers on the fast path", () => {
  it("are looked for by the lengths that their prefixes have, the longest first", () => {
    const peers = new TunnelPeers();
    assert.deepEqual(peers.now.lengths, { 4: [24], 6: [64] }, "programs need one");
    peers.replace([peer(1, ["10.1.0.0/20", "fd00:1::/80"]), peer(2, ["10.2.0.0/24"])]);
    assert.deepEqual(peers.now.lengths, { 4: [24, 20], 6: [80] });
    peers.change([["node2", undefined]]);
    assert.deepEqual(peers.now.lengths, { 4: [20], 6: [80] });
  });

  it("have their addresses that move with pods beside their prefixes", () => {
    const peers = new TunnelPeers();
    peers.replace([peer(1, ["10.1.0.0/24"], { claims: true, hosts: ["10.9.0.7"] })]);
    assert.deepEqual(prefixes(peers), ["10.1.0.0/24", "10.9.0.7/32"]);
    assert.deepEqual(peers.now.lengths[4], [32, 24]);
    peers.change([["node1", peer(1, ["10.1.0.0/24"], { claims: true })]]);
    assert.deepEqual(prefixes(peers), ["10.1.0.0/24"]);
  });

  it("are left to the ordinary path where prefixes have too many lengths, the rarest of them", () => {
    const peers = new TunnelPeers();
    const common = [20, 21, 22, 23].flatMap((length, n) =>
      [0, 1].map((more) => peer(2 * n + more, [`10.${16 * n}.${64 * more}.0/${length}`])),
    );
    peers.replace([...common, peer(9, ["10.200.0.0/28"])]);
    const { lengths, ordinary, entries } = peers.now;
    assert.deepEqual(lengths[4], [23, 22, 21, 20]);
    assert.equal(entries.length, common.length);
    assert.deepEqual(
      ordinary.map(({ what }) => what),
      ["node node9"],
    );
  });
});
