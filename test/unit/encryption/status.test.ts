import assert from "node:assert/strict";
import { type PeerInputs, statusOfPeer } from "../../../src/dataplane/encryption/status.ts";
import { type EncryptionRules, renderEncryption } from "../../../src/dataplane/encryption/table.ts";
import type { Peer } from "../../../src/peers/index.ts";

const peer: Peer = {
  node: "node2",
  mac: "02:00:00:00:00:02",
  underlayIp: "fd30::2",
  podCidrs: [],
  wireguard: { key: "KEY=", port: 51_871 },
};
const stands = { publicKey: "KEY=", allowedIps: [], rxBytes: 5, txBytes: 6 };
const lane = { lane: 0 as const, key: "KEY=", port: 51_871 };
const agreed = { ...stands, lastHandshake: 940 };
const inputs: PeerInputs = {
  mode: "wireguard",
  error: undefined,
  refused: () => undefined,
  lanesTo: () => ({ lanes: [{ ...lane, state: agreed }], used: 0 }),
  rotates: false,
  now: 1_000,
};
const stateOf = (one: Peer, more: Partial<PeerInputs> = {}): string => {
  const { state, why = "" } = statusOfPeer(one, { ...inputs, ...more });
  return `${state}: ${why}`;
};

describe("how encryption to a node stands", () => {
  it("is encrypted once both have agreed on keys", () =>
    assert.deepEqual(statusOfPeer(peer, inputs), {
      node: "node2",
      publicKey: "KEY=",
      device: "skylane-wg",
      endpoint: "[fd30::2]:51871",
      state: "encrypted",
      rxBytes: 5,
      txBytes: 6,
      handshakeSeconds: 60,
    }));

  it("says why it is not", () => {
    const { wireguard: _, ...plain } = peer;
    assert.match(stateOf(plain), /^plaintext: it publishes no key/);
    assert.match(stateOf(plain, { mode: "strict" }), /^blocked: it publishes no key/);
    assert.match(stateOf(peer, { lanesTo: () => ({ lanes: [], used: undefined }) }), /^plaintext: .*own key/);
    assert.match(stateOf(peer, { error: "no WireGuard", mode: "strict" }), /^blocked: .*no WireGuard/);
    assert.equal(stateOf(peer, { refused: ({ node }) => `not ${node}` }), "waiting: not node2");
    for (const state of [stands, undefined]) {
      const lanesTo = () => ({ lanes: [{ ...lane, state }], used: 0 as const });
      assert.match(stateOf(peer, { lanesTo }), /^waiting: no handshake yet.*\[fd30::2\]:51871/);
    }
  });

  it("says how far the change of a key is", () => {
    const known: Peer = { ...peer, wireguard: { key: "KEY=", port: 51_871, slot: 0 } };
    const next = { lane: 2 as const, key: "KEY=", port: 51_872, state: { ...agreed, rxBytes: 1 } };
    const lanes = [{ ...lane, state: agreed }, next];
    const of = (one: Peer, more: Partial<PeerInputs>) => {
      const { device, rotation, rxBytes, endpoint } = statusOfPeer(one, { ...inputs, ...more });
      return [device, rotation, rxBytes, endpoint];
    };
    assert.deepEqual(of(known, { rotates: true, lanesTo: () => ({ lanes, used: 2 }) }), [
      "skylane-wg10",
      "next",
      1,
      "[fd30::2]:51872",
    ]);
    assert.deepEqual(of(known, { rotates: true, lanesTo: () => ({ lanes, used: 0 }) }).slice(0, 2), [
      "skylane-wg",
      "waits",
    ]);
    assert.equal(of(peer, { rotates: true })[1], "single");
    assert.equal(of(known, {})[1], undefined);
  });
});

describe("the packet filter of encryption", () => {
  const rules: EncryptionRules = {
    mode: "wireguard",
    port: 4789,
    peerPorts: [],
    keyed: ["172.30.0.3", "fd30::2", "172.30.0.2"],
  };

  it("drops what comes in the clear from nodes that encrypt", () => {
    const text = renderEncryption(rules);
    assert.match(text, /set keyed4 \{\n\s+type ipv4_addr\n\s+elements = \{ 172\.30\.0\.2, 172\.30\.0\.3 \}/);
    assert.match(text, /udp dport 4789 ip6 saddr @keyed6 counter drop/);
    assert.match(text, /iifname \{ "skylane-wg", "skylane-wg01", "skylane-wg10", "skylane-wg11" \} accept/);
    assert.doesNotMatch(text, /hook output/);
    assert.equal(renderEncryption({ ...rules, keyed: rules.keyed.toReversed() }), text);
  });

  it("lets nothing in or out in the clear where it is strict", () => {
    const text = renderEncryption({ ...rules, mode: "strict", keyed: [], peerPorts: [8472, 8472] });
    assert.match(text, /hook input[^}]*\} accept\n\s+udp dport 4789 counter drop/);
    assert.match(text, /hook output[^}]*\} accept\n\s+udp dport \{ 4789, 8472 \} counter drop/);
  });
});
