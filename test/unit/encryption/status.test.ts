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
const inputs: PeerInputs = {
  mode: "wireguard",
  ownKey: "OWN=",
  error: undefined,
  refused: () => undefined,
  state: () => ({ ...stands, lastHandshake: 940 }),
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
    assert.match(stateOf(peer, { ownKey: "KEY=" }), /^plaintext: .*own key/);
    assert.match(stateOf(peer, { error: "no WireGuard", mode: "strict" }), /^blocked: .*no WireGuard/);
    assert.equal(
      stateOf(peer, { refused: (keys) => keys.find((key) => key.startsWith("route")) }),
      "waiting: route fd30::2/128",
    );
    assert.match(stateOf(peer, { state: () => stands }), /^waiting: no handshake yet.*\[fd30::2\]:51871/);
    assert.match(stateOf(peer, { state: () => undefined }), /^waiting: no handshake/);
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
    assert.match(text, /iifname "skylane-wg" accept/);
    assert.doesNotMatch(text, /hook output/);
    assert.equal(renderEncryption({ ...rules, keyed: rules.keyed.toReversed() }), text);
  });

  it("lets nothing in or out in the clear where it is strict", () => {
    const text = renderEncryption({ ...rules, mode: "strict", keyed: [], peerPorts: [8472, 8472] });
    assert.match(text, /hook input[^}]*\n\s+udp dport 4789 counter drop/);
    assert.match(text, /hook output[^}]*udp dport \{ 4789, 8472 \} counter drop/);
  });
});
