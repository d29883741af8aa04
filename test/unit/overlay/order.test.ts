import assert from "node:assert/strict";
import { derivedMac } from "../../../src/addr/index.ts";
import { type NodeVtep, PeerSelector, type Reserved, selectPeers } from "../../../src/peers/index.ts";
import { local, nodeOf, peer } from "./support.ts";

const refusals = (...nodes: NodeVtep[]): string[] =>
  selectPeers(local, nodes).refused.map(({ node, reason, message }) => `${node} ${reason}: ${message}`);
const messageOf = (...nodes: NodeVtep[]): string => refusals(...nodes).join("\n");

describe("two Nodes that claim the same", () => {
  const address = { ips: [peer(2).underlayIp] };

  it("gives an address to the Node whose kubelet reports it, however young", () => {
    const liar = nodeOf(1, address, { addresses: ["172.30.0.101"] });
    assert.deepEqual(refusals(liar, nodeOf(2)), [
      "node1 DuplicateVtepIp: its underlay address 172.30.0.102 is that of the confirmed node node2",
    ]);
  });

  it("gives a MAC to the Node from whose name it follows", () => {
    const mac = derivedMac(`node2/${local.vni}`);
    assert.deepEqual(refusals(nodeOf(1, { mac }), nodeOf(2, { mac })), [
      `node1 DuplicateVtepMac: its VTEP MAC ${mac} is that of the confirmed node node2`,
    ]);
  });

  it("gives what a dead Node still has to the live one, and not what a live one has to a dead one", () => {
    const dead = nodeOf(1, address, { heard: false });
    assert.match(messageOf(dead, nodeOf(2)), /^node1 DuplicateVtepIp: .* of the live node node2$/);
    assert.match(messageOf(nodeOf(1, address), nodeOf(2, {}, { heard: false })), /^node2 .* of the live node node1$/);
    const { heard: _heard, ...silent } = nodeOf(1, address).granted;
    assert.match(messageOf({ ...nodeOf(1, address), granted: silent }, nodeOf(2)), /^node1 /);
    assert.match(messageOf(nodeOf(1, address), nodeOf(2)), /^node2 .* of the older node node1$/);
  });

  it("gives it back when the live one dies and the dead one is heard again", () => {
    const selector = new PeerSelector(local);
    const names = (): string[] => [...selector.peers.keys()];
    const set = (...nodes: NodeVtep[]) => selector.update(nodes.map((node) => [node.name, node]));
    set(nodeOf(1, address, { heard: false }), nodeOf(2));
    assert.deepEqual(names(), ["node2"]);
    assert.deepEqual([...selector.contested()].sort(), ["node1", "node2"]);
    set(nodeOf(1, address), nodeOf(2, {}, { heard: false }));
    assert.deepEqual(names(), ["node1"]);
    set(nodeOf(1));
    assert.deepEqual(names().sort(), ["node1", "node2"]);
    assert.deepEqual([...selector.contested()], []);
  });

  it("wants to know how both stand, whichever was there first", () => {
    const selector = new PeerSelector(local);
    const set = (...nodes: NodeVtep[]) => selector.update(nodes.map((node) => [node.name, node]));
    // It is dead and nobody has noticed: nothing would be heard of it if the younger one alone were asked about.
    set(nodeOf(1, address));
    set(nodeOf(2));
    assert.deepEqual([...selector.contested()].sort(), ["node1", "node2"]);
    set(nodeOf(1, address, { heard: false }));
    assert.deepEqual([...selector.peers.keys()], ["node2"]);
    assert.deepEqual([...selector.contested()].sort(), ["node1", "node2"]);
  });

  it("tells the node itself what the others give to somebody else, and only that", () => {
    const selector = new PeerSelector(local);
    const own = { ...nodeOf(5, {}, { addresses: [local.underlayIp] }), name: local.node };
    const set = (...nodes: NodeVtep[]) => selector.update(nodes.map((node) => [node.name, node]));
    const ghost = { ips: [local.underlayIp] };
    set(own, nodeOf(1, ghost, { addresses: [] }), nodeOf(2));
    assert.deepEqual(selector.losses(), []);
    set(nodeOf(1, ghost));
    assert.deepEqual(selector.losses(), [
      { node: "node1", message: `its underlay address ${local.underlayIp} is that of the older node node1` },
    ]);
    assert.deepEqual([...selector.contested()].sort(), ["node0", "node1"]);
    set(nodeOf(1, ghost, { heard: false }));
    assert.deepEqual(selector.losses(), []);
  });
});

