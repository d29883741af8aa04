import assert from "node:assert/strict";
import type { OwnFacts } from "../../../src/nodes/inputs.ts";
import { familyInUse, localChanges, resolveLocal } from "../../../src/network/local.ts";
import { lookAt } from "../../../src/host/machine.ts";
import { loadAgentConfig } from "../../../src/config/index.ts";
import type { Rtnl } from "../../../src/netlink/index.ts";

const config = (...argv: string[]) => loadAgentConfig({ argv: ["--node-name", "n1", ...argv], env: {} });
const link = { index: 2, name: "eth0", mtu: 1500, up: true, lowerUp: true, loopback: false, group: 0 };
const machine = {
  links: [link],
  addresses: [{ ifindex: 2, ip: "172.30.0.11", prefix: 24 }],
  routeTo: () => undefined,
};
const own: OwnFacts = { name: "n1", podCidrs: ["10.244.1.0/24"], internalIps: ["172.30.0.11"] };

describe("this node's part of a pod network", () => {
  it("follows from Node, configuration and machine", () => {
    const result = resolveLocal(config("--vni", "77"), own, machine);
    assert.ok("local" in result);
    const { mac, ...rest } = result.local;
    assert.match(mac, /^.[26ae]:/);
    assert.deepEqual(rest, {
      network: "default",
      node: "n1",
      vni: 77,
      device: "sky.77",
      port: 4789,
      mtu: 1450,
      underlayIp: "172.30.0.11",
      podCidrs: ["10.244.1.0/24"],
      clusterCidrs: [],
      txChecksum: "auto",
      directRouting: "off",
      reserved: {
        apiServer: [],
        services: [],
        pods: [],
        gateways: [],
        own: ["172.30.0.11"],
        onLink: ["172.30.0.0/24"],
        podCidrs: ["10.244.1.0/24"],
      },
    });
    assert.deepEqual(result.warnings, []);
  });

  it("receives over the family that most other nodes do, or else the one that it had before", () => {
    const text = (ip: string) =>
      JSON.stringify({
        default: { vni: 1, mac: "02:00:00:00:00:01", ips: [ip], podCidrs: ["10.0.0.0/24"], port: 4789 },
      });
    const node = (name: string, ip: string) => ({ name, uid: name, creationTimestamp: "", vtepAnnotation: text(ip) });
    const v6 = { ...own, vtepAnnotation: text("fd30::11") };
    const [a, b, c] = [node("a", "172.30.0.12"), node("b", "172.30.0.13"), node("c", "fd30::14")];
    assert.equal(familyInUse({ own: v6, nodes: [a, b, c] }, "default"), 4);
    assert.equal(familyInUse({ own, nodes: [c, { ...a, vtepAnnotation: "{" }] }, "default"), 6);
    assert.equal(familyInUse({ own: v6, nodes: [a, c] }, "default"), 6);
    assert.equal(familyInUse({ own: v6, nodes: [{ ...a, name: own.name }] }, "default"), 6);
    assert.equal(familyInUse({ own, nodes: [] }, "default"), undefined);
  });

  it("is reached under a public address that the machine does not have, and keeps its own for the device", () => {
    const result = resolveLocal(config("--underlay-public-ip", "203.0.113.7"), own, machine);
    assert.ok("local" in result);
    assert.equal(result.local.underlayIp, "172.30.0.11");
    assert.equal(result.local.publicIp, "203.0.113.7");
    assert.deepEqual(result.underlay.publicIps, ["203.0.113.7"]);
  });

  it("is found without reading the routes, of which there may be one a peer", () => {
    const rtnl = {
      links: () => machine.links,
      addresses: () => machine.addresses,
      routeTo: () => undefined,
      routes: () => assert.fail("the routes were read"),
      rules: () => assert.fail("the rules were read"),
    } as unknown as Rtnl;
    assert.ok("local" in resolveLocal(config(), own, lookAt(rtnl)));
  });

  it("is waited for by what is missing, and says who gives it", () => {
    const without = resolveLocal(config(), { ...own, podCidrs: [] }, machine);
    assert.ok("missing" in without && without.missing === "podCidr");
    assert.match(without.message, /Node n1 has no pod CIDR.*allocate-node-cidrs/);
    const nowhere = resolveLocal(config(), { ...own, internalIps: ["192.0.2.1"] }, machine);
    assert.ok("missing" in nowhere && nowhere.missing === "underlay");
  });

  it("warns of a pod CIDR that the other nodes will refuse", () => {
    const result = resolveLocal(config("--cluster-cidrs", "10.0.0.0/16"), own, machine);
    assert.ok("local" in result);
    assert.match(result.warnings.join(), /10\.244\.1\.0\/24 is outside.*10\.0\.0\.0\/16/);
    const other = resolveLocal(config("--cluster-cidrs", "fd00::/16"), own, machine);
    assert.ok("local" in other && other.warnings.length === 0);
  });

  it("has the same MAC after every start, and another one on another node or network", () => {
    const macOf = (name: string, ...argv: string[]) => {
      const result = resolveLocal(config(...argv), { ...own, name }, machine);
      return "local" in result ? result.local.mac : "";
    };
    assert.equal(macOf("n1"), macOf("n1"));
    assert.notEqual(macOf("n1"), macOf("n2"));
    assert.notEqual(macOf("n1"), macOf("n1", "--vni", "77"));
  });

  it("says what has changed in it", () => {
    const result = resolveLocal(config(), own, machine);
    assert.ok("local" in result);
    assert.deepEqual(localChanges(result.local, result.local), []);
    assert.deepEqual(localChanges(result.local, { ...result.local, mtu: 1400 }), ["mtu 1450 → 1400"]);
  });
});
