import assert from "node:assert/strict";
import { PeerPrefixes } from "../../../src/dataplane/fast-path/peer-prefixes.ts";
import { PEER } from "../../../src/dataplane/fast-path/programs/maps.ts";
import type { Peer } from "../../../src/peers/index.ts";

const UPLINK = 3;
const peer = (n: number, podCidrs: string[], more: Partial<Peer> = {}): Peer => ({
  node: `node${n}`,
  mac: `02:00:00:00:00:0${n}`,
  underlayIp: `172.30.0.${n}`,
  podCidrs,
  ...more,
});
/** The prefixes of entries, as the maps have them. */
const prefixes = (peers: PeerPrefixes): string[] =>
  peers.known(UPLINK).entries.map(({ key }) => `${key.subarray(4).join(".")}/${key.readUInt32LE(0)}`);

describe("peers on the fast path", () => {
  it("are looked for by the lengths that their prefixes have, the longest first", () => {
    const peers = new PeerPrefixes();
    assert.deepEqual(peers.known(UPLINK).lengths, { 4: [24], 6: [64] }, "programs need one");
    peers.replace([peer(1, ["10.1.0.0/20", "fd00:1::/80"]), peer(2, ["10.2.0.0/24"])]);
    assert.deepEqual(peers.known(UPLINK).lengths, { 4: [24, 20], 6: [80] });
    peers.change([["node2", undefined]]);
    assert.deepEqual(peers.known(UPLINK).lengths, { 4: [20], 6: [80] });
  });

  it("have their addresses that move with pods beside their prefixes", () => {
    const peers = new PeerPrefixes();
    peers.replace([peer(1, ["10.1.0.0/24"], { claims: true, hosts: ["10.9.0.7"] })]);
    assert.deepEqual(prefixes(peers), ["10.1.0.0/24", "10.9.0.7/32"]);
    assert.deepEqual(peers.known(UPLINK).lengths[4], [32, 24]);
    peers.change([["node1", peer(1, ["10.1.0.0/24"], { claims: true })]]);
    assert.deepEqual(prefixes(peers), ["10.1.0.0/24"]);
  });

  it("are left to the ordinary path where prefixes have too many lengths, the rarest of them", () => {
    const peers = new PeerPrefixes();
    const common = [20, 21, 22, 23].flatMap((length, n) =>
      [0, 1].map((more) => peer(2 * n + more, [`10.${16 * n}.${64 * more}.0/${length}`])),
    );
    peers.replace([...common, peer(9, ["10.200.0.0/28"])]);
    const { lengths, ordinary, entries } = peers.known(UPLINK);
    assert.deepEqual(lengths[4], [23, 22, 21, 20]);
    assert.equal(entries.length, common.length);
    assert.deepEqual(
      ordinary.map(({ what }) => what),
      ["node node9"],
    );
  });

  it("are reached without the tunnel by the next hop of each family, over the underlay's device", () => {
    const peers = new PeerPrefixes();
    const direct = [{ gateway: "172.30.0.1", ifindex: UPLINK }];
    peers.replace([
      peer(1, ["10.1.0.0/24", "fd00:1::/64"], { underlayIp: "172.31.0.1", direct }),
      peer(2, ["10.2.0.0/24"]),
    ]);
    const now = peers.known(UPLINK);
    assert.equal(now.direct, true);
    assert.deepEqual(
      now.entries.map(({ value }) => [value[PEER.direct], value.subarray(PEER.underlay, PEER.underlay + 4).join(".")]),
      [
        [1, "172.30.0.1"],
        [0, "172.31.0.1"],
        [0, "172.30.0.2"],
      ],
    );
    peers.change([["node1", undefined]]);
    assert.equal(peers.known(UPLINK).direct, false);
  });

  it("are left to the ordinary path where no program is at the device that leads to them", () => {
    const peers = new PeerPrefixes();
    peers.replace([peer(1, ["10.1.0.0/24"], { direct: [{ gateway: "172.30.0.1", ifindex: UPLINK + 1 }] })]);
    const { entries, direct, ordinary } = peers.known(UPLINK);
    assert.deepEqual([entries, direct], [[], false]);
    assert.match(ordinary[0]?.why ?? "", /over another device/);
  });
});