describe("what a Node announces against what the API server says of it", () => {
  const reserved: Reserved = {
    apiServer: ["172.30.0.1"],
    gateways: ["172.30.0.254"],
    own: [local.underlayIp],
    onLink: ["172.30.0.0/24"],
    services: ["10.96.0.0/12"],
    pods: ["10.244.0.0/16", "10.50.0.0/16", "fd00:10:244::/48"],
    podCidrs: local.podCidrs,
  };
  const here = { ...local, reserved };
  const verdict = (node: NodeVtep): string =>
    selectPeers(here, [node])
      .refused.map(({ reason, message }) => `${reason}: ${message}`)
      .join();

  it("takes the prefixes that it has been given, or some of them, and no others", () => {
    const both = peer(1).podCidrs;
    assert.deepEqual(selectPeers(here, [nodeOf(1)]).peers, [peer(1)]);
    const one = { podCidrs: both.slice(0, 1) };
    assert.deepEqual(selectPeers(here, [nodeOf(1, one, { podCidrs: both })]).peers[0]?.podCidrs, both.slice(0, 1));
    for (const podCidrs of [["172.30.0.1/32"], ["10.244.2.0/24"], ["10.244.1.0/25"], [both[0] ?? "", "fd30::1/128"]])
      assert.match(verdict(nodeOf(1, { podCidrs }, { podCidrs: both })), /^ForeignPodCidr: .*has not given it/);
    assert.match(
      verdict(nodeOf(1, { podCidrs: ["172.30.0.1/32"] }, { podCidrs: both })),
      /and covers the API server's address 172\.30\.0\.1$/,
    );
    assert.match(verdict(nodeOf(1, {}, { podCidrs: [] })), /^NoPodCidr: .*it has none/);
  });

  it("refuses what covers something of ours even where the API server has given it", () => {
    for (const podCidrs of [["172.30.0.0/29"], ["10.97.0.0/24"], ["172.0.0.0/8"], ["172.30.0.64/26"]])
      assert.match(verdict(nodeOf(1, { podCidrs, ips: ["192.168.0.1"] })), /^ReservedPrefix: its pod CIDR .* covers /);
    for (const podCidrs of [["10.9.0.0/31"], ["10.9.0.1/32"], ["fd30::1/128"]])
      assert.match(verdict(nodeOf(1, { podCidrs })), /^ReservedPrefix: .* has no room for pods/);
  });

  it("says nothing of a Node that is being asked about, and why when it cannot be", () => {
    const { granted: _granted, ...asked } = nodeOf(1);
    assert.deepEqual(selectPeers(here, [asked]), { peers: [], refused: [] });
    assert.match(verdict({ ...asked, unknown: "no answer" }), /^NoPodCidr: its Node cannot be read: no answer$/);
  });

  it("refuses ports of other services, and lets a roll-out of another VXLAN port be", () => {
    for (const port of [1, 53, 123, 500, 1023, 4500, 5353, 51_820])
      assert.match(verdict(nodeOf(1, { port })), /^ServicePort: it wants VXLAN on UDP port /);
    for (const port of [4789, 8472, 14_789]) assert.equal(verdict(nodeOf(1, { port })), "");
    assert.deepEqual(selectPeers({ ...here, port: 443 }, [nodeOf(1, { port: 443 })]).refused, []);
  });

  it("refuses underlay addresses at which no node can be", () => {
    const at = (ip: string, reported: string[] = []) => verdict(nodeOf(1, { ips: [ip] }, { addresses: reported }));
    for (const ip of ["172.30.0.255", "172.30.0.0", "172.30.0.1", "172.30.0.254", "240.0.0.1", "250.1.2.3"])
      assert.match(at(ip), new RegExp(`^ReservedVtepIp: its underlay address ${ip} is `));
    // A machine of the control plane, or one that is the others' router, is a node like any other.
    for (const ip of ["172.30.0.1", "172.30.0.254", "240.0.0.1", "172.30.0.9"]) assert.equal(at(ip, [ip]), "");
  });

  it("refuses underlay addresses in the CIDRs of Services and pods, in both families' places", () => {
    const both = (ips: string[], reported: string[] = []) => verdict(nodeOf(1, { ips }, { addresses: reported }));
    for (const ip of ["10.96.0.10", "10.111.255.254", "10.244.77.1", "10.50.3.4"]) {
      assert.match(
        both([ip]),
        new RegExp(`^ReservedVtepIp: its underlay address ${ip} is an address of (Services|pods), of `),
      );
      assert.match(both([ip, "fd30::11"]), /^ReservedVtepIp: /);
    }
    assert.match(
      both(["172.30.0.13", "fd00:10:244:7::1"]),
      /^ReservedVtepIp: its underlay address fd00:10:244:7::1 is .* of pods/,
    );
    // A node is where its kubelet says, even so; but nowhere in the range of Services.
    assert.equal(both(["10.50.3.4"], ["10.50.3.4"]), "");
    assert.match(both(["10.96.0.10"], ["10.96.0.10"]), /^ReservedVtepIp: /);
    // A cluster whose nodes, this one among them, are in such a range goes on to work.
    const overlapping = { ...here, reserved: { ...reserved, services: ["172.16.0.0/12"], pods: ["172.30.0.0/16"] } };
    assert.deepEqual(selectPeers(overlapping, [nodeOf(1, { podCidrs: ["10.9.0.0/24"] })]).refused, []);
  });
});
